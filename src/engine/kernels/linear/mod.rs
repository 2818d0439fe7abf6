//! Products of activations with a packed matrix.
//!
//! Sums inside a block are integers and exact; a block's sum times its scales
//! is added to an f32, blocks in order. Neither the number of rows nor the
//! split among threads changes that order, so a row's result is the same bits
//! in every batch and on every machine.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod blocked;
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub mod relaxed;
pub mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub mod simd128;

use super::quantize::{self, BLOCK};
use crate::engine::matrix::{GROUP, Matrix};
use crate::engine::shared::Shared;
use std::ops::Range;

/// How the dot products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// Plain Rust.
    Scalar,
    /// wasm's SIMD: bytes widened to 16 bits.
    Simd128,
    /// wasm's relaxed SIMD, proved exact for these weights: see [`arithmetic`].
    Relaxed,
}

/// What the relaxed dot product of this engine does with weights past 127.
///
/// The standard fixes `i32x4.relaxed_dot_i8x16_i7x16_add` for weights from 0
/// to 127 only. Beyond, x86 with VNNI takes them as unsigned, ARM's as signed,
/// and x86 without VNNI saturates sums of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelaxedDot {
    Unsigned,
    Signed,
    /// Saturating, or something else: only for weights up to 127.
    Limited,
    /// This build has none.
    Absent,
}

/// Tries it out, on numbers that the compiler cannot know.
pub fn relaxed_dot() -> RelaxedDot {
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    return relaxed::probe();
    #[cfg(not(all(target_arch = "wasm32", target_feature = "relaxed-simd")))]
    RelaxedDot::Absent
}

/// Activations, quantised: `rows` rows of `blocks` blocks, block by block, so
/// that the part of all rows that meets a block of weights is contiguous.
#[derive(Debug, Clone, Copy)]
pub struct Activations<'a> {
    pub rows: usize,
    pub blocks: usize,
    /// `[blocks, rows, 32]`
    pub codes: Shared<'a, i8>,
    /// `[blocks, rows]`
    pub scales: Shared<'a, f32>,
    /// `[blocks, rows]`
    pub neg_sums: Shared<'a, i32>,
}

impl Activations<'_> {
    /// Quantises `x` into row `row`.
    ///
    /// # Safety
    /// Until the next barrier this row is this thread's alone.
    pub unsafe fn set_row(&self, row: usize, x: &[f32]) {
        for (block, x) in x.chunks_exact(BLOCK).enumerate() {
            let at = block * self.rows + row;
            // SAFETY: places of this row only.
            let (codes, scale, neg_sum) = unsafe {
                (
                    self.codes.slice_mut(at * BLOCK..(at + 1) * BLOCK),
                    self.scales.slice_mut(at..at + 1),
                    self.neg_sums.slice_mut(at..at + 1),
                )
            };
            quantize::quantize(x, codes, scale, neg_sum);
        }
    }
}

/// `out[row][n] = sum over k of x[row][k] * weight[n][k]` for every row of `x`
/// and every `n` in `groups`; `out` is `[rows, stride]`, and `stride` has room
/// for whole groups.
///
/// # Safety
/// Until the next barrier nobody writes to `x`, and the columns of `groups` in
/// `out` are this thread's alone.
pub unsafe fn linear(
    arithmetic: Arithmetic,
    matrix: &Matrix,
    x: &Activations,
    groups: Range<usize>,
    out: Shared<f32>,
    stride: usize,
) {
    assert!(groups.end <= matrix.groups() && groups.end * GROUP <= stride);
    assert_eq!(x.blocks, matrix.blocks());
    // SAFETY: the caller's promises; and all of `x` and the columns are in bounds:
    let (codes, scales, neg_sums) = unsafe {
        (
            x.codes.slice(0..x.blocks * x.rows * BLOCK),
            x.scales.slice(0..x.blocks * x.rows),
            x.neg_sums.slice(0..x.blocks * x.rows),
        )
    };
    let job = Job {
        matrix,
        rows: x.rows,
        codes,
        scales,
        neg_sums,
        groups,
        out,
        stride,
    };
    match arithmetic {
        Arithmetic::Scalar => scalar::linear(job),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Arithmetic::Simd128 => simd128::linear(job),
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        Arithmetic::Relaxed => relaxed::linear(job),
        #[allow(unreachable_patterns)]
        _ => unreachable!("this build has no such arithmetic"),
    }
}

/// What every form of the product gets.
#[cfg_attr(not(target_feature = "simd128"), allow(dead_code))]
pub struct Job<'a> {
    matrix: &'a Matrix<'a>,
    rows: usize,
    codes: &'a [i8],
    scales: &'a [f32],
    neg_sums: &'a [i32],
    groups: Range<usize>,
    out: Shared<'a, f32>,
    stride: usize,
}

impl Job<'_> {
    /// The outputs of `group` for `row`.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    fn out(&self, row: usize, group: usize) -> &mut [f32] {
        let at = row * self.stride + group * GROUP;
        // SAFETY: `linear`'s caller gave these columns to this thread, and the
        // kernels take one part at a time.
        unsafe { self.out.slice_mut(at..at + GROUP) }
    }
}
