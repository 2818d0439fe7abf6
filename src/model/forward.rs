//! The contract between GPT-2 and everything that uses it: rows in, logits
//! out.
//!
//! A row is one token of one sequence at its position. A prefill is many rows
//! of one sequence, a decode step one row, five beams five rows, two texts
//! written at once two rows: whoever implements this needs no second path for
//! any of them. Logits are computed only for the rows that ask, taps only when
//! asked.

use super::{Config, KvCache, KvFormat, Taps, names};
use crate::error::{Error, Result};
use std::ops::Range;

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
    /// `[n_head, rows, positions]`. Only of the layers asked for, ascending, as
    /// all that follows.
    pub attentions: Vec<Vec<f32>>,
    /// With [`Taps::contexts`]: the outputs of a layer's heads side by side,
    /// `[rows, n_embd]`, as `c_proj` takes them: what replaces the output of a
    /// head that is taken out stands in its place.
    pub contexts: Vec<Vec<f32>>,
    /// With [`Taps::additions`]: what a layer's attention adds to the residual
    /// stream, the bias of `c_proj` included, `[rows, n_embd]`;
    pub attention_additions: Vec<Vec<f32>>,
    /// and what its MLP adds.
    pub mlp_additions: Vec<Vec<f32>>,
}

/// A GPT-2 that can be run.
pub trait Model {
    fn config(&self) -> &Config;

    /// Bytes the weights take in memory.
    fn weight_bytes(&self) -> u64;

    /// Bytes that are kept for passes to come.
    fn scratch_bytes(&self) -> u64 {
        0
    }

    /// Runs the rows of every sequence; one [`Output`] a sequence, in order.
    /// What a sequence gets does not depend on the others in the batch.
    ///
    /// Errors: `invalid-token`, `context-overflow`, `out-of-memory`.
    fn forward(&self, batch: &mut [Rows], taps: Taps) -> Result<Vec<Output>>;

    /// Logits of hidden states as the last block gives them, rows of `n_embd`:
    /// `ln_f`, then `wte`. Of what [`Taps::hidden_states`] shows of the last
    /// block, they are a pass's logits to the bit.
    ///
    /// Errors: `invalid-argument` for numbers that are no whole rows,
    /// `out-of-memory`.
    fn unembed(&self, _hidden_states: &[f32]) -> Result<Vec<f32>> {
        Err(Error::Internal("this model shows no logits".into()))
    }

    /// Rows of a weight as it is computed with, in Hugging Face's orientation
    /// (see [`super::names`]): of a matrix `[in, out]` the rows are inputs. A
    /// vector is one row. `wte` and `wpe` are read row by row; of another packed
    /// matrix every call decodes all.
    ///
    /// Error: `invalid-argument` for a name or rows that the model does not have.
    fn weight_rows(&self, name: &str, _rows: Range<usize>) -> Result<Vec<f32>> {
        Err(Error::argument("name", format!("{name} is not shown")))
    }

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
        if rows.kv.ablation().is_some_and(|heads| !heads.fits(config)) {
            return Err(Error::argument("kv", "takes out heads of another model"));
        }
        let asked = rows.logits.indices(rows.tokens.len());
        if asked.iter().any(|&row| row >= rows.tokens.len()) {
            return Err(Error::argument("logits", "asks for a row that is not run"));
        }
    }
    Ok(())
}

/// Refuses rows of a weight that the model does not have; the width of a row.
pub fn check_weight_rows(config: &Config, name: &str, rows: &Range<usize>) -> Result<usize> {
    let shape = names::shape(config, name)
        .ok_or_else(|| Error::argument("name", format!("there is no weight {name}")))?;
    let (count, width) = match shape[..] {
        [count, width] => (count, width),
        _ => (1, shape.iter().product()),
    };
    if rows.start > rows.end || rows.end > count {
        let reason = format!("{name} has {count} rows, asked for were {rows:?}");
        return Err(Error::argument("rows", reason));
    }
    Ok(width)
}

/// Refuses hidden states that are no whole rows; the number of rows.
pub fn check_hidden_states(config: &Config, hidden_states: &[f32]) -> Result<usize> {
    if !hidden_states.len().is_multiple_of(config.n_embd) {
        let reason = format!(
            "has {} numbers, no whole rows of {}",
            hidden_states.len(),
            config.n_embd
        );
        return Err(Error::argument("hiddenStates", reason));
    }
    Ok(hidden_states.len() / config.n_embd)
}
