//! From logits to text: processors, sampling, stop strings, and the scheduler
//! that runs everything that is being computed.

pub mod generation;
pub mod logits;
pub mod lookup;
pub mod options;
pub mod processors;
pub mod rng;
pub mod sampler;
pub mod scheduler;
pub mod stop;

pub use generation::{FinishReason, GenerationChunk, GenerationResult, Input};
pub use logits::Logits;
pub use options::GenerateOptions;
pub use scheduler::{Event, JobId, Scheduler};
