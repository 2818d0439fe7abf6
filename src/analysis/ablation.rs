//! A text without one of its tokens, for each of some tokens: what that does to
//! how the tokens after it are expected.
//!
//! The text is run once as it stands; each variant begins with its KV cache up
//! to the token that is left out, since attention looks back only. Tokens before
//! it cannot change and are not run.

use super::result::zeros;
use super::scores::Scorer;
use super::{Bench, Reader, Setting, Subject};
use crate::error::{Error, Result};
use crate::generate::generation::PREFILL_CHUNK;
use crate::model::{KvCache, LogitRows, Model, Rows, Taps};
use serde::Deserialize;
use std::ops::Range;

/// Most bytes that the changes may take.
pub const MAX_CHANGES_BYTES: usize = 64 << 20;

/// What takes the place of a token that is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Replacement {
    /// Nothing: what follows moves up by a position.
    #[default]
    Remove,
    /// The end-of-text token.
    Eos,
    /// The token of a space.
    Space,
}

impl Replacement {
    /// The token; `None` where there is to be none. Error: `invalid-option`
    /// where the model has no such token.
    pub fn token(self, setting: &Setting) -> Result<Option<u32>> {
        let refused = |value: &str| {
            let range = "\"remove\": the model has no such token";
            Error::option("replacement", format!("{value:?}"), range)
        };
        match self {
            Self::Remove => Ok(None),
            Self::Eos => match setting.model.config().eos_token_ids.first() {
                Some(&eos) => Ok(Some(eos)),
                None => Err(refused("eos")),
            },
            Self::Space => {
                let encoding = setting.tokenizer.map(|t| t.encode(" ", false));
                match encoding.transpose()?.map(|encoding| encoding.ids) {
                    Some(ids) if ids.len() == 1 => Ok(ids.first().copied()),
                    _ => Err(refused("space")),
                }
            }
        }
    }
}

/// What is left out of what, and what is looked at.
pub struct AblationPlan {
    pub subject: Subject,
    /// Each of these is left out once.
    pub range: Range<usize>,
    pub replacement: Option<u32>,
    /// Tokens whose log-probabilities are looked at. The last is not run.
    pub scored: Range<usize>,
}

/// An ablation in work.
pub struct Ablation {
    tokens: Vec<u32>,
    range: Range<usize>,
    replacement: Option<u32>,
    scored: Range<usize>,
    reader: Reader,
    scorer: Scorer,
    /// Of the text as it stands, in nats; NaN for the first token of a text.
    base: Vec<f64>,
    /// `[range, scored]`: what a token loses in log-probability.
    changes: Vec<f32>,
    /// The variant in work, as an index in `range`.
    at: usize,
    variant: Option<Variant>,
    evaluated: usize,
    done: usize,
}

struct Variant {
    kv: KvCache,
    tokens: Vec<u32>,
}

impl Ablation {
    /// Errors: `context-overflow`; `invalid-argument` for more than
    /// [`MAX_CHANGES_BYTES`].
    pub fn new(plan: AblationPlan, model: &dyn Model) -> Result<Self> {
        let AblationPlan {
            subject,
            range,
            replacement,
            scored,
        } = plan;
        let count = range.len().saturating_mul(scored.len());
        let bytes = count.saturating_mul(size_of::<f32>());
        if bytes > MAX_CHANGES_BYTES {
            let (rows, columns) = (range.len(), scored.len());
            return Err(Error::argument(
                "range",
                format!(
                    "{rows} tokens left out, {columns} looked at are {bytes} bytes, the limit is {MAX_CHANGES_BYTES}"
                ),
            ));
        }
        let rows = scored.end - 1;
        let run = Subject {
            tokens: subject.tokens[..rows].to_vec(),
            root: subject.root,
        };
        Ok(Self {
            reader: Reader::new(model, run, scored.start.saturating_sub(1))?,
            tokens: subject.tokens,
            range,
            replacement,
            base: vec![f64::NAN; scored.len()],
            changes: zeros(count, "for the changes of log-probabilities")?,
            scored,
            scorer: Scorer::default(),
            at: 0,
            variant: None,
            evaluated: 0,
            done: 0,
        })
    }

    /// Rows of the text as it stands: its last token is only looked at.
    fn base_rows(&self) -> usize {
        self.scored.end - 1
    }

    /// Where the rows of a variant begin that have to be run, and where they
    /// end. Without a replacement the row before the gap tells another token
    /// than it did, and is run again.
    fn rows(&self, left_out: usize) -> Range<usize> {
        if left_out >= self.base_rows() {
            return 0..0;
        }
        match self.replacement {
            Some(_) => left_out..self.base_rows(),
            None => left_out.saturating_sub(1)..self.base_rows() - 1,
        }
    }

    /// The place in the text of the token that follows a row of a variant.
    fn told_by(&self, left_out: usize, row: usize) -> usize {
        match self.replacement {
            Some(_) => row + 1,
            None if row + 1 < left_out => row + 1,
            None => row + 2,
        }
    }

    pub fn step(&mut self, bench: &mut Bench) -> Result<()> {
        if self.reader.position() < self.base_rows() {
            return self.step_base(bench);
        }
        self.step_variant(bench)
    }

    fn step_base(&mut self, bench: &mut Bench) -> Result<()> {
        let scored = self.scored.clone();
        let asks = |row: usize| scored.contains(&(row + 1));
        let rows = self.base_rows();
        let chunk = self.reader.step(bench, rows, asks, Taps::default())?;
        for (row, logits) in chunk.logits() {
            let token = self.tokens[row + 1];
            self.base[row + 1 - scored.start] = self.scorer.logprob(logits, token)?;
        }
        if self.reader.position() == rows {
            self.reader.keep(bench);
        }
        Ok(())
    }

    fn step_variant(&mut self, bench: &mut Bench) -> Result<()> {
        let left_out = self.range.start + self.at;
        let rows = self.rows(left_out);
        let mut variant = match self.variant.take() {
            Some(variant) => variant,
            None => self.begin_variant(left_out, &rows, bench.model),
        };
        if rows.is_empty() {
            // Only the token left out could have told what follows it.
            for place in self.scored.clone().filter(|&place| place > left_out) {
                self.set(place, f64::NAN);
            }
            self.end_variant(0);
            return Ok(());
        }
        let start = variant.kv.len();
        let end = rows.end.min(start + PREFILL_CHUNK);
        let told = |row: usize| self.told_by(left_out, row);
        let asked: Vec<usize> = (start..end)
            .filter(|&row| told(row) > left_out && self.scored.contains(&told(row)))
            .collect();
        let asked_rows: Vec<usize> = asked.iter().map(|row| row - start).collect();
        let batch = &mut [Rows {
            kv: &mut variant.kv,
            tokens: &variant.tokens[start..end],
            logits: LogitRows::At(&asked_rows),
        }];
        let output = bench.model.forward(batch, Taps::default())?.pop();
        let logits = output.unwrap_or_default().logits;
        self.evaluated += end - start;
        let width = bench.model.config().vocab_size;
        for (row, logits) in asked.into_iter().zip(logits.chunks_exact(width)) {
            let place = self.told_by(left_out, row);
            let without = self.scorer.logprob(logits, self.tokens[place])?;
            self.set(place, self.base[place - self.scored.start] - without);
        }
        if end == rows.end {
            if left_out == 0 && self.replacement.is_none() && self.scored.contains(&1) {
                // It has become the first of its text.
                self.set(1, f64::NAN);
            }
            self.end_variant(rows.len());
        } else {
            self.variant = Some(variant);
        }
        Ok(())
    }

    fn begin_variant(&self, left_out: usize, rows: &Range<usize>, model: &dyn Model) -> Variant {
        let mut tokens = self.tokens[..self.base_rows()].to_vec();
        if left_out < tokens.len() {
            match self.replacement {
                Some(token) => tokens[left_out] = token,
                None => {
                    tokens.remove(left_out);
                }
            }
        }
        let mut kv = model.new_kv();
        kv.begin_with(self.reader.blocks().to_vec(), rows.start);
        Variant { kv, tokens }
    }

    fn set(&mut self, place: usize, change: f64) {
        let row = self.at * self.scored.len();
        self.changes[row + place - self.scored.start] = change as f32;
    }

    fn end_variant(&mut self, rows: usize) {
        self.done += rows;
        self.at += 1;
    }

    /// Rows done, and rows in all.
    pub fn progress(&self) -> (usize, usize) {
        let now = self.variant.as_ref().map_or(0, |variant| {
            variant.kv.len() - self.rows(self.range.start + self.at).start
        });
        let variants: usize = self.range.clone().map(|at| self.rows(at).len()).sum();
        let done = self.reader.position() + self.done + now;
        (done, self.base_rows() + variants)
    }

    pub fn is_finished(&self) -> bool {
        self.reader.position() >= self.base_rows() && self.at == self.range.len()
    }

    /// Log-probabilities of the scored tokens in the text as it stands; NaN for
    /// the first token of a text.
    pub fn base(&self) -> &[f64] {
        &self.base
    }

    /// `[range, scored]`: by how many nats a token is less likely without the
    /// one left out (negative: more likely). 0 before it; NaN where there is
    /// nothing left to predict from.
    pub fn changes(&self) -> &[f32] {
        &self.changes
    }

    pub fn into_changes(self) -> Vec<f32> {
        self.changes
    }

    pub fn evaluated(&self) -> usize {
        self.reader.evaluated() + self.evaluated
    }
}
