//! Output that is forced to match: a regular expression, one of some texts, or
//! the JSON of a schema.
//!
//! All three become one expression, that a finite automaton over bytes, and a
//! state of that the set of tokens after which a match can still be reached.
//! (B. Willard and R. Louf, "Efficient Guided Generation for Large Language
//! Models", arXiv:2307.09702; here the vocabulary is a tree that is walked
//! together with the automaton, and sets are made when a state is first come
//! to.) `docs/constraints.md` says what is supported.

mod automaton;
mod choices;
mod compiled;
mod hir;
mod json;
mod mask;
mod paths;
mod regex;
mod schema;
mod spec;

pub use choices::{MAX_CHOICES, MAX_CHOICES_BYTES};
pub use compiled::{Constraint, ConstraintProcessor};
pub use json::Json;
pub use regex::{MAX_PATTERN_BYTES, MAX_PATTERN_NESTING};
pub use spec::ConstraintSpec;
