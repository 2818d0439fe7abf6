//! What differs between two sets of options or of metadata.

use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A JSON object: options as they were set, or metadata.
pub type JsonMap = Map<String, Value>;

/// A key whose value differs. Absent and null are both null here.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct Change {
    pub key: String,
    #[cfg_attr(target_arch = "wasm32", tsify(type = "JsonValue | bigint"))]
    pub a: Value,
    #[cfg_attr(target_arch = "wasm32", tsify(type = "JsonValue | bigint"))]
    pub b: Value,
}

/// The keys whose values differ, in ascending order. Values are compared
/// whole: a change within an object is a change of its key.
pub fn changes(a: &JsonMap, b: &JsonMap) -> Vec<Change> {
    let value = |map: &JsonMap, key: &str| exact(map.get(key).cloned().unwrap_or_default());
    keys([a, b])
        .into_iter()
        .map(|key| Change {
            key: key.to_owned(),
            a: value(a, key),
            b: value(b, key),
        })
        .filter(|change| change.a != change.b)
        .collect()
}

/// An integer that JavaScript's numbers cannot hold as a string of its digits.
fn exact(value: Value) -> Value {
    match value.as_u64() {
        Some(large) if large >= 1 << 53 => Value::String(large.to_string()),
        _ => value,
    }
}

/// The keys of all maps, each once, in ascending order.
pub(super) fn keys<'m>(maps: impl IntoIterator<Item = &'m JsonMap>) -> BTreeSet<&'m str> {
    let keys = maps.into_iter().flat_map(Map::keys);
    keys.map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compared(a: Value, b: Value) -> Value {
        let (Value::Object(a), Value::Object(b)) = (a, b) else {
            panic!("not objects");
        };
        serde_json::to_value(changes(&a, &b)).unwrap()
    }

    #[test]
    fn changed_added_and_removed_keys_are_listed_in_order() {
        assert_eq!(
            compared(
                json!({ "topK": 5, "stop": ["a"], "seed": 1 }),
                json!({ "stop": ["a", "b"], "seed": 1, "doSample": true }),
            ),
            json!([
                { "key": "doSample", "a": null, "b": true },
                { "key": "stop", "a": ["a"], "b": ["a", "b"] },
                { "key": "topK", "a": 5, "b": null },
            ])
        );
    }

    #[test]
    fn null_is_the_same_as_absent() {
        assert_eq!(compared(json!({ "a": null }), json!({})), json!([]));
    }
}
