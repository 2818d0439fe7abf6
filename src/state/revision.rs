//! Revisions: what a state was at a moment, for ever.
//!
//! A revision says how it differs from its first parent: how many of the
//! parent's tokens it keeps and which it adds, and its attributes where they
//! changed. Its id is a hash of all of it, as a commit's is in git. So an id
//! proves its content, history included; equal histories are stored once; and a
//! forged or damaged one cannot enter under a known id.

use super::record;
use crate::error::{Error, Result};
use crate::generate::options::{unknown_option, unreadable_option};
use crate::generate::rng::RngState;
use crate::generate::{FinishReason, GenerateOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest name of a state, checkpoint or tag, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;
/// Most tags of a state.
pub const MAX_TAGS: usize = 64;
/// Most bytes that a state's metadata has as JSON.
pub const MAX_METADATA_BYTES: usize = 64 << 10;
/// Most parents of a merge.
pub const MAX_PARENTS: usize = 64;

/// Id of a revision: the first 16 bytes of the SHA-256 of its JSON, in
/// hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionId(String);

impl RevisionId {
    /// The id of the revision whose JSON this is.
    pub fn of(json: &[u8]) -> Self {
        let hash = Sha256::digest(json);
        Self(hash[..16].iter().map(|b| format!("{b:02x}")).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RevisionId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What made a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Operation {
    Create,
    /// Text was added.
    Append,
    /// The model wrote.
    #[serde(rename_all = "camelCase")]
    Generate {
        finish_reason: FinishReason,
    },
    /// Only the first tokens were kept.
    Truncate,
    /// Config, name, tags or metadata were changed, or the seed.
    Update,
    /// All is again as in `target`. The first parent is what it was before.
    Rollback {
        target: RevisionId,
    },
    Merge {
        strategy: String,
    },
    /// The history was lost or left behind; this is what the text was.
    Import,
    /// A generation that was cut off, with what had been kept of it.
    Recover,
}

impl Operation {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Append => "append",
            Self::Generate { .. } => "generate",
            Self::Truncate => "truncate",
            Self::Update => "update",
            Self::Rollback { .. } => "rollback",
            Self::Merge { .. } => "merge",
            Self::Import => "import",
            Self::Recover => "recover",
        }
    }
}

/// What a state has beside its text.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    pub name: Option<String>,
    pub tags: Vec<String>,
    pub metadata: Map<String, Value>,
    /// Generation options as they were given; `seed` always.
    pub config: Map<String, Value>,
}

impl Attributes {
    /// Checks every limit and every option. Error: `invalid-argument`.
    pub fn validate(&self, vocab_size: usize) -> Result<()> {
        for name in self.name.iter().chain(&self.tags) {
            check_name("name", name)?;
        }
        if self.tags.len() > MAX_TAGS {
            return Err(Error::argument("tags", "must be at most 64"));
        }
        if record::to_json(&self.metadata)?.len() > MAX_METADATA_BYTES {
            return Err(Error::argument(
                "metadata",
                "must be at most 64 KiB as JSON",
            ));
        }
        self.options(&Map::new(), vocab_size).map(drop)
    }

    /// The config with `changes` over it, as options. Error: `invalid-option`.
    pub fn options(
        &self,
        changes: &Map<String, Value>,
        vocab_size: usize,
    ) -> Result<GenerateOptions> {
        let mut options = self.config.clone();
        options.extend(changes.clone());
        let known = GenerateOptions::names();
        if let Some(name) = options.keys().find(|name| !known.contains(name)) {
            return Err(unknown_option(name));
        }
        // One by one, so that the error can name the option.
        for (name, value) in &options {
            let one = Map::from_iter([(name.clone(), value.clone())]);
            serde_json::from_value::<GenerateOptions>(Value::Object(one))
                .map_err(|error| unreadable_option(name, &error.to_string()))?;
        }
        let options: GenerateOptions = serde_json::from_value(Value::Object(options))
            .map_err(|error| Error::argument("config", error.to_string()))?;
        options.validate(vocab_size)?;
        Ok(options)
    }

    /// The seed of the config.
    pub fn seed(&self) -> u64 {
        self.config.get("seed").and_then(Value::as_u64).unwrap_or(0)
    }
}

/// Refuses a name that is empty, too long, or no single line.
pub fn check_name(argument: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let reason = format!("must have 1 to {MAX_NAME_BYTES} bytes");
        return Err(Error::argument(argument, reason));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::argument(
            argument,
            "must not have control characters",
        ));
    }
    Ok(())
}

/// Which model a text was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    /// SHA-256 of the weights file, hexadecimal.
    pub sha256: String,
    pub dtype: String,
}

/// A moment of a state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// What it came from: none for the first, several for a merge.
    pub parents: Vec<RevisionId>,
    pub operation: Operation,
    /// How many of the first parent's tokens it begins with.
    pub keep: u32,
    /// Tokens after those.
    pub appended: Vec<u32>,
    /// `None`: the first parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
    /// The random numbers of the next generation.
    pub rng: RngState,
    pub model: ModelRef,
    /// Milliseconds since 1970.
    pub created: u64,
    pub duration_ms: u32,
}

impl Revision {
    /// What it is made of: its parents, and the target it went back to.
    pub fn sources(&self) -> impl Iterator<Item = &RevisionId> {
        let target = match &self.operation {
            Operation::Rollback { target } => Some(target),
            _ => None,
        };
        self.parents.iter().chain(target)
    }

    /// Its JSON, of which the id is the hash.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        record::to_json(self)
    }
}
