//! Which tokens of a text a prediction rests on: by how much it becomes less
//! likely when each is left out.
//!
//! Input attribution by erasure (J. Li, W. Monroe and D. Jurafsky,
//! "Understanding Neural Networks through Representation Erasure", 2016); no
//! gradients are needed. Leaving a token out moves what follows by a position,
//! which a model of absolute positions feels; a replacement keeps positions and
//! puts a token of little meaning there. Neither is the truth, so both are
//! offered.

use super::ablation::{Ablation, AblationPlan, Replacement};
use super::range::place;
use super::scores::piece;
use super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Setting, Subject, TokenRange,
    exactly,
};
use crate::error::{Error, Result};
use crate::model::forward::check_tokens;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::rc::Rc;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaveOneOutRequest {
    /// Which tokens are left out, one at a time. Default: all before the target,
    /// or all but the last.
    pub range: Option<TokenRange>,
    /// The place of the token that is looked at; the text's number of tokens is
    /// the place after its end, which needs `token`. Default: with `token` that
    /// place, else all of the text's tokens together.
    pub target: Option<i64>,
    /// The token to look at in that place. Default: the text's own.
    pub token: Option<u32>,
    /// Default: `remove`.
    pub replacement: Replacement,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    tokens: Vec<LeftOut>,
    /// `null` where the whole text is looked at.
    target: Option<Target>,
    /// Of the target, or of all tokens after the first of the text, with nothing
    /// left out; in nats.
    logprob: f64,
    tokens_evaluated: usize,
}

#[derive(Clone, Serialize)]
struct Target {
    index: usize,
    id: u32,
    piece: String,
}

/// A token that was left out.
#[derive(Serialize)]
struct LeftOut {
    index: usize,
    id: u32,
    piece: String,
    /// By how many nats what is looked at becomes less likely; negative where it
    /// becomes likelier. `null` where nothing is left to predict it from.
    change: Option<f64>,
}

/// An attribution in work.
pub struct LeaveOneOut {
    ablation: Ablation,
    tokens: Vec<u32>,
    range: Range<usize>,
    target: Option<Target>,
    scored: usize,
    tokenizer: Option<Rc<Tokenizer>>,
}

impl LeaveOneOut {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`,
    /// `invalid-argument`.
    pub fn new(
        request: LeaveOneOutRequest,
        setting: &Setting,
        subjects: Vec<Subject>,
    ) -> Result<Self> {
        let [mut subject] = exactly(subjects)?;
        let len = subject.tokens.len();
        let target = match (request.target, request.token) {
            (None, None) => None,
            (None, Some(_)) => Some(len),
            (Some(at), Some(_)) if usize::try_from(at) == Ok(len) => Some(len),
            (Some(at), _) => Some(place("target", at, len)?),
        };
        let ends = target.unwrap_or(len - 1);
        if ends == 0 {
            return Err(match target {
                Some(_) => Error::option("target", 0, "a token with one before it"),
                None => Error::argument("input", "has one token, two are needed"),
            });
        }
        let scored = match target {
            // Nothing predicts the first.
            None => 1..len,
            Some(at) => {
                let id = request.token.unwrap_or_else(|| subject.tokens[at]);
                check_tokens(&[id], setting.model.config().vocab_size)?;
                subject.tokens.truncate(at);
                subject.tokens.push(id);
                at..at + 1
            }
        };
        let range = request.range.unwrap_or_default().resolve("range", ends)?;
        let tokenizer = setting.tokenizer.cloned();
        let target = target.map(|index| Target {
            index,
            id: subject.tokens[index],
            piece: piece(tokenizer.as_deref(), subject.tokens[index]),
        });
        let plan = AblationPlan {
            replacement: request.replacement.token(setting)?,
            range: range.clone(),
            scored: scored.clone(),
            subject: subject.clone(),
        };
        Ok(Self {
            ablation: Ablation::new(plan, setting.model)?,
            tokens: subject.tokens,
            range,
            target,
            scored: scored.len(),
            tokenizer,
        })
    }
}

impl Analysis for LeaveOneOut {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        self.ablation.step(bench)
    }

    fn progress(&self) -> AnalysisProgress {
        let (done, total) = self.ablation.progress();
        AnalysisProgress::new(done, total)
    }

    fn is_finished(&self) -> bool {
        self.ablation.is_finished()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let rows = self.ablation.changes().chunks_exact(self.scored);
        let sums = rows.map(|row| {
            let known = row.iter().filter(|change| !change.is_nan());
            let sum: f64 = known.clone().map(|&change| f64::from(change)).sum();
            (known.count() > 0).then_some(sum)
        });
        let changes: Vec<Option<f64>> = sums.collect();
        let tokens = self.range.clone().zip(&changes).map(|(index, &change)| {
            let id = self.tokens[index];
            LeftOut {
                index,
                id,
                piece: piece(self.tokenizer.as_deref(), id),
                change,
            }
        });
        let base = self.ablation.base().iter();
        let value = Value {
            tokens: tokens.collect(),
            target: self.target.clone(),
            logprob: base.filter(|logprob| !logprob.is_nan()).sum(),
            tokens_evaluated: self.ablation.evaluated(),
        };
        let changes = changes.iter().map(|change| change.unwrap_or(f64::NAN));
        let changes = ArrayData::F64(changes.collect());
        Ok(AnalysisResult::new(value)?.with("changes", &[self.range.len()], changes))
    }
}

#[cfg(test)]
#[path = "leave_one_out_tests.rs"]
mod tests;
