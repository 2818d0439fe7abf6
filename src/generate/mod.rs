//! From logits to text: processors, sampling, stop strings, the scheduler.

pub mod options;

pub use options::GenerateOptions;
