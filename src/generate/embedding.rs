//! A text as one vector, for finding texts that mean the same.
//!
//! The vector is the mean of what the first block gives for the tokens after
//! the first, less the same mean over a fixed list of texts, scaled to length
//! 1. GPT-2's states all point in nearly one direction (Ethayarajh, "How
//! Contextual are Contextualized Word Representations?", 2019), so that without
//! the subtraction any two texts are alike; a first token's state is unlike all
//! others, whatever the token (Sun et al., "Massive Activations in Large
//! Language Models", 2024). Layer and pooling were chosen by measurement:
//! `docs/semantic.md`.

use super::generation::{Input, PREFILL_CHUNK};
use crate::error::Result;
use crate::model::{BlockName, BlockTable, KvCache, LogitRows, Model, Rows};
use crate::tokenizer::Tokenizer;
use std::rc::Rc;

/// Which of [`crate::model::Output::hidden_states`]: the output of the first
/// block.
pub const LAYER: usize = 1;

/// The texts that the mean is of, one a line.
pub const CALIBRATION: &str = include_str!("calibration.txt");

/// An embedding being computed.
pub struct Embedding {
    /// Those for the mean, if it is not known, then the one asked for.
    texts: Vec<Vec<u32>>,
    /// Index of the text in work.
    at: usize,
    kv: KvCache,
    /// Of the text in work.
    sum: Vec<f64>,
    mean: Mean,
    vector: Vec<f32>,
}

enum Mean {
    Known(Rc<[f64]>),
    /// The sum over the texts that have been run.
    Growing(Vec<f64>),
}

impl Embedding {
    /// `mean` is what an earlier one told; without it, its texts are run first.
    ///
    /// Errors: those of [`Input::resolve`]; `no-tokenizer` also for tokens,
    /// where the mean is not known.
    pub fn new(
        model: &dyn Model,
        tokenizer: Option<&Tokenizer>,
        input: Input,
        parse_special: bool,
        mean: Option<Rc<[f64]>>,
    ) -> Result<Self> {
        let n_embd = model.config().n_embd;
        let tokens = input.resolve(model, tokenizer, parse_special)?;
        let mut texts = Vec::new();
        let mean = match mean {
            Some(mean) => Mean::Known(mean),
            None => {
                for line in CALIBRATION.lines() {
                    let text = Input::Text(line.to_owned());
                    texts.push(text.resolve(model, tokenizer, false)?);
                }
                Mean::Growing(vec![0.0; n_embd])
            }
        };
        texts.push(tokens);
        Ok(Self {
            texts,
            at: 0,
            kv: model.new_kv(),
            sum: vec![0.0; n_embd],
            mean,
            vector: Vec::new(),
        })
    }

    /// Keeps what was computed for texts that begin alike: the text is likely
    /// to be a prompt soon.
    pub fn keep_known(&self, blocks: &mut BlockTable, root: BlockName) {
        if let Some(tokens) = self.texts.last().filter(|_| self.is_finished()) {
            blocks.keep(root, tokens, &self.kv);
        }
    }

    /// True where every text has been run.
    pub fn is_finished(&self) -> bool {
        self.at == self.texts.len()
    }

    /// The next rows to run.
    pub fn rows(&mut self) -> Rows<'_> {
        let tokens = &self.texts[self.at];
        let start = self.kv.len();
        let end = tokens.len().min(start + PREFILL_CHUNK);
        Rows {
            kv: &mut self.kv,
            tokens: &tokens[start..end],
            logits: LogitRows::None,
        }
    }

    /// Takes the hidden states of the rows last asked for, `count` of them run.
    pub fn accept(&mut self, hidden_states: &[Vec<f32>], count: usize) {
        let tokens = self.texts[self.at].len();
        let first = self.kv.len() - count;
        let rows = hidden_states[LAYER].chunks_exact(self.sum.len());
        for (position, row) in (first..).zip(rows) {
            if position > 0 || tokens == 1 {
                add(&mut self.sum, row.iter().map(|&x| f64::from(x)));
            }
        }
        if self.kv.len() == tokens {
            self.end_text((tokens - 1).max(1));
        }
    }

    /// Takes the mean of the text in work over its `rows`.
    fn end_text(&mut self, rows: usize) {
        let pooled = self.sum.iter().map(|x| x / rows as f64);
        let asked = self.at + 1 == self.texts.len();
        match &mut self.mean {
            Mean::Growing(sum) if !asked => add(sum, pooled),
            mean => {
                if let Mean::Growing(sum) = mean {
                    let texts = self.at as f64;
                    *mean = Mean::Known(sum.iter().map(|x| x / texts).collect());
                }
                if let Mean::Known(mean) = mean {
                    self.vector = unit(pooled.zip(mean.iter()).map(|(x, mean)| x - mean).collect());
                }
            }
        }
        self.at += 1;
        self.sum.fill(0.0);
        if !asked {
            self.kv.truncate(0);
        }
    }

    /// The mean, once finished.
    pub fn mean(&self) -> Option<Rc<[f64]>> {
        match &self.mean {
            Mean::Known(mean) => Some(mean.clone()),
            Mean::Growing(_) => None,
        }
    }

    /// `n_embd` numbers, once finished.
    pub fn result(self) -> Vec<f32> {
        self.vector
    }
}

fn add(sum: &mut [f64], values: impl Iterator<Item = f64>) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

/// The vector with length 1; zero stays zero.
fn unit(vector: Vec<f64>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    vector.iter().map(|x| (x * scale) as f32).collect()
}

#[cfg(test)]
#[path = "embedding_tests.rs"]
mod tests;
