//! The logits of a text at chosen positions, a prefill chunk a step.

use super::generation::{Input, PREFILL_CHUNK};
use crate::error::{Error, Result};
use crate::model::{BlockName, BlockTable, KvCache, LogitRows, Model, Rows};
use crate::tokenizer::Tokenizer;

/// Most bytes of logits that one request may return.
pub const MAX_LOGITS_BYTES: usize = 512 << 20;

/// Logits being computed.
pub struct LogitsRun {
    kv: KvCache,
    tokens: Vec<u32>,
    /// The positions asked for, in the order asked for.
    positions: Vec<usize>,
    vocab_size: usize,
    /// Rows of the step in work that some position asks for, ascending.
    asked: Vec<usize>,
    data: Vec<f32>,
}

/// The logits, once all are there.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// `[positions, vocab_size]`
    pub data: Vec<f32>,
    pub shape: [usize; 2],
    pub tokens: Vec<u32>,
}

impl LogitsRun {
    /// `positions` of `None` are all; negative ones count from the end.
    ///
    /// Errors: those of [`Input::resolve`]; `invalid-argument` for a position
    /// outside the text, and for more than [`MAX_LOGITS_BYTES`].
    pub fn new(
        model: &dyn Model,
        tokenizer: Option<&Tokenizer>,
        input: Input,
        positions: Option<&[i32]>,
    ) -> Result<Self> {
        let tokens = input.resolve(model, tokenizer, false)?;
        let vocab_size = model.config().vocab_size;
        let positions: Vec<usize> = match positions {
            None => (0..tokens.len()).collect(),
            Some(positions) => positions
                .iter()
                .map(|&position| place(position, tokens.len()))
                .collect::<Result<_>>()?,
        };
        let bytes = positions.len() * vocab_size * size_of::<f32>();
        if bytes > MAX_LOGITS_BYTES {
            return Err(Error::argument(
                "positions",
                format!(
                    "{} rows of {vocab_size} logits are {bytes} bytes, the limit is {MAX_LOGITS_BYTES}",
                    positions.len()
                ),
            ));
        }
        let mut data = Vec::new();
        data.try_reserve_exact(bytes / size_of::<f32>())
            .map_err(|_| Error::OutOfMemory {
                needed: bytes as u64,
                purpose: "for the logits".into(),
            })?;
        data.resize(bytes / size_of::<f32>(), 0.0);
        Ok(Self {
            kv: model.new_kv(),
            tokens,
            positions,
            vocab_size,
            asked: Vec::new(),
            data,
        })
    }

    /// Takes what is known before the first position that is asked for, before
    /// the first step.
    pub fn take_known(&mut self, blocks: &mut BlockTable, root: BlockName) {
        let first = self.positions.iter().min().copied().unwrap_or(0);
        blocks.fill(root, &self.tokens[..first], &mut self.kv);
    }

    /// Keeps what was computed for texts that begin alike.
    pub fn keep_known(&self, blocks: &mut BlockTable, root: BlockName) {
        blocks.keep(root, &self.tokens, &self.kv);
    }

    /// True where every position that was asked for has been run.
    pub fn is_finished(&self) -> bool {
        self.positions.iter().all(|&p| p < self.kv.len())
    }

    /// The next rows to run.
    pub fn rows(&mut self) -> Rows<'_> {
        let start = self.kv.len();
        let end = self.tokens.len().min(start + PREFILL_CHUNK);
        self.asked = (start..end)
            .filter(|position| self.positions.contains(position))
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
        let start = self.kv.len() - count;
        for (row, logits) in self.asked.iter().zip(logits.chunks_exact(self.vocab_size)) {
            for (index, &position) in self.positions.iter().enumerate() {
                if position == start + row {
                    self.data[index * self.vocab_size..][..self.vocab_size].copy_from_slice(logits);
                }
            }
        }
    }

    /// The logits, once finished.
    pub fn result(self) -> Logits {
        Logits {
            shape: [self.positions.len(), self.vocab_size],
            data: self.data,
            tokens: self.tokens,
        }
    }
}

fn place(position: i32, len: usize) -> Result<usize> {
    let from_start = if position < 0 {
        position as i64 + len as i64
    } else {
        position as i64
    };
    usize::try_from(from_start)
        .ok()
        .filter(|&place| place < len)
        .ok_or_else(|| {
            Error::argument(
                "positions",
                format!("{position} is outside the {len} tokens"),
            )
        })
}
