//! The forward pass, on one page.
//!
//! `m` rows (of one sequence or of many) go through every step together; each
//! thread does its share and all meet at the barriers. `d` is `n_embd`; widths
//! in memory are padded to whole blocks of 32 with zeros.

use super::forward::{Engine, Linear, Norm};
use super::kernels::attention::{self, Attention};
use super::kernels::gelu::gelu;
use super::kernels::linear::{Activations, linear};
use super::kernels::norm::layer_norm;
use super::kernels::quantize::BLOCK;
use super::matrix::GROUP;
use super::shared::Shared;
use super::taps::Tapped;
use super::threads::Thread;
use crate::model::kv::BLOCK_TOKENS;
use crate::model::kv_head::{HeadLayout, Kind};
use crate::model::{Ablation, Config};

/// One row of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// The sequence it is of.
    pub(super) sequence: usize,
    pub(super) token: u32,
    pub(super) position: usize,
}

/// What a sequence brings to a pass.
pub(super) struct Sequence<'a> {
    pub(super) blocks: Vec<*mut u8>,
    pub(super) block_bytes: usize,
    pub(super) rows: usize,
    pub(super) positions: usize,
    pub(super) ablation: Option<&'a Ablation>,
}

/// A pass, as every thread sees it.
pub(super) struct Pass<'a> {
    pub(super) engine: &'a Engine,
    pub(super) rows: &'a [Row],
    pub(super) sequences: &'a [Sequence<'a>],
    /// `[m, d]`, the residual stream.
    pub(super) x: Shared<'a, f32>,
    /// `[m, 3 d]` or `[m, n_inner]`
    pub(super) wide: Shared<'a, f32>,
    /// `[m, d]`, the heads' outputs.
    pub(super) context: Shared<'a, f32>,
    /// `[m, d]`, sums of a projection.
    pub(super) sums: Shared<'a, f32>,
    pub(super) codes: Shared<'a, i8>,
    pub(super) scales: Shared<'a, f32>,
    pub(super) neg_sums: Shared<'a, i32>,
    pub(super) tapped: &'a Tapped<'a>,
    /// Rows that want logits.
    pub(super) asked: &'a [usize],
    /// `[asked, vocab_size]`
    pub(super) logits: Shared<'a, f32>,
}

// SAFETY: the pointers of `Sequence` lead to cache blocks of which every thread
// touches the parts of its own heads only.
unsafe impl Sync for Pass<'_> {}

/// Passes of so few rows are so short that every thread normalises and
/// quantises all rows for itself: that takes less time than to meet the others.
const FEW_ROWS: usize = 4;

/// A thread's own activations, in passes of few rows.
#[derive(Debug, Default)]
struct Own {
    codes: Vec<i8>,
    scales: Vec<f32>,
    neg_sums: Vec<i32>,
}

/// One thread in a pass.
struct Worker<'a> {
    pass: &'a Pass<'a>,
    thread: &'a Thread<'a>,
    codes: Shared<'a, i8>,
    scales: Shared<'a, f32>,
    neg_sums: Shared<'a, i32>,
    /// The activations are this thread's own.
    alone: bool,
}

/// A row's width in memory.
pub(super) fn padded(width: usize) -> usize {
    width.next_multiple_of(BLOCK.max(GROUP))
}

impl Pass<'_> {
    fn config(&self) -> &Config {
        self.engine.packed.config()
    }

    /// This thread's part of the pass.
    pub(super) fn run(&self, thread: &Thread) {
        self.with_worker(thread, |worker| worker.run());
    }

    /// This thread's part of its end alone: the logits of what stands in `x`.
    pub(super) fn run_head(&self, thread: &Thread) {
        self.with_worker(thread, |worker| {
            let mut row_buffer = vec![0.0; padded(self.config().n_embd)];
            worker.normalise(self.engine.ln_f, Some(self.asked), &mut row_buffer);
            worker.head();
        });
    }

    fn with_worker(&self, thread: &Thread, run: impl FnOnce(&Worker)) {
        let mut own = Own::default();
        let alone = self.rows.len() <= FEW_ROWS && self.asked.len() <= FEW_ROWS;
        if alone {
            let config = self.config();
            let widest = padded(config.n_embd).max(padded(config.n_inner));
            own.codes.resize(FEW_ROWS * widest, 0);
            own.scales.resize(FEW_ROWS * widest / BLOCK, 0.0);
            own.neg_sums.resize(FEW_ROWS * widest / BLOCK, 0);
        }
        let worker = Worker {
            pass: self,
            thread,
            codes: if alone {
                Shared::new(&mut own.codes)
            } else {
                self.codes
            },
            scales: if alone {
                Shared::new(&mut own.scales)
            } else {
                self.scales
            },
            neg_sums: if alone {
                Shared::new(&mut own.neg_sums)
            } else {
                self.neg_sums
            },
            alone,
        };
        run(&worker);
    }
}

impl Worker<'_> {
    fn config(&self) -> &Config {
        self.pass.engine.packed.config()
    }

    /// The rows of `0..n` that this thread normalises or quantises.
    fn activation_rows(&self, n: usize) -> std::ops::Range<usize> {
        if self.alone {
            0..n
        } else {
            self.thread.share(n)
        }
    }

    /// Waits for the others' activations.
    fn activations_ready(&self) {
        if !self.alone {
            self.thread.barrier();
        }
    }

    fn run(&self) {
        let (pass, thread) = (self.pass, self.thread);
        let config = self.config();
        let d = padded(config.n_embd);
        let (qkv, inner) = (padded(3 * config.n_embd), padded(config.n_inner));
        let mut row_buffer = vec![0.0; d];
        let mut scratch = attention::Scratch::default();

        self.embed();
        thread.barrier();
        self.tap(0, None);
        for (index, layer) in self.pass.engine.layers.iter().enumerate() {
            self.normalise(layer.ln_1, None, &mut row_buffer);
            self.project(layer.c_attn, self.pass.wide, qkv, |_, _, _| {});
            thread.barrier();
            self.attend(index, &mut scratch);
            thread.barrier();
            self.quantize(pass.context, d);
            let additions = pass.tapped.additions(index);
            let [attended, thought] = additions.map_or([None; 2], |taps| taps.map(Some));
            self.project(layer.attn_c_proj, self.pass.sums, d, |row, from, sums| {
                self.add_to_residual(row, from, sums, attended);
            });
            thread.barrier();

            self.normalise(layer.ln_2, None, &mut row_buffer);
            self.project(layer.c_fc, self.pass.wide, inner, |_, _, sums| gelu(sums));
            thread.barrier();
            self.quantize(pass.wide, inner);
            self.project(layer.mlp_c_proj, self.pass.sums, d, |row, from, sums| {
                self.add_to_residual(row, from, sums, thought);
            });
            thread.barrier();
            self.tap(index + 1, None);
        }
        self.tap(
            self.pass.engine.layers.len() + 1,
            Some(self.pass.engine.ln_f),
        );
        if !self.pass.asked.is_empty() {
            self.normalise(pass.engine.ln_f, Some(pass.asked), &mut row_buffer);
            self.head();
        }
    }

    /// x = wte[token] + wpe[position]
    fn embed(&self) {
        let packed = &self.pass.engine.packed;
        let wte = packed.matrix(self.pass.engine.wte);
        let d = padded(self.config().n_embd);
        for row in self.thread.share(self.pass.rows.len()) {
            // SAFETY: this thread's row.
            let x = unsafe { self.pass.x.slice_mut(row * d..(row + 1) * d) };
            wte.decode_row(self.pass.rows[row].token as usize, x);
            let position = packed.floats(self.pass.engine.wpe, self.pass.rows[row].position);
            for (x, position) in x.iter_mut().zip(position) {
                *x += position;
            }
        }
    }

    /// LayerNorm of the rows, or of those `asked`, quantised for a product.
    fn normalise(&self, norm: Norm, asked: Option<&[usize]>, buffer: &mut [f32]) {
        let count = asked.map_or(self.pass.rows.len(), <[usize]>::len);
        let activations = self.activations(count, self.config().n_embd);
        for index in self.activation_rows(count) {
            let row = asked.map_or(index, |asked| asked[index]);
            self.norm_row(norm, row, buffer);
            // SAFETY: this thread's row.
            unsafe { activations.set_row(index, buffer) };
        }
        self.activations_ready();
    }

    fn norm_row(&self, norm: Norm, row: usize, out: &mut [f32]) {
        let packed = &self.pass.engine.packed;
        let config = self.config();
        let d = padded(config.n_embd);
        // SAFETY: nobody writes the residual between the barriers around this.
        let x = unsafe { self.pass.x.slice(row * d..(row + 1) * d) };
        layer_norm(
            x,
            config.n_embd,
            packed.floats(norm.weight, 0),
            packed.floats(norm.bias, 0),
            config.layer_norm_epsilon as f32,
            out,
        );
    }

    /// Quantises rows of `width` numbers for a product.
    fn quantize(&self, from: Shared<f32>, width: usize) {
        let activations = self.activations(self.pass.rows.len(), width);
        for row in self.activation_rows(self.pass.rows.len()) {
            // SAFETY: written before the barrier; the row's codes are this thread's.
            unsafe {
                let x = from.slice(row * width..(row + 1) * width);
                activations.set_row(row, x);
            }
        }
        self.activations_ready();
    }

    fn activations(&self, rows: usize, width: usize) -> Activations<'_> {
        Activations {
            rows,
            blocks: width.div_ceil(BLOCK),
            codes: self.codes,
            scales: self.scales,
            neg_sums: self.neg_sums,
        }
    }

    /// out = activations times weight plus bias, then `finish(row, first
    /// column, numbers)` on the thread's columns of every row.
    fn project(
        &self,
        weights: Linear,
        out: Shared<f32>,
        stride: usize,
        finish: impl Fn(usize, usize, &mut [f32]),
    ) {
        let packed = &self.pass.engine.packed;
        let matrix = packed.matrix(weights.weight);
        let groups = self.thread.share(matrix.groups());
        let x = self.activations(self.pass.rows.len(), matrix.columns);
        let arithmetic = self.pass.engine.arithmetic(matrix.encoding);
        // SAFETY: `x` was finished before the barrier; the columns are this thread's.
        unsafe { linear(arithmetic, &matrix, &x, groups.clone(), out, stride) };
        let columns = groups.start * GROUP..groups.end * GROUP;
        let bias = &packed.floats(weights.bias, 0)[columns.clone()];
        for row in 0..self.pass.rows.len() {
            let at = row * stride;
            // SAFETY: this thread's columns.
            let sums = unsafe { out.slice_mut(at + columns.start..at + columns.end) };
            for (sum, bias) in sums.iter_mut().zip(bias) {
                *sum += bias;
            }
            finish(row, columns.start, sums);
        }
    }

    /// x += sums, columns from `from` on; the sums go to `tap` too.
    fn add_to_residual(&self, row: usize, from: usize, sums: &[f32], tap: Option<Shared<f32>>) {
        if let Some(tap) = tap {
            let n_embd = self.config().n_embd;
            let to = (from + sums.len()).min(n_embd);
            if from < to {
                // SAFETY: the columns of the thread that calls.
                let tap = unsafe { tap.slice_mut(row * n_embd + from..row * n_embd + to) };
                tap.copy_from_slice(&sums[..to - from]);
            }
        }
        let at = row * padded(self.config().n_embd) + from;
        // SAFETY: the columns of the thread that calls.
        let x = unsafe { self.pass.x.slice_mut(at..at + sums.len()) };
        for (x, sum) in x.iter_mut().zip(sums) {
            *x += sum;
        }
    }

    /// Puts the rows' keys and values into the caches, and attends: each
    /// thread with its own heads.
    fn attend(&self, layer: usize, scratch: &mut attention::Scratch) {
        let config = self.config();
        let (n_embd, head_dim) = (config.n_embd, config.head_dim());
        let (d, qkv) = (padded(n_embd), padded(3 * n_embd));
        let layout = HeadLayout {
            n_head: config.n_head,
            head_dim,
        };
        let scale = config.attention_scale(layer) as f32;
        let heads = self.thread.share(config.n_head);
        let part = |sequence: usize, block: usize, kind: Kind, head: usize| {
            let sequence = &self.pass.sequences[sequence];
            let at = layout.part(layer, kind, head);
            assert!(at + layout.part_bytes() <= sequence.block_bytes);
            // SAFETY: inside the block.
            unsafe { sequence.blocks[block].add(at) }
        };
        // SAFETY: written before the barrier.
        let numbers = |row: usize, which: usize, head: usize| unsafe {
            let at = row * qkv + which * n_embd + head * head_dim;
            self.pass.wide.slice(at..at + head_dim)
        };
        for (index, row) in self.pass.rows.iter().enumerate() {
            let (block, slot) = (row.position / BLOCK_TOKENS, row.position % BLOCK_TOKENS);
            for (which, kind) in [(1, Kind::Keys), (2, Kind::Values)] {
                for head in heads.clone() {
                    let start = part(row.sequence, block, kind, head);
                    // SAFETY: this head's part of a block that the pass may write.
                    let part =
                        unsafe { std::slice::from_raw_parts_mut(start, layout.part_bytes()) };
                    layout.store(part, kind, slot, numbers(index, which, head));
                }
            }
        }
        let tapped = self.pass.tapped;
        let context_tap = tapped.context(layer);
        let mut first = 0;
        for (index, sequence) in self.pass.sequences.iter().enumerate() {
            let attention_tap = tapped.attention(index, layer);
            // One row alone reads the cache once through with all heads; a
            // prompt stays with one head, whose scores fit the nearest cache.
            let heads_at_once = if sequence.rows < attention::TILE {
                heads.len()
            } else {
                1
            };
            for from in heads.clone().step_by(heads_at_once.max(1)) {
                let heads = from..(from + heads_at_once).min(heads.end);
                for row in (0..sequence.rows).step_by(attention::TILE) {
                    let positions = self.pass.rows[first + row].position + 1;
                    Attention {
                        layout,
                        heads: heads.clone(),
                        positions,
                        rows: attention::TILE.min(sequence.rows - row),
                        scale,
                        query: |r, head| numbers(first + row + r, 0, head),
                        part: |kind, head, block| {
                            let start = part(index, block, kind, head).cast_const();
                            // SAFETY: nobody else writes this head's parts, nor this thread now.
                            unsafe { std::slice::from_raw_parts(start, layout.part_bytes()) }
                        },
                        scratch,
                    }
                    .run(|r, head, numbers, weights, total| {
                        let at = (first + row + r) * d + head * head_dim;
                        // SAFETY: this head's columns.
                        let out = unsafe { self.pass.context.slice_mut(at..at + head_dim) };
                        out.copy_from_slice(numbers);
                        if let Some(ablation) = sequence.ablation {
                            ablation.apply(layer, head, out);
                        }
                        if let Some(tap) = context_tap {
                            let at = (first + row + r) * n_embd + head * head_dim;
                            // SAFETY: this head's columns.
                            unsafe { tap.slice_mut(at..at + head_dim) }.copy_from_slice(out);
                        }
                        if let Some(tap) = attention_tap {
                            let at = (head * sequence.rows + row + r) * sequence.positions;
                            // SAFETY: this head's probabilities.
                            let tap = unsafe { tap.slice_mut(at..at + weights.len()) };
                            for (tap, weight) in tap.iter_mut().zip(weights) {
                                *tap = weight / total;
                            }
                        }
                    });
                }
            }
            first += sequence.rows;
        }
    }

    /// logits = normalised rows times wte
    fn head(&self) {
        let wte = self.pass.engine.packed.matrix(self.pass.engine.wte);
        let x = self.activations(self.pass.asked.len(), wte.columns);
        let arithmetic = self.pass.engine.arithmetic(wte.encoding);
        let groups = self.thread.share(wte.groups());
        // SAFETY: `x` was finished before the barrier; the columns are this thread's.
        unsafe {
            linear(
                arithmetic,
                &wte,
                &x,
                groups,
                self.pass.logits,
                padded(wte.rows),
            )
        };
    }

    /// Copies the residual stream out, where it was asked for.
    fn tap(&self, index: usize, norm: Option<Norm>) {
        let Some(tap) = self.pass.tapped.hidden_states.get(index) else {
            return;
        };
        let n_embd = self.config().n_embd;
        let d = padded(n_embd);
        let mut buffer = vec![0.0; d];
        for row in self.thread.share(self.pass.rows.len()) {
            // SAFETY: nobody writes the residual before the next barrier; the tap's row is this thread's.
            unsafe {
                let tap = tap.slice_mut(row * n_embd..(row + 1) * n_embd);
                match norm {
                    Some(norm) => {
                        self.norm_row(norm, row, &mut buffer);
                        tap.copy_from_slice(&buffer[..n_embd]);
                    }
                    None => tap.copy_from_slice(self.pass.x.slice(row * d..row * d + n_embd)),
                }
            }
        }
    }
}
