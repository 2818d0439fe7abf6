//! What two texts make the model expect, side by side.
//!
//! Rows of logits are large (a token's is 200 kB for GPT-2), so the two texts
//! are run in turns, a few compared places at a time, and no row outlives its
//! comparison.

use super::generation::{PREFILL_CHUNK, check_text};
use super::log_prob::{kl_divergence, log_sum_exp, rank};
use crate::error::{Error, Result};
use crate::model::{BlockName, BlockTable, KvCache, LogitRows, Model, Rows};
use serde::Serialize;

/// Places whose logits are held at a time.
const PLACES: usize = 8;
/// How many of the likeliest next tokens of either text are told.
const TOP: usize = 10;

/// A token that both texts have, and what each expected in its place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceComparison {
    /// Index of the token in the first text,
    pub a: u32,
    /// and in the second.
    pub b: u32,
    /// Divergence KL(a || b), in nats.
    pub kl: f64,
    /// Rank of the token among what the first expected: 1 is the likeliest.
    pub rank_a: u32,
    pub rank_b: u32,
}

/// A next token with its probability after either text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NextToken {
    pub token: u32,
    pub a: f64,
    pub b: f64,
}

/// How two texts differ in what they make the model expect.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComparisonResult {
    pub positions: Vec<PlaceComparison>,
    /// Divergence of what is expected after the ends, in nats; `null` where a
    /// text is empty.
    pub next_kl: Option<f64>,
    /// The ten likeliest of either, likeliest first by the larger probability.
    pub next_top: Vec<NextToken>,
    /// Tokens that the model was run for.
    pub tokens_evaluated: u32,
}

struct Side {
    kv: KvCache,
    tokens: Vec<u32>,
    /// Rows wanted of those in work.
    asked: Vec<usize>,
    /// Rows of logits that wait for the other side, `[PLACES, vocab_size]`.
    rows: Vec<f32>,
}

/// A comparison in work.
pub struct Comparison {
    sides: [Side; 2],
    /// Positions whose logits are compared, one in each text; the last is that
    /// of the ends.
    places: Vec<[usize; 2]>,
    /// Of `places`, how many are done.
    done: usize,
    /// Which side is run now.
    turn: usize,
    vocab_size: usize,
    result: ComparisonResult,
}

impl Comparison {
    /// Compares at `pairs`: indices of equal tokens, ascending in both, none of
    /// them 0 (nothing predicts a first token).
    ///
    /// Errors: `invalid-token`, `context-overflow`, `internal`.
    pub fn new(model: &dyn Model, texts: [Vec<u32>; 2], pairs: &[(usize, usize)]) -> Result<Self> {
        for tokens in &texts {
            check_text(tokens, model)?;
        }
        let ends = texts.each_ref().map(Vec::len);
        let ascending = pairs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1);
        let inside = |&(a, b): &(usize, usize)| a > 0 && b > 0 && a < ends[0] && b < ends[1];
        if !ascending || !pairs.iter().all(inside) {
            return Err(Error::Internal("places to compare are out of order".into()));
        }
        let mut places: Vec<_> = pairs.iter().map(|&(a, b)| [a - 1, b - 1]).collect();
        if ends[0] > 0 && ends[1] > 0 {
            places.push([ends[0] - 1, ends[1] - 1]);
        }
        let side = |tokens| Side {
            kv: model.new_kv(),
            tokens,
            asked: Vec::new(),
            rows: Vec::new(),
        };
        Ok(Self {
            sides: texts.map(side),
            places,
            done: 0,
            turn: 0,
            vocab_size: model.config().vocab_size,
            result: ComparisonResult {
                positions: Vec::new(),
                next_kl: None,
                next_top: Vec::new(),
                tokens_evaluated: 0,
            },
        })
    }

    /// Takes what is known of either text before the first place compared.
    pub fn take_known(&mut self, blocks: &mut BlockTable, roots: [BlockName; 2]) {
        let Some(first) = self.places.first() else {
            return;
        };
        for ((side, &first), root) in self.sides.iter_mut().zip(first).zip(roots) {
            blocks.fill(root, &side.tokens[..first], &mut side.kv);
        }
    }

    /// Keeps what was computed for texts that begin alike.
    pub fn keep_known(&self, blocks: &mut BlockTable, roots: [BlockName; 2]) {
        for (side, root) in self.sides.iter().zip(roots) {
            blocks.keep(root, &side.tokens, &side.kv);
        }
    }

    /// Rows of both texts that are done, those from the KV cache included, and
    /// how many there are to do.
    pub fn progress(&self) -> (usize, usize) {
        let last = self.places.last().copied().unwrap_or([0; 2]);
        let done = self.sides.iter().map(|side| side.kv.len()).sum();
        let total = match self.places.len() {
            0 => 0,
            _ => last[0] + last[1] + 2,
        };
        (done, total)
    }

    /// True where every place has been compared.
    pub fn is_finished(&self) -> bool {
        self.done == self.places.len()
    }

    fn batch(&self) -> &[[usize; 2]] {
        let end = self.places.len().min(self.done + PLACES);
        &self.places[self.done..end]
    }

    /// The next rows to run.
    pub fn rows(&mut self) -> Rows<'_> {
        let turn = self.turn;
        let wanted: Vec<usize> = self.batch().iter().map(|place| place[turn]).collect();
        let last = wanted.last().copied().unwrap_or(0);
        let side = &mut self.sides[turn];
        let start = side.kv.len();
        let end = (last + 1).min(start + PREFILL_CHUNK);
        side.asked = wanted
            .into_iter()
            .filter(|position| (start..end).contains(position))
            .map(|position| position - start)
            .collect();
        Rows {
            kv: &mut side.kv,
            tokens: &side.tokens[start..end],
            logits: LogitRows::At(&side.asked),
        }
    }

    /// Takes the logits of the rows last asked for, `count` of them run.
    pub fn accept(&mut self, logits: &[f32], count: usize) {
        self.result.tokens_evaluated += count as u32;
        let wanted = self.batch().len() * self.vocab_size;
        let side = &mut self.sides[self.turn];
        side.rows.extend_from_slice(logits);
        if side.rows.len() < wanted {
            return;
        }
        self.turn += 1;
        if self.turn == 2 {
            self.turn = 0;
            self.compare();
        }
    }

    fn compare(&mut self) {
        let places = self.batch().to_vec();
        let [a, b] = self
            .sides
            .each_mut()
            .map(|side| std::mem::take(&mut side.rows));
        let rows = a
            .chunks_exact(self.vocab_size)
            .zip(b.chunks_exact(self.vocab_size));
        for (place, (a, b)) in places.iter().zip(rows) {
            let kl = kl_divergence(a, b);
            self.done += 1;
            if self.done == self.places.len() {
                self.result.next_kl = Some(kl);
                self.result.next_top = likeliest(a, b);
            } else {
                let [place_a, place_b] = place.map(|position| position + 1);
                let token = self.sides[0].tokens[place_a];
                self.result.positions.push(PlaceComparison {
                    a: place_a as u32,
                    b: place_b as u32,
                    kl,
                    rank_a: rank(a, token),
                    rank_b: rank(b, token),
                });
            }
        }
    }

    /// What there is to tell, once finished.
    pub fn result(self) -> ComparisonResult {
        self.result
    }
}

fn likeliest(a: &[f32], b: &[f32]) -> Vec<NextToken> {
    let probabilities = |logits: &[f32]| -> Vec<f64> {
        let log_sum = log_sum_exp(logits);
        let p = logits.iter().map(|&x| libm::exp(f64::from(x) - log_sum));
        p.collect()
    };
    let (a, b) = (probabilities(a), probabilities(b));
    let mut ids: Vec<usize> = (0..a.len()).collect();
    let larger = |&id: &usize| a[id].max(b[id]);
    ids.sort_by(|x, y| larger(y).total_cmp(&larger(x)).then(x.cmp(y)));
    ids.truncate(TOP);
    let told = |id: usize| NextToken {
        token: id as u32,
        a: a[id],
        b: b[id],
    };
    ids.into_iter().map(told).collect()
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
