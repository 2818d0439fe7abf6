//! From logits to text: processors, sampling, stop strings, the scheduler.

pub mod options;
pub mod processors;
pub mod rng;
pub mod sampler;
pub mod stop;

pub use options::GenerateOptions;
