//! A request's name: SHA-256 of its canonical JSON.

use super::canonical::canonical;
use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The key of a request in JSON. Error: `invalid-argument`, see
    /// [`canonical`].
    pub fn of(json: &str) -> Result<Self> {
        Ok(Self(Sha256::digest(canonical(json)?).into()))
    }

    /// A key in 64 lower-case hexadecimal digits. Error: `invalid-argument`.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_hex(text)
            .ok_or_else(|| Error::argument("key", "it is not 64 lower-case hexadecimal digits"))
    }

    fn from_hex(text: &str) -> Option<Self> {
        let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

fn digit(ascii: u8) -> Option<u8> {
    match ascii {
        b'0'..=b'9' => Some(ascii - b'0'),
        b'a'..=b'f' => Some(ascii - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        formatter.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("a key is no SHA-256"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        about: String,
        json: String,
        /// `None`: the text is to be refused.
        canonical: Option<String>,
        sha256: Option<String>,
    }

    #[test]
    fn keys_are_those_that_another_program_worked_out() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/cache/keys.json"
        );
        let vectors: Vec<Vector> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(vectors.len() > 40);
        for vector in vectors {
            let about = &vector.about;
            assert_eq!(canonical(&vector.json).ok(), vector.canonical, "{about}");
            let key = Key::of(&vector.json).ok().map(|key| key.to_string());
            assert_eq!(key, vector.sha256, "{about}");
        }
    }

    #[test]
    fn hexadecimal_goes_both_ways_and_nothing_else_is_a_key() {
        let text = "00ff".repeat(15) + "a5c3";
        assert_eq!(Key::parse(&text).unwrap().to_string(), text);
        let wrong = [
            &text[1..],
            &text.to_uppercase(),
            &text.replace('a', "g"),
            "",
        ];
        for wrong in wrong {
            assert_eq!(Key::parse(wrong).unwrap_err().code(), "invalid-argument");
        }
        assert!(Key::parse(&(text + "0")).is_err());
    }
}
