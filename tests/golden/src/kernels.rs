//! Every kernel's forms against one another, bit for bit, over made-up shapes
//! and numbers, extreme ones among them.

use crate::fixtures::Fixtures;
use crate::report::{Report, same_bits};
use cacher_wasm::engine::kernels::attention::{Attention, Scratch, TILE};
use cacher_wasm::engine::kernels::linear::{
    Activations, Arithmetic, RelaxedDot, linear, relaxed_dot,
};
use cacher_wasm::engine::kernels::quantize::BLOCK;
use cacher_wasm::engine::kernels::vector::{Native, Plain};
use cacher_wasm::engine::kernels::{gelu, norm, quantize};
use cacher_wasm::engine::matrix::{Encoding, GROUP, Matrix};
use cacher_wasm::engine::shared::Shared;
use cacher_wasm::model::kv_head::{HeadLayout, Kind};

/// A form of `quantize`: numbers in, codes, scales and negated sums out.
type Quantize = fn(&[f32], &mut [i8], &mut [f32], &mut [i32]);

/// Numbers from a seed (a linear congruential generator: the same everywhere).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// From -1 to 1.
    fn float(&mut self) -> f32 {
        self.next() as f32 / (1u32 << 30) as f32 - 1.0
    }

    /// Mostly around `scale`, now and then zero, huge or tiny.
    fn wild(&mut self, scale: f32) -> f32 {
        match self.below(40) {
            0 => 0.0,
            1 => self.float() * scale * 1e4,
            2 => self.float() * scale * 1e-6,
            3 => -scale,
            _ => self.float() * scale,
        }
    }

    fn many(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.wild(scale)).collect()
    }
}

pub fn check(_: &Fixtures) -> Report {
    let mut report = Report::default();
    let mut numbers = Numbers(1);
    for round in 0..60 {
        let outcome = linear_forms(&mut numbers, round);
        report.case(&format!("linear {round}"), outcome);
        let outcome = elementwise(&mut numbers);
        report.case(&format!("norm, gelu, quantize {round}"), outcome);
        let outcome = attention(&mut numbers);
        report.case(&format!("attention {round}"), outcome);
    }
    report
        .measured
        .push(format!("relaxed dot {:?}", relaxed_dot()));
    report
}

fn linear_forms(numbers: &mut Numbers, round: usize) -> Result<(), String> {
    let encodings = [Encoding::Q8, Encoding::Q8Offset, Encoding::Q5, Encoding::Q4];
    let encoding = encodings[round % 4];
    let (n, k) = (1 + numbers.below(200), 1 + numbers.below(300));
    let rows = 1 + numbers.below(41);
    let blocks = k.div_ceil(BLOCK);
    // Any bytes are weights; scales are bf16 from 2^-8 to 2.
    let mut data = vec![0u8; encoding.matrix_bytes(n, k)];
    for block in data.chunks_exact_mut(encoding.block_bytes()) {
        for scale in block[..GROUP * 2].chunks_exact_mut(2) {
            let bits = 0x3b80
                + (numbers.below(0x480) as u16)
                + if numbers.below(2) == 0 { 0x8000 } else { 0 };
            scale.copy_from_slice(&bits.to_le_bytes());
        }
        let extreme = numbers.below(4) == 0;
        for byte in &mut block[GROUP * 2..] {
            *byte = match (extreme, encoding) {
                (true, Encoding::Q8) => [0x81, 0x7f][numbers.below(2)],
                (true, _) => [0, 0xff][numbers.below(2)],
                // -128 is no weight.
                (false, Encoding::Q8) => (numbers.below(255) as i32 - 127) as u8,
                (false, _) => numbers.below(256) as u8,
            };
        }
    }
    let matrix = Matrix::new(encoding, n, k, &data);
    let mut codes = vec![0i8; rows * blocks * BLOCK];
    let mut scales = vec![0f32; rows * blocks];
    let mut neg_sums = vec![0i32; rows * blocks];
    let x = Activations {
        rows,
        blocks,
        codes: Shared::new(&mut codes),
        scales: Shared::new(&mut scales),
        neg_sums: Shared::new(&mut neg_sums),
    };
    for row in 0..rows {
        let mut values = numbers.many(k, 3.0);
        if numbers.below(3) == 0 {
            values.fill(if numbers.below(2) == 0 { 5.0 } else { -5.0 });
        }
        values.resize(blocks * BLOCK, 0.0);
        // SAFETY: this is the only thread.
        unsafe { x.set_row(row, &values) };
    }
    let stride = matrix.groups() * GROUP;
    let run = |arithmetic, first: usize| {
        let mut out = vec![0f32; rows * stride];
        let groups = first..matrix.groups();
        // SAFETY: this is the only thread.
        unsafe {
            linear(
                arithmetic,
                &matrix,
                &x,
                groups,
                Shared::new(&mut out),
                stride,
            )
        };
        out
    };
    let mut forms = Vec::new();
    if cfg!(target_feature = "simd128") {
        forms.push(Arithmetic::Simd128);
    }
    let exact = match relaxed_dot() {
        RelaxedDot::Absent => false,
        RelaxedDot::Unsigned => encoding != Encoding::Q8,
        RelaxedDot::Signed => encoding != Encoding::Q8Offset,
        RelaxedDot::Limited => !matches!(encoding, Encoding::Q8 | Encoding::Q8Offset),
    };
    if exact {
        forms.push(Arithmetic::Relaxed);
    }
    let first = numbers.below(matrix.groups());
    let expected = run(Arithmetic::Scalar, first);
    for form in forms {
        same_bits(
            &format!("{encoding:?} {form:?} [{n}, {k}] x {rows}"),
            &expected,
            &run(form, first),
        )?;
    }
    Ok(())
}

fn elementwise(numbers: &mut Numbers) -> Result<(), String> {
    let width = 1 + numbers.below(150);
    let padded = width.next_multiple_of(BLOCK);
    let mut row = |scale| {
        let mut row = numbers.many(width, scale);
        row.resize(padded, 0.0);
        row
    };
    let (x, weight, bias) = (row(10.0), row(1.0), row(1.0));
    let (mut a, mut b) = (vec![0.0; padded], vec![0.0; padded]);
    norm::layer_norm_on::<Plain>(&x, width, &weight, &bias, 1e-5, &mut a);
    norm::layer_norm_on::<Native>(&x, width, &weight, &bias, 1e-5, &mut b);
    same_bits("layer_norm", &a, &b)?;
    let (mut a, mut b) = (x.clone(), x.clone());
    gelu::gelu_on::<Plain>(&mut a);
    gelu::gelu_on::<Native>(&mut b);
    same_bits("gelu", &a, &b)?;
    let blocks = padded / BLOCK;
    let run = |form: Quantize| {
        let mut out = (vec![0i8; padded], vec![0f32; blocks], vec![0i32; blocks]);
        form(&x, &mut out.0, &mut out.1, &mut out.2);
        out
    };
    let (a, b) = (
        run(quantize::quantize_on::<Plain>),
        run(quantize::quantize_on::<Native>),
    );
    same_bits("scales", &a.1, &b.1)?;
    if a.0 != b.0 || a.2 != b.2 {
        return Err("quantize: other codes or sums".into());
    }
    Ok(())
}

fn attention(numbers: &mut Numbers) -> Result<(), String> {
    let layout = HeadLayout {
        n_head: 1 + numbers.below(4),
        head_dim: 1 + numbers.below(70),
    };
    let rows = 1 + numbers.below(TILE);
    let positions = 1 + numbers.below(150);
    let total = positions + rows - 1;
    let mut blocks = vec![vec![0u64; layout.layer_bytes().div_ceil(8)]; total.div_ceil(32)];
    for position in 0..total {
        for kind in [Kind::Keys, Kind::Values] {
            for head in 0..layout.n_head {
                let at = layout.part(0, kind, head);
                let block: &mut [u8] = bytemuck::cast_slice_mut(&mut blocks[position / 32]);
                let part = &mut block[at..at + layout.part_bytes()];
                layout.store(
                    part,
                    kind,
                    position % 32,
                    &numbers.many(layout.head_dim, 4.0),
                );
            }
        }
    }
    let queries: Vec<Vec<f32>> = (0..rows * layout.n_head)
        .map(|_| numbers.many(layout.head_dim, 4.0))
        .collect();
    let first = numbers.below(layout.n_head);
    let run = |native: bool, tile: usize| {
        let mut results = vec![Vec::new(); rows * layout.n_head];
        for row in (0..rows).step_by(tile) {
            let mut scratch = Scratch::default();
            let attention = Attention {
                layout,
                heads: first..layout.n_head,
                positions: positions + row,
                rows: tile.min(rows - row),
                scale: 0.3,
                query: |r: usize, head: usize| &queries[(row + r) * layout.n_head + head][..],
                part: |kind, head, block: usize| {
                    let at = layout.part(0, kind, head);
                    let block: &[u8] = bytemuck::cast_slice(&blocks[block]);
                    &block[at..at + layout.part_bytes()]
                },
                scratch: &mut scratch,
            };
            let out = |r: usize, head: usize, sums: &[f32], weights: &[f32], total: f32| {
                let mut all = sums.to_vec();
                all.extend(weights.iter().map(|weight| weight / total));
                results[(row + r) * layout.n_head + head] = all;
            };
            if native {
                attention.run_on::<Native>(out);
            } else {
                attention.run_on::<Plain>(out);
            }
        }
        results.concat()
    };
    let expected = run(false, 1);
    same_bits("attention, native", &expected, &run(true, 1))?;
    same_bits("attention, together", &expected, &run(true, TILE))?;
    naive(layout, first, positions, rows, &queries, &blocks, &expected)
}

/// Softmax of scaled products, in f64, over the numbers as they are stored.
fn naive(
    layout: HeadLayout,
    first: usize,
    positions: usize,
    rows: usize,
    queries: &[Vec<f32>],
    blocks: &[Vec<u64>],
    found: &[f32],
) -> Result<(), String> {
    let stored = |kind, head, position: usize| {
        let at = layout.part(0, kind, head);
        let block: &[u8] = bytemuck::cast_slice(&blocks[position / 32]);
        let mut numbers = vec![0.0; layout.head_dim];
        layout.load(
            &block[at..at + layout.part_bytes()],
            kind,
            position % 32,
            &mut numbers,
        );
        numbers
    };
    let mut found = found.iter();
    for row in 0..rows {
        for head in first..layout.n_head {
            let query = &queries[row * layout.n_head + head];
            let scores: Vec<f64> = (0..positions + row)
                .map(|position| {
                    let key = stored(Kind::Keys, head, position);
                    let products = query
                        .iter()
                        .zip(&key)
                        .map(|(q, k)| f64::from(*q) * f64::from(*k));
                    products.sum::<f64>() * f64::from(0.3f32)
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            let spread = scores
                .iter()
                .fold(1f64, |most, score| most.max(score.abs()));
            let mut sums = vec![0f64; layout.head_dim];
            let mut scale = vec![0f64; layout.head_dim];
            for (position, weight) in weights.iter().enumerate() {
                for (d, value) in stored(Kind::Values, head, position).into_iter().enumerate() {
                    sums[d] += weight / total * f64::from(value);
                    scale[d] += weight / total * f64::from(value.abs());
                }
            }
            let largest_value = scale.iter().copied().fold(1e-6, f64::max);
            for sum in &sums {
                let found = f64::from(*found.next().ok_or("too few numbers")?);
                // Codes of 15 bits, and what an error of a score does to its weight.
                let allowed = largest_value * (2e-3 + spread * 1e-4);
                if (found - sum).abs() > allowed {
                    return Err(format!("{found} and not {sum}, allowed {allowed}"));
                }
            }
            for weight in &weights {
                let found = f64::from(*found.next().ok_or("too few numbers")?);
                if (found - weight / total).abs() > 1e-4 + spread * 1e-4 {
                    return Err(format!("probability {found} and not {}", weight / total));
                }
            }
        }
    }
    Ok(())
}
