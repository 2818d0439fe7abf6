//! The contract between GPT-2 and everything that uses it: rows in, logits
//! out.
//!
//! A row is one token of one sequence at its position. A prefill is many rows
//! of one sequence, a decode step one row, five beams five rows, two texts
//! written at once two rows: whoever implements this needs no second path for
//! any of them. Logits are computed only for the rows that ask, taps only when
//! asked.

use super::{Config, KvCache, KvFormat};
use crate::error::{Error, Result};

/// Rows of one sequence: its next tokens, in order.
pub struct Rows<'a> {
    /// The sequence's cache. The first row's position is `kv.len()`; after the
    /// pass the rows are part of it. Unchanged where the pass fails.
    pub kv: &'a mut KvCache,
    /// Token ids of the rows; at least one.
    pub tokens: &'a [u32],
    /// Which of the rows want logits.
    pub logits: LogitRows<'a>,
}

/// Which rows want logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LogitRows<'a> {
    None,
    Last,
    All,
    /// Indices into the rows, ascending.
    At(&'a [usize]),
}

impl LogitRows<'_> {
    /// The rows as indices, given how many there are.
    pub fn indices(&self, rows: usize) -> Vec<usize> {
        match self {
            Self::None => Vec::new(),
            Self::Last => vec![rows - 1],
            Self::All => (0..rows).collect(),
            Self::At(indices) => indices.to_vec(),
        }
    }
}

/// Inner values to hand out beside the logits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Taps {
    pub hidden_states: bool,
    pub attentions: bool,
}

/// What a pass gives for the rows of one sequence.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// `[rows that asked, vocab_size]`, before any softmax.
    pub logits: Vec<f32>,
    /// With [`Taps::hidden_states`]: the sum of the embeddings, the output of
    /// each block, and the last one after `ln_f`; `n_layer + 2` of
    /// `[rows, n_embd]`.
    pub hidden_states: Vec<Vec<f32>>,
    /// With [`Taps::attentions`]: a layer's probabilities,
    /// `[n_head, rows, positions]`.
    pub attentions: Vec<Vec<f32>>,
}

/// A GPT-2 that can be run.
pub trait Model {
    fn config(&self) -> &Config;

    /// Bytes the weights take in memory.
    fn weight_bytes(&self) -> u64;

    /// Runs the rows of every sequence; one [`Output`] a sequence, in order.
    /// What a sequence gets does not depend on the others in the batch.
    ///
    /// Errors: `invalid-token`, `context-overflow`, `out-of-memory`.
    fn forward(&self, batch: &mut [Rows], taps: Taps) -> Result<Vec<Output>>;

    /// How its caches store keys and values.
    fn kv_format(&self) -> KvFormat;

    /// True where a row's result is the same bits in every pass: alone, in a
    /// prompt, in a batch.
    fn is_exact(&self) -> bool;

    /// An empty cache for a new sequence.
    fn new_kv(&self) -> KvCache {
        KvCache::new(self.config(), self.kv_format())
    }
}

/// Refuses token ids that the vocabulary does not have, naming the first.
pub fn check_tokens(tokens: &[u32], vocab_size: usize) -> Result<()> {
    match tokens.iter().position(|&id| id as usize >= vocab_size) {
        None => Ok(()),
        Some(index) => Err(Error::InvalidToken {
            id: tokens[index],
            index,
            vocab_size,
        }),
    }
}

/// Refuses a batch that `model` cannot run, before anything has changed.
pub fn check_batch(model: &(impl Model + ?Sized), batch: &[Rows]) -> Result<()> {
    let config = model.config();
    for rows in batch {
        check_tokens(rows.tokens, config.vocab_size)?;
        if rows.tokens.is_empty() {
            return Err(Error::argument("tokens", "must not be empty"));
        }
        if !rows.kv.fits(config, model.kv_format()) {
            return Err(Error::argument("kv", "was made for another model"));
        }
        let asked = rows.logits.indices(rows.tokens.len());
        if asked.iter().any(|&row| row >= rows.tokens.len()) {
            return Err(Error::argument("logits", "asks for a row that is not run"));
        }
    }
    Ok(())
}
