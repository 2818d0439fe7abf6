//! Activations as 8-bit integers: what the integer dot products take.
//!
//! Every 32 numbers share a scale, their largest magnitude over 127. The
//! negated sum of a block's codes goes with it: times a weight format's zero
//! point it is what the product's sum has to begin with, so that weights can
//! be stored unsigned at no cost.

use super::vector::{Native, Vector};

/// Numbers that share a scale.
pub const BLOCK: usize = 32;

/// Quantises `x`, whole blocks, into one code a number and one scale and one
/// negated sum a block. A block whose numbers are all below 1e-30 becomes
/// zero; one that holds an infinity or NaN gets a scale of NaN.
pub fn quantize(x: &[f32], codes: &mut [i8], scales: &mut [f32], neg_sums: &mut [i32]) {
    quantize_on::<Native>(x, codes, scales, neg_sums);
}

/// [`quantize`] on the vectors `V`.
#[inline(always)]
pub fn quantize_on<V: Vector>(
    x: &[f32],
    codes: &mut [i8],
    scales: &mut [f32],
    neg_sums: &mut [i32],
) {
    let magnitude = V::i32_splat(i32::MAX);
    let blocks = x.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK));
    for (((x, codes), scale), neg_sum) in blocks.zip(scales).zip(neg_sums) {
        // Magnitudes of floats are ordered as their bits are, NaN above all.
        let mut largest = V::i32_splat(0);
        for x in x.chunks_exact(4) {
            largest = largest.i32_max(V::f32_load(x).and(magnitude));
        }
        let largest = largest.i32_lanes().into_iter().fold(0, i32::max);
        let largest = f32::from_bits(largest as u32);
        let inverse = if !largest.is_finite() {
            *scale = f32::NAN;
            0.0
        } else if largest < 1e-30 {
            *scale = 0.0;
            0.0
        } else {
            *scale = largest / 127.0;
            127.0 / largest
        };
        let inverse = V::f32_splat(inverse);
        let mut sum = V::i32_splat(0);
        for (x, codes) in x.chunks_exact(16).zip(codes.chunks_exact_mut(16)) {
            let four = [0, 4, 8, 12].map(|at| {
                let scaled = V::f32_load(&x[at..]).f32_mul(inverse);
                scaled.f32_nearest().f32_to_i32()
            });
            for codes in four {
                sum = sum.i32_add(codes);
            }
            V::i32_store_i8(four, codes);
        }
        *neg_sum = -sum.i32_lanes().into_iter().sum::<i32>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quantized(x: &[f32]) -> (Vec<i8>, Vec<f32>, Vec<i32>) {
        let blocks = x.len() / BLOCK;
        let mut out = (vec![0; x.len()], vec![0.0; blocks], vec![0; blocks]);
        quantize(x, &mut out.0, &mut out.1, &mut out.2);
        out
    }

    proptest! {
        #[test]
        fn codes_times_scale_are_within_half_a_step(
            x in prop::collection::vec(-1e6f32..1e6, 96),
            shrink in -20i32..20,
        ) {
            let x: Vec<f32> = x.iter().map(|x| x * 2f32.powi(shrink)).collect();
            let (codes, scales, neg_sums) = quantized(&x);
            for (i, x) in x.iter().enumerate() {
                let scale = scales[i / BLOCK];
                let back = f32::from(codes[i]) * scale;
                prop_assert!((x - back).abs() <= scale * 0.50001);
            }
            for (block, neg_sum) in neg_sums.iter().enumerate() {
                let sum: i32 = codes[block * BLOCK..][..BLOCK].iter().map(|&c| i32::from(c)).sum();
                prop_assert_eq!(*neg_sum, -sum);
            }
        }
    }

    #[test]
    fn nothing_and_too_much_have_defined_answers() {
        let (codes, scales, _) = quantized(&[1e-35; BLOCK]);
        assert_eq!((codes, scales), (vec![0; BLOCK], vec![0.0]));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; BLOCK];
            x[17] = bad;
            let (_, scales, neg_sums) = quantized(&x);
            assert!(scales[0].is_nan());
            assert_eq!(neg_sums, [0]);
        }
    }
}
