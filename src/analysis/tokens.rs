//! How the model expected each token of a text: probability, rank, surprise,
//! and what else it would have taken.

use super::scores::{Expectation, Scorer, check_top, offsets, piece};
use super::{
    Analysis, AnalysisProgress, AnalysisResult, Bench, Reader, Setting, Subject, TokenRange,
    exactly,
};
use crate::error::Result;
use crate::model::Taps;
use serde::{Deserialize, Serialize};
use std::ops::Range;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct TokensRequest {
    /// Which tokens. Default: all.
    pub range: TokenRange,
    /// Most likely alternatives to tell of each, 0 to 100. Default: 0.
    pub top: usize,
}

/// A token as it stands in the text.
#[derive(Serialize)]
struct Told {
    index: usize,
    id: u32,
    /// What it reads by itself.
    piece: String,
    /// Its place in the text, in UTF-16 code units; `null` without a tokenizer.
    start: Option<u32>,
    end: Option<u32>,
    /// `null` for the first token of a text: nothing predicts it.
    expected: Option<Expectation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    tokens: Vec<Told>,
    /// Sum of the log-probabilities, in nats.
    logprob: f64,
    tokens_evaluated: usize,
}

/// Tokens being looked at.
pub struct Tokens {
    reader: Reader,
    range: Range<usize>,
    top: usize,
    scorer: Scorer,
    value: Value,
}

impl Tokens {
    /// Errors: `invalid-option`, `context-overflow`.
    pub fn new(request: TokensRequest, setting: &Setting, subjects: Vec<Subject>) -> Result<Self> {
        let [subject] = exactly(subjects)?;
        let range = request.range.resolve("range", subject.tokens.len())?;
        check_top(request.top)?;
        let tokenizer = setting.tokenizer.map(AsRef::as_ref);
        let offsets = offsets(tokenizer, &subject.tokens);
        let told = |index: usize| {
            let id = subject.tokens[index];
            let offset = offsets.as_ref().map(|offsets| offsets[index]);
            Told {
                index,
                id,
                piece: piece(tokenizer, id),
                start: offset.map(|(start, _)| start),
                end: offset.map(|(_, end)| end),
                expected: None,
            }
        };
        let value = Value {
            tokens: range.clone().map(told).collect(),
            logprob: 0.0,
            tokens_evaluated: 0,
        };
        Ok(Self {
            reader: Reader::new(setting.model, subject, range.start.saturating_sub(1))?,
            range,
            top: request.top,
            scorer: Scorer::default(),
            value,
        })
    }

    /// The last token is told by the row before it.
    fn rows(&self) -> usize {
        self.range.end - 1
    }
}

impl Analysis for Tokens {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        let range = self.range.clone();
        let asks = |position: usize| range.contains(&(position + 1));
        let chunk = self
            .reader
            .step(bench, self.rows(), asks, Taps::default())?;
        for (position, logits) in chunk.logits() {
            let told = &mut self.value.tokens[position + 1 - range.start];
            let expected = self
                .scorer
                .expectation(logits, told.id, self.top, bench.tokenizer)?;
            self.value.logprob += expected.logprob;
            told.expected = Some(expected);
        }
        if self.is_finished() {
            self.reader.keep(bench);
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.reader.position(), self.rows())
    }

    fn is_finished(&self) -> bool {
        self.reader.position() >= self.rows()
    }

    fn result(mut self: Box<Self>) -> Result<AnalysisResult> {
        self.value.tokens_evaluated = self.reader.evaluated();
        AnalysisResult::new(self.value)
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
