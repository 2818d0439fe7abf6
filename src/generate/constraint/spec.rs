//! How a caller says what the output has to be.

use serde::{Deserialize, Serialize};

/// What the output has to be, as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum ConstraintSpec {
    /// `{ regex }`: a match of this regular expression.
    Regex(String),
    /// `{ choices }`: one of these texts.
    Choices(Vec<String>),
    /// `{ jsonSchema }`: JSON that fits this schema.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "JsonValue"))]
    JsonSchema(serde_json::Value),
}
