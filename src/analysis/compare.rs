//! Two texts side by side, or one text under two sets of sampling options: where
//! they part, and how differently they predict from there on.

use super::processing::{Processing, prompt_tokens};
use super::scores::{Scorer, piece};
use super::{
    Analysis, AnalysisProgress, AnalysisResult, Bench, Reader, Setting, Subject, TokenRange,
    exactly,
};
use crate::error::{Error, Result};
use crate::generate::log_prob::rank;
use crate::generate::{Comparison, GenerateOptions};
use crate::model::{BlockName, Taps};
use crate::state::diff::{equal_after_difference, shared_prefix};
use crate::state::state_diff::Distributions;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::rc::Rc;

/// Rows whose distributions are processed in a step: each costs two passes over
/// the vocabulary for every processor.
const ROWS: usize = 8;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CompareRequest {
    /// Which tokens; of two texts, of the first. Default: all.
    pub range: TokenRange,
    /// With one text: two sets of sampling options.
    pub options: Option<(GenerateOptions, GenerateOptions)>,
    /// With one text: how many tokens are its prompt. Default: those before the
    /// range, at least one.
    pub prompt_tokens: Option<usize>,
}

/// A comparison of two texts, or of one text under two sets of options.
///
/// Errors: `invalid-option`, `invalid-argument`, `context-overflow`,
/// `no-tokenizer`.
pub fn begin(
    request: CompareRequest,
    setting: &Setting,
    subjects: Vec<Subject>,
) -> Result<Box<dyn Analysis>> {
    match (subjects.len(), request.options) {
        (1, Some(options)) => {
            let [subject] = exactly(subjects)?;
            let (range, prompt) = (request.range, request.prompt_tokens);
            let compared = ComparedOptions::new(options, range, prompt, setting, subject)?;
            Ok(Box::new(compared))
        }
        (2, None) => {
            if let Some(count) = request.prompt_tokens {
                let range = "absent with two texts";
                return Err(Error::option("promptTokens", count, range));
            }
            let compared = ComparedTexts::new(request.range, setting, exactly(subjects)?)?;
            Ok(Box::new(compared))
        }
        (count, options) => {
            let options = if options.is_some() { "" } else { "no " };
            let reason = format!(
                "{count} with {options}`options`; two texts are compared without, one with them"
            );
            Err(Error::argument("inputs", reason))
        }
    }
}

/// Two texts.
struct ComparedTexts {
    comparison: Comparison,
    roots: Vec<BlockName>,
    begun: bool,
    first_divergence: Option<usize>,
    shared_tokens: usize,
    tokenizer: Option<Rc<Tokenizer>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TextsValue {
    /// Index of the first token that differs; `null` where none does.
    first_divergence: Option<usize>,
    /// Length of the common beginning, in tokens.
    shared_tokens: usize,
    #[serde(flatten)]
    distributions: Distributions,
    tokens_evaluated: u32,
}

impl ComparedTexts {
    fn new(range: TokenRange, setting: &Setting, [a, b]: [Subject; 2]) -> Result<Self> {
        let range = range.resolve("range", a.tokens.len())?;
        let tokenizer = setting.tokenizer.cloned();
        let shared_tokens = shared_prefix(&a.tokens, &b.tokens);
        let same = a.tokens == b.tokens;
        let mut pairs = equal_after_difference(&a.tokens, &b.tokens, tokenizer.as_deref());
        pairs.retain(|(place, _)| range.contains(place));
        let roots = [a.root, b.root].into_iter().flatten().collect();
        let texts = [a.tokens, b.tokens];
        Ok(Self {
            comparison: Comparison::new(setting.model, texts, &pairs)?,
            roots,
            begun: false,
            first_divergence: (!same).then_some(shared_tokens),
            shared_tokens,
            tokenizer,
        })
    }

    fn roots(&self) -> Option<[BlockName; 2]> {
        self.roots.as_slice().try_into().ok()
    }
}

impl Analysis for ComparedTexts {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        let roots = self.roots();
        if let (false, Some(roots)) = (self.begun, roots) {
            self.comparison.take_known(bench.blocks, roots);
        }
        self.begun = true;
        let rows = self.comparison.rows();
        let count = rows.tokens.len();
        let output = bench.model.forward(&mut [rows], Taps::default())?.pop();
        let logits = output.unwrap_or_default().logits;
        self.comparison.accept(&logits, count);
        if let (true, true, Some(roots)) = (self.is_finished(), bench.model.is_exact(), roots) {
            self.comparison.keep_known(bench.blocks, roots);
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        let (done, total) = self.comparison.progress();
        AnalysisProgress::new(done, total)
    }

    fn is_finished(&self) -> bool {
        self.comparison.is_finished()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let result = self.comparison.result();
        AnalysisResult::new(TextsValue {
            first_divergence: self.first_divergence,
            shared_tokens: self.shared_tokens,
            tokens_evaluated: result.tokens_evaluated,
            distributions: Distributions::new(result, self.tokenizer.as_deref()),
        })
    }
}

/// How a token fares under two sets of options.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    index: usize,
    id: u32,
    piece: String,
    /// KL(a || b) of the processed distributions, in nats; `null` where it is
    /// infinite, since `b` rules out what `a` does not.
    kl: Option<f64>,
    /// Jensen-Shannon divergence, in nats: from 0 to ln 2.
    js: f64,
    /// The token's log-probability and rank in each; `null` where it is ruled
    /// out.
    logprob_a: Option<f64>,
    logprob_b: Option<f64>,
    rank_a: Option<u32>,
    rank_b: Option<u32>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct OptionsValue {
    /// Index of the first token whose distributions differ; `null` where none
    /// does.
    first_divergence: Option<usize>,
    positions: Vec<Place>,
    /// `null` where one of them is.
    mean_kl: Option<f64>,
    mean_js: f64,
    tokens_evaluated: usize,
}

/// One text under two sets of options.
struct ComparedOptions {
    reader: Reader,
    range: Range<usize>,
    processing: [Processing; 2],
    value: OptionsValue,
}

impl ComparedOptions {
    fn new(
        (a, b): (GenerateOptions, GenerateOptions),
        range: TokenRange,
        prompt: Option<usize>,
        setting: &Setting,
        subject: Subject,
    ) -> Result<Self> {
        let mut range = range.resolve("range", subject.tokens.len())?;
        // Nothing predicts a first token.
        range.start = range.start.max(1);
        if range.is_empty() {
            let reason = "needs a token with one before it";
            return Err(Error::argument("range", reason));
        }
        let prompt_len = prompt_tokens(prompt, range.start)?;
        let processing = [
            Processing::new(setting, "options[0]", &a, prompt_len)?,
            Processing::new(setting, "options[1]", &b, prompt_len)?,
        ];
        Ok(Self {
            reader: Reader::new(setting.model, subject, range.start - 1)?,
            range,
            processing,
            value: OptionsValue::default(),
        })
    }

    fn compare(
        &mut self,
        index: usize,
        logits: &[f32],
        tokenizer: Option<&Tokenizer>,
    ) -> Result<()> {
        let tokens = self.reader.tokens();
        let id = tokens[index];
        let mut scorer = Scorer::default();
        let mut sides = Vec::new();
        for processing in &mut self.processing {
            let scores = processing.process(&tokens[..index], logits);
            let log_sum = scorer.distribution(&scores)?.log_sum;
            sides.push((scores, log_sum));
        }
        let (a, b) = (&sides[0], &sides[1]);
        let (kl, js) = divergences((&a.0, a.1), (&b.0, b.1));
        let of = |(scores, log_sum): &(Vec<f32>, f64)| {
            let score = scores.get(id as usize).copied();
            let left = score.filter(|&score| score > f32::NEG_INFINITY);
            left.map(|score| (f64::from(score) - log_sum, rank(scores, id)))
        };
        let (of_a, of_b) = (of(a), of(b));
        if js > 0.0 {
            self.value.first_divergence.get_or_insert(index);
        }
        self.value.positions.push(Place {
            index,
            id,
            piece: piece(tokenizer, id),
            kl: Some(kl).filter(|kl| kl.is_finite()),
            js,
            logprob_a: of_a.map(|(logprob, _)| logprob),
            logprob_b: of_b.map(|(logprob, _)| logprob),
            rank_a: of_a.map(|(_, rank)| rank),
            rank_b: of_b.map(|(_, rank)| rank),
        });
        Ok(())
    }
}

/// KL(a || b) and the Jensen-Shannon divergence (J. Lin, "Divergence Measures
/// Based on the Shannon Entropy", 1991) of two rows of scores, each with the
/// logarithm of its sum; in nats, never below 0.
fn divergences(a: (&[f32], f64), b: (&[f32], f64)) -> (f64, f64) {
    let (mut kl, mut js) = (0.0, 0.0);
    for (&score_a, &score_b) in a.0.iter().zip(b.0) {
        let (log_a, log_b) = (f64::from(score_a) - a.1, f64::from(score_b) - b.1);
        if log_a == log_b {
            continue;
        }
        let (p, q) = (libm::exp(log_a), libm::exp(log_b));
        let log_mean = libm::log((p + q) / 2.0);
        if p > 0.0 {
            kl += p * (log_a - log_b);
            js += p * (log_a - log_mean) / 2.0;
        }
        if q > 0.0 {
            js += q * (log_b - log_mean) / 2.0;
        }
    }
    // Rounding of tens of thousands of terms can end below.
    (kl.max(0.0), js.clamp(0.0, std::f64::consts::LN_2))
}

impl Analysis for ComparedOptions {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        self.reader.begin(bench);
        let range = self.range.clone();
        let asks = |row: usize| range.contains(&(row + 1));
        // Before the range nothing is processed.
        let end = match self.reader.position() {
            at if at + 1 < range.start => range.start - 1,
            at => (at + ROWS).min(range.end - 1),
        };
        let chunk = self.reader.step(bench, end, asks, Taps::default())?;
        for (row, logits) in chunk.logits() {
            self.compare(row + 1, logits, bench.tokenizer)?;
        }
        if self.is_finished() {
            self.reader.keep(bench);
        }
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.reader.position(), self.range.end - 1)
    }

    fn is_finished(&self) -> bool {
        self.reader.position() >= self.range.end - 1
    }

    fn result(mut self: Box<Self>) -> Result<AnalysisResult> {
        let places = &self.value.positions;
        let count = places.len() as f64;
        let kl: Option<f64> = places.iter().map(|place| place.kl).sum();
        let js: f64 = places.iter().map(|place| place.js).sum();
        self.value.mean_kl = kl.map(|kl| kl / count);
        self.value.mean_js = js / count;
        self.value.tokens_evaluated = self.reader.evaluated();
        AnalysisResult::new(self.value)
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
