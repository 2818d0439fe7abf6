//! Attention of a text: what each position looks at, in the layers, heads,
//! queries and keys that are asked for.
//!
//! The weights are the softmax of the scaled scores, as the pass computes them:
//! of one query over all keys up to itself they sum to 1. A decoder-only model
//! has no cross-attention; attention from one part of a text to another is in
//! [`segments`].
//!
//! Positions before the first query are not run again where their keys and
//! values are known; the rows that are asked for are, because weights are not
//! kept. In exact models that gives the bits the first run had, while writing
//! as well as in a prompt.
//!
//! Averages are sums in f64, in the order of layers and then heads. The
//! threshold comes after them, and normalisation last: over the keys asked for,
//! what is left of a row is scaled to sum to 1, which is told, because such
//! weights are no longer the model's.

pub mod flow;
pub mod rollout;
pub mod segments;

use super::result::zeros;
use super::selection::{AttentionChunk, AttentionSource, bytes_of, check_bytes, chosen};
use super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Setting, Subject, TokenRange,
};
use crate::error::{Error, Result};
use crate::generate::generation::check_text;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::ops::Range;

/// Over what weights are averaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Average {
    #[default]
    None,
    Heads,
    Layers,
    Both,
}

impl Average {
    fn heads(self) -> bool {
        matches!(self, Self::Heads | Self::Both)
    }

    fn layers(self) -> bool {
        matches!(self, Self::Layers | Self::Both)
    }
}

/// Options of [`AttentionMaps`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AttentionRequest {
    /// Default: all.
    pub layers: Option<Vec<usize>>,
    /// Default: all.
    pub heads: Option<Vec<usize>>,
    /// Positions that look. Default: all.
    pub queries: TokenRange,
    /// Positions that are looked at. Default: all.
    pub keys: TokenRange,
    pub average: Average,
    /// Only weights of at least this, above 0 and at most 1; the result is
    /// sparse then. Default: all, dense.
    pub threshold: Option<f64>,
    /// Rows are scaled to sum to 1 over what is left of them. Default: false.
    pub normalize: bool,
}

/// Attention maps.
///
/// Dense, `weights` is f32 `[layers, heads, queries, keys]`, an axis that is
/// averaged over having length 1, and 0 where the key comes after the query.
/// Sparse, there are arrays of equal length: `layer` and `head` (not where
/// averaged over), `query` and `key`, u32, and `weight`, f32; in that order,
/// ascending.
pub struct AttentionMaps {
    source: AttentionSource,
    keys: Range<usize>,
    request: AttentionRequest,
    /// Rows of which nothing is left, as nothing reaches the threshold.
    empty_rows: usize,
    dense: Vec<f32>,
    sparse: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    layer: u32,
    head: u32,
    query: u32,
    key: u32,
    weight: f32,
}

/// Bytes of an entry of a sparse result while it is made.
const ENTRY_BYTES: usize = size_of::<Entry>();

impl AttentionMaps {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`;
    /// `invalid-argument` for a result over
    /// [`MAX_RESULT_BYTES`](super::selection::MAX_RESULT_BYTES).
    pub fn new(request: AttentionRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        let config = setting.model.config();
        check_text(&subject.tokens, setting.model)?;
        let len = subject.tokens.len();
        let layers = chosen("layers", request.layers.as_deref(), config.n_layer)?;
        let heads = chosen("heads", request.heads.as_deref(), config.n_head)?;
        let queries = request.queries.resolve("queries", len)?;
        let keys = request.keys.resolve("keys", len)?;
        let shape = [
            axis(&layers, request.average.layers()),
            axis(&heads, request.average.heads()),
            queries.len(),
        ];
        let less = "ask for fewer layers, heads, queries or keys, or average over them";
        match request.threshold {
            None => {
                let bytes = bytes_of(&shape, size_of::<f32>()).saturating_mul(keys.len() as u64);
                check_bytes("attention", bytes, less)?;
            }
            Some(threshold) => {
                if !(threshold > 0.0 && threshold <= 1.0) {
                    return Err(Error::option("threshold", threshold, "above 0, at most 1"));
                }
                // A row sums to 1, so it has room for so many of that size.
                let most = ((1.0 / threshold) as u64 + 1).min(keys.len() as u64);
                let bytes = bytes_of(&shape, ENTRY_BYTES).saturating_mul(most);
                check_bytes("attention", bytes, "ask for less, or a higher threshold")?;
            }
        }
        // Rows do not come in the order of a dense result.
        let dense = match request.threshold {
            None => shape.iter().product::<usize>() * keys.len(),
            Some(_) => 0,
        };
        Ok(Self {
            source: AttentionSource::new(setting.model, subject, layers, heads, queries)?,
            keys,
            request,
            empty_rows: 0,
            dense: zeros(dense, "for the attention")?,
            sparse: Vec::new(),
        })
    }

    /// Takes the rows of a chunk.
    fn take(&mut self, chunk: &AttentionChunk) {
        let layers: Vec<usize> = (0..self.source.layers.len()).collect();
        let average = self.request.average;
        let heads = self.source.heads.clone();
        let by = |all: &[usize], together: bool| -> Vec<Vec<usize>> {
            if together {
                vec![all.to_vec()]
            } else {
                all.iter().map(|&one| vec![one]).collect()
            }
        };
        for (i, layers) in by(&layers, average.layers()).iter().enumerate() {
            for (j, heads) in by(&heads, average.heads()).iter().enumerate() {
                for query in chunk.queries() {
                    let row = self.row(chunk, layers, heads, query);
                    self.put(i, j, query, &row);
                }
            }
        }
    }

    /// A row of the result over the keys asked for that the query sees.
    fn row(
        &mut self,
        chunk: &AttentionChunk,
        layers: &[usize],
        heads: &[usize],
        query: usize,
    ) -> Vec<f64> {
        let seen = self.keys.start.min(query + 1)..self.keys.end.min(query + 1);
        let mut row = vec![0.0; seen.len()];
        for &layer in layers {
            for &head in heads {
                let weights = &chunk.row(layer, head, query)[seen.clone()];
                for (sum, &weight) in row.iter_mut().zip(weights) {
                    *sum += f64::from(weight);
                }
            }
        }
        let count = (layers.len() * heads.len()) as f64;
        let threshold = self.request.threshold.unwrap_or(0.0);
        for weight in &mut row {
            *weight /= count;
            if *weight < threshold {
                *weight = 0.0;
            }
        }
        let sum: f64 = row.iter().sum();
        if sum <= 0.0 {
            self.empty_rows += 1;
        } else if self.request.normalize {
            for weight in &mut row {
                *weight /= sum;
            }
        }
        row
    }

    fn put(&mut self, layer: usize, head: usize, query: usize, row: &[f64]) {
        if self.request.threshold.is_some() {
            let entries = (self.keys.start..).zip(row).filter(|(_, w)| **w > 0.0);
            self.sparse.extend(entries.map(|(key, &weight)| Entry {
                layer: self.source.layers[layer] as u32,
                head: self.source.heads[head] as u32,
                query: query as u32,
                key: key as u32,
                weight: weight as f32,
            }));
            return;
        }
        let heads = axis(&self.source.heads, self.request.average.heads());
        let queries = &self.source.queries;
        let at = (layer * heads + head) * queries.len() + query - queries.start;
        let out = &mut self.dense[at * self.keys.len()..][..row.len()];
        for (out, &weight) in out.iter_mut().zip(row) {
            *out = weight as f32;
        }
    }
}

/// Length of an axis.
fn axis(indices: &[usize], averaged: bool) -> usize {
    if averaged { 1 } else { indices.len() }
}

impl Analysis for AttentionMaps {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        if let Some(chunk) = self.source.step(bench)? {
            self.take(&chunk);
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.source.position(), self.source.queries.end)
    }

    fn is_finished(&self) -> bool {
        self.source.is_finished()
    }

    fn result(mut self: Box<Self>) -> Result<AnalysisResult> {
        let average = self.request.average;
        let (queries, keys) = (&self.source.queries, &self.keys);
        let result = AnalysisResult::new(json!({
            "layers": self.source.layers,
            "heads": self.source.heads,
            "queries": { "start": queries.start, "end": queries.end },
            "keys": { "start": keys.start, "end": keys.end },
            "average": average,
            "threshold": self.request.threshold,
            "normalized": self.request.normalize,
            "emptyRows": self.empty_rows,
            "tokensEvaluated": self.source.evaluated(),
        }))?;
        if self.request.threshold.is_none() {
            let shape = [
                axis(&self.source.layers, average.layers()),
                axis(&self.source.heads, average.heads()),
                queries.len(),
                keys.len(),
            ];
            return Ok(result.with("weights", &shape, ArrayData::F32(self.dense)));
        }
        self.sparse
            .sort_unstable_by_key(|entry| (entry.layer, entry.head, entry.query, entry.key));
        let column = |of: fn(&Entry) -> u32| -> ArrayData {
            ArrayData::U32(self.sparse.iter().map(of).collect())
        };
        let shape = [self.sparse.len()];
        let mut result = result;
        if !average.layers() {
            result = result.with("layer", &shape, column(|entry| entry.layer));
        }
        if !average.heads() {
            result = result.with("head", &shape, column(|entry| entry.head));
        }
        let weights = self.sparse.iter().map(|entry| entry.weight).collect();
        Ok(result
            .with("query", &shape, column(|entry| entry.query))
            .with("key", &shape, column(|entry| entry.key))
            .with("weight", &shape, ArrayData::F32(weights)))
    }
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
