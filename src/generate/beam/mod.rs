//! Beam search: several continuations of one prompt at once, and the best of
//! them in the end.
//!
//! What is kept, when a search ends and what a score is are those of Hugging
//! Face's `generate()`: of transformers 5 for plain and sampled beams, of 4.46
//! for diverse groups, which later versions no longer have. [`search`] is the
//! whole decision as a state machine that never runs a model: rows of logits
//! in, and out comes which beam each next row continues and with which token.
//! [`job`] runs it: one forward pass a step for all beams, whose KV caches share
//! every block that they have in common.

pub mod allowed;
pub mod candidates;
pub mod group;
pub mod hamming;
pub mod job;
pub mod options;
pub mod result;
pub mod search;
pub mod trail;
pub mod tree;

pub use allowed::{Allowed, AllowedTokens};
pub use job::{BeamRequest, BeamSearch};
pub use options::{BeamOptions, EarlyStopping};
pub use result::{BeamResult, BeamSequence};
pub use tree::{BeamNode, BeamNodeState, BeamStep};
