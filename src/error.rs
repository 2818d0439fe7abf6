//! One error type for the whole crate.
//!
//! Every variant has a stable string code. Codes cross into JavaScript
//! unchanged (`CacherError.code`), so programs may match on them; messages are
//! for people and may be reworded. A message names the input at fault.

use serde_json::json;

/// Everything that can go wrong. See [`Error::code`] for the stable names.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An option or argument is out of its range.
    #[error("{name}: {reason}")]
    InvalidArgument { name: String, reason: String },

    /// An option that is not allowed: unknown, of another type, or out of its
    /// range.
    #[error("{option}: is {value}, must be {range}")]
    InvalidOption {
        /// Its name, with the path to the part at fault: `badWords[2]`.
        option: String,
        /// What was given, as JSON spells it.
        value: String,
        /// What may be given, in words that follow "must be".
        range: String,
    },

    /// A token id that the model's vocabulary does not have.
    #[error("token id {id} at index {index} is outside the vocabulary of {vocab_size}")]
    InvalidToken {
        id: u32,
        index: usize,
        vocab_size: usize,
    },

    /// More positions than the model has.
    #[error("{needed} positions are needed, the model has {available}")]
    ContextOverflow { needed: usize, available: usize },

    /// Text over the length that is tokenised in one call.
    #[error("the text has {bytes} bytes, the limit is {limit}")]
    InputTooLong { bytes: usize, limit: usize },

    /// A valid file of a kind that this library does not run.
    #[error("unsupported model: {0}")]
    UnsupportedModel(String),

    /// The file does not begin as any model file does (an HTML page, say).
    #[error("not a model file: {0}")]
    NotAModelFile(String),

    /// A model file whose content contradicts itself or its config.
    #[error("invalid model file: {0}")]
    InvalidModelFile(String),

    /// The file ended before its content did.
    #[error("the model file ends after {got} bytes, {expected} are needed")]
    TruncatedFile { got: u64, expected: u64 },

    /// A tokenizer file that cannot be read or is not byte-level BPE.
    #[error("invalid tokenizer: {0}")]
    InvalidTokenizer(String),

    /// Text was given to, or asked from, a model without a tokenizer.
    #[error("this model has no tokenizer: pass token ids instead of text")]
    NoTokenizer,

    /// The tokenizer did not cover the whole input.
    #[error("tokenising stopped at byte {at} of {bytes}")]
    TokenizerGaveUp { at: usize, bytes: usize },

    /// Scores from which no token can be chosen.
    #[error("no next token can be chosen: {0}")]
    NoNextToken(String),

    /// No state has this id: it was never made, or deleted.
    #[error("there is no state {id}")]
    StateNotFound { id: String },

    /// No revision that this state comes from has this id.
    #[error("there is no revision {revision} among those of the state")]
    RevisionNotFound { revision: String },

    /// The state has no checkpoint of this name.
    #[error("the state has no checkpoint named {name:?}")]
    CheckpointNotFound { name: String },

    /// A merge that needs a decision.
    #[error("the merge has conflicts in {} places of the text and {} keys", conflicts.as_array().map_or(0, Vec::len), keys.len())]
    MergeConflict {
        /// The conflicting texts, as `MergeConflict`s.
        conflicts: serde_json::Value,
        /// The fold step they belong to.
        step: usize,
        /// Keys of config and metadata that both sides changed.
        keys: Vec<String>,
    },

    /// A file, or a record in storage, that is no state or contradicts itself.
    #[error("invalid state file: {0}")]
    InvalidStateFile(String),

    /// A record of the response cache that is damaged, foreign, or not signed.
    #[error("invalid cache record: {0}")]
    InvalidCacheRecord(String),

    /// The bytes are not those that were written.
    #[error("{0} is damaged: its checksum differs")]
    ChecksumMismatch(String),

    /// Written by a newer version of this library.
    #[error("{what} has format version {found}; up to {supported} is supported")]
    UnsupportedVersion {
        what: String,
        found: u32,
        supported: u32,
    },

    /// An allocation that cannot be met.
    #[error("out of memory: {needed} bytes are needed {purpose}")]
    OutOfMemory { needed: u64, purpose: String },

    /// A fault in this library. Please report it.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The stable code of this error, the same in Rust and TypeScript.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidArgument { .. } => "invalid-argument",
            Self::InvalidOption { .. } => "invalid-option",
            Self::InvalidToken { .. } => "invalid-token",
            Self::ContextOverflow { .. } => "context-overflow",
            Self::InputTooLong { .. } => "input-too-long",
            Self::UnsupportedModel(_) => "unsupported-model",
            Self::NotAModelFile(_) => "not-a-model-file",
            Self::InvalidModelFile(_) => "invalid-model-file",
            Self::TruncatedFile { .. } => "truncated-file",
            Self::InvalidTokenizer(_) => "invalid-tokenizer",
            Self::NoTokenizer => "no-tokenizer",
            Self::TokenizerGaveUp { .. } => "tokenizer-gave-up",
            Self::NoNextToken(_) => "no-next-token",
            Self::StateNotFound { .. } => "state-not-found",
            Self::RevisionNotFound { .. } => "revision-not-found",
            Self::CheckpointNotFound { .. } => "checkpoint-not-found",
            Self::MergeConflict { .. } => "merge-conflict",
            Self::InvalidStateFile(_) => "invalid-state-file",
            Self::InvalidCacheRecord(_) => "invalid-cache-record",
            Self::ChecksumMismatch(_) => "checksum-mismatch",
            Self::UnsupportedVersion { .. } => "unsupported-version",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::Internal(_) => "internal",
        }
    }

    /// The error's data, by JavaScript's spelling of the names.
    pub fn details(&self) -> serde_json::Value {
        match self {
            Self::InvalidArgument { name, .. } => json!({ "name": name }),
            Self::InvalidOption {
                option,
                value,
                range,
            } => json!({ "option": option, "value": value, "range": range }),
            Self::InvalidToken {
                id,
                index,
                vocab_size,
            } => json!({ "id": id, "index": index, "vocabSize": vocab_size }),
            Self::ContextOverflow { needed, available } => {
                json!({ "needed": needed, "available": available })
            }
            Self::InputTooLong { bytes, limit } => json!({ "bytes": bytes, "limit": limit }),
            Self::TruncatedFile { got, expected } => json!({ "got": got, "expected": expected }),
            Self::TokenizerGaveUp { at, bytes } => json!({ "at": at, "bytes": bytes }),
            Self::StateNotFound { id } => json!({ "id": id }),
            Self::RevisionNotFound { revision } => json!({ "revision": revision }),
            Self::CheckpointNotFound { name } => json!({ "name": name }),
            Self::MergeConflict {
                conflicts,
                step,
                keys,
            } => json!({ "conflicts": conflicts, "step": step, "keys": keys }),
            Self::UnsupportedVersion {
                found, supported, ..
            } => json!({ "found": found, "supported": supported }),
            Self::OutOfMemory { needed, .. } => json!({ "needed": needed }),
            _ => json!({}),
        }
    }

    /// [`Error::InvalidOption`] for `option`; `range` follows "must be".
    pub fn option(
        option: impl Into<String>,
        value: impl std::fmt::Display,
        range: impl Into<String>,
    ) -> Self {
        Self::InvalidOption {
            option: option.into(),
            value: value.to_string(),
            range: range.into(),
        }
    }

    /// [`Error::InvalidArgument`] for the argument `name`.
    pub fn argument(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidArgument {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

impl From<candle_core::Error> for Error {
    /// Inputs are checked before Candle sees them, so what it reports is ours.
    fn from(error: candle_core::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
