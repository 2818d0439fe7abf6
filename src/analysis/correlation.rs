//! How alike the model sees the tokens of a text: the cosines between their
//! hidden states at one layer; and, where asked for, how much each makes every
//! later one expected.
//!
//! GPT-2's hidden states all point in nearly one direction (K. Ethayarajh, "How
//! Contextual are Contextualized Word Representations?", 2019), so that raw
//! cosines are all close to 1; `centered` takes the mean of the range away
//! first.

use super::ablation::{Ablation, AblationPlan, Replacement};
use super::range::place;
use super::result::zeros;
use super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Reader, Setting, Subject,
    TokenRange, exactly,
};
use crate::error::{Error, Result};
use crate::generate::generation::PREFILL_CHUNK;
use crate::model::Taps;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Most bytes that the matrix, or the hidden states it is made of, may take.
pub const MAX_MATRIX_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CorrelationRequest {
    /// Which tokens. Default: all.
    pub range: TokenRange,
    /// Which hidden states: 0 is the sum of the embeddings, `i` the output of
    /// block `i - 1`, and one more (-1) the last one after the final LayerNorm.
    /// Default: -1.
    pub layer: i64,
    /// Whether the mean of the range is taken away first. Default: no.
    pub centered: bool,
    /// Whether each token is also left out, for `influence`. It runs the model
    /// once for each. Default: no.
    pub influence: bool,
    /// What takes its place then. Default: `remove`.
    pub replacement: Replacement,
}

impl Default for CorrelationRequest {
    fn default() -> Self {
        Self {
            range: TokenRange::default(),
            layer: -1,
            centered: false,
            influence: false,
            replacement: Replacement::Remove,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    layer: usize,
    /// Index of the first row and column.
    start: usize,
    ids: Vec<u32>,
    tokens_evaluated: usize,
}

/// A matrix being computed.
pub struct Correlation {
    reader: Reader,
    range: Range<usize>,
    layer: usize,
    centered: bool,
    n_embd: usize,
    /// `[range, n_embd]`; in the end of length 1 each.
    states: Vec<f32>,
    /// `[range, range]`
    cosines: Vec<f32>,
    /// Rows of it that are done.
    rows: usize,
    ablation: Option<Ablation>,
}

impl Correlation {
    /// Errors: `invalid-option`, `context-overflow`, `invalid-argument` for more
    /// than [`MAX_MATRIX_BYTES`].
    pub fn new(
        request: CorrelationRequest,
        setting: &Setting,
        subjects: Vec<Subject>,
    ) -> Result<Self> {
        let [subject] = exactly(subjects)?;
        let config = setting.model.config();
        let range = request.range.resolve("range", subject.tokens.len())?;
        let layers = config.n_layer + 2;
        let layer = place("layer", request.layer, layers).map_err(|_| {
            let range = format!("from -{layers} to {}", layers - 1);
            Error::option("layer", request.layer, range)
        })?;
        let count = range.len();
        let bytes = count.saturating_mul(count.max(config.n_embd)) * size_of::<f32>();
        if bytes > MAX_MATRIX_BYTES {
            return Err(Error::argument(
                "range",
                format!("{count} tokens need {bytes} bytes, the limit is {MAX_MATRIX_BYTES}"),
            ));
        }
        let ablation = if request.influence {
            let plan = AblationPlan {
                subject: subject.clone(),
                range: range.clone(),
                replacement: request.replacement.token(setting)?,
                scored: range.clone(),
            };
            Some(Ablation::new(plan, setting.model)?)
        } else if request.replacement != Replacement::Remove {
            let range = "absent without `influence`";
            return Err(Error::option("replacement", "given", range));
        } else {
            None
        };
        Ok(Self {
            reader: Reader::new(setting.model, subject, range.start)?,
            layer,
            centered: request.centered,
            n_embd: config.n_embd,
            states: zeros(count * config.n_embd, "for the hidden states")?,
            cosines: zeros(count * count, "for the cosines")?,
            range,
            rows: 0,
            ablation,
        })
    }

    fn read(&mut self, bench: &mut Bench) -> Result<()> {
        let taps = Taps {
            hidden_states: true,
            ..Taps::default()
        };
        let chunk = self.reader.step(bench, self.range.end, |_| false, taps)?;
        let hidden = chunk.output.hidden_states.get(self.layer);
        let rows = hidden.map_or(&[][..], Vec::as_slice);
        for (position, row) in (chunk.start..).zip(rows.chunks_exact(self.n_embd)) {
            if let Some(index) = position.checked_sub(self.range.start) {
                self.states[index * self.n_embd..][..self.n_embd].copy_from_slice(row);
            }
        }
        if self.reader.position() == self.range.end {
            self.reader.keep(bench);
            normalize(&mut self.states, self.n_embd, self.centered);
        }
        Ok(())
    }

    /// The next rows of the matrix, and by symmetry the columns.
    fn multiply(&mut self) {
        let (n, width) = (self.range.len(), self.n_embd);
        let end = n.min(self.rows + PREFILL_CHUNK);
        for i in self.rows..end {
            let a = &self.states[i * width..][..width];
            for j in 0..=i {
                let b = &self.states[j * width..][..width];
                let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
                let cosine = products.sum::<f64>().clamp(-1.0, 1.0) as f32;
                self.cosines[i * n + j] = cosine;
                self.cosines[j * n + i] = cosine;
            }
        }
        self.rows = end;
    }
}

/// Takes the mean of the rows away, where asked for, and scales each to length
/// 1; rows of zeros stay.
fn normalize(states: &mut [f32], width: usize, centered: bool) {
    if centered {
        let count = (states.len() / width) as f64;
        let mut mean = vec![0.0; width];
        for row in states.chunks_exact(width) {
            for (mean, &x) in mean.iter_mut().zip(row) {
                *mean += f64::from(x);
            }
        }
        for row in states.chunks_exact_mut(width) {
            for (x, mean) in row.iter_mut().zip(&mean) {
                *x = (f64::from(*x) - mean / count) as f32;
            }
        }
    }
    for row in states.chunks_exact_mut(width) {
        let squares = row.iter().map(|&x| f64::from(x) * f64::from(x));
        let norm = squares.sum::<f64>().sqrt();
        if norm > 0.0 {
            row.iter_mut()
                .for_each(|x| *x = (f64::from(*x) / norm) as f32);
        }
    }
}

impl Analysis for Correlation {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        if self.reader.position() < self.range.end {
            return self.read(bench);
        }
        if self.rows < self.range.len() {
            self.multiply();
            return Ok(());
        }
        match &mut self.ablation {
            Some(ablation) => ablation.step(bench),
            None => Ok(()),
        }
    }

    fn progress(&self) -> AnalysisProgress {
        let ablation = self.ablation.as_ref();
        let (done, total) = ablation.map_or((0, 0), Ablation::progress);
        AnalysisProgress::new(
            self.reader.position() + self.rows + done,
            self.range.end + self.range.len() + total,
        )
    }

    fn is_finished(&self) -> bool {
        let ablation = self.ablation.as_ref();
        self.rows == self.range.len() && ablation.is_none_or(Ablation::is_finished)
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let n = self.range.len();
        let ablation = self.ablation.as_ref();
        let value = Value {
            layer: self.layer,
            start: self.range.start,
            ids: self.reader.tokens()[self.range.clone()].to_vec(),
            tokens_evaluated: self.reader.evaluated() + ablation.map_or(0, Ablation::evaluated),
        };
        let cosines = ArrayData::F32(self.cosines);
        let mut result = AnalysisResult::new(value)?.with("cosines", &[n, n], cosines);
        if let Some(ablation) = self.ablation {
            let changes = ArrayData::F32(ablation.into_changes());
            result = result.with("influence", &[n, n], changes);
        }
        Ok(result)
    }
}

#[cfg(test)]
#[path = "correlation_tests.rs"]
mod tests;
