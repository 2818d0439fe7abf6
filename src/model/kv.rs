//! The KV cache of one sequence: keys and values in blocks of 32 positions.
//!
//! Blocks are shared by reference count and copied on write, and only
//! positions past the end are ever written. So a clone (a fork) costs one
//! pointer a block, a full block never changes once it is shared, and
//! truncation (a rollback) is exact. `candle_nn`'s own `KvCache` is not used:
//! its clones write into one another's memory (`append` uses `slice_set`,
//! which modifies shared storage in place).

use super::aligned::AlignedBytes;
use super::kv_head::{HeadLayout, Kind};
use super::{Ablation, BlockName, Config};
use crate::error::{Error, Result};
use std::sync::Arc;

/// Positions a block holds.
pub const BLOCK_TOKENS: usize = 32;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFormat {
    /// A block is `[n_layer, 2 (keys, values), 32, n_embd]`, a position's heads
    /// side by side as the projection makes them.
    F32,
    /// A byte a number, see [`HeadLayout`]: a quarter of the memory.
    Q8,
}

/// Keys and values of one sequence.
///
/// Positions are absolute, as GPT-2 learned them: only a prefix can be kept,
/// nothing can be moved.
#[derive(Debug, Clone)]
pub struct KvCache {
    format: KvFormat,
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
    n_positions: usize,
    len: usize,
    /// `blocks[i]` holds positions `32 * i ..`
    blocks: Vec<Arc<AlignedBytes>>,
    /// The heads that its sequence does without.
    ablation: Option<Arc<Ablation>>,
}

impl KvCache {
    /// An empty cache for sequences of the model `config` describes.
    pub fn new(config: &Config, format: KvFormat) -> Self {
        Self {
            format,
            n_layer: config.n_layer,
            n_head: config.n_head,
            n_embd: config.n_embd,
            n_positions: config.n_positions,
            len: 0,
            blocks: Vec::new(),
            ablation: None,
        }
    }

    /// Takes heads out of the model for this sequence; with what it holds so
    /// far, this is another sequence, so it is forgotten.
    pub fn ablate(&mut self, ablation: Option<Arc<Ablation>>) {
        self.truncate(0);
        self.ablation = ablation;
    }

    /// What the chain of its blocks begins with, where it would begin with `root`
    /// in a sequence that does without no head.
    pub fn root(&self, root: BlockName) -> BlockName {
        let ablation = self.ablation.as_ref();
        ablation.map_or(root, |ablation| ablation.root(root))
    }

    /// The heads that its sequence does without.
    pub fn ablation(&self) -> Option<&Ablation> {
        self.ablation.as_deref()
    }

    /// Takes the first `len` positions from `blocks`, in place of all it has.
    /// They may hold more positions than that; those are not seen.
    pub fn begin_with(&mut self, blocks: Vec<Arc<AlignedBytes>>, len: usize) {
        debug_assert!(blocks.iter().all(|block| block.len() == self.block_bytes()));
        self.blocks = blocks;
        self.len = len;
        self.blocks.truncate(len.div_ceil(BLOCK_TOKENS));
    }

    /// The blocks, in order; the last may not be full.
    pub fn blocks(&self) -> &[Arc<AlignedBytes>] {
        &self.blocks
    }

    /// A block from bytes that were kept elsewhere.
    ///
    /// Error: `invalid-state-file` where the length is not that of a block, or
    /// a number (of 8-bit blocks: a scale) is not finite.
    pub fn block_from(&self, bytes: &[u8]) -> Result<AlignedBytes> {
        let wrong = |what: String| Error::InvalidStateFile(format!("a KV block {what}"));
        if bytes.len() != self.block_bytes() {
            let (got, expected) = (bytes.len(), self.block_bytes());
            return Err(wrong(format!("has {got} bytes, {expected} are expected")));
        }
        let mut block = AlignedBytes::zeroed(bytes.len(), "for a block of the KV cache")?;
        block.copy_from_slice(bytes);
        let is_finite = match self.format {
            KvFormat::F32 => block.floats().iter().all(|x| x.is_finite()),
            KvFormat::Q8 => self.head_layout().scales_are_finite(&block),
        };
        if !is_finite {
            return Err(wrong("holds numbers that are not finite".into()));
        }
        Ok(block)
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the blocks this cache refers to, shared ones counted in full.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * self.block_bytes()
    }

    /// True where this cache was made for models of this shape, in this format.
    pub fn fits(&self, config: &Config, format: KvFormat) -> bool {
        self.format == format
            && (self.n_layer, self.n_head, self.n_embd, self.n_positions)
                == (
                    config.n_layer,
                    config.n_head,
                    config.n_embd,
                    config.n_positions,
                )
    }

    /// Forgets every position from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(BLOCK_TOKENS));
    }

    /// Makes room for `count` more positions. They become part of the cache
    /// by [`commit`](Self::commit); until then a failed forward pass has
    /// changed nothing.
    pub fn reserve(&mut self, count: usize) -> Result<()> {
        let needed = self.len + count;
        if needed > self.n_positions {
            return Err(Error::ContextOverflow {
                needed,
                available: self.n_positions,
            });
        }
        while self.blocks.len() * BLOCK_TOKENS < needed {
            let block = AlignedBytes::zeroed(self.block_bytes(), "for a block of the KV cache")?;
            self.blocks.push(Arc::new(block));
        }
        Ok(())
    }

    /// Stores key and value (`n_embd` numbers each) of `layer` at the
    /// reserved position `len() + row`.
    pub fn write(&mut self, layer: usize, row: usize, key: &[f32], value: &[f32]) {
        let position = self.len + row;
        let (slot, n_embd) = (position % BLOCK_TOKENS, self.n_embd);
        let heads = self.head_layout();
        let block = Arc::make_mut(&mut self.blocks[position / BLOCK_TOKENS]);
        match self.format {
            KvFormat::F32 => {
                let at = (layer * 2 * BLOCK_TOKENS + slot) * n_embd;
                let to_value = BLOCK_TOKENS * n_embd;
                let block = block.floats_mut();
                block[at..at + n_embd].copy_from_slice(key);
                block[at + to_value..at + to_value + n_embd].copy_from_slice(value);
            }
            KvFormat::Q8 => {
                for (kind, numbers) in [(Kind::Keys, key), (Kind::Values, value)] {
                    for (head, numbers) in numbers.chunks_exact(heads.head_dim).enumerate() {
                        let at = heads.part(layer, kind, head);
                        let part = &mut block[at..at + heads.part_bytes()];
                        heads.store(part, kind, slot, numbers);
                    }
                }
            }
        }
    }

    /// Makes `count` written positions part of the cache.
    pub fn commit(&mut self, count: usize) {
        self.len += count;
    }

    /// Keys and values of `layer` for the first `positions` (committed or
    /// written), each `[positions, n_embd]`.
    pub fn gather(&self, layer: usize, positions: usize) -> (Vec<f32>, Vec<f32>) {
        let n_embd = self.n_embd;
        let mut keys = vec![0.0; positions * n_embd];
        let mut values = vec![0.0; positions * n_embd];
        let heads = self.head_layout();
        let rows = keys
            .chunks_exact_mut(n_embd)
            .zip(values.chunks_exact_mut(n_embd));
        for (position, (key, value)) in rows.enumerate() {
            let block = &self.blocks[position / BLOCK_TOKENS];
            let slot = position % BLOCK_TOKENS;
            match self.format {
                KvFormat::F32 => {
                    let at = (layer * 2 * BLOCK_TOKENS + slot) * n_embd;
                    let to_value = BLOCK_TOKENS * n_embd;
                    let block = block.floats();
                    key.copy_from_slice(&block[at..at + n_embd]);
                    value.copy_from_slice(&block[at + to_value..at + to_value + n_embd]);
                }
                KvFormat::Q8 => {
                    for (kind, numbers) in [(Kind::Keys, key), (Kind::Values, value)] {
                        for (head, numbers) in numbers.chunks_exact_mut(heads.head_dim).enumerate()
                        {
                            let at = heads.part(layer, kind, head);
                            let part = &block[at..at + heads.part_bytes()];
                            heads.load(part, kind, slot, numbers);
                        }
                    }
                }
            }
        }
        (keys, values)
    }

    /// How one head lies in a block of [`KvFormat::Q8`].
    pub fn head_layout(&self) -> HeadLayout {
        HeadLayout {
            n_head: self.n_head,
            head_dim: self.n_embd / self.n_head,
        }
    }

    /// The blocks, in order, for a pass that writes the reserved positions:
    /// those that it writes to are this cache's own.
    pub fn blocks_to_write(&mut self) -> Vec<*mut u8> {
        let first = self.len / BLOCK_TOKENS;
        let blocks = self.blocks.iter_mut().enumerate();
        blocks
            .map(|(index, block)| {
                if index >= first {
                    Arc::make_mut(block).as_mut_ptr()
                } else {
                    block.as_ptr().cast_mut()
                }
            })
            .collect()
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.n_layer
            * match self.format {
                KvFormat::F32 => 2 * BLOCK_TOKENS * self.n_embd * size_of::<f32>(),
                KvFormat::Q8 => self.head_layout().layer_bytes(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const N_LAYER: usize = 2;
    const N_EMBD: usize = 2;
    const N_POSITIONS: usize = 200;

    fn empty() -> KvCache {
        let config = format!(
            r#"{{"model_type":"gpt2","n_layer":{N_LAYER},"n_embd":{N_EMBD},"n_head":1,"n_positions":{N_POSITIONS}}}"#
        );
        KvCache::new(
            &Config::from_json(config.as_bytes()).unwrap(),
            KvFormat::F32,
        )
    }

    /// Appends positions whose numbers tell `tag`, layer and place.
    fn append(cache: &mut KvCache, tag: f32, count: usize) {
        cache.reserve(count).unwrap();
        for layer in 0..N_LAYER {
            for row in 0..count {
                let place = (cache.len() + row) as f32;
                let key = [tag, place + 1000.0 * layer as f32];
                cache.write(layer, row, &key, &key.map(|x| -x));
            }
        }
        cache.commit(count);
    }

    /// The naive cache: a full copy of (tag, place) in each branch.
    fn check(cache: &KvCache, naive: &[(f32, usize)]) {
        assert_eq!(cache.len(), naive.len());
        for layer in 0..N_LAYER {
            let (keys, values) = cache.gather(layer, cache.len());
            let expected: Vec<f32> = naive
                .iter()
                .flat_map(|&(tag, place)| [tag, place as f32 + 1000.0 * layer as f32])
                .collect();
            assert_eq!(keys, expected);
            assert_eq!(values, expected.iter().map(|x| -x).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn branches_behave_as_full_copies(
            operations in prop::collection::vec((0..3u8, any::<prop::sample::Index>(), 0..70usize), 1..40)
        ) {
            let mut branches = vec![(empty(), Vec::new())];
            for (step, (kind, which, count)) in operations.into_iter().enumerate() {
                let index = which.index(branches.len());
                let (cache, naive) = &mut branches[index];
                match kind {
                    0 => {
                        let count = count.min(N_POSITIONS - cache.len());
                        append(cache, step as f32, count);
                        let start = naive.len();
                        naive.extend((start..start + count).map(|place| (step as f32, place)));
                    }
                    1 => {
                        cache.truncate(count);
                        naive.truncate(count);
                    }
                    _ => {
                        let fork = (cache.clone(), naive.clone());
                        branches.push(fork);
                    }
                }
                for (cache, naive) in &branches {
                    check(cache, naive);
                }
            }
        }
    }

    #[test]
    fn a_fork_shares_every_block_until_one_side_writes() {
        let mut origin = empty();
        append(&mut origin, 1.0, 40);
        let mut fork = origin.clone();
        assert!((0..2).all(|i| Arc::ptr_eq(&origin.blocks[i], &fork.blocks[i])));
        append(&mut fork, 2.0, 1);
        assert!(Arc::ptr_eq(&origin.blocks[0], &fork.blocks[0]));
        assert!(!Arc::ptr_eq(&origin.blocks[1], &fork.blocks[1]));
    }

    #[test]
    fn more_positions_than_the_model_has_are_refused_with_both_numbers() {
        let mut cache = empty();
        append(&mut cache, 1.0, 150);
        assert_eq!(
            cache.reserve(51).unwrap_err(),
            Error::ContextOverflow {
                needed: 201,
                available: 200
            }
        );
    }

    #[test]
    fn positions_that_were_never_committed_do_not_exist() {
        let mut cache = empty();
        append(&mut cache, 1.0, 3);
        cache.reserve(40).unwrap();
        cache.write(0, 0, &[9.0, 9.0], &[9.0, 9.0]);
        append(&mut cache, 2.0, 2);
        check(&cache, &[(1.0, 0), (1.0, 1), (1.0, 2), (2.0, 3), (2.0, 4)]);
    }

    #[test]
    fn the_8_bit_format_keeps_every_number_within_half_a_step() {
        let config = Config::from_json(
            br#"{"model_type":"gpt2","n_layer":2,"n_embd":10,"n_head":2,"n_positions":80}"#,
        );
        let mut cache = KvCache::new(&config.unwrap(), KvFormat::Q8);
        cache.reserve(40).unwrap();
        let number = |layer: usize, row: usize, d: usize| {
            ((layer * 1000 + row * 17 + d) as f32 * 0.37).sin() * (1.0 + row as f32)
        };
        for layer in 0..2 {
            for row in 0..40 {
                let key: Vec<f32> = (0..10).map(|d| number(layer, row, d)).collect();
                let value: Vec<f32> = key.iter().map(|x| x * -2.0).collect();
                cache.write(layer, row, &key, &value);
            }
        }
        cache.commit(40);
        for layer in 0..2 {
            let (keys, values) = cache.gather(layer, 40);
            for row in 0..40 {
                for d in 0..10 {
                    let exact = number(layer, row, d);
                    let step = (1.0 + row as f32) / 127.0;
                    assert!((keys[row * 10 + d] - exact).abs() <= step / 2.0);
                    assert!((values[row * 10 + d] + 2.0 * exact).abs() <= step);
                }
            }
        }
    }
}
