//! States as a file: with their histories, with or without their KV blocks.
//!
//! | bytes | of a binary file |
//! |---|---|
//! | 8 | `CACHERST` |
//! | 4 | version, little-endian, as all numbers |
//! | 4, 4 | bytes of the manifest, compressed and not |
//! | … | the manifest: JSON, as an LZ4 block |
//! | | then for each of the manifest's blocks: |
//! | 16, 4, 1 | name, bytes that follow, 1 where they are compressed |
//! | … | the block |
//! | | and at the end: |
//! | 32 | SHA-256 of all before |
//!
//! A block that could not be had has no bytes. A file in JSON is the manifest,
//! indented, without blocks, with the texts for people to read and the SHA-256 of
//! the rest.

use super::import::MAX_MANIFEST_BYTES;
use super::record::to_json;
use super::revision::{ModelRef, Revision, RevisionId};
use super::states::{StateRecord, States};
use crate::error::{Error, Result};
use crate::model::{BlockName, BlockTable};
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

/// Version of both kinds of file.
pub const VERSION: u32 = 1;
pub(super) const MAGIC: &[u8; 8] = b"CACHERST";
pub(super) const FORMAT: &str = "cacher-states";
pub(super) const HEADER_BYTES: usize = 20;
pub(super) const BLOCK_HEADER_BYTES: usize = 21;
pub(super) const HASH_BYTES: usize = 32;

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    pub version: u32,
    /// Milliseconds since 1970.
    pub created: u64,
    pub model: ModelRef,
    /// What the KV blocks depend on: only the same can use them.
    pub fingerprint: String,
    /// Hash of the vocabulary: with another, the tokens are another text.
    pub tokenizer: Option<String>,
    pub states: Vec<ExportedState>,
    /// Parents before children.
    pub revisions: Vec<Revision>,
    /// How many KV blocks follow.
    pub blocks: u32,
    /// In JSON: SHA-256 of the manifest without this, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A state in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedState {
    pub record: StateRecord,
    /// What the names of its blocks in this file begin with.
    pub root: BlockName,
    /// For people to read; not read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Manifest {
    /// The hash that a file in JSON has.
    pub(super) fn digest(&self) -> Result<String> {
        let without = Self {
            sha256: None,
            ..self.clone()
        };
        let hash = Sha256::digest(to_json(&without)?);
        Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A binary file in the making, a piece at a time.
pub struct Export {
    hash: Sha256,
    /// The blocks to come, in order.
    pub blocks: Vec<BlockName>,
}

impl States {
    /// A file in JSON. Error: `state-not-found`.
    pub fn export_json(
        &self,
        ids: &[String],
        tokenizer: Option<&Tokenizer>,
        now: u64,
    ) -> Result<Vec<u8>> {
        let mut manifest = self.manifest(ids, now)?;
        for state in &mut manifest.states {
            let tokens = &self.get(&state.record.id)?.tokens;
            state.text = tokenizer.map(|t| t.decode(tokens)).transpose()?;
        }
        manifest.sha256 = Some(manifest.digest()?);
        let json = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::Internal(error.to_string()))?;
        check_size(json.len())?;
        Ok(json)
    }

    /// Begins a binary file: its first bytes, and what is to come. With `kv`,
    /// the blocks that are in memory or in storage are part of it.
    pub fn export(
        &self,
        ids: &[String],
        kv: bool,
        blocks: &BlockTable,
        now: u64,
    ) -> Result<(Vec<u8>, Export)> {
        let mut manifest = self.manifest(ids, now)?;
        let mut names = BTreeSet::new();
        let mut heads: HashMap<BlockName, Vec<RevisionId>> = HashMap::new();
        for id in ids.iter().filter(|_| kv) {
            let state = self.get(id)?;
            let heads = heads.entry(self.root(state)).or_default();
            heads.extend(state.record.heads().cloned());
        }
        for (root, heads) in heads {
            let known =
                |name: &BlockName| blocks.get(name).is_some() || self.storage.blocks.contains(name);
            let all = self.full_blocks(root, &self.revisions.ancestry(heads))?;
            names.extend(all.into_iter().filter(known));
        }
        manifest.blocks = names.len() as u32;
        let json = to_json(&manifest)?;
        check_size(json.len())?;
        let packed = lz4_flex::block::compress(&json);
        let mut head = Vec::with_capacity(HEADER_BYTES + packed.len());
        head.extend_from_slice(MAGIC);
        for number in [VERSION, packed.len() as u32, json.len() as u32] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend_from_slice(&packed);
        let export = Export {
            hash: Sha256::new_with_prefix(&head),
            blocks: names.into_iter().collect(),
        };
        Ok((head, export))
    }

    fn manifest(&self, ids: &[String], now: u64) -> Result<Manifest> {
        let mut states = Vec::new();
        let mut heads = Vec::new();
        let unique: BTreeSet<&String> = ids.iter().collect();
        for id in unique {
            let state = self.get(id)?;
            heads.extend(state.record.heads().cloned());
            states.push(ExportedState {
                record: StateRecord {
                    kv: None,
                    ..state.record.clone()
                },
                root: self.root(state),
                text: None,
            });
        }
        let order = self.revisions.in_order(&self.revisions.ancestry(heads));
        let revisions: Result<_> = order
            .iter()
            .map(|id| Ok(self.revisions.node(id)?.revision.clone()))
            .collect();
        Ok(Manifest {
            format: FORMAT.into(),
            version: VERSION,
            created: now,
            model: self.model().clone(),
            fingerprint: self.fingerprint().to_owned(),
            tokenizer: self.tokenizer_hash().map(str::to_owned),
            states,
            revisions: revisions?,
            blocks: 0,
            sha256: None,
        })
    }
}

/// What could not be read back is not written.
fn check_size(bytes: usize) -> Result<()> {
    if bytes > MAX_MANIFEST_BYTES {
        let reason = "are too many, or have too long histories, for one file";
        return Err(Error::argument("states", reason));
    }
    Ok(())
}

impl Export {
    /// The next bytes: a block, `None` where it could not be had.
    pub fn block(&mut self, name: &BlockName, block: Option<&[u8]>) -> Vec<u8> {
        let block = block.unwrap_or_default();
        let packed = lz4_flex::block::compress(block);
        let is_packed = packed.len() < block.len();
        let content = if is_packed { &packed } else { block };
        let mut piece = Vec::with_capacity(BLOCK_HEADER_BYTES + content.len());
        piece.extend_from_slice(name.as_bytes());
        piece.extend_from_slice(&(content.len() as u32).to_le_bytes());
        piece.push(is_packed.into());
        piece.extend_from_slice(content);
        self.hash.update(&piece);
        piece
    }

    /// The last bytes.
    pub fn finish(self) -> Vec<u8> {
        self.hash.finalize().to_vec()
    }
}
