//! What may come after a token: the model's distribution, and what sampling
//! options make of it.

use super::processing::{Processing, prompt_tokens};
use super::range::place;
use super::scores::{Scorer, check_top, piece};
use super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Reader, Setting, Subject, exactly,
};
use crate::error::{Error, Result};
use crate::generate::GenerateOptions;
use crate::generate::generation::likeliest;
use crate::generate::log_prob::rank;
use crate::model::Taps;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DistributionRequest {
    /// The token after which; negative ones count from the end. Default: -1.
    pub position: i64,
    /// Sampling options to process it with. Default: none, the model's alone.
    pub options: Option<GenerateOptions>,
    /// How many tokens count as the prompt, for the options that tell prompt and
    /// output apart. Default: all up to the position.
    pub prompt_tokens: Option<usize>,
    /// Likeliest tokens to tell, 0 to 100. Default: 20.
    pub top: usize,
    /// Whether the whole distributions are told, as arrays. Default: no.
    pub full: bool,
}

impl Default for DistributionRequest {
    fn default() -> Self {
        Self {
            position: -1,
            options: None,
            prompt_tokens: None,
            top: 20,
            full: false,
        }
    }
}

/// A token that may come.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    id: u32,
    piece: String,
    /// In nats.
    logprob: f64,
    rank: u32,
    /// `null` where it is ruled out, or there are no options.
    processed_logprob: Option<f64>,
    processed_rank: Option<u32>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    position: usize,
    /// The token that follows in the text, if one does.
    next: Option<Candidate>,
    /// In nats.
    entropy: f64,
    /// The model's likeliest, best first.
    top: Vec<Candidate>,
    processed: Option<Processed>,
    tokens_evaluated: usize,
}

/// What the options made of the distribution.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Processed {
    /// In nats; `null` where no token is left.
    entropy: Option<f64>,
    /// Tokens that are not ruled out,
    left: usize,
    /// and their share in the model's distribution, from 0 to 1.
    mass: f64,
    /// The likeliest after the options, best first.
    top: Vec<Candidate>,
}

/// A distribution being computed.
pub struct NextDistribution {
    reader: Reader,
    position: usize,
    processing: Option<Processing>,
    top: usize,
    full: bool,
    value: Value,
    arrays: Vec<(&'static str, Vec<f32>)>,
}

impl NextDistribution {
    /// Errors: `invalid-option`, `context-overflow`, `no-tokenizer`.
    pub fn new(
        request: DistributionRequest,
        setting: &Setting,
        subjects: Vec<Subject>,
    ) -> Result<Self> {
        let [subject] = exactly(subjects)?;
        let position = place("position", request.position, subject.tokens.len())?;
        check_top(request.top)?;
        let prompt_len = prompt_tokens(request.prompt_tokens, position + 1)?;
        let processing = match &request.options {
            None if request.prompt_tokens.is_some() => {
                let range = "absent where no `options` are given";
                return Err(Error::option("promptTokens", prompt_len, range));
            }
            None => None,
            Some(options) => Some(Processing::new(setting, "options", options, prompt_len)?),
        };
        Ok(Self {
            reader: Reader::new(setting.model, subject, position)?,
            position,
            processing,
            top: request.top,
            full: request.full,
            value: Value {
                position,
                ..Value::default()
            },
            arrays: Vec::new(),
        })
    }

    fn take(&mut self, logits: &[f32], tokenizer: Option<&Tokenizer>) -> Result<()> {
        let mut scorer = Scorer::default();
        let model = scorer.distribution(logits)?;
        let tokens = self.reader.tokens();
        let scores = self
            .processing
            .as_mut()
            .map(|processing| processing.process(&tokens[..=self.position], logits));
        let drawn = scores
            .as_ref()
            .map(|scores| (scores, scorer.distribution(scores).ok()));
        let candidate = |id: u32| {
            let score = |scores: &[f32]| scores.get(id as usize).copied();
            let left = drawn.as_ref().and_then(|(scores, drawn)| {
                let is_left = score(scores)? > f32::NEG_INFINITY;
                drawn
                    .as_ref()
                    .filter(|_| is_left)
                    .map(|drawn| (scores, drawn))
            });
            Candidate {
                id,
                piece: piece(tokenizer, id),
                logprob: model.log_prob(logits, id),
                rank: rank(logits, id),
                processed_logprob: left.map(|(scores, drawn)| drawn.log_prob(scores, id)),
                processed_rank: left.map(|(scores, _)| rank(scores, id)),
            }
        };
        let list = |scores: &[f32]| {
            likeliest(scores, self.top)
                .into_iter()
                .map(candidate)
                .collect()
        };
        self.value.next = tokens.get(self.position + 1).copied().map(candidate);
        self.value.entropy = model.entropy;
        self.value.top = list(logits);
        self.value.processed = drawn.as_ref().map(|(scores, drawn)| {
            let left = (0u32..).zip(scores.iter());
            let left: Vec<u32> = left
                .filter(|&(_, &score)| score > f32::NEG_INFINITY)
                .map(|(id, _)| id)
                .collect();
            let mass = left.iter().map(|&id| libm::exp(model.log_prob(logits, id)));
            Processed {
                entropy: drawn.as_ref().map(|drawn| drawn.entropy),
                left: left.len(),
                mass: mass.sum::<f64>().min(1.0),
                top: list(scores),
            }
        });
        if self.full {
            let less = |scores: &[f32], log_sum: f64| {
                let scores = scores
                    .iter()
                    .map(|&score| (f64::from(score) - log_sum) as f32);
                scores.collect()
            };
            self.arrays.push(("logprobs", less(logits, model.log_sum)));
            if let Some((scores, Some(drawn))) = &drawn {
                let processed = less(scores, drawn.log_sum);
                self.arrays.push(("processedLogprobs", processed));
            }
        }
        Ok(())
    }
}

impl Analysis for NextDistribution {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        let position = self.position;
        let asks = |row: usize| row == position;
        let chunk = self
            .reader
            .step(bench, position + 1, asks, Taps::default())?;
        if let Some((_, logits)) = chunk.logits().next() {
            self.take(logits, bench.tokenizer)?;
            self.reader.keep(bench);
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.reader.position(), self.position + 1)
    }

    fn is_finished(&self) -> bool {
        self.reader.position() > self.position
    }

    fn result(mut self: Box<Self>) -> Result<AnalysisResult> {
        self.value.tokens_evaluated = self.reader.evaluated();
        let mut result = AnalysisResult::new(self.value)?;
        for (name, data) in self.arrays {
            result = result.with(name, &[data.len()], ArrayData::F32(data));
        }
        Ok(result)
    }
}

#[cfg(test)]
#[path = "distribution_tests.rs"]
mod tests;
