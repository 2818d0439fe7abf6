//! How well the model predicts a text, also one that is longer than its
//! context.
//!
//! The text is run in windows that overlap, as in Hugging Face's "Perplexity of
//! fixed-length models": each token is scored once, with at least `window -
//! stride` tokens before it in its window (fewer only where the text has no
//! more). A smaller stride gives more context to each token, and costs more:
//! positions are absolute in GPT-2, so that no window can use another's KV
//! cache.

use super::scores::Scorer;
use super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Reader, Setting, Subject,
    TokenRange, exactly,
};
use crate::error::{Error, Result};
use crate::model::{Model, Taps};
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;
use std::ops::Range;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PerplexityRequest {
    /// Which tokens are scored; those before give context. Default: all.
    pub range: TokenRange,
    /// Tokens of a window, from 2 to the model's positions. Default: all of
    /// them.
    pub window: Option<usize>,
    /// How far a window is from the next, from 1 to `window - 1`. Default: half
    /// a window.
    pub stride: Option<usize>,
    /// Whether the end-of-text token is put before the text, so that its first
    /// token is scored too. Default: no.
    pub bos: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    /// `exp` of the mean surprisal in nats; `null` where nothing is scored.
    perplexity: Option<f64>,
    /// Sum of the log-probabilities, in nats.
    logprob: f64,
    bits_per_token: Option<f64>,
    /// Also `null` without a tokenizer.
    bits_per_byte: Option<f64>,
    tokens_scored: usize,
    /// Bytes of UTF-8 of the scored tokens; `null` without a tokenizer.
    bytes_scored: Option<usize>,
    /// Index of the first scored token: where `logprobs` begins.
    first: usize,
    windows: usize,
    window: usize,
    stride: usize,
    tokens_evaluated: usize,
}

/// A run of the model, and which tokens it scores.
struct Window {
    start: usize,
    scored: Range<usize>,
}

/// A perplexity being computed.
pub struct Perplexity {
    /// With the end-of-text token before it, where it was asked for.
    text: Subject,
    windows: Vec<Window>,
    at: usize,
    reader: Option<Reader>,
    scorer: Scorer,
    scored: Range<usize>,
    logprobs: Vec<f64>,
    bytes: Option<usize>,
    bos: bool,
    window: usize,
    stride: usize,
    done: usize,
    evaluated: usize,
}

impl Perplexity {
    /// Errors: `invalid-option`.
    pub fn new(
        request: PerplexityRequest,
        setting: &Setting,
        subjects: Vec<Subject>,
    ) -> Result<Self> {
        let [mut text] = exactly(subjects)?;
        let config = setting.model.config();
        let window = request.window.unwrap_or(config.n_positions);
        if !(2..=config.n_positions).contains(&window) {
            let range = format!("from 2 to the model's {} positions", config.n_positions);
            return Err(Error::option("window", window, range));
        }
        let stride = request.stride.unwrap_or(window / 2);
        if !(1..window).contains(&stride) {
            let range = format!("from 1 to {}, one less than the window", window - 1);
            return Err(Error::option("stride", stride, range));
        }
        let mut scored = request.range.resolve("range", text.tokens.len())?;
        let tokens = &text.tokens[scored.clone()];
        let bytes = setting.tokenizer.map(|tokenizer| {
            let bytes = |&id: &u32| tokenizer.token_bytes(id).map_or(0, <[u8]>::len);
            // The first token of a text is no more counted than it is scored.
            let unscored = usize::from(scored.start == 0 && !request.bos);
            tokens.iter().skip(unscored).map(bytes).sum()
        });
        if request.bos {
            let eos = config.eos_token_ids.first().ok_or_else(|| {
                Error::option("bos", true, "false: the model has no end-of-text token")
            })?;
            text.tokens.insert(0, *eos);
            scored = scored.start + 1..scored.end + 1;
        }
        scored.start = scored.start.max(1);
        Ok(Self {
            windows: windows(text.tokens.len(), window, stride, &scored),
            logprobs: Vec::with_capacity(scored.len()),
            text,
            at: 0,
            reader: None,
            scorer: Scorer::default(),
            scored,
            bytes,
            bos: request.bos,
            window,
            stride,
            done: 0,
            evaluated: 0,
        })
    }

    fn begin(&self, window: &Window, model: &dyn Model) -> Result<Reader> {
        // The last scored token is told by the row before it.
        let tokens = &self.text.tokens[window.start..window.scored.end - 1];
        let subject = Subject {
            tokens: tokens.to_vec(),
            root: self.text.root,
        };
        Reader::new(model, subject, window.scored.start - 1 - window.start)
    }
}

/// The windows over `len` tokens that score some of `scored`.
fn windows(len: usize, window: usize, stride: usize, scored: &Range<usize>) -> Vec<Window> {
    let mut windows = Vec::new();
    let (mut start, mut done) = (0, 1);
    while done < len {
        let end = len.min(start + window);
        let own = done.max(scored.start)..end.min(scored.end);
        if !own.is_empty() {
            windows.push(Window { start, scored: own });
        }
        done = end;
        start += stride;
    }
    windows
}

impl Window {
    fn rows(&self) -> usize {
        self.scored.end - 1 - self.start
    }
}

impl Analysis for Perplexity {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        let Some(window) = self.windows.get(self.at) else {
            return Ok(());
        };
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.begin(window, bench.model)?,
        };
        let start = window.start;
        let asks = |row: usize| window.scored.contains(&(start + row + 1));
        let chunk = reader.step(bench, window.rows(), asks, Taps::default())?;
        for (row, logits) in chunk.logits() {
            let token = self.text.tokens[start + row + 1];
            self.logprobs.push(self.scorer.logprob(logits, token)?);
        }
        if reader.position() < window.rows() {
            self.reader = Some(reader);
            return Ok(());
        }
        if start == 0 {
            reader.keep(bench);
        }
        self.done += window.rows();
        self.evaluated += reader.evaluated();
        self.at += 1;
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        let now = self.reader.as_ref().map_or(0, Reader::position);
        let total = self.windows.iter().map(Window::rows).sum();
        AnalysisProgress::new(self.done + now, total)
    }

    fn is_finished(&self) -> bool {
        self.at == self.windows.len()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let logprob: f64 = self.logprobs.iter().sum();
        let count = self.logprobs.len();
        let mean = (count > 0).then(|| -logprob / count as f64);
        let bits = -logprob / LN_2;
        let bytes = self.bytes.filter(|&bytes| bytes > 0 && count > 0);
        let value = Value {
            perplexity: mean.map(libm::exp),
            logprob,
            bits_per_token: mean.map(|mean| mean / LN_2),
            bits_per_byte: bytes.map(|bytes| bits / bytes as f64),
            tokens_scored: count,
            bytes_scored: self.bytes,
            first: self.scored.start - usize::from(self.bos),
            windows: self.windows.len(),
            window: self.window,
            stride: self.stride,
            tokens_evaluated: self.evaluated,
        };
        let logprobs = ArrayData::F64(self.logprobs);
        Ok(AnalysisResult::new(value)?.with("logprobs", &[count], logprobs))
    }
}

#[cfg(test)]
#[path = "perplexity_tests.rs"]
mod tests;
