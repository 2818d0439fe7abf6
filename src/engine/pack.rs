//! Weights into packed matrices, as they arrive.

use super::kernels::quantize::BLOCK;
use super::matrix::{Encoding, GROUP, set_row};
use half::bf16;

/// The scale and numbers that stand for a block of weights.
pub fn quantize_block(encoding: Encoding, weights: &[f32; BLOCK]) -> (bf16, [i8; BLOCK]) {
    match encoding {
        Encoding::Q8 | Encoding::Q8Offset => quantize_8(weights),
        Encoding::Q5 => quantize_low(weights, 16),
        Encoding::Q4 => quantize_low(weights, 8),
    }
}

/// Smallest scale: below it products could become subnormal, which is slow.
const LEAST_SCALE: f32 = 1e-30;

/// The scale is rounded first and the numbers then made with the rounded one,
/// so rounding it costs nothing.
fn quantize_8(weights: &[f32; BLOCK]) -> (bf16, [i8; BLOCK]) {
    let largest = weights.iter().fold(0f32, |most, w| most.max(w.abs()));
    let scale = bf16::from_f32(largest / 127.0);
    if scale.to_f32() < LEAST_SCALE {
        return (bf16::ZERO, [0; BLOCK]);
    }
    let inverse = 1.0 / scale.to_f32();
    let codes = weights.map(|w| (w * inverse).round_ties_even().clamp(-127.0, 127.0) as i8);
    (scale, codes)
}

/// Numbers from `-half` to `half - 1`. The scale takes the sign that puts the
/// largest weight at the lower end, which reaches one further, and is the one
/// of eight candidates with the least squared error: a tenth less divergence
/// from f32 than without the search.
fn quantize_low(weights: &[f32; BLOCK], half: i8) -> (bf16, [i8; BLOCK]) {
    let largest = weights
        .iter()
        .fold(0f32, |most, &w| if w.abs() > most.abs() { w } else { most });
    let half = f32::from(half);
    let mut best = (f32::INFINITY, bf16::ZERO, [0.0; BLOCK]);
    for step in -2..6 {
        let scale = bf16::from_f32(-largest / (half * (1.0 + step as f32 / 32.0)));
        if scale.to_f32().abs() < LEAST_SCALE {
            break;
        }
        let inverse = 1.0 / scale.to_f32();
        let numbers = weights.map(|w| (w * inverse).round_ties_even().clamp(-half, half - 1.0));
        let mut errors = [0.0; 4];
        for (weights, numbers) in weights.chunks_exact(4).zip(numbers.chunks_exact(4)) {
            for lane in 0..4 {
                let error = weights[lane] - numbers[lane] * scale.to_f32();
                errors[lane] += error * error;
            }
        }
        let error = errors.iter().sum();
        if error < best.0 {
            best = (error, scale, numbers);
        }
    }
    (best.1, best.2.map(|number| number as i8))
}

/// Packs a matrix whose numbers come in order, in pieces of any size.
#[derive(Debug)]
pub struct Packer {
    encoding: Encoding,
    rows: usize,
    columns: usize,
    /// The numbers come column by column, as Hugging Face's `Conv1D` stores
    /// `[in, out]`; else row by row.
    by_column: bool,
    /// The numbers of the stripe in work: 32 columns of all rows, or 32 rows
    /// of all columns.
    stripe: Vec<f32>,
    /// Stripes done.
    stripes: usize,
}

impl Packer {
    pub fn new(encoding: Encoding, rows: usize, columns: usize, by_column: bool) -> Self {
        let across = if by_column { rows } else { columns };
        Self {
            encoding,
            rows,
            columns,
            by_column,
            stripe: Vec::with_capacity(GROUP.max(BLOCK) * across),
            stripes: 0,
        }
    }

    /// Takes the next numbers; `out` is the packed matrix, zero at first.
    pub fn push(&mut self, mut numbers: &[f32], out: &mut [u8]) {
        let (across, along) = if self.by_column {
            (self.rows, self.columns)
        } else {
            (self.columns, self.rows)
        };
        while !numbers.is_empty() {
            let lines = (along - self.stripes * BLOCK).min(BLOCK);
            let count = numbers.len().min(lines * across - self.stripe.len());
            let (mine, rest) = numbers.split_at(count);
            self.stripe.extend_from_slice(mine);
            numbers = rest;
            if self.stripe.len() == lines * across {
                self.pack_stripe(out);
                self.stripe.clear();
                self.stripes += 1;
            }
        }
    }

    fn pack_stripe(&self, out: &mut [u8]) {
        let block_bytes = self.encoding.block_bytes();
        let blocks = self.columns.div_ceil(BLOCK);
        let mut pack = |row: usize, block: usize, weights: &[f32; BLOCK]| {
            let (scale, numbers) = quantize_block(self.encoding, weights);
            let at = (row / GROUP * blocks + block) * block_bytes;
            let block = &mut out[at..at + block_bytes];
            set_row(self.encoding, block, row % GROUP, scale, &numbers);
        };
        if self.by_column {
            for row in 0..self.rows {
                let mut weights = [0.0; BLOCK];
                let column = self.stripe.iter().skip(row).step_by(self.rows);
                for (weight, &number) in weights.iter_mut().zip(column) {
                    *weight = number;
                }
                pack(row, self.stripes, &weights);
            }
        } else {
            for (line, numbers) in self.stripe.chunks_exact(self.columns).enumerate() {
                for (block, numbers) in numbers.chunks(BLOCK).enumerate() {
                    let mut weights = [0.0; BLOCK];
                    weights[..numbers.len()].copy_from_slice(numbers);
                    pack(self.stripes * GROUP + line, block, &weights);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::matrix::Matrix;
    use proptest::prelude::*;

    const ENCODINGS: [Encoding; 4] = [Encoding::Q8, Encoding::Q8Offset, Encoding::Q5, Encoding::Q4];

    fn decoded(encoding: Encoding, rows: usize, columns: usize, data: &[u8]) -> Vec<f32> {
        let matrix = Matrix::new(encoding, rows, columns, data);
        let mut row = vec![0.0; matrix.blocks() * BLOCK];
        (0..rows)
            .flat_map(|index| {
                matrix.decode_row(index, &mut row);
                assert!(row[columns..].iter().all(|&x| x == 0.0));
                row[..columns].to_vec()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn packed_weights_are_near_and_the_order_they_came_in_does_not_matter(
            rows in 1..70usize,
            columns in 1..70usize,
            piece in 1..200usize,
            size in -12i32..4,
            seed: u32,
        ) {
            let mut state = seed;
            let weights: Vec<f32> = (0..rows * columns).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state as f32 / u32::MAX as f32 - 0.5) * 2f32.powi(size)
            }).collect();
            let turned: Vec<f32> = (0..columns)
                .flat_map(|column| (0..rows).map(move |row| (row, column)))
                .map(|(row, column)| weights[row * columns + column])
                .collect();
            for (encoding, steps) in ENCODINGS.into_iter().zip([127.0, 127.0, 15.0, 7.0]) {
                let pack = |numbers: &[f32], by_column| {
                    let mut out = vec![0; encoding.matrix_bytes(rows, columns)];
                    let mut packer = Packer::new(encoding, rows, columns, by_column);
                    for numbers in numbers.chunks(piece) {
                        packer.push(numbers, &mut out);
                    }
                    out
                };
                let packed = pack(&weights, false);
                prop_assert_eq!(&packed, &pack(&turned, true));
                let largest = 2f32.powi(size) / 2.0;
                for (w, found) in weights.iter().zip(decoded(encoding, rows, columns, &packed)) {
                    prop_assert!((w - found).abs() <= largest / steps * 1.7, "{encoding:?}");
                }
            }
        }
    }

    #[test]
    fn a_block_of_nothing_stays_nothing() {
        for encoding in ENCODINGS {
            for tiny in [0.0, 1e-38, -1e-33] {
                assert_eq!(
                    quantize_block(encoding, &[tiny; BLOCK]),
                    (bf16::ZERO, [0; BLOCK])
                );
            }
        }
    }

    #[test]
    fn packing_again_replaces_what_was_there() {
        for encoding in ENCODINGS {
            let mut out = vec![0; encoding.matrix_bytes(3, 5)];
            for sign in [1.0, -1.0] {
                let weights: Vec<f32> = (0..15).map(|i| sign * (i as f32 - 4.0)).collect();
                Packer::new(encoding, 3, 5, false).push(&weights, &mut out);
                for (w, found) in weights.iter().zip(decoded(encoding, 3, 5, &out)) {
                    assert!((w - found).abs() <= 1.0);
                }
            }
        }
    }
}
