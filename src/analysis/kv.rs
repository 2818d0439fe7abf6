//! The KV cache of a text: how it is stored, and what is in it.
//!
//! Numbers are as attention reads them: what 8-bit blocks hold times its scale.
//! Positions whose blocks are known are not run again.

use super::reader::Reader;
use super::selection::{bytes_of, check_bytes, chosen, from_end};
use super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Setting, Subject, TokenRange,
};
use crate::error::{Error, Result};
use crate::generate::generation::check_text;
use crate::model::kv::BLOCK_TOKENS;
use crate::model::{KvFormat, Taps};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::ops::Range;

/// Most positions whose keys and values are told whole.
pub const MAX_SAMPLES: usize = 64;

/// Options of [`KvInspection`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct KvRequest {
    /// Default: all.
    pub layers: Option<Vec<usize>>,
    /// Default: all.
    pub heads: Option<Vec<usize>>,
    /// Positions that are looked at. Default: all.
    pub range: TokenRange,
    /// Positions whose keys and values are told whole, up to 64; negative
    /// numbers count from the end. Default: none.
    pub samples: Vec<i64>,
}

/// Keys or values of one head over the positions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    pub min: f32,
    pub max: f32,
    pub mean: f64,
    /// Root of the mean square.
    pub rms: f64,
    /// Of the Euclidean norms of the positions.
    pub mean_norm: f64,
}

/// Keys and values of a text. The object has their shape, `dtype` (`"f32"` or
/// `"q8"`), bytes, and `statistics` of each layer and head; arrays are
/// `keyNorms` and `valueNorms`, f32 `[layers, heads, positions]`, and with
/// `samples` `keys` and `values`, f32 `[layers, heads, samples, head_dim]`.
pub struct KvInspection {
    reader: Reader,
    layers: Vec<usize>,
    heads: Vec<usize>,
    range: Range<usize>,
    samples: Vec<usize>,
    n_layer: usize,
    n_head: usize,
    head_dim: usize,
    format: KvFormat,
    /// Layers that have been looked at.
    done: usize,
    statistics: Vec<serde_json::Value>,
    /// Of keys and of values.
    norms: [Vec<f32>; 2],
    sampled: [Vec<f32>; 2],
}

impl KvInspection {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`,
    /// `invalid-argument` for a result over
    /// [`MAX_RESULT_BYTES`](super::selection::MAX_RESULT_BYTES).
    pub fn new(request: KvRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        let config = setting.model.config();
        check_text(&subject.tokens, setting.model)?;
        let len = subject.tokens.len();
        let layers = chosen("layers", request.layers.as_deref(), config.n_layer)?;
        let heads = chosen("heads", request.heads.as_deref(), config.n_head)?;
        let range = request.range.resolve("range", len)?;
        if request.samples.len() > MAX_SAMPLES {
            let range = format!("at most {MAX_SAMPLES} positions");
            return Err(Error::option("samples", request.samples.len(), range));
        }
        let samples = request.samples.iter().enumerate();
        let samples: Vec<usize> = samples
            .map(|(index, &at)| from_end(&format!("samples[{index}]"), at, len))
            .collect::<Result<_>>()?;
        let numbers = range.len() + samples.len() * config.head_dim();
        let bytes = bytes_of(&[layers.len(), heads.len(), numbers], 2 * size_of::<f32>());
        check_bytes("range", bytes, "ask for fewer layers, heads or positions")?;
        Ok(Self {
            // Its rows are not looked at, so all that is known is taken.
            reader: Reader::new(setting.model, subject, len)?,
            layers,
            heads,
            range,
            samples,
            n_layer: config.n_layer,
            n_head: config.n_head,
            head_dim: config.head_dim(),
            format: setting.model.kv_format(),
            done: 0,
            statistics: Vec::new(),
            norms: Default::default(),
            sampled: Default::default(),
        })
    }

    /// One past the last position that is looked at.
    fn end(&self) -> usize {
        let samples = self.samples.iter().map(|at| at + 1).max();
        self.range.end.max(samples.unwrap_or(0))
    }

    fn inspect(&mut self, layer: usize) {
        let (keys, values) = self.reader.kv().gather(layer, self.end());
        let n_embd = self.n_head * self.head_dim;
        for index in 0..self.heads.len() {
            let head = self.heads[index];
            let mut of_both = Vec::new();
            for (kind, numbers) in [&keys, &values].into_iter().enumerate() {
                let at = |position: usize| {
                    &numbers[position * n_embd + head * self.head_dim..][..self.head_dim]
                };
                let norms = &mut self.norms[kind];
                of_both.push(statistics(self.range.clone().map(at), norms));
                for &position in &self.samples {
                    self.sampled[kind].extend(at(position));
                }
            }
            self.statistics.push(json!({
                "layer": layer,
                "head": head,
                "keys": of_both[0],
                "values": of_both[1],
            }));
        }
    }
}

/// Of vectors, whose norms are appended to `norms`.
fn statistics<'a>(vectors: impl Iterator<Item = &'a [f32]>, norms: &mut Vec<f32>) -> Statistics {
    let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
    let (mut sum, mut squares, mut norm_sum) = (0.0, 0.0, 0.0);
    let (mut count, mut vectors_seen) = (0.0, 0.0);
    for vector in vectors {
        let mut square = 0.0;
        for &number in vector {
            (min, max) = (min.min(number), max.max(number));
            sum += f64::from(number);
            square += f64::from(number) * f64::from(number);
            count += 1.0;
        }
        squares += square;
        norms.push(square.sqrt() as f32);
        norm_sum += square.sqrt();
        vectors_seen += 1.0;
    }
    Statistics {
        min,
        max,
        mean: sum / count,
        rms: (squares / count).sqrt(),
        mean_norm: norm_sum / vectors_seen,
    }
}

impl Analysis for KvInspection {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        self.reader.begin(bench);
        let end = self.end();
        if self.reader.position() < end {
            self.reader.step(bench, end, |_| false, Taps::default())?;
            if self.reader.position() == end {
                self.reader.keep(bench);
            }
            return Ok(());
        }
        self.inspect(self.layers[self.done]);
        self.done += 1;
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        let end = self.end();
        let done = self.reader.position().min(end) + self.done;
        AnalysisProgress::new(done, end + self.layers.len())
    }

    fn is_finished(&self) -> bool {
        self.done == self.layers.len()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let kv = self.reader.kv();
        let blocks = kv.blocks().len();
        let result = AnalysisResult::new(json!({
            "dtype": match self.format {
                KvFormat::F32 => "f32",
                KvFormat::Q8 => "q8",
            },
            "nLayer": self.n_layer,
            "nHead": self.n_head,
            "headDim": self.head_dim,
            "layers": self.layers,
            "heads": self.heads,
            "range": { "start": self.range.start, "end": self.range.end },
            "samples": self.samples,
            "positions": kv.len(),
            "blocks": blocks,
            "blockTokens": BLOCK_TOKENS,
            "blockBytes": kv.block_bytes(),
            "bytes": kv.bytes(),
            "tokensEvaluated": self.reader.evaluated(),
            "statistics": self.statistics,
        }))?;
        let shape = [self.layers.len(), self.heads.len(), self.range.len()];
        let [key_norms, value_norms] = self.norms;
        let result = result
            .with("keyNorms", &shape, ArrayData::F32(key_norms))
            .with("valueNorms", &shape, ArrayData::F32(value_norms));
        if self.samples.is_empty() {
            return Ok(result);
        }
        let shape = [shape[0], shape[1], self.samples.len(), self.head_dim];
        let [keys, values] = self.sampled;
        Ok(result.with("keys", &shape, ArrayData::F32(keys)).with(
            "values",
            &shape,
            ArrayData::F32(values),
        ))
    }
}

#[cfg(test)]
#[path = "kv_tests.rs"]
mod tests;
