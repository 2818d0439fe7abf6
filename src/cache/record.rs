//! An entry as bytes, for whatever layer keeps it: sealed, and checked when it
//! comes back.
//!
//! | bytes | |
//! |---|---|
//! | 4 | `CCHA` |
//! | 4 | version, little-endian, as all numbers |
//! | 4, 4 | bytes of the header, floats of the vector |
//! | … | header: JSON |
//! | … | vector of the prompt, for semantic lookup |
//! | … | value, compressed (an LZ4 block) where the header says so |
//! | 16 | XXH3-128 of all before |
//!
//! The checksum finds accidents, and a fast hash of this width finds them as well
//! as SHA-256 at a fraction of its time, which every record pays twice. Against a
//! forger there is [`signature`](super::signature); what is inside is checked
//! either way.

use super::entry::{EntryView, Facts, Semantic, Use};
use super::key::Key;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use xxhash_rust::xxh3::xxh3_128;

const MAGIC: &[u8; 4] = b"CCHA";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 16;
const HASH_BYTES: usize = 16;
const MAX_HEADER_BYTES: usize = 64 << 10;
const MAX_VALUE_BYTES: usize = 64 << 20;
const MAX_FLOATS: usize = 8_192;

/// What was computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// JSON; only its caller can say whether it is what it should be.
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl Value<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ValueKind {
    Text,
    Bytes,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    facts: Facts,
    value: ValueKind,
    /// Of the value, before compression.
    value_bytes: usize,
    compressed: bool,
    /// There where a vector is.
    semantic: Option<Semantic>,
}

/// A record, and what its header says.
#[derive(Debug, PartialEq)]
pub struct Record {
    bytes: Vec<u8>,
    header: Header,
    /// Where the vector and the value begin.
    vector_at: usize,
    value_at: usize,
}

impl Record {
    /// Compresses values of at least `compress_over` bytes where that makes them
    /// smaller; 0: none. Error: `invalid-argument`, over the limits.
    pub fn seal(
        facts: Facts,
        value: &Value,
        semantic: Option<(Semantic, &[f32])>,
        compress_over: u64,
    ) -> Result<Self> {
        let raw = value.bytes();
        if raw.len() > MAX_VALUE_BYTES {
            let reason = format!("it has {} bytes, the limit is {MAX_VALUE_BYTES}", raw.len());
            return Err(Error::argument("value", reason));
        }
        let (semantic, vector) = semantic.unzip();
        let vector = vector.unwrap_or_default();
        if semantic.is_some() && !is_vector(vector) {
            let reason = format!("it must have 1 to {MAX_FLOATS} finite numbers");
            return Err(Error::argument("vector", reason));
        }
        let compress = compress_over > 0 && raw.len() as u64 >= compress_over;
        let packed = compress
            .then(|| lz4_flex::block::compress(raw))
            .filter(|packed| packed.len() < raw.len());
        let header = Header {
            facts,
            value: match value {
                Value::Text(_) => ValueKind::Text,
                Value::Bytes(_) => ValueKind::Bytes,
            },
            value_bytes: raw.len(),
            compressed: packed.is_some(),
            semantic,
        };
        let json =
            serde_json::to_vec(&header).map_err(|error| Error::Internal(error.to_string()))?;
        if json.len() > MAX_HEADER_BYTES {
            let reason = format!("what is known of it takes more than {MAX_HEADER_BYTES} bytes");
            return Err(Error::argument("entry", reason));
        }
        let payload = packed.as_deref().unwrap_or(raw);
        let vector_at = HEAD_BYTES + json.len();
        let value_at = vector_at + vector.len() * 4;
        let mut bytes = Vec::with_capacity(value_at + payload.len() + HASH_BYTES);
        bytes.extend_from_slice(MAGIC);
        for number in [VERSION, json.len() as u32, vector.len() as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&json);
        bytes.extend(vector.iter().flat_map(|float| float.to_le_bytes()));
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&xxh3_128(&bytes).to_le_bytes());
        Ok(Self {
            bytes,
            header,
            vector_at,
            value_at,
        })
    }

    /// Checks all of a record, whoever made it. Error: `invalid-cache-record`.
    pub fn open(bytes: Vec<u8>) -> Result<Self> {
        let most = HEAD_BYTES + MAX_HEADER_BYTES + 4 * MAX_FLOATS + MAX_VALUE_BYTES + HASH_BYTES;
        if bytes.len() > most || bytes.len() < HEAD_BYTES + HASH_BYTES {
            return Err(invalid("it is too short or too long"));
        }
        let (content, hash) = bytes.split_at(bytes.len() - HASH_BYTES);
        let number = |at: usize| {
            let four = [
                content[at],
                content[at + 1],
                content[at + 2],
                content[at + 3],
            ];
            u32::from_le_bytes(four)
        };
        if &content[..4] != MAGIC {
            return Err(invalid("it is none"));
        }
        if number(4) != VERSION {
            return Err(invalid("it is of another version"));
        }
        if hash != xxh3_128(content).to_le_bytes() {
            return Err(invalid("it is damaged"));
        }
        let (header_bytes, floats) = (number(8) as usize, number(12) as usize);
        if header_bytes > MAX_HEADER_BYTES || floats > MAX_FLOATS {
            return Err(invalid("its header or its vector is too long"));
        }
        let vector_at = HEAD_BYTES + header_bytes;
        let value_at = vector_at + floats * 4;
        if value_at > content.len() {
            return Err(invalid("it ends too early"));
        }
        let header: Header = serde_json::from_slice(&content[HEAD_BYTES..vector_at])
            .map_err(|error| invalid(&error.to_string()))?;
        header.facts.check().map_err(|reason| invalid(&reason))?;
        let record = Self {
            vector_at,
            value_at,
            header,
            bytes,
        };
        record.check_value()?;
        record.check_vector()?;
        Ok(record)
    }

    fn check_value(&self) -> Result<()> {
        let (stored, raw) = (self.payload().len(), self.header.value_bytes);
        let right = match self.header.compressed {
            true => raw <= MAX_VALUE_BYTES && stored < raw,
            false => stored == raw,
        };
        if !right {
            return Err(invalid("its value has another size than it says"));
        }
        self.value().map(drop)
    }

    fn check_vector(&self) -> Result<()> {
        let right = match self.header.semantic {
            Some(_) => is_vector(&self.floats()),
            None => self.vector_at == self.value_at,
        };
        right
            .then_some(())
            .ok_or_else(|| invalid("its vector is none"))
    }

    pub fn facts(&self) -> &Facts {
        &self.header.facts
    }

    pub fn key(&self) -> Key {
        self.header.facts.key
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How long it would be with its value as it was.
    pub fn raw_bytes(&self) -> u64 {
        (self.bytes.len() - self.payload().len() + self.header.value_bytes) as u64
    }

    /// What makes it findable by meaning, if anything does.
    pub fn semantic(&self) -> Option<(&Semantic, Vec<f32>)> {
        let semantic = self.header.semantic.as_ref()?;
        Some((semantic, self.floats()))
    }

    /// The value, decompressed.
    pub fn value(&self) -> Result<Value<'_>> {
        let bytes = match self.header.compressed {
            true => Cow::Owned(decompress(self.payload(), self.header.value_bytes)?),
            false => Cow::Borrowed(self.payload()),
        };
        Ok(match self.header.value {
            ValueKind::Bytes => Value::Bytes(bytes),
            ValueKind::Text => Value::Text(match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(no_text)?),
                Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(no_text)?),
            }),
        })
    }

    /// As callers see it.
    pub fn view<'a>(&'a self, used: Use, pinned: bool, layers: &'a [&'a str]) -> EntryView<'a> {
        EntryView {
            facts: self.facts(),
            last_used: used.last_used,
            hits: used.hits,
            bytes: self.bytes.len() as u64,
            raw_bytes: self.raw_bytes(),
            pinned,
            layers,
        }
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[self.value_at..self.bytes.len() - HASH_BYTES]
    }

    fn floats(&self) -> Vec<f32> {
        self.bytes[self.vector_at..self.value_at]
            .chunks_exact(4)
            .map(|float| f32::from_le_bytes([float[0], float[1], float[2], float[3]]))
            .collect()
    }
}

fn is_vector(floats: &[f32]) -> bool {
    (1..=MAX_FLOATS).contains(&floats.len()) && floats.iter().all(|float| float.is_finite())
}

/// Decompresses to exactly `len` bytes, which the caller has limited.
fn decompress(packed: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let refused = |_| Error::OutOfMemory {
        needed: len as u64,
        purpose: "to decompress a cached value".into(),
    };
    content.try_reserve_exact(len).map_err(refused)?;
    content.resize(len, 0);
    match lz4_flex::block::decompress_into(packed, &mut content) {
        Ok(got) if got == len => Ok(content),
        _ => Err(invalid("its value cannot be decompressed")),
    }
}

fn no_text<E>(_: E) -> Error {
    invalid("its value is no text")
}

pub(super) fn invalid(reason: &str) -> Error {
    Error::InvalidCacheRecord(reason.into())
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
