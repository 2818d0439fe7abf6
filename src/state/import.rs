//! States from a file, which is hostile until checked.
//!
//! Sizes are checked before anything is allocated, every token, option and name
//! as if a caller had given it, and ids by hashing what they name. Nothing is
//! taken in before all is checked, the hash at the end included: so a binary
//! file is read twice, first to check it and then to take its blocks, and its
//! states come last.
//!
//! KV blocks cannot be checked without computing them anew. Those of a file get
//! names of their own, so that a forged one can spoil the file's own states and
//! no other.

use super::export::{
    BLOCK_HEADER_BYTES, ExportedState, FORMAT, HASH_BYTES, HEADER_BYTES, MAGIC, Manifest, VERSION,
};
use super::record::from_json;
use super::revision::check_name;
use super::revisions::Revisions;
use super::states::{KvRoot, MAX_CHECKPOINTS, StateRecord, States, fresh_id};
use crate::error::{Error, Result};
use crate::model::kv::BLOCK_TOKENS;
use crate::model::{BlockName, BlockTable, KvCache};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Largest manifest, as JSON.
pub const MAX_MANIFEST_BYTES: usize = 256 << 20;
/// LZ4 cannot do better than this.
const MAX_RATIO: usize = 255;
/// Most states in a file.
pub const MAX_STATES: usize = 100_000;
/// Largest block of any model: 32 positions of 64 layers of 8192 numbers in
/// f32, keys and values.
const MAX_BLOCK_BYTES: usize = 32 * 64 * 8192 * 4 * 2;

/// A file's block by its name in the file: where it belongs here.
struct Place {
    parent: BlockName,
    depth: usize,
    tokens: Vec<u32>,
}

/// A binary file being read, in pieces of any size.
pub struct Import {
    hash: Sha256,
    /// Bytes that are no whole part yet; the last [`HASH_BYTES`] may be the end.
    pending: Vec<u8>,
    manifest: Option<Manifest>,
    blocks_read: u32,
    /// Second reading: where blocks belong, by their names in the file.
    places: HashMap<BlockName, Place>,
    origin: Option<BlockName>,
}

impl Import {
    /// A first reading, which takes nothing in.
    pub fn check() -> Self {
        Self {
            hash: Sha256::new(),
            pending: Vec::new(),
            manifest: None,
            blocks_read: 0,
            places: HashMap::new(),
            origin: None,
        }
    }

    /// The reading that takes blocks in, of a file whose first reading ended
    /// with `origin`.
    pub fn take(origin: BlockName) -> Self {
        Self {
            origin: Some(origin),
            ..Self::check()
        }
    }

    /// Takes the next bytes. Errors: `invalid-state-file`,
    /// `unsupported-version`, `invalid-argument`, `invalid-token`.
    pub fn push(
        &mut self,
        bytes: &[u8],
        states: &States,
        empty: &KvCache,
        vocab_size: usize,
        blocks: &mut BlockTable,
    ) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.manifest.is_none() {
            let Some((manifest, used)) = read_manifest(&self.pending)? else {
                return Ok(());
            };
            states.check_manifest(&manifest, vocab_size)?;
            if let (Some(origin), true) =
                (self.origin, manifest.fingerprint == states.fingerprint())
            {
                self.places = places(&manifest, states.imported_root(origin))?;
            }
            self.manifest = Some(manifest);
            self.consume(used);
        }
        let total = self.manifest.as_ref().map_or(0, |manifest| manifest.blocks);
        while self.blocks_read < total {
            let Some((header, rest)) = self.pending.split_at_checked(BLOCK_HEADER_BYTES) else {
                return Ok(());
            };
            let len = u32::from_le_bytes([header[16], header[17], header[18], header[19]]);
            let len = len as usize;
            if len > MAX_BLOCK_BYTES || header[20] > 1 {
                return Err(invalid("a block has an impossible size"));
            }
            let Some(content) = rest.get(..len) else {
                return Ok(());
            };
            let name = BlockName::from_slice(&header[..16]);
            if let (Some(place), false) = (self.places.remove(&name), content.is_empty()) {
                let raw;
                let content = if header[20] == 1 {
                    raw = lz4_flex::block::decompress(content, empty.block_bytes())
                        .map_err(|_| invalid("a block cannot be decompressed"))?;
                    &raw
                } else {
                    content
                };
                let block = empty.block_from(content)?;
                blocks.add(place.parent, place.depth, &place.tokens, block);
            }
            self.blocks_read += 1;
            self.consume(BLOCK_HEADER_BYTES + len);
        }
        if self.pending.len() > HASH_BYTES {
            return Err(invalid("there are bytes after its end"));
        }
        Ok(())
    }

    /// Hashes and drops what has been read.
    fn consume(&mut self, count: usize) {
        self.hash.update(&self.pending[..count]);
        self.pending.drain(..count);
    }

    /// The manifest and the file's name for its blocks, once every byte has
    /// come.
    ///
    /// Errors: `invalid-state-file` where bytes are missing,
    /// `checksum-mismatch`.
    pub fn finish(self) -> Result<(Manifest, BlockName)> {
        let Some(manifest) = self.manifest else {
            return Err(invalid("it ends before its content does"));
        };
        if self.blocks_read < manifest.blocks || self.pending.len() < HASH_BYTES {
            return Err(invalid("it ends before its content does"));
        }
        let hash = self.hash.finalize();
        if hash[..] != self.pending[..] {
            return Err(Error::ChecksumMismatch("the state file".into()));
        }
        let origin = BlockName::from_slice(&hash[..16]);
        if self.origin.is_some_and(|expected| expected != origin) {
            return Err(invalid("it changed while it was read"));
        }
        Ok((manifest, origin))
    }
}

/// The manifest at the beginning of a binary file, and its length there; `None`
/// where more bytes are needed.
fn read_manifest(bytes: &[u8]) -> Result<Option<(Manifest, usize)>> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Err(invalid("it does not begin as one"));
    }
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return Ok(None);
    };
    let number = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
    };
    let (version, packed_len, len) = (number(8), number(12), number(16));
    check_version(version as u32)?;
    let possible = len <= MAX_MANIFEST_BYTES
        && packed_len <= MAX_MANIFEST_BYTES
        && len <= packed_len.saturating_mul(MAX_RATIO);
    if !possible {
        return Err(invalid("its manifest has an impossible size"));
    }
    let end = HEADER_BYTES + packed_len;
    let Some(packed) = bytes.get(HEADER_BYTES..end) else {
        return Ok(None);
    };
    let json = lz4_flex::block::decompress(packed, len)
        .map_err(|_| invalid("its manifest cannot be decompressed"))?;
    Ok(Some((from_json("its manifest", &json)?, end)))
}

/// A file in JSON. Errors: `invalid-state-file`, `unsupported-version`,
/// `checksum-mismatch`.
pub fn read_json(bytes: &[u8]) -> Result<(Manifest, BlockName)> {
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(invalid("it is too large"));
    }
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = from_json("the file", bytes)?;
    check_version(version)?;
    let manifest: Manifest = from_json("the file", bytes)?;
    if manifest.sha256.as_ref() != Some(&manifest.digest()?) {
        return Err(Error::ChecksumMismatch("the state file".into()));
    }
    let hash = Sha256::digest(bytes);
    Ok((manifest, BlockName::from_slice(&hash[..16])))
}

fn check_version(version: u32) -> Result<()> {
    if version > VERSION {
        return Err(Error::UnsupportedVersion {
            what: "the state file".into(),
            found: version,
            supported: VERSION,
        });
    }
    if version == 0 {
        return Err(invalid("it has no version"));
    }
    Ok(())
}

fn invalid(what: &str) -> Error {
    Error::InvalidStateFile(what.into())
}

/// Where each block of the file belongs under `root`.
fn places(manifest: &Manifest, root: BlockName) -> Result<HashMap<BlockName, Place>> {
    let mut revisions = Revisions::default();
    for revision in &manifest.revisions {
        revisions.insert(revision.clone(), false)?;
    }
    let mut places = HashMap::new();
    for ExportedState {
        record, root: own, ..
    } in &manifest.states
    {
        let checkpoints = record.checkpoints.iter().map(|c| c.revision.clone());
        for id in revisions.ancestry(checkpoints.chain([record.head.clone()])) {
            let (mut name, mut parent) = (*own, root);
            let tokens = revisions.tokens(&id)?;
            for (depth, tokens) in tokens.chunks_exact(BLOCK_TOKENS).enumerate() {
                name = name.child(tokens);
                places.entry(name).or_insert_with(|| Place {
                    parent,
                    depth,
                    tokens: tokens.to_vec(),
                });
                parent = parent.child(tokens);
            }
        }
    }
    Ok(places)
}

impl States {
    /// What names of blocks from a file begin with.
    fn imported_root(&self, origin: BlockName) -> BlockName {
        BlockName::root(&[self.fingerprint(), &origin.to_string()])
    }

    /// Checks all that a manifest says.
    ///
    /// Errors: `invalid-state-file`, `invalid-token`, `invalid-argument`.
    pub fn check_manifest(&self, manifest: &Manifest, vocab_size: usize) -> Result<()> {
        if manifest.format != FORMAT {
            return Err(invalid("it is of another format"));
        }
        if let (Some(theirs), Some(ours)) = (&manifest.tokenizer, self.tokenizer_hash())
            && theirs != ours
        {
            return Err(invalid(
                "it was made with another tokenizer, so its tokens are another text here",
            ));
        }
        if manifest.states.len() > MAX_STATES {
            return Err(invalid("it has too many states"));
        }
        let mut revisions = Revisions::default();
        for revision in &manifest.revisions {
            crate::model::forward::check_tokens(&revision.appended, vocab_size)?;
            if let Some(attributes) = &revision.attributes {
                attributes.validate(vocab_size)?;
            }
            revisions.insert(revision.clone(), false)?;
        }
        let mut ids = HashSet::new();
        for ExportedState { record, .. } in &manifest.states {
            check_record(record, &revisions)?;
            if !ids.insert(&record.id) {
                return Err(invalid("two of its states have one id"));
            }
        }
        Ok(())
    }

    /// Takes the states of a checked manifest in. An id that is taken becomes
    /// another. The ids, in the manifest's order.
    pub fn import(
        &mut self,
        manifest: Manifest,
        origin: BlockName,
        persist: bool,
        vocab_size: usize,
        now: u64,
    ) -> Result<Vec<String>> {
        self.check_manifest(&manifest, vocab_size)?;
        for revision in manifest.revisions {
            self.revisions.insert(revision, false)?;
        }
        let mut ids = Vec::new();
        for ExportedState { mut record, .. } in manifest.states {
            if self.states.contains_key(&record.id) {
                record.id = fresh_id()?;
            }
            record.used = now;
            record.snapshot = None;
            record.kv = Some(KvRoot {
                model: self.fingerprint().to_owned(),
                root: self.imported_root(origin),
            });
            ids.push(record.id.clone());
            self.put_state(record, persist)?;
        }
        Ok(ids)
    }
}

fn check_record(record: &StateRecord, revisions: &Revisions) -> Result<()> {
    let is_id = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if record.id.is_empty() || record.id.len() > 64 || !record.id.bytes().all(is_id) {
        return Err(invalid("a state has an impossible id"));
    }
    if record.checkpoints.len() > MAX_CHECKPOINTS {
        return Err(invalid("a state has too many checkpoints"));
    }
    let checkpoints = record.checkpoints.iter();
    let mut known = checkpoints.map(|c| &c.revision).chain([&record.head]);
    if known.any(|id| revisions.get(id).is_none()) {
        return Err(invalid("a state stands at a revision that is not in it"));
    }
    for checkpoint in &record.checkpoints {
        check_name("name", &checkpoint.name)?;
    }
    Ok(())
}
