//! One text being run through the model for an analysis, a chunk a step.

use super::{Bench, Subject};
use crate::error::Result;
use crate::generate::generation::{PREFILL_CHUNK, check_text};
use crate::model::aligned::AlignedBytes;
use crate::model::{Ablation, KvCache, LogitRows, Model, Output, Rows, Taps};
use std::sync::Arc;

/// A text being run. What comes before the first row that is needed is taken
/// from the blocks that are known.
pub struct Reader {
    subject: Subject,
    kv: KvCache,
    /// First position whose row is needed.
    needed: usize,
    begun: bool,
    evaluated: usize,
}

/// What a step has run.
pub struct Chunk {
    /// Position of the first row.
    pub start: usize,
    /// Number of rows.
    pub count: usize,
    /// Positions of the rows of `output.logits`, ascending.
    pub asked: Vec<usize>,
    pub output: Output,
}

impl Chunk {
    /// The rows of logits with their positions.
    pub fn logits(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let width = self.output.logits.len() / self.asked.len().max(1);
        let rows = self.output.logits.chunks_exact(width.max(1));
        self.asked.iter().copied().zip(rows)
    }
}

impl Reader {
    /// `needed` is the first position whose row is needed: whose logits or
    /// inner values are looked at.
    ///
    /// Errors: `invalid-token`, `context-overflow`.
    pub fn new(model: &dyn Model, subject: Subject, needed: usize) -> Result<Self> {
        check_text(&subject.tokens, model)?;
        Ok(Self {
            needed: needed.min(subject.tokens.len()),
            subject,
            kv: model.new_kv(),
            begun: false,
            evaluated: 0,
        })
    }

    /// The same reader without some of the model's heads; no block is shared
    /// then.
    pub fn ablated(mut self, ablation: Option<Arc<Ablation>>) -> Self {
        if ablation.is_some() {
            self.subject.root = None;
        }
        self.kv.ablate(ablation);
        self
    }

    /// Changes the first position whose row is needed, before it has begun.
    pub fn set_needed(&mut self, needed: usize) {
        self.needed = needed.min(self.subject.tokens.len());
    }

    /// Takes the blocks that are known, unless that has been done; from then on
    /// [`position`](Self::position) counts them.
    pub fn begin(&mut self, bench: &mut Bench) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        if let Some(root) = self.subject.root {
            let known = &self.subject.tokens[..self.needed];
            bench.blocks.fill(root, known, &mut self.kv);
        }
    }

    /// Runs the next rows, up to `end`, which is after the first that is needed
    /// and has not been reached. Logits are computed where `asks` says so.
    pub fn step(
        &mut self,
        bench: &mut Bench,
        end: usize,
        asks: impl Fn(usize) -> bool,
        taps: Taps,
    ) -> Result<Chunk> {
        self.begin(bench);
        let start = self.kv.len();
        let end = end.min(start + PREFILL_CHUNK);
        let asked: Vec<usize> = (start..end).filter(|&position| asks(position)).collect();
        let rows: Vec<usize> = asked.iter().map(|position| position - start).collect();
        let batch = &mut [Rows {
            kv: &mut self.kv,
            tokens: &self.subject.tokens[start..end],
            logits: LogitRows::At(&rows),
        }];
        let output = bench.model.forward(batch, taps)?.pop().unwrap_or_default();
        self.evaluated += end - start;
        Ok(Chunk {
            start,
            count: end - start,
            asked,
            output,
        })
    }

    /// Keeps what was computed for texts that begin alike, where that changes
    /// nothing for them: to look at a text is not to change it.
    pub fn keep(&self, bench: &mut Bench) {
        if let (Some(root), true) = (self.subject.root, bench.model.is_exact()) {
            bench.blocks.keep(root, &self.subject.tokens, &self.kv);
        }
    }

    pub fn tokens(&self) -> &[u32] {
        &self.subject.tokens
    }

    /// Keys and values of what has been run or was known.
    pub fn kv(&self) -> &KvCache {
        &self.kv
    }

    /// The KV cache's blocks, to begin another text as this one does.
    pub fn blocks(&self) -> &[Arc<AlignedBytes>] {
        self.kv.blocks()
    }

    /// Position of the next row.
    pub fn position(&self) -> usize {
        self.kv.len()
    }

    /// Tokens that the model was run for; the others were in the KV cache.
    pub fn evaluated(&self) -> usize {
        self.evaluated
    }
}
