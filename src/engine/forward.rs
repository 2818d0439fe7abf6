//! The engine: weights, threads and buffers, and what a batch becomes.
//!
//! The steps of a forward pass are in `pass`.

use super::buffers::Buffers;
use super::governor::Governor;
use super::kernels::linear::{Arithmetic, RelaxedDot, relaxed_dot};
use super::kernels::quantize::BLOCK;
use super::matrix::{Encoding, Matrix};
use super::packed::{Packed, Place};
use super::pass::{Pass, Row, Sequence, padded};
use super::shared::Shared;
use super::taps::{NOTHING_TAPPED, TapBuffers};
use super::threads::{POOL, Pool, Thread};
use crate::error::{Error, Result};
use crate::model::forward::{check_batch, check_hidden_states, check_weight_rows};
use crate::model::{Config, KvFormat, Model, Output, Rows, Taps};
use std::cell::RefCell;
use std::ops::Range;

/// Milliseconds from any fixed point.
pub type Clock = fn() -> f64;

/// The fast implementation of [`Model`].
pub struct Engine {
    pub(super) packed: Packed,
    pub(super) wte: Place,
    pub(super) wpe: Place,
    pub(super) layers: Vec<Layer>,
    pub(super) ln_f: Norm,
    dot: RelaxedDot,
    /// The only one to use, where one was named.
    arithmetic: Option<Arithmetic>,
    pool: &'static Pool,
    /// With a clock, the number of threads is what is fastest.
    governor: Option<(RefCell<Governor>, Clock)>,
    buffers: RefCell<Buffers>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) weight: Place,
    pub(super) bias: Place,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    pub(super) weight: Place,
    pub(super) bias: Place,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Layer {
    pub(super) ln_1: Norm,
    pub(super) c_attn: Linear,
    pub(super) attn_c_proj: Linear,
    pub(super) ln_2: Norm,
    pub(super) c_fc: Linear,
    pub(super) mlp_c_proj: Linear,
}

impl Engine {
    /// Takes the weights; nothing is copied.
    pub fn new(packed: Packed) -> Result<Self> {
        let config = packed.config();
        let place = |name: &str, part: &str| packed.place(&format!("{name}.{part}"));
        let norm = |name: &str| -> Result<Norm> {
            Ok(Norm {
                weight: place(name, "weight")?,
                bias: place(name, "bias")?,
            })
        };
        let linear = |name: &str| -> Result<Linear> {
            Ok(Linear {
                weight: place(name, "weight")?,
                bias: place(name, "bias")?,
            })
        };
        let layers = (0..config.n_layer)
            .map(|i| {
                Ok(Layer {
                    ln_1: norm(&format!("h.{i}.ln_1"))?,
                    c_attn: linear(&format!("h.{i}.attn.c_attn"))?,
                    attn_c_proj: linear(&format!("h.{i}.attn.c_proj"))?,
                    ln_2: norm(&format!("h.{i}.ln_2"))?,
                    c_fc: linear(&format!("h.{i}.mlp.c_fc"))?,
                    mlp_c_proj: linear(&format!("h.{i}.mlp.c_proj"))?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            wte: packed.place("wte.weight")?,
            wpe: packed.place("wpe.weight")?,
            ln_f: norm("ln_f")?,
            layers,
            packed,
            dot: relaxed_dot(),
            arithmetic: None,
            pool: &POOL,
            governor: None,
            buffers: RefCell::default(),
        })
    }

    pub fn packed(&self) -> &Packed {
        &self.packed
    }

    /// The same engine, which from now on runs a pass on one thread where that
    /// is faster than on all.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.governor = Some((RefCell::default(), clock));
        self
    }

    /// The same engine on another pool.
    pub fn on_pool(mut self, pool: &'static Pool) -> Self {
        self.pool = pool;
        self
    }

    /// Uses one arithmetic only, which this build must have; `None`: the best.
    pub fn set_arithmetic(&mut self, arithmetic: Option<Arithmetic>) {
        self.arithmetic = arithmetic;
    }

    /// Runs a pass of `m` rows.
    fn run(&self, m: usize, pass: &Pass) {
        let job = |thread: &Thread| pass.run(thread);
        match &self.governor {
            Some((governor, clock)) if self.pool.size() > 1 => {
                let mut governor = governor.borrow_mut();
                let together = governor.together(m);
                let started = clock();
                if together {
                    self.pool.run(&job);
                } else {
                    job(&Thread::ALONE);
                }
                governor.learn(m, together, clock() - started);
            }
            _ => self.pool.run(&job),
        }
    }

    /// A pass over `buffers`, so far without rows and taps.
    fn pass<'a>(
        &'a self,
        buffers: &'a mut Buffers,
        asked: &'a [usize],
        logits: &'a mut [f32],
    ) -> Pass<'a> {
        Pass {
            engine: self,
            rows: &[],
            sequences: &[],
            x: Shared::new(&mut buffers.x),
            wide: Shared::new(&mut buffers.wide),
            context: Shared::new(&mut buffers.context),
            sums: Shared::new(&mut buffers.sums),
            codes: Shared::new(&mut buffers.codes),
            scales: Shared::new(&mut buffers.scales),
            neg_sums: Shared::new(&mut buffers.neg_sums),
            tapped: &NOTHING_TAPPED,
            asked,
            logits: Shared::new(logits),
        }
    }

    pub(super) fn arithmetic(&self, encoding: Encoding) -> Arithmetic {
        if let Some(arithmetic) = self.arithmetic {
            return arithmetic;
        }
        match (self.dot, encoding) {
            (RelaxedDot::Absent, _) if cfg!(target_feature = "simd128") => Arithmetic::Simd128,
            (RelaxedDot::Absent, _) => Arithmetic::Scalar,
            (RelaxedDot::Limited, Encoding::Q8) => Arithmetic::Simd128,
            _ => Arithmetic::Relaxed,
        }
    }
}

impl Model for Engine {
    fn config(&self) -> &Config {
        self.packed.config()
    }

    fn weight_bytes(&self) -> u64 {
        self.packed.bytes().len() as u64
    }

    fn scratch_bytes(&self) -> u64 {
        self.buffers.borrow().bytes() as u64
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn kv_format(&self) -> KvFormat {
        KvFormat::Q8
    }

    fn forward(&self, batch: &mut [Rows], taps: Taps) -> Result<Vec<Output>> {
        check_batch(self, batch)?;
        for rows in batch.iter_mut() {
            rows.kv.reserve(rows.tokens.len())?;
        }
        let config = self.config();
        let mut rows = Vec::new();
        let mut asked = Vec::new();
        let mut sequences = Vec::new();
        for (sequence, part) in batch.iter_mut().enumerate() {
            let count = part.tokens.len();
            let start = part.kv.len();
            asked.extend(
                part.logits
                    .indices(count)
                    .iter()
                    .map(|row| rows.len() + row),
            );
            rows.extend(part.tokens.iter().enumerate().map(|(index, &token)| Row {
                sequence,
                token,
                position: start + index,
            }));
            sequences.push(Sequence {
                blocks: part.kv.blocks_to_write(),
                block_bytes: part.kv.block_bytes(),
                rows: count,
                positions: start + count,
                ablation: part.kv.ablation(),
            });
        }

        let m = rows.len();
        let d = padded(config.n_embd);
        let widest = padded(3 * config.n_embd).max(padded(config.n_inner));
        let mut buffers = self.buffers.borrow_mut();
        buffers.grow(m.max(asked.len()), d, widest);
        let stride = padded(config.vocab_size);
        let mut logits = logits_buffer(asked.len() * stride)?;
        let mut tapped = TapBuffers::new(taps, config, &sequences, m);
        let pass = Pass {
            rows: &rows,
            sequences: &sequences,
            tapped: &tapped.shared(taps),
            ..self.pass(&mut buffers, &asked, &mut logits)
        };
        self.run(m, &pass);

        let mut outputs = Vec::with_capacity(batch.len());
        let (mut row, mut asked_rows) = (0, 0);
        let mut attentions = std::mem::take(&mut tapped.attentions).into_iter();
        for part in batch.iter_mut() {
            let count = part.tokens.len();
            part.kv.commit(count);
            let wanted = part.logits.indices(count).len();
            let numbers = row * config.n_embd..(row + count) * config.n_embd;
            outputs.push(Output {
                logits: take_logits(&mut logits, asked_rows, wanted, asked.len(), config, stride),
                ..tapped.output(numbers, attentions.next())
            });
            row += count;
            asked_rows += wanted;
        }
        Ok(outputs)
    }

    fn unembed(&self, hidden_states: &[f32]) -> Result<Vec<f32>> {
        let config = self.config();
        let m = check_hidden_states(config, hidden_states)?;
        if m == 0 {
            return Ok(Vec::new());
        }
        let d = padded(config.n_embd);
        let mut buffers = self.buffers.borrow_mut();
        buffers.grow(m, d, d);
        for (x, row) in buffers
            .x
            .chunks_exact_mut(d)
            .zip(hidden_states.chunks_exact(config.n_embd))
        {
            x[..config.n_embd].copy_from_slice(row);
        }
        let row = Row {
            sequence: 0,
            token: 0,
            position: 0,
        };
        let asked: Vec<usize> = (0..m).collect();
        let stride = padded(config.vocab_size);
        let mut logits = logits_buffer(m * stride)?;
        let pass = Pass {
            rows: &vec![row; m],
            ..self.pass(&mut buffers, &asked, &mut logits)
        };
        self.pool.run(&|thread: &Thread| pass.run_head(thread));
        Ok(take_logits(&mut logits, 0, m, m, config, stride))
    }

    fn weight_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let width = check_weight_rows(self.config(), name, &rows)?;
        let place = self.packed.place(name)?;
        if let Place::Floats { .. } = place {
            let rows = rows.flat_map(|row| &self.packed.floats(place, row)[..width]);
            return Ok(rows.copied().collect());
        }
        let matrix = self.packed.matrix(place);
        Ok(if name == "wte.weight" {
            decoded(&matrix, rows).flatten().collect()
        } else {
            // Packed as `[out, in]`.
            let mut inputs = vec![0.0; rows.len() * width];
            for (out, numbers) in decoded(&matrix, 0..width).enumerate() {
                let numbers = &numbers[rows.clone()];
                for (row, &number) in inputs.chunks_exact_mut(width).zip(numbers) {
                    row[out] = number;
                }
            }
            inputs
        })
    }
}

/// Rows of a packed matrix, as they are computed with.
fn decoded<'a>(matrix: &'a Matrix<'_>, rows: Range<usize>) -> impl Iterator<Item = Vec<f32>> + 'a {
    rows.map(|row| {
        let mut numbers = vec![0.0; matrix.blocks() * BLOCK];
        matrix.decode_row(row, &mut numbers);
        numbers.truncate(matrix.columns);
        numbers
    })
}

/// Room for so many logits. Error: `out-of-memory`.
fn logits_buffer(count: usize) -> Result<Vec<f32>> {
    let mut logits = Vec::new();
    logits
        .try_reserve_exact(count)
        .map_err(|_| Error::OutOfMemory {
            needed: (count * size_of::<f32>()) as u64,
            purpose: "for the logits".into(),
        })?;
    logits.resize(count, 0.0f32);
    Ok(logits)
}

/// The logits of `count` rows from `first` on, without the padding; the buffer
/// itself where they are all there is.
fn take_logits(
    logits: &mut Vec<f32>,
    first: usize,
    count: usize,
    all: usize,
    config: &Config,
    stride: usize,
) -> Vec<f32> {
    // The buffer may be gone by now.
    if count == 0 {
        return Vec::new();
    }
    if all == 1 && count == 1 {
        logits.truncate(config.vocab_size);
        return std::mem::take(logits);
    }
    let rows = logits[first * stride..(first + count) * stride].chunks_exact(stride);
    rows.flat_map(|row| &row[..config.vocab_size])
        .copied()
        .collect()
}

#[cfg(test)]
#[path = "forward_tests.rs"]
pub(crate) mod tests;
