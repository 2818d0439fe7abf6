//! How anything of a state lies in storage: sealed, with kind, version and
//! checksum.
//!
//! | bytes | |
//! |---|---|
//! | 4 | `CCHR` |
//! | 2 | version, little-endian |
//! | 1 | kind |
//! | 1 | zero |
//! | 8 | XXH3-64 of kind and content, little-endian |
//! | rest | content: JSON, or the bytes of a KV block |
//!
//! The checksum finds what went wrong by accident. Against a forger it does
//! nothing, so the content is checked like any other input.

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The version written. Version 1 had states without `pinned`, `used` and
/// `snapshot`; it is read as well.
pub const VERSION: u16 = 2;

const MAGIC: &[u8; 4] = b"CCHR";
const HEADER_BYTES: usize = 16;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    State = 1,
    Revision = 2,
    Block = 3,
    Draft = 4,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::State => "a state's record",
            Self::Revision => "a revision's record",
            Self::Block => "a KV block's record",
            Self::Draft => "a draft's record",
        }
    }
}

/// The record of `content`.
pub fn seal(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + content.len());
    record.extend_from_slice(MAGIC);
    record.extend_from_slice(&VERSION.to_le_bytes());
    record.extend_from_slice(&[kind as u8, 0]);
    record.extend_from_slice(&checksum(kind, content).to_le_bytes());
    record.extend_from_slice(content);
    record
}

/// The content of a record.
///
/// Errors: `invalid-state-file`, `unsupported-version`, `checksum-mismatch`.
pub fn unseal(kind: Kind, record: &[u8]) -> Result<&[u8]> {
    let no_record = || Error::InvalidStateFile(format!("{} is none", kind.name()));
    let (header, content) = record
        .split_at_checked(HEADER_BYTES)
        .ok_or_else(no_record)?;
    if &header[..4] != MAGIC || header[6] != kind as u8 {
        return Err(no_record());
    }
    let version = u16::from_le_bytes([header[4], header[5]]);
    if version > VERSION {
        return Err(Error::UnsupportedVersion {
            what: kind.name().into(),
            found: version.into(),
            supported: VERSION.into(),
        });
    }
    if header[8..] != checksum(kind, content).to_le_bytes() {
        return Err(Error::ChecksumMismatch(kind.name().into()));
    }
    Ok(content)
}

/// The record of `value` as JSON.
pub fn seal_json<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>> {
    Ok(seal(kind, &to_json(value)?))
}

/// What [`seal_json`] sealed. Errors: those of [`unseal`].
pub fn unseal_json<T: DeserializeOwned>(kind: Kind, record: &[u8]) -> Result<T> {
    from_json(kind.name(), unseal(kind, record)?)
}

/// `value` as JSON, always the same bytes for the same value.
pub fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Internal(error.to_string()))
}

/// A value from JSON; `what` says in an error what it was to be.
pub fn from_json<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| Error::InvalidStateFile(format!("{what}: {error}")))
}

fn checksum(kind: Kind, content: &[u8]) -> u64 {
    xxh3_64_with_seed(content, kind as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_comes_out_and_any_changed_bit_is_found() {
        let record = seal(Kind::Revision, b"content");
        assert_eq!(unseal(Kind::Revision, &record).unwrap(), b"content");
        for bit in 0..record.len() * 8 {
            if bit / 8 == 7 {
                continue; // reserved
            }
            let mut damaged = record.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // A version below ours is as good: the checksum does not cover it.
            let is_version = (4..6).contains(&(bit / 8));
            assert!(is_version || unseal(Kind::Revision, &damaged).is_err());
        }
        for len in 0..record.len() {
            assert!(unseal(Kind::Revision, &record[..len]).is_err());
        }
    }

    #[test]
    fn a_newer_version_and_another_kind_are_refused_as_such() {
        let mut record = seal(Kind::State, b"{}");
        assert_eq!(
            unseal(Kind::Draft, &record).unwrap_err().code(),
            "invalid-state-file"
        );
        record[4] = VERSION as u8 + 1;
        assert_eq!(
            unseal(Kind::State, &record).unwrap_err().code(),
            "unsupported-version"
        );
    }
}
