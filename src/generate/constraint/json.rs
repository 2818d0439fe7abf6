//! JSON whose objects keep the order of their keys.
//!
//! The order of a schema's properties is the order in which they are written,
//! and so a part of what is asked for. `serde_json::Value` sorts them.

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;
use std::fmt;

/// How deep lists and objects may nest in each other. Readers of JSON go into
/// them by recursion, and a browser's stack is small.
const MAX_DEPTH: usize = 64;
/// The most values in all, and the most bytes of text.
const MAX_VALUES: usize = 20_000;
const MAX_TEXT: usize = 1 << 18;

/// A JSON value. Objects keep the order of their keys; of a key that comes
/// twice the last value counts, at the place of the first.
///
/// Two are equal where they are written alike, order of keys included.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads JSON text of at most 64 levels, 20,000 values and 256 KiB.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The value of `key`, in an object that has it.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members
                .iter()
                .find_map(|(name, value)| (name == key).then_some(value)),
            _ => None,
        }
    }

    /// Whether the two are one value to JSON Schema: numbers by value, objects
    /// whatever their order.
    pub fn is_same_value(&self, other: &Self) -> bool {
        match (self, other) {
            (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Json::List(a), Json::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same_value(b))
            }
            (Json::Object(a), Json::Object(b)) => {
                let same = |(key, value): &(String, Json)| {
                    other
                        .get(key)
                        .is_some_and(|other| value.is_same_value(other))
                };
                a.len() == b.len() && a.iter().all(same)
            }
            _ => self == other,
        }
    }
}

/// As compact JSON.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(value) => value.serialize(serializer),
            Json::String(value) => serializer.serialize_str(value),
            Json::List(values) => serializer.collect_seq(values),
            Json::Object(members) => serializer.collect_map(members.iter().map(|(k, v)| (k, v))),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reader {
            depth: MAX_DEPTH,
            left: &mut Left {
                values: MAX_VALUES,
                text: MAX_TEXT,
            },
        }
        .deserialize(deserializer)
    }
}

/// What may still come.
struct Left {
    values: usize,
    text: usize,
}

struct Reader<'a> {
    depth: usize,
    left: &'a mut Left,
}

impl Reader<'_> {
    fn deeper<E: de::Error>(&mut self) -> Result<Reader<'_>, E> {
        Ok(Reader {
            depth: self
                .depth
                .checked_sub(1)
                .ok_or_else(|| E::custom(format_args!("more than {MAX_DEPTH} levels of JSON")))?,
            left: &mut *self.left,
        })
    }

    fn text<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        self.left.text = self
            .left
            .text
            .checked_sub(text.len())
            .ok_or_else(|| E::custom(format_args!("more than {MAX_TEXT} bytes of text")))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        self.left.values = self.left.values.checked_sub(1).ok_or_else(|| {
            de::Error::custom(format_args!("more than {MAX_VALUES} values of JSON"))
        })?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: de::Error>(mut self, value: &str) -> Result<Json, E> {
        self.text(value)?;
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self.deeper()?)? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        while let Some(key) = map.next_key::<String>()? {
            self.text(&key)?;
            let value = map.next_value_seed(self.deeper()?)?;
            match places.get(&key) {
                Some(&place) => {
                    let (_, old): &mut (String, Json) = &mut members[place];
                    *old = value;
                }
                None => {
                    places.insert(key.clone(), members.len());
                    members.push((key, value));
                }
            }
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_their_order_and_are_the_same_value_in_any() {
        let text = r#"{"b":[1,-2,0.5,true,null],"a":{"z":"é","y":{}}}"#;
        let json = Json::parse(text).unwrap();
        assert_eq!(json.to_string(), text);
        let other = Json::parse(r#"{"a":{"y":{},"z":"é"},"b":[1.0,-2,0.5,true,null]}"#).unwrap();
        assert!(json.is_same_value(&other) && json != other);
        let part = Json::parse(r#"{"a":{"y":{},"z":"é"}}"#).unwrap();
        assert!(!json.is_same_value(&part) && !part.is_same_value(&json));
    }

    #[test]
    fn a_key_that_comes_twice_has_its_last_value() {
        let json = Json::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(json.to_string(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn what_is_too_deep_or_too_much_is_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        Json::parse(&deep(MAX_DEPTH)).unwrap();
        Json::parse(&deep(MAX_DEPTH + 2)).unwrap_err();
        Json::parse(&format!("[{}0]", "0,".repeat(MAX_VALUES))).unwrap_err();
        Json::parse(&format!("[\"{}\"]", "a".repeat(MAX_TEXT + 1))).unwrap_err();
    }
}
