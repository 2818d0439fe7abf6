//! Which layers and heads are meant, and attention read for them in bounded
//! memory.

use super::{Bench, Chunk, Reader, Subject};
use crate::error::{Error, Result};
use crate::generate::generation::PREFILL_CHUNK;
use crate::model::captured::{CapturedAttention, CapturedRow};
use crate::model::{BlockName, Layers, Model, Taps};
use std::ops::Range;
use std::sync::Arc;

/// Most bytes of arrays in one result: 64 MiB.
pub const MAX_RESULT_BYTES: u64 = 64 << 20;

/// Bytes of attention that one step takes from the model, 32 MiB; long texts in
/// large models are read in smaller chunks for it.
pub const STEP_BYTES: u64 = 32 << 20;

/// The indices that `given` names, ascending, each once; all of `count` where
/// nothing is given.
///
/// Error: `invalid-option` where the model does not have one, or none is named.
pub fn chosen(option: &str, given: Option<&[usize]>, count: usize) -> Result<Vec<usize>> {
    let Some(given) = given else {
        return Ok((0..count).collect());
    };
    if given.is_empty() {
        return Err(Error::option(option, "empty", "a list of one or more"));
    }
    if let Some(index) = given.iter().position(|&number| number >= count) {
        return Err(Error::option(
            format!("{option}[{index}]"),
            given[index],
            format!("from 0 to {}", count - 1),
        ));
    }
    let mut chosen = given.to_vec();
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// One of `count`; negative numbers count from the end. Error: `invalid-option`.
pub fn from_end(option: &str, at: i64, count: usize) -> Result<usize> {
    let from_start = if at < 0 {
        at.saturating_add(count as i64)
    } else {
        at
    };
    let place = usize::try_from(from_start).ok();
    place.filter(|&place| place < count).ok_or_else(|| {
        let range = format!("from -{count} to {}", count.saturating_sub(1));
        Error::option(option, at, range)
    })
}

/// Refuses a result of more than [`MAX_RESULT_BYTES`]; `less` says what to ask
/// for instead.
///
/// Error: `invalid-argument`, with the number of bytes.
pub fn check_bytes(option: &str, bytes: u64, less: &str) -> Result<()> {
    if bytes <= MAX_RESULT_BYTES {
        return Ok(());
    }
    let reason = format!("needs {bytes} bytes, the limit is {MAX_RESULT_BYTES}; {less}");
    Err(Error::argument(option, reason))
}

/// Product of a shape times the bytes of a number.
pub fn bytes_of(shape: &[usize], number: usize) -> u64 {
    let sizes = shape.iter().map(|&size| size as u64);
    sizes.fold(number as u64, u64::saturating_mul)
}

/// A text whose attention is read, query by query from the first that is looked
/// at on. Rows that were captured before are taken as they are. Of the others,
/// what comes before them is taken from the KV blocks that are known, or run
/// without taps.
pub struct AttentionSource {
    reader: Reader,
    root: Option<BlockName>,
    pub layers: Vec<usize>,
    pub heads: Vec<usize>,
    pub queries: Range<usize>,
    /// The next query.
    next: usize,
    /// Queries that have to be run; `None` before the first step.
    missing: Option<Range<usize>>,
    /// Of the queries, those that were captured.
    captured: Vec<Option<Arc<CapturedRow>>>,
    /// Rows of a step.
    rows: usize,
}

impl AttentionSource {
    /// Errors: `invalid-token`, `context-overflow`; `invalid-option` where one
    /// row of these layers is over [`STEP_BYTES`].
    pub fn new(
        model: &dyn Model,
        subject: Subject,
        layers: Vec<usize>,
        heads: Vec<usize>,
        queries: Range<usize>,
    ) -> Result<Self> {
        let n_head = model.config().n_head;
        let row = bytes_of(&[layers.len(), n_head, queries.end], size_of::<f32>());
        if row > STEP_BYTES {
            let most = STEP_BYTES / bytes_of(&[n_head, queries.end], size_of::<f32>()).max(1);
            let range = format!("at most {most} layers of a text of so many tokens");
            return Err(Error::option("layers", layers.len(), range));
        }
        let rows = (STEP_BYTES / row.max(1)).min(PREFILL_CHUNK as u64) as usize;
        Ok(Self {
            root: subject.root,
            reader: Reader::new(model, subject, queries.start)?,
            layers,
            heads,
            next: queries.start,
            queries,
            missing: None,
            captured: Vec::new(),
            rows,
        })
    }

    /// The same source, which takes at most `rows` a step.
    pub fn at_most(mut self, rows: usize) -> Self {
        self.rows = self.rows.min(rows);
        self
    }

    /// Looks for rows that were captured; the queries that have to be run.
    fn look_up(&mut self, bench: &mut Bench) -> Range<usize> {
        let mut rows = Vec::new();
        if let Some(root) = self.root {
            let mut name = root;
            for (position, &token) in self.tokens()[..self.queries.end].iter().enumerate() {
                name = CapturedAttention::name(name, token);
                if position >= self.queries.start {
                    let captured = bench.blocks.captured();
                    rows.push(captured.get(name, &self.layers, &self.heads));
                }
            }
        }
        rows.resize(self.queries.len(), None);
        let start = self.queries.start;
        let first = rows.iter().position(Option::is_none);
        let last = rows.iter().rposition(Option::is_none);
        self.captured = rows;
        let missing = match (first, last) {
            (Some(first), Some(last)) => start + first..start + last + 1,
            _ => self.queries.end..self.queries.end,
        };
        self.reader.set_needed(missing.start);
        missing
    }

    /// The next rows; `None` where what was run comes before them.
    pub fn step(&mut self, bench: &mut Bench) -> Result<Option<AttentionChunk>> {
        let missing = match self.missing.clone() {
            Some(missing) => missing,
            None => self.look_up(bench),
        };
        self.missing = Some(missing.clone());
        if !missing.contains(&self.next) {
            let end = if self.next < missing.start {
                missing.start
            } else {
                self.queries.end
            };
            let queries = self.next..end.min(self.next + self.rows);
            self.next = queries.end;
            let rows = queries.clone().filter_map(|query| {
                let row = self.captured.get_mut(query - self.queries.start)?;
                row.take()
            });
            return Ok(Some(AttentionChunk {
                rows: ChunkRows::Captured(rows.collect()),
                layers: self.layers.clone(),
                queries,
            }));
        }
        self.reader.begin(bench);
        if self.reader.position() < missing.start {
            let end = missing.start;
            self.reader.step(bench, end, |_| false, Taps::default())?;
            return Ok(None);
        }
        let end = missing.end.min(self.reader.position() + self.rows);
        let taps = Taps {
            attentions: Layers::from_iter(self.layers.iter().copied()),
            ..Taps::default()
        };
        let chunk = self.reader.step(bench, end, |_| false, taps)?;
        self.next = chunk.start + chunk.count;
        if self.next == missing.end {
            self.reader.keep(bench);
        }
        Ok(Some(AttentionChunk {
            queries: chunk.start..self.next,
            rows: ChunkRows::Run(chunk),
            layers: self.layers.clone(),
        }))
    }

    /// How far it is, in positions.
    pub fn position(&self) -> usize {
        let begun = self.next > self.queries.start;
        if begun {
            self.next
        } else {
            self.reader.position().min(self.next)
        }
    }

    pub fn is_finished(&self) -> bool {
        self.next >= self.queries.end
    }

    pub fn tokens(&self) -> &[u32] {
        self.reader.tokens()
    }

    /// Tokens that the model was run for.
    pub fn evaluated(&self) -> usize {
        self.reader.evaluated()
    }
}

/// The attention of a few rows.
pub struct AttentionChunk {
    rows: ChunkRows,
    layers: Vec<usize>,
    queries: Range<usize>,
}

enum ChunkRows {
    Run(Chunk),
    Captured(Vec<Arc<CapturedRow>>),
}

impl AttentionChunk {
    /// Positions of the rows.
    pub fn queries(&self) -> Range<usize> {
        self.queries.clone()
    }

    /// What the query looks at, `query + 1` probabilities: in the layer of that
    /// index among those asked for, by one of the heads asked for.
    pub fn row(&self, layer_index: usize, head: usize, query: usize) -> &[f32] {
        let index = query - self.queries.start;
        match &self.rows {
            ChunkRows::Run(chunk) => {
                let row = head * chunk.count + index;
                let maps = &chunk.output.attentions[layer_index];
                &maps[row * self.queries.end..][..query + 1]
            }
            ChunkRows::Captured(rows) => rows[index]
                .row(self.layers[layer_index], head)
                .unwrap_or_default(),
        }
    }

    /// The mean over heads of what the query looks at.
    pub fn mean(&self, layer_index: usize, heads: &[usize], query: usize) -> Vec<f64> {
        let mut mean = vec![0.0; query + 1];
        for &head in heads {
            let row = self.row(layer_index, head, query);
            for (sum, &weight) in mean.iter_mut().zip(row) {
                *sum += f64::from(weight);
            }
        }
        for sum in &mut mean {
            *sum /= heads.len() as f64;
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_come_in_order_once_and_all_by_default() {
        assert_eq!(chosen("layers", None, 3).unwrap(), [0, 1, 2]);
        assert_eq!(chosen("layers", Some(&[2, 0, 2]), 3).unwrap(), [0, 2]);
    }

    #[test]
    fn what_the_model_does_not_have_is_refused_by_name() {
        let error = chosen("layers", Some(&[0, 3]), 3).unwrap_err();
        assert_eq!(error.details()["option"], "layers[1]");
        assert!(chosen("heads", Some(&[]), 3).is_err());
    }

    #[test]
    fn too_large_a_result_is_refused_with_the_number() {
        assert!(check_bytes("queries", MAX_RESULT_BYTES, "").is_ok());
        let error = check_bytes("queries", MAX_RESULT_BYTES + 1, "ask for fewer").unwrap_err();
        assert!(error.to_string().contains("67108865 bytes"), "{error}");
        assert_eq!(bytes_of(&[usize::MAX, 9], 4), u64::MAX);
    }
}
