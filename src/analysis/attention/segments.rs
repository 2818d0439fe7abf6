//! Attention between parts of a text: from an answer to its prompt, or from one
//! parent of a merge to the other.
//!
//! GPT-2 is decoder-only and has no cross-attention. What is called so for a
//! pair of texts is here the part of the self-attention that goes from one
//! segment to another. A segment is any set of positions, in one range or
//! several, and segments may overlap.
//!
//! Of queries `Q` and keys `K`, `mass` is the mean over the queries of the sum
//! of their weights on the keys: over segments that make up the text, a row's
//! masses sum to 1. `meanWeight` is the mean over the pairs in which the query
//! sees the key, so that it does not grow with the segment.

use super::super::selection::{AttentionSource, bytes_of, check_bytes, chosen};
use super::super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Setting, Subject, TokenRange,
};
use crate::error::{Error, Result};
use crate::generate::generation::check_text;
use serde::Deserialize;
use serde_json::json;

/// Most segments.
pub const MAX_SEGMENTS: usize = 64;

/// Positions that count as one part.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Segment {
    /// Told in the result. Default: none.
    pub name: String,
    pub ranges: Vec<TokenRange>,
}

/// Options of [`SegmentAttention`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SegmentsRequest {
    /// 1 to 64.
    pub segments: Vec<Segment>,
    /// Default: all.
    pub layers: Option<Vec<usize>>,
    /// Default: all.
    pub heads: Option<Vec<usize>>,
}

/// Attention between segments. `mass` and `meanWeight` are f64
/// `[layers, heads, segments, segments]`, the segment that looks before the one
/// that is looked at; `pairs` is u32 `[segments, segments]`, in how many pairs
/// the query sees the key. Where there are none, both are 0.
pub struct SegmentAttention {
    source: AttentionSource,
    names: Vec<String>,
    /// Of each segment, whether a position is in it.
    members: Vec<Vec<bool>>,
    /// As in the result, sums over queries and keys.
    sums: Vec<f64>,
}

impl SegmentAttention {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`,
    /// `invalid-argument` for a result over
    /// [`MAX_RESULT_BYTES`](super::super::selection::MAX_RESULT_BYTES).
    pub fn new(request: SegmentsRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        let config = setting.model.config();
        check_text(&subject.tokens, setting.model)?;
        let len = subject.tokens.len();
        let layers = chosen("layers", request.layers.as_deref(), config.n_layer)?;
        let heads = chosen("heads", request.heads.as_deref(), config.n_head)?;
        let count = request.segments.len();
        if count == 0 || count > MAX_SEGMENTS {
            let range = format!("1 to {MAX_SEGMENTS} segments");
            return Err(Error::option("segments", count, range));
        }
        let mut names = Vec::new();
        let mut members = Vec::new();
        let (mut first, mut end) = (len, 0);
        for (index, segment) in request.segments.into_iter().enumerate() {
            let option = format!("segments[{index}].ranges");
            if segment.ranges.is_empty() {
                return Err(Error::option(option, "empty", "one range or more"));
            }
            let mut member = vec![false; len];
            for (at, range) in segment.ranges.iter().enumerate() {
                let range = range.resolve(&format!("{option}[{at}]"), len)?;
                (first, end) = (first.min(range.start), end.max(range.end));
                member[range].fill(true);
            }
            names.push(segment.name);
            members.push(member);
        }
        let shape = [layers.len(), heads.len(), count, count];
        let bytes = bytes_of(&shape, 2 * size_of::<f64>());
        check_bytes("segments", bytes, "ask for fewer layers, heads or segments")?;
        Ok(Self {
            sums: vec![0.0; shape.iter().product()],
            source: AttentionSource::new(setting.model, subject, layers, heads, first..end)?,
            names,
            members,
        })
    }

    /// `[segments, segments]`: pairs in which the query sees the key.
    fn pairs(&self) -> Vec<u32> {
        let mut pairs = Vec::new();
        for queries in &self.members {
            for keys in &self.members {
                let mut seen = 0;
                let mut count = 0;
                for (&is_query, &is_key) in queries.iter().zip(keys) {
                    seen += u32::from(is_key);
                    count += if is_query { seen } else { 0 };
                }
                pairs.push(count);
            }
        }
        pairs
    }
}

impl Analysis for SegmentAttention {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        let Some(chunk) = self.source.step(bench)? else {
            return Ok(());
        };
        let count = self.members.len();
        for layer in 0..self.source.layers.len() {
            for (index, &head) in self.source.heads.iter().enumerate() {
                let at = (layer * self.source.heads.len() + index) * count * count;
                let sums = &mut self.sums[at..at + count * count];
                for query in chunk.queries() {
                    let row = chunk.row(layer, head, query);
                    for (to, keys) in self.members.iter().enumerate() {
                        let on_keys = row.iter().zip(keys).filter(|(_, is_key)| **is_key);
                        let mass: f64 = on_keys.map(|(&weight, _)| f64::from(weight)).sum();
                        for (from, queries) in self.members.iter().enumerate() {
                            if queries[query] {
                                sums[from * count + to] += mass;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.source.position(), self.source.queries.end)
    }

    fn is_finished(&self) -> bool {
        self.source.is_finished()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let count = self.members.len();
        let pairs = self.pairs();
        let lengths: Vec<usize> = self
            .members
            .iter()
            .map(|member| member.iter().filter(|is_in| **is_in).count())
            .collect();
        let (mut mass, mut mean_weight) = (Vec::new(), Vec::new());
        for (index, &sum) in self.sums.iter().enumerate() {
            let pair = index % (count * count);
            mass.push(sum / lengths[pair / count] as f64);
            mean_weight.push(sum / f64::from(pairs[pair].max(1)));
        }
        let shape = [
            self.source.layers.len(),
            self.source.heads.len(),
            count,
            count,
        ];
        let result = AnalysisResult::new(json!({
            "layers": self.source.layers,
            "heads": self.source.heads,
            "segments": self.names.iter().zip(&lengths)
                .map(|(name, length)| json!({ "name": name, "tokens": length }))
                .collect::<Vec<_>>(),
            "tokensEvaluated": self.source.evaluated(),
        }))?;
        Ok(result
            .with("mass", &shape, ArrayData::F64(mass))
            .with("meanWeight", &shape, ArrayData::F64(mean_weight))
            .with("pairs", &[count, count], ArrayData::U32(pairs)))
    }
}
