//! Logit lens: what the model would say if it stopped after a layer
//! (nostalgebraist, "interpreting GPT: the logit lens", 2020), and how long the
//! residual stream is there.
//!
//! The hidden state after each layer goes through `ln_f` and `wte` as the last
//! one does. Layer 0 is the sum of the embeddings, layer `i` the output of the
//! `i`-th block, the last one the model's own prediction, to the bit.

use super::reader::Reader;
use super::selection::{bytes_of, check_bytes};
use super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Setting, Subject, TokenRange,
};
use crate::error::{Error, Result};
use crate::generate::generation::check_text;
use crate::generate::log_prob::{log_sum_exp, rank};
use crate::model::Taps;
use serde::Deserialize;
use serde_json::json;
use std::ops::Range;

/// Most tokens that are told of a layer and position.
pub const MAX_TOP: usize = 100;

/// Rows of a step. Each is unembedded for every layer, which takes about as
/// long as three passes of the row.
const ROWS: usize = 8;

/// Options of [`Lens`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct LensRequest {
    /// Positions whose predictions are told. Default: all.
    pub range: TokenRange,
    /// From 0, the embeddings, to the number of blocks. Default: all.
    pub layers: Option<Vec<usize>>,
    /// Likeliest tokens of each, 1 to 100. Default: 5.
    pub top: usize,
}

impl Default for LensRequest {
    fn default() -> Self {
        Self {
            range: TokenRange::default(),
            layers: None,
            top: 5,
        }
    }
}

/// A logit lens. Arrays:
///
/// | name | shape | |
/// |---|---|---|
/// | `tokens` | u32 `[positions, layers, top]` | ids, the likeliest first |
/// | `logprobs` | f64 `[positions, layers, top]` | in nats |
/// | `entropy` | f64 `[positions, layers]` | in nats |
/// | `nextLogprob` | f64 `[positions, layers]` | of the token that follows in the text; NaN after the last |
/// | `nextRank` | u32 `[positions, layers]` | 1 is the likeliest; 0 after the last |
/// | `norms` | f64 `[positions, layers]` | Euclidean, of the hidden state before `ln_f` |
pub struct Lens {
    reader: Reader,
    positions: Range<usize>,
    layers: Vec<usize>,
    top: usize,
    tokens: Vec<u32>,
    log_probs: Vec<f64>,
    entropy: Vec<f64>,
    next_log_prob: Vec<f64>,
    next_rank: Vec<u32>,
    norms: Vec<f64>,
}

impl Lens {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`,
    /// `invalid-argument` for a result over
    /// [`MAX_RESULT_BYTES`](super::selection::MAX_RESULT_BYTES).
    pub fn new(request: LensRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        let config = setting.model.config();
        check_text(&subject.tokens, setting.model)?;
        let positions = request.range.resolve("range", subject.tokens.len())?;
        let given = request.layers.as_deref();
        let layers = super::selection::chosen("layers", given, config.n_layer + 1)?;
        let most = MAX_TOP.min(config.vocab_size);
        if request.top == 0 || request.top > most {
            let range = format!("from 1 to {most}");
            return Err(Error::option("top", request.top, range));
        }
        let bytes = bytes_of(&[positions.len(), layers.len()], 12 * request.top + 28);
        check_bytes("range", bytes, "ask for fewer positions, layers or tokens")?;
        Ok(Self {
            reader: Reader::new(setting.model, subject, positions.start)?,
            positions,
            layers,
            top: request.top,
            tokens: Vec::new(),
            log_probs: Vec::new(),
            entropy: Vec::new(),
            next_log_prob: Vec::new(),
            next_rank: Vec::new(),
            norms: Vec::new(),
        })
    }

    /// Takes what a layer says after the token at `position`.
    fn take(&mut self, position: usize, hidden_state: &[f32], logits: &[f32]) {
        let log_sum = log_sum_exp(logits);
        let log_prob = |id: u32| f64::from(logits[id as usize]) - log_sum;
        for id in best(logits, self.top) {
            self.tokens.push(id);
            self.log_probs.push(log_prob(id));
        }
        let terms = logits.iter().map(|&logit| {
            let log_prob = f64::from(logit) - log_sum;
            -libm::exp(log_prob) * log_prob
        });
        self.entropy.push(terms.sum());
        let next = self.reader.tokens().get(position + 1).copied();
        self.next_log_prob.push(next.map_or(f64::NAN, log_prob));
        self.next_rank.push(next.map_or(0, |id| rank(logits, id)));
        let squares = hidden_state.iter().map(|&x| f64::from(x) * f64::from(x));
        self.norms.push(squares.sum::<f64>().sqrt());
    }
}

/// The ids of the `count` largest logits, the largest first; of equal ones the
/// lower id is first.
fn best(logits: &[f32], count: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let better = |&a: &u32, &b: &u32| {
        let (a_logit, b_logit) = (logits[a as usize], logits[b as usize]);
        b_logit.total_cmp(&a_logit).then(a.cmp(&b))
    };
    if count < ids.len() {
        ids.select_nth_unstable_by(count, better);
        ids.truncate(count);
    }
    ids.sort_unstable_by(better);
    ids
}

impl Analysis for Lens {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        self.reader.begin(bench);
        let at = self.reader.position();
        if at < self.positions.start {
            let end = self.positions.start;
            self.reader.step(bench, end, |_| false, Taps::default())?;
            return Ok(());
        }
        let taps = Taps {
            hidden_states: true,
            ..Taps::default()
        };
        let end = self.positions.end.min(at + ROWS);
        let chunk = self.reader.step(bench, end, |_| false, taps)?;
        let config = bench.model.config();
        let (n_embd, vocab_size) = (config.n_embd, config.vocab_size);
        for row in 0..chunk.count {
            let layers = self.layers.iter();
            let states: Vec<f32> = layers
                .flat_map(|&layer| &chunk.output.hidden_states[layer][row * n_embd..][..n_embd])
                .copied()
                .collect();
            let logits = bench.model.unembed(&states)?;
            let states = states.chunks_exact(n_embd);
            for (state, logits) in states.zip(logits.chunks_exact(vocab_size)) {
                self.take(chunk.start + row, state, logits);
            }
        }
        if self.is_finished() {
            self.reader.keep(bench);
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.reader.position(), self.positions.end)
    }

    fn is_finished(&self) -> bool {
        self.reader.position() >= self.positions.end
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let shape = [self.positions.len(), self.layers.len(), self.top];
        let result = AnalysisResult::new(json!({
            "range": { "start": self.positions.start, "end": self.positions.end },
            "layers": self.layers,
            "top": self.top,
            "tokensEvaluated": self.reader.evaluated(),
        }))?;
        Ok(result
            .with("tokens", &shape, ArrayData::U32(self.tokens))
            .with("logprobs", &shape, ArrayData::F64(self.log_probs))
            .with("entropy", &shape[..2], ArrayData::F64(self.entropy))
            .with(
                "nextLogprob",
                &shape[..2],
                ArrayData::F64(self.next_log_prob),
            )
            .with("nextRank", &shape[..2], ArrayData::U32(self.next_rank))
            .with("norms", &shape[..2], ArrayData::F64(self.norms)))
    }
}

#[cfg(test)]
#[path = "lens_tests.rs"]
mod tests;
