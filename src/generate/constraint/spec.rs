//! How a caller says what the output has to be.

use super::json::Json;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the output has to be, as a whole; exactly one of the three.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum ConstraintSpec {
    /// `{ regex }`: a match of this regular expression, in the syntax of Rust's
    /// `regex` crate, from its first byte to its last.
    Regex(String),
    /// `{ choices }`: one of these texts.
    Choices(Vec<String>),
    /// `{ jsonSchema }`: JSON that fits this schema: an object, `true`, or
    /// either of them as JSON text.
    #[serde(
        serialize_with = "schema_as_text",
        deserialize_with = "schema_or_its_text"
    )]
    JsonSchema(#[cfg_attr(target_arch = "wasm32", tsify(type = "JsonValue"))] Json),
}

/// As text: whatever sorts an object's keys on its way (a cache's key, a
/// state's record) would change the order of the properties, and so the output.
fn schema_as_text<S: Serializer>(schema: &Json, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(schema)
}

fn schema_or_its_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
    match Json::deserialize(deserializer)? {
        Json::String(text) => Json::parse(&text).map_err(de::Error::custom),
        schema => Ok(schema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConstraintSpec, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn exactly_one_kind_is_given() {
        assert_eq!(
            read(r#"{"regex":"a+"}"#).unwrap(),
            ConstraintSpec::Regex("a+".into())
        );
        assert_eq!(
            read(r#"{"choices":["a","b"]}"#).unwrap(),
            ConstraintSpec::Choices(vec!["a".into(), "b".into()])
        );
        for wrong in [
            "{}",
            r#"{"regex":"a","choices":["a"]}"#,
            r#"{"regexp":"a"}"#,
            r#"{"jsonSchema":"{"}"#,
            r#"{"choices":"a"}"#,
        ] {
            read(wrong).unwrap_err();
        }
    }

    #[test]
    fn a_schema_keeps_its_order_by_way_of_sorted_json() {
        let spec = read(r#"{"jsonSchema":{"properties":{"z":{},"a":{}}}}"#).unwrap();
        let sorted = serde_json::to_value(&spec).unwrap();
        assert_eq!(sorted["jsonSchema"], r#"{"properties":{"z":{},"a":{}}}"#);
        let back: ConstraintSpec = serde_json::from_value(sorted).unwrap();
        let ConstraintSpec::JsonSchema(schema) = back else {
            panic!("{back:?}")
        };
        assert_eq!(schema.to_string(), r#"{"properties":{"z":{},"a":{}}}"#);
    }

    #[test]
    fn schemas_in_another_order_ask_for_something_else() {
        let spec = |text: &str| ConstraintSpec::JsonSchema(Json::parse(text).unwrap());
        let (one, other) = (
            r#"{"required":[],"type":"null"}"#,
            r#"{"type":"null","required":[]}"#,
        );
        assert_eq!(spec(one), spec(one));
        assert_ne!(spec(one), spec(other));
    }
}
