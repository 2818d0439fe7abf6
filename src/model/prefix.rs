//! Blocks of the KV cache by what is in them, so that texts which begin alike
//! share them.
//!
//! Positions in GPT-2 are absolute and attention is causal, so the keys and
//! values of a block depend on nothing but the model and the tokens up to its
//! end. A block's name says just that: a hash of its parent block's name and
//! its own tokens, the first parent being the model. Equal names, equal bits
//! (for models whose passes are exact, see `Model::is_exact`).
//!
//! Two texts may part inside a block. Then the first positions of the one's
//! block serve the other: the table is a tree, and a search ends with the child
//! that has the longest beginning in common. Going back in a text is the same
//! search. The last block of a text, not full yet, is in the table too, until a
//! longer version of it comes.
//!
//! What has not been asked for longest is dropped first, ends before
//! beginnings, until all fits the budget. Pinned blocks stay.

mod listing;

pub use listing::{BlockInfo, BlockReport, DropReason, Dropped, DroppedBlock};

use super::aligned::AlignedBytes;
use super::captured::CapturedAttention;
use super::kv::{BLOCK_TOKENS, KvCache};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Name of a block, or of what a chain of blocks begins with: the first 16
/// bytes of a SHA-256. Written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockName([u8; 16]);

impl BlockName {
    /// What a chain begins with: `parts` are the model's fingerprint, the
    /// cache's format, and whatever else keys and values depend on.
    pub fn root(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self::of(hash)
    }

    /// The block of `tokens` that follows this one.
    pub fn child(&self, tokens: &[u32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for token in tokens {
            hash.update(token.to_le_bytes());
        }
        Self::of(hash)
    }

    /// Names of the blocks of a text, the last of which may not be full.
    pub fn chain(self, tokens: &[u32]) -> impl Iterator<Item = Self> + '_ {
        let mut parent = self;
        tokens.chunks(BLOCK_TOKENS).map(move |tokens| {
            parent = parent.child(tokens);
            parent
        })
    }

    fn of(hash: Sha256) -> Self {
        Self::from_slice(&hash.finalize()[..16])
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From the 16 bytes of a name.
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut name = [0; 16];
        name.copy_from_slice(bytes);
        Self(name)
    }
}

impl fmt::Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<BlockName> for String {
    fn from(name: BlockName) -> Self {
        name.to_string()
    }
}

impl FromStr for BlockName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not 32 lower-case hexadecimal digits";
        let digits = text.as_bytes();
        let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 32 || !digits.iter().all(is_digit) {
            return Err(WRONG);
        }
        u128::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| WRONG)
    }
}

impl TryFrom<String> for BlockName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What the table has done, in tokens and blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrefixMetrics {
    /// Tokens that were asked for and found,
    pub hits: u64,
    /// and not found.
    pub misses: u64,
    /// Blocks dropped to keep to the budget.
    pub evictions: u64,
    pub blocks: u64,
    pub bytes: u64,
    pub budget: u64,
    pub pinned_bytes: u64,
}

struct Entry {
    parent: BlockName,
    /// How many blocks come before it.
    depth: u32,
    tokens: Box<[u32]>,
    block: Arc<AlignedBytes>,
    used: u64,
    hits: u64,
}

/// Blocks in memory, by name.
pub struct BlockTable {
    budget: usize,
    bytes: usize,
    clock: u64,
    entries: HashMap<BlockName, Entry>,
    children: HashMap<BlockName, Vec<BlockName>>,
    /// In the order of eviction. A search touches all blocks on its way, so a
    /// block is never older than what follows it.
    order: BTreeSet<(u64, Reverse<u32>, BlockName)>,
    pinned: HashSet<BlockName>,
    metrics: PrefixMetrics,
    dropped: Dropped,
    captured: CapturedAttention,
}

impl BlockTable {
    /// A table that keeps at most `budget` bytes, pinned blocks apart.
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            bytes: 0,
            clock: 0,
            entries: HashMap::new(),
            children: HashMap::new(),
            order: BTreeSet::new(),
            pinned: HashSet::new(),
            metrics: PrefixMetrics::default(),
            dropped: Dropped::default(),
            captured: CapturedAttention::default(),
        }
    }

    /// Lets `kv`, which is empty, begin with as many of `tokens` as are known: of
    /// blocks that were made without the same heads, if it does without any.
    pub fn fill(&mut self, root: BlockName, tokens: &[u32], kv: &mut KvCache) {
        self.clock += 1;
        let mut at = kv.root(root);
        let mut blocks = Vec::new();
        let mut len = 0;
        while let Some((name, common)) = self.longest(at, &tokens[len..]) {
            self.touch(name);
            blocks.extend(self.entries.get_mut(&name).map(|entry| {
                entry.hits += 1;
                entry.block.clone()
            }));
            len += common;
            at = name;
            if common < BLOCK_TOKENS {
                break;
            }
        }
        self.metrics.hits += len as u64;
        self.metrics.misses += (tokens.len() - len) as u64;
        kv.begin_with(blocks, len);
    }

    /// The block after `parent` that begins as `tokens` do, and how far.
    fn longest(&self, parent: BlockName, tokens: &[u32]) -> Option<(BlockName, usize)> {
        if let Some(full) = tokens.get(..BLOCK_TOKENS) {
            let name = parent.child(full);
            if self.entries.contains_key(&name) {
                return Some((name, BLOCK_TOKENS));
            }
        }
        let children = self.children.get(&parent)?.iter();
        let common = |name: &BlockName| {
            let known = self.entries.get(name).map_or(&[][..], |e| &e.tokens);
            known.iter().zip(tokens).take_while(|(a, b)| a == b).count()
        };
        children
            .map(|&name| (name, common(&name)))
            .filter(|&(_, common)| common > 0)
            // Of equal ones always the same, whatever the order of insertion.
            .max_by_key(|&(name, common)| (common, name))
    }

    /// Keeps the blocks of `kv`, which holds the first of `tokens`.
    pub fn keep(&mut self, root: BlockName, tokens: &[u32], kv: &KvCache) {
        self.clock += 1;
        let mut parent = kv.root(root);
        let chunks = tokens[..kv.len()].chunks(BLOCK_TOKENS);
        for (depth, (tokens, block)) in chunks.zip(kv.blocks()).enumerate() {
            let name = parent.child(tokens);
            self.insert(name, parent, depth, tokens, block.clone());
            parent = name;
        }
        self.evict();
    }

    /// Adds the full block that follows `parent`, `depth` blocks in.
    pub fn add(&mut self, parent: BlockName, depth: usize, tokens: &[u32], block: AlignedBytes) {
        self.clock += 1;
        self.insert(parent.child(tokens), parent, depth, tokens, Arc::new(block));
        let mut before = parent;
        while let Some(entry) = self.entries.get(&before) {
            let next = entry.parent;
            self.touch(before);
            before = next;
        }
        self.evict();
    }

    fn insert(
        &mut self,
        name: BlockName,
        parent: BlockName,
        depth: usize,
        tokens: &[u32],
        block: Arc<AlignedBytes>,
    ) {
        if self.entries.contains_key(&name) {
            return self.touch(name);
        }
        let siblings = self.children.entry(parent).or_default();
        let of = |name: &BlockName| self.entries.get(name).map_or(&[][..], |e| &e.tokens);
        if let Some(&longer) = siblings.iter().find(|name| of(name).starts_with(tokens)) {
            return self.touch(longer);
        }
        let shorter: Vec<_> = siblings
            .iter()
            .filter(|name| tokens.starts_with(of(name)))
            .copied()
            .collect();
        siblings.push(name);
        for name in shorter {
            self.remove(name, DropReason::Extended);
        }
        self.bytes += block.len();
        let depth = depth as u32;
        self.order.insert((self.clock, Reverse(depth), name));
        let entry = Entry {
            parent,
            depth,
            tokens: tokens.into(),
            block,
            used: self.clock,
            hits: 0,
        };
        self.entries.insert(name, entry);
    }

    fn touch(&mut self, name: BlockName) {
        if let Some(entry) = self.entries.get_mut(&name) {
            self.order.remove(&(entry.used, Reverse(entry.depth), name));
            entry.used = self.clock;
            self.order.insert((entry.used, Reverse(entry.depth), name));
        }
    }

    fn remove(&mut self, name: BlockName, reason: DropReason) {
        let Some(entry) = self.entries.remove(&name) else {
            return;
        };
        self.dropped.add(name, &entry, self.clock, reason);
        self.bytes -= entry.block.len();
        self.order.remove(&(entry.used, Reverse(entry.depth), name));
        if let Some(siblings) = self.children.get_mut(&entry.parent) {
            siblings.retain(|&sibling| sibling != name);
            if siblings.is_empty() {
                self.children.remove(&entry.parent);
            }
        }
    }

    fn evict(&mut self) {
        if self.bytes <= self.budget {
            return;
        }
        let mut excess = self.bytes - self.budget;
        let mut dropped = Vec::new();
        for &(_, _, name) in &self.order {
            if excess == 0 {
                break;
            }
            if let (false, Some(entry)) = (self.pinned.contains(&name), self.entries.get(&name)) {
                excess = excess.saturating_sub(entry.block.len());
                dropped.push(name);
            }
        }
        self.metrics.evictions += dropped.len() as u64;
        for name in dropped {
            self.remove(name, DropReason::Budget);
        }
    }

    /// Says which blocks may not be dropped; those of the last time may be.
    /// Whoever pins a block has to pin what comes before it.
    pub fn set_pinned(&mut self, names: HashSet<BlockName>) {
        self.pinned = names;
        self.evict();
    }

    /// The block of that name, if it is in memory.
    pub fn get(&self, name: &BlockName) -> Option<&AlignedBytes> {
        self.entries.get(name).map(|entry| entry.block.as_ref())
    }

    /// Forgets a block.
    pub fn forget(&mut self, name: BlockName) {
        self.remove(name, DropReason::Forgotten);
    }

    /// Attention that was captured, by its text.
    pub fn captured(&mut self) -> &mut CapturedAttention {
        &mut self.captured
    }

    pub fn metrics(&self) -> PrefixMetrics {
        let pinned = self.pinned.iter().filter_map(|name| self.get(name));
        PrefixMetrics {
            blocks: self.entries.len() as u64,
            bytes: self.bytes as u64,
            budget: self.budget as u64,
            pinned_bytes: pinned.map(|block| block.len() as u64).sum(),
            ..self.metrics
        }
    }
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
