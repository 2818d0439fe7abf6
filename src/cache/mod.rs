//! The response cache: answers kept, and found again.

pub mod guards;
mod numerals;
mod phrases;
pub mod semantic;
mod wording;

pub use semantic::{SemanticIndex, Similar};
