//! Runs a text through the model without writing: to have its KV cache, or its
//! log-probability.

use super::generation::{PREFILL_CHUNK, check_text};
use super::log_prob::log_sum_exp;
use crate::error::Result;
use crate::model::{BlockName, BlockTable, KvCache, LogitRows, Model, Rows};
use serde::Serialize;

/// A text being read.
pub struct Reading {
    kv: KvCache,
    tokens: Vec<u32>,
    /// Tokens from here on are scored; 0 is none, as nothing predicts the first.
    scored_from: usize,
    vocab_size: usize,
    evaluated: usize,
    asked: Vec<usize>,
    log_prob: f64,
}

/// What reading a text has shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadingResult {
    /// Tokens that the model was run for; the others were in the KV cache.
    pub tokens_evaluated: u32,
    /// Sum over the scored tokens, in nats.
    pub log_prob: f64,
    pub tokens_scored: u32,
}

impl Reading {
    /// Reads `tokens`, and scores those from the index `scored_from` on, if it
    /// is given.
    ///
    /// Errors: `invalid-token`, `context-overflow`.
    pub fn new(model: &dyn Model, tokens: Vec<u32>, scored_from: Option<usize>) -> Result<Self> {
        check_text(&tokens, model)?;
        Ok(Self {
            kv: model.new_kv(),
            scored_from: scored_from.map_or(0, |from| from.max(1)),
            tokens,
            vocab_size: model.config().vocab_size,
            evaluated: 0,
            asked: Vec::new(),
            log_prob: 0.0,
        })
    }

    /// Takes what is known, before the first step.
    pub fn take_known(&mut self, blocks: &mut BlockTable, root: BlockName) {
        let end = match self.scored_from {
            0 => self.tokens.len(),
            from => from - 1,
        };
        let known = &self.tokens[..end.min(self.tokens.len())];
        blocks.fill(root, known, &mut self.kv);
    }

    /// Keeps what was computed for texts that begin alike.
    pub fn keep_known(&self, blocks: &mut BlockTable, root: BlockName) {
        blocks.keep(root, &self.tokens, &self.kv);
    }

    /// True where every token has been run.
    pub fn is_finished(&self) -> bool {
        self.kv.len() == self.tokens.len()
    }

    /// The next rows to run.
    pub fn rows(&mut self) -> Rows<'_> {
        let start = self.kv.len();
        let end = self.tokens.len().min(start + PREFILL_CHUNK);
        self.asked = (start..end)
            .filter(|position| {
                self.scored_from > 0
                    && position + 1 >= self.scored_from
                    && position + 1 < self.tokens.len()
            })
            .map(|position| position - start)
            .collect();
        Rows {
            kv: &mut self.kv,
            tokens: &self.tokens[start..end],
            logits: LogitRows::At(&self.asked),
        }
    }

    /// Takes the logits of the rows last asked for, `count` of them run.
    pub fn accept(&mut self, logits: &[f32], count: usize) {
        self.evaluated += count;
        let start = self.kv.len() - count;
        for (row, logits) in self.asked.iter().zip(logits.chunks_exact(self.vocab_size)) {
            let next = self.tokens[start + row + 1] as usize;
            self.log_prob += f64::from(logits[next]) - log_sum_exp(logits);
        }
    }

    /// What there is to tell, once finished.
    pub fn result(&self) -> ReadingResult {
        let scored = match self.scored_from {
            0 => 0,
            from => self.tokens.len().saturating_sub(from),
        };
        ReadingResult {
            tokens_evaluated: self.evaluated as u32,
            log_prob: self.log_prob,
            tokens_scored: scored as u32,
        }
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
