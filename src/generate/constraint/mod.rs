//! Output that is forced to match: a regular expression, one of some texts, or
//! the JSON of a schema.

mod spec;

pub use spec::ConstraintSpec;
