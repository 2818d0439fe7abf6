//! The one spelling of a JSON text, by RFC 8785.
//!
//! Two requests are the same where this is the same, so nothing that differs may
//! be spelled alike. A parser that keeps the last of two equal names, or rounds
//! a long integer to a double, would do that: both are refused here.

use crate::error::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Most bytes of a text.
pub const MAX_BYTES: usize = 1 << 20;
/// Most arrays and objects within each other.
pub const MAX_DEPTH: usize = 64;

/// 2^53 - 1: from here on several integers are one double.
const MAX_INTEGER: f64 = 9_007_199_254_740_991.0;
/// From here on a double is spelled with an exponent.
const EXPONENT_FROM: f64 = 1e21;

/// The canonical spelling of `json`.
///
/// Error: `invalid-argument`, where it is no JSON, has a name twice in an object,
/// an integer beyond ±(2^53 - 1), half of a surrogate pair, or is too large or
/// too deep.
pub fn canonical(json: &str) -> Result<String> {
    if json.len() > MAX_BYTES {
        let reason = format!("it has {} bytes, the limit is {MAX_BYTES}", json.len());
        return Err(Error::argument("request", reason));
    }
    let mut parser = serde_json::Deserializer::from_str(json);
    let value = Strict { depth: 0 }
        .deserialize(&mut parser)
        .and_then(|value| parser.end().map(|()| value))
        .map_err(|error| Error::argument("request", error.to_string()))?;
    serde_json_canonicalizer::to_string(&value).map_err(|error| Error::Internal(error.to_string()))
}

/// Reads a value that has one meaning only.
struct Strict {
    /// How many arrays and objects it is in.
    depth: usize,
}

impl Strict {
    fn inner<E: serde::de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(E::custom(format!("it is nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    /// Decided by the double, so that equal numbers fare equally in any
    /// spelling. Those from 1e21 on are doubles by their spelling, not somebody's
    /// identifier.
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        if value.abs() > MAX_INTEGER && value.abs() < EXPONENT_FROM {
            let reason = "an integer beyond 2^53 - 1 must be passed as a string";
            return Err(E::custom(reason));
        }
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number is not finite"))?;
        Ok(Value::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self.inner()?)?;
            if object.contains_key(&name) {
                let reason = format!("{name:?} is twice in one object");
                return Err(serde::de::Error::custom(reason));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn depth_and_size_are_limited() {
        assert!(canonical(&nested(MAX_DEPTH)).is_ok());
        assert!(canonical(&nested(MAX_DEPTH + 1)).is_err());
        let text = |len: usize| format!("\"{}\"", "a".repeat(len - 2));
        assert!(canonical(&text(MAX_BYTES)).is_ok());
        assert!(canonical(&text(MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn a_long_integer_is_told_to_be_a_string() {
        let error = canonical("{\"id\": 9007199254740993}").unwrap_err();
        assert_eq!(error.code(), "invalid-argument");
        assert!(error.to_string().contains("must be passed as a string"));
        assert_eq!(canonical("9007199254740991").unwrap(), "9007199254740991");
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (-1e15..1e15).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same with the members of every object in the other order, and spaces.
    fn backwards(value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let members: Vec<String> = members
                    .iter()
                    .rev()
                    .map(|(name, value)| {
                        format!("{} : {}", Value::from(&name[..]), backwards(value))
                    })
                    .collect();
                format!("{{ {} }}", members.join(" , "))
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(backwards).collect();
                format!("[\n{} ]", items.join(","))
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn the_spelling_keeps_the_meaning_and_is_the_only_one(value in values()) {
            let text = canonical(&value.to_string()).unwrap();
            prop_assert_eq!(&canonical(&text).unwrap(), &text);
            prop_assert_eq!(&canonical(&backwards(&value)).unwrap(), &text);
            let back: Value = serde_json::from_str(&text).unwrap();
            let again = canonical(&back.to_string()).unwrap();
            prop_assert_eq!(again, text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:0-9eE.\\-a-f\\\\u ]{0,40}") {
            let _ = canonical(&text);
        }
    }
}
