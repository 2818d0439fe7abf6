//! From logits to text: processors, sampling, stop strings, and the scheduler
//! that runs everything that is being computed.

pub mod beam;
pub mod comparison;
pub mod constraint;
pub mod embedding;
pub mod generation;
pub mod log_prob;
pub mod logits;
pub mod lookup;
pub mod mirostat;
pub mod options;
pub mod processors;
pub mod progress;
pub mod reading;
pub mod recent_constraints;
pub mod recording;
pub mod request;
pub mod rng;
pub mod sampler;
pub mod scheduler;
pub mod stop;

pub use comparison::{Comparison, ComparisonResult};
pub use generation::{
    Continuation, Ending, FinishReason, GenerationChunk, GenerationResult, Input,
};
pub use logits::Logits;
pub use options::GenerateOptions;
pub use reading::ReadingResult;
pub use recording::Recording;
pub use request::{Origin, Request};
pub use scheduler::{Event, JobId, Scheduler};
