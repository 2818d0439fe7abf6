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
use super::revision::{RevisionId, check_name};
use super::revisions::Revisions;
use super::states::{KvRoot, MAX_CHECKPOINTS, StateRecord, States, fresh_id};
use crate::error::{Error, Result};
use crate::model::{BlockName, BlockTable, KvCache};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Largest manifest, as JSON. What it holds takes up to 16 times that in memory.
pub const MAX_MANIFEST_BYTES: usize = 64 << 20;
/// LZ4 cannot do better than this.
const MAX_RATIO: usize = 255;
/// Most states in a file.
pub const MAX_STATES: usize = 100_000;
/// Most tokens that a file's states have together. Histories share theirs, so a
/// small file could name any number.
pub const MAX_TOTAL_TOKENS: usize = 32 << 20;
/// Most imported files that a file's states may have come from themselves.
const MAX_ROOTS: usize = 1000;
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
        let mut read = 0;
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
            read = used;
        }
        let total = self.manifest.as_ref().map_or(0, |manifest| manifest.blocks);
        // Blocks of another model are passed over.
        let fingerprint = self.manifest.as_ref().map(|m| &m.fingerprint[..]);
        let most = match fingerprint == Some(states.fingerprint()) {
            true => empty.block_bytes(),
            false => MAX_BLOCK_BYTES,
        };
        while self.blocks_read < total {
            let unread = &self.pending[read..];
            let Some((header, rest)) = unread.split_at_checked(BLOCK_HEADER_BYTES) else {
                break;
            };
            let len = u32::from_le_bytes([header[16], header[17], header[18], header[19]]);
            let len = len as usize;
            if len > most || header[20] > 1 {
                return Err(invalid("a block has an impossible size"));
            }
            let Some(content) = rest.get(..len) else {
                break;
            };
            if !content.is_empty() && fingerprint == Some(states.fingerprint()) {
                let raw;
                let content = if header[20] == 1 {
                    raw = decompress(content, empty.block_bytes(), "a block")?;
                    &raw
                } else {
                    content
                };
                let block = empty.block_from(content)?;
                let name = BlockName::from_slice(&header[..16]);
                if let Some(place) = self.places.remove(&name) {
                    blocks.add(place.parent, place.depth, &place.tokens, block);
                }
            }
            self.blocks_read += 1;
            read += BLOCK_HEADER_BYTES + len;
        }
        self.hash.update(&self.pending[..read]);
        self.pending.drain(..read);
        if self.blocks_read == total && self.pending.len() > HASH_BYTES {
            return Err(invalid("there are bytes after its end"));
        }
        Ok(())
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
    let json = decompress(packed, len, "its manifest")?;
    if json.len() != len {
        return Err(invalid("its manifest has another size than it says"));
    }
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

/// Decompresses to at most `most` bytes.
fn decompress(packed: &[u8], most: usize, what: &str) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let refused = |_| Error::OutOfMemory {
        needed: most as u64,
        purpose: "to decompress a state file".into(),
    };
    content.try_reserve_exact(most).map_err(refused)?;
    content.resize(most, 0);
    let len = lz4_flex::block::decompress_into(packed, &mut content)
        .map_err(|_| invalid(&format!("{what} cannot be decompressed")))?;
    content.truncate(len);
    Ok(content)
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
    let mut heads: HashMap<BlockName, Vec<RevisionId>> = HashMap::new();
    for ExportedState { record, root, .. } in &manifest.states {
        let heads = heads.entry(*root).or_default();
        heads.extend(record.heads().cloned());
    }
    if heads.len() > MAX_ROOTS {
        return Err(invalid("its blocks come from too many files"));
    }
    let mut places = HashMap::new();
    for (own, heads) in heads {
        let history = revisions.ancestry(heads);
        let here = revisions.full_blocks(root, &history)?;
        let there = revisions.full_blocks(own, &history)?;
        // Both are in the same order.
        for (block, in_file) in here.into_iter().zip(there) {
            places.entry(in_file.name).or_insert(Place {
                parent: block.parent,
                depth: block.depth,
                tokens: block.tokens,
            });
        }
    }
    Ok(places)
}

/// Takes in a whole file of either kind that lies in memory, a binary one in
/// pieces of `piece` bytes; the ids of its states.
///
/// Errors: those of [`Import`], [`read_json`] and [`States::import`].
pub fn import_file(
    states: &mut States,
    file: &[u8],
    piece: usize,
    empty: &KvCache,
    vocab_size: usize,
    blocks: &mut BlockTable,
    now: u64,
) -> Result<Vec<String>> {
    if !file.starts_with(MAGIC) {
        let (manifest, origin) = read_json(file)?;
        return states.import(manifest, origin, true, vocab_size, now);
    }
    let mut read = |mut import: Import| {
        for piece in file.chunks(piece.max(1)) {
            import.push(piece, states, empty, vocab_size, blocks)?;
        }
        import.finish()
    };
    let (_, origin) = read(Import::check())?;
    let (manifest, origin) = read(Import::take(origin))?;
    states.import(manifest, origin, true, vocab_size, now)
}

/// Puts the hash of a file right that was changed, as whoever forges one would:
/// for tests. What is no file is left as it is.
#[doc(hidden)]
pub fn sign(file: &mut Vec<u8>) {
    if !file.starts_with(MAGIC) {
        if let Ok(mut manifest) = from_json::<Manifest>("the file", file)
            && let Ok(digest) = manifest.digest()
        {
            manifest.sha256 = Some(digest);
            *file = super::record::to_json(&manifest).unwrap_or_default();
        }
    } else if let Some(end) = file.len().checked_sub(HASH_BYTES) {
        let hash = Sha256::digest(&file[..end]);
        file[end..].copy_from_slice(&hash);
    }
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
        check_version(manifest.version)?;
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
        let mut tokens = 0;
        for ExportedState { record, .. } in &manifest.states {
            check_record(record, &revisions)?;
            tokens += revisions.node(&record.head)?.len;
            if tokens > MAX_TOTAL_TOKENS {
                return Err(invalid("its states have too many tokens"));
            }
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
        // Where no blocks came, those computed here serve.
        let has_blocks = manifest.blocks > 0 && manifest.fingerprint == self.fingerprint();
        let kv = has_blocks.then(|| KvRoot {
            model: self.fingerprint().to_owned(),
            root: self.imported_root(origin),
        });
        let mut records = Vec::new();
        for ExportedState { mut record, .. } in manifest.states {
            if self.is_taken(&record.id) {
                record.id = fresh_id()?;
            }
            record.used = now;
            // What is exempt from clean-up is for the user here to say.
            record.pinned = false;
            record.snapshot = None;
            record.kv = kv.clone();
            records.push(record);
        }
        for revision in manifest.revisions {
            self.revisions.insert(revision, false)?;
        }
        let ids = records.iter().map(|record| record.id.clone()).collect();
        for record in records {
            self.put_state(record, persist)?;
        }
        Ok(ids)
    }

    /// True for the ids of states, and of those that storage still has.
    fn is_taken(&self, id: &str) -> bool {
        let deleted = &self.storage.deleted;
        self.states.contains_key(id) || deleted.iter().any(|(deleted, ..)| deleted == id)
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
    if record.heads().any(|id| revisions.get(id).is_none()) {
        return Err(invalid("a state stands at a revision that is not in it"));
    }
    for checkpoint in &record.checkpoints {
        check_name("name", &checkpoint.name)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
