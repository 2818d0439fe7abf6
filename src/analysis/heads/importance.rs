//! How much a text's likelihood loses without a head (P. Michel, O. Levy and
//! G. Neubig, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650).
//!
//! The text is run once as it is, then once without each head, whose output
//! before `c_proj` is replaced by zero or by its mean over the text's positions.
//! The mean takes away what a head says about a position and leaves what it
//! says always, so it is the fairer question and zero the harsher.
//!
//! `change` is the log-likelihood without the head less that with it, in nats:
//! a head that is needed has a negative one. Heads are taken out one at a time;
//! two that stand in for each other both look unimportant.

use super::super::reader::Reader;
use super::super::selection::chosen;
use super::super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Chunk, Setting, Subject,
    TokenRange,
};
use crate::error::{Error, Result};
use crate::generate::generation::check_text;
use crate::generate::log_prob::log_sum_exp;
use crate::model::{Ablation, Layers, Model, Replacement, Taps};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::ops::Range;
use std::sync::Arc;

/// What replaces a head's output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Zero,
    #[default]
    Mean,
}

/// Options of [`Importance`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportanceRequest {
    /// Default: all.
    pub layers: Option<Vec<usize>>,
    /// Default: all.
    pub heads: Option<Vec<usize>>,
    /// What replaces a head's output. Default: `"mean"`.
    pub method: Method,
    /// Tokens whose log-probabilities count; the first token has none. Default:
    /// all.
    pub range: TokenRange,
}

/// Importance of heads: f64 `change` `[layers, heads]`, in nats, and `ranking`,
/// all heads from the one that is missed most. Time: the text is run once more
/// than there are heads.
pub struct Importance {
    reader: Reader,
    subject: Subject,
    layers: Vec<usize>,
    heads: Vec<usize>,
    method: Method,
    /// Tokens that are scored.
    scored: Range<usize>,
    /// Sums of the heads' outputs, `[layers][n_embd]`.
    outputs: Vec<Vec<f64>>,
    /// Of the run in work.
    log_likelihood: f64,
    baseline: Option<f64>,
    /// Of the heads that are done.
    changes: Vec<f64>,
    rows: usize,
    evaluated: usize,
}

impl Importance {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`.
    pub fn new(request: ImportanceRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        let config = setting.model.config();
        check_text(&subject.tokens, setting.model)?;
        let layers = chosen("layers", request.layers.as_deref(), config.n_layer)?;
        let heads = chosen("heads", request.heads.as_deref(), config.n_head)?;
        let range = request.range.resolve("range", subject.tokens.len())?;
        let scored = range.start.max(1)..range.end;
        if scored.is_empty() {
            let given = format!("{} to {}", range.start, range.end);
            return Err(Error::option(
                "range",
                given,
                "a range with a token that another comes before",
            ));
        }
        Ok(Self {
            // All rows: the means are over every position.
            reader: Reader::new(setting.model, subject.clone(), 0)?,
            subject,
            outputs: vec![vec![0.0; config.n_embd]; layers.len()],
            layers,
            heads,
            method: request.method,
            scored,
            log_likelihood: 0.0,
            baseline: None,
            changes: Vec::new(),
            rows: 0,
            evaluated: 0,
        })
    }

    fn passes(&self) -> usize {
        1 + self.layers.len() * self.heads.len()
    }

    /// The last token is run for nothing but the mean of heads.
    fn end(&self) -> usize {
        match (self.baseline, self.method) {
            (None, Method::Mean) => self.subject.tokens.len(),
            _ => self.scored.end - 1,
        }
    }

    fn total(&self) -> usize {
        let first = match self.method {
            Method::Mean => self.subject.tokens.len(),
            Method::Zero => self.scored.end - 1,
        };
        first + (self.passes() - 1) * (self.scored.end - 1)
    }

    fn take(&mut self, chunk: &Chunk) {
        for (position, logits) in chunk.logits() {
            let next = self.subject.tokens[position + 1] as usize;
            self.log_likelihood += f64::from(logits[next]) - log_sum_exp(logits);
        }
        for (sums, layer) in self.outputs.iter_mut().zip(&chunk.output.contexts) {
            for row in layer.chunks_exact(sums.len()) {
                for (sum, &number) in sums.iter_mut().zip(row) {
                    *sum += f64::from(number);
                }
            }
        }
        self.rows += chunk.count;
        self.evaluated += chunk.count;
    }

    /// What replaces the head of that number among those in question.
    fn without(&self, number: usize, model: &dyn Model) -> Result<Option<Arc<Ablation>>> {
        let (layer, head) = (
            number / self.heads.len(),
            self.heads[number % self.heads.len()],
        );
        let replacement = match self.method {
            Method::Zero => Replacement::Zero,
            Method::Mean => {
                let head_dim = model.config().head_dim();
                let sums = &self.outputs[layer][head * head_dim..][..head_dim];
                let count = self.subject.tokens.len() as f64;
                Replacement::Mean(sums.iter().map(|sum| (sum / count) as f32).collect())
            }
        };
        let heads = [(self.layers[layer], head, replacement)];
        Ok(Ablation::new(model.config(), heads)?.map(Arc::new))
    }

    /// Ends the run in work and begins the next.
    fn next(&mut self, bench: &mut Bench) -> Result<()> {
        match self.baseline {
            None => {
                self.reader.keep(bench);
                self.baseline = Some(self.log_likelihood);
            }
            Some(baseline) => self.changes.push(self.log_likelihood - baseline),
        }
        self.log_likelihood = 0.0;
        if !self.is_finished() {
            let ablation = self.without(self.changes.len(), bench.model)?;
            let reader = Reader::new(bench.model, self.subject.clone(), 0)?;
            self.reader = reader.ablated(ablation);
        }
        Ok(())
    }
}

impl Analysis for Importance {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        let taps = match (self.baseline, self.method) {
            (None, Method::Mean) => Taps {
                contexts: Layers::from_iter(self.layers.iter().copied()),
                ..Taps::default()
            },
            _ => Taps::default(),
        };
        let scored = self.scored.clone();
        let asks = |position| scored.contains(&(position + 1));
        let end = self.end();
        let chunk = self.reader.step(bench, end, asks, taps)?;
        self.take(&chunk);
        if self.reader.position() == end {
            self.next(bench)?;
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.rows, self.total())
    }

    fn is_finished(&self) -> bool {
        self.baseline.is_some() && self.changes.len() + 1 == self.passes()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let changes = &self.changes;
        let mut order: Vec<usize> = (0..changes.len()).collect();
        order.sort_by(|&a, &b| changes[a].total_cmp(&changes[b]));
        let scored = self.scored.len();
        let ranking: Vec<_> = order
            .into_iter()
            .map(|at| {
                json!({
                    "layer": self.layers[at / self.heads.len()],
                    "head": self.heads[at % self.heads.len()],
                    "change": changes[at],
                    "changePerToken": changes[at] / scored as f64,
                })
            })
            .collect();
        let result = AnalysisResult::new(json!({
            "layers": self.layers,
            "heads": self.heads,
            "method": self.method,
            "range": { "start": self.scored.start, "end": self.scored.end },
            "logLikelihood": self.baseline,
            "tokensScored": scored,
            "tokensEvaluated": self.evaluated,
            "ranking": ranking,
        }))?;
        let shape = [self.layers.len(), self.heads.len()];
        Ok(result.with("change", &shape, ArrayData::F64(self.changes)))
    }
}
