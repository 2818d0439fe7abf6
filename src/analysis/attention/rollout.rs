//! Attention rollout (S. Abnar and W. Zuidema, "Quantifying Attention Flow in
//! Transformers", arXiv:2005.00928, section 3.1): how much of each input token
//! reaches a position through the attention of all layers below, if attention
//! were all that mixes.
//!
//! With the mean `A` of a layer's heads and the residual connection as half of
//! what is passed on, `R_l = (0.5 A_l + 0.5 I) R_(l-1)`, `R_0 = I`. A row sums
//! to 1. It is a row at a time: a row of `R_l` needs the rows of `R_(l-1)` up
//! to it, of which the lower triangles are kept in f32, sums being in f64.

use super::super::selection::{AttentionSource, bytes_of, check_bytes, chosen, from_end};
use super::super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Setting, Subject, TokenRange,
};
use crate::error::Result;
use crate::generate::generation::check_text;
use serde::Deserialize;
use serde_json::json;
use std::ops::Range;

/// Rows of a step: each is multiplied with all before it, in every layer.
const ROWS: usize = 8;

/// Options of [`Rollout`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutRequest {
    /// Up to the output of which layer; negative numbers count from the last.
    /// Default: the last.
    pub layer: Option<i64>,
    /// Heads whose mean counts. Default: all.
    pub heads: Option<Vec<usize>>,
    /// Positions whose rows are told. Default: all.
    pub queries: TokenRange,
}

/// Attention rollout. `weights` is f32 `[queries, tokens]`, tokens from 0 to the
/// last query; 0 for those after the query.
pub struct Rollout {
    source: AttentionSource,
    queries: Range<usize>,
    /// Of each layer, rows of growing length.
    rolled: Vec<Vec<f32>>,
    weights: Vec<f32>,
}

/// What a layer passes on, from the mean of its heads: half attention, half
/// residual.
pub(super) fn with_residual(mut mean: Vec<f64>) -> Vec<f64> {
    for weight in &mut mean {
        *weight *= 0.5;
    }
    if let Some(own) = mean.last_mut() {
        *own += 0.5;
    }
    mean
}

/// Where the row of a query begins in a lower triangle.
pub(super) fn row_start(query: usize) -> usize {
    query * (query + 1) / 2
}

/// Layers from the first to the one that is asked for.
pub(super) fn layers_to(layer: Option<i64>, n_layer: usize) -> Result<Vec<usize>> {
    let last = from_end("layer", layer.unwrap_or(-1), n_layer)?;
    Ok((0..=last).collect())
}

impl Rollout {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`;
    /// `invalid-argument` where the rows to keep and the result are over
    /// [`MAX_RESULT_BYTES`](super::super::selection::MAX_RESULT_BYTES).
    pub fn new(request: RolloutRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        let config = setting.model.config();
        check_text(&subject.tokens, setting.model)?;
        let queries = request.queries.resolve("queries", subject.tokens.len())?;
        let layers = layers_to(request.layer, config.n_layer)?;
        let heads = chosen("heads", request.heads.as_deref(), config.n_head)?;
        let kept = bytes_of(&[layers.len(), row_start(queries.end)], size_of::<f32>());
        let told = bytes_of(&[queries.len(), queries.end], size_of::<f32>());
        check_bytes("rollout", kept.saturating_add(told), "use a shorter text")?;
        let room = queries.len() * queries.end;
        Ok(Self {
            rolled: vec![Vec::new(); layers.len()],
            // Every row before a query counts, so all are read.
            source: AttentionSource::new(setting.model, subject, layers, heads, 0..queries.end)?
                .at_most(ROWS),
            queries,
            weights: Vec::with_capacity(room),
        })
    }

    /// The row of `query` in the layer of that index, from those of the layer
    /// below.
    fn roll(&self, layer: usize, query: usize, passed: &[f64]) -> Vec<f32> {
        if layer == 0 {
            return passed.iter().map(|&weight| weight as f32).collect();
        }
        let below = &self.rolled[layer - 1];
        let mut row = vec![0.0f64; query + 1];
        for (key, &weight) in passed.iter().enumerate() {
            let of_key = &below[row_start(key)..row_start(key + 1)];
            for (sum, &part) in row.iter_mut().zip(of_key) {
                *sum += weight * f64::from(part);
            }
        }
        row.iter().map(|&weight| weight as f32).collect()
    }
}

impl Analysis for Rollout {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        let Some(chunk) = self.source.step(bench)? else {
            return Ok(());
        };
        for query in chunk.queries() {
            for layer in 0..self.rolled.len() {
                let passed = with_residual(chunk.mean(layer, &self.source.heads, query));
                let row = self.roll(layer, query, &passed);
                if layer + 1 == self.rolled.len() && self.queries.contains(&query) {
                    self.weights.extend(&row);
                    let after = self.queries.end - row.len();
                    self.weights.resize(self.weights.len() + after, 0.0);
                }
                self.rolled[layer].extend(row);
            }
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.source.position(), self.queries.end)
    }

    fn is_finished(&self) -> bool {
        self.source.is_finished()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let shape = [self.queries.len(), self.queries.end];
        let result = AnalysisResult::new(json!({
            "layer": self.source.layers.len() - 1,
            "heads": self.source.heads,
            "queries": { "start": self.queries.start, "end": self.queries.end },
            "tokensEvaluated": self.source.evaluated(),
        }))?;
        Ok(result.with("weights", &shape, ArrayData::F32(self.weights)))
    }
}
