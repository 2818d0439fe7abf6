//! The product by wasm's relaxed 8-bit dot product: what x86's `vpdpbusd` and
//! ARM's `sdot` do in one instruction.
//!
//! It is used only where it is exact: for weights up to 127 everywhere, beyond
//! where [`probe`] has shown it.

use super::blocked::{self, Bytes, Dot, Fives, Nibbles, Room};
use super::{Job, RelaxedDot};
use crate::engine::matrix::Encoding;
use core::arch::wasm32::*;
use std::hint::black_box;

/// See [`super::relaxed_dot`].
pub fn probe() -> RelaxedDot {
    // Known only at run time: a compiler that folds it would answer for itself.
    let x = i8x16_splat(black_box(100));
    let weight = u8x16_splat(black_box(200));
    let sum = i32x4_relaxed_dot_i8x16_i7x16_add(x, weight, i32x4_splat(0));
    let expect = |sums: i32| v128_any_true(i32x4_ne(sum, i32x4_splat(sums)));
    if !expect(4 * 100 * 200) {
        RelaxedDot::Unsigned
    } else if !expect(4 * 100 * (200 - 256)) {
        RelaxedDot::Signed
    } else {
        RelaxedDot::Limited
    }
}

pub fn linear(job: Job) {
    // SAFETY: `super::linear` has checked all lengths.
    unsafe {
        match job.matrix.encoding {
            Encoding::Q8 => blocked::run::<Relaxed, Bytes<false>, 2>(&job),
            Encoding::Q8Offset => blocked::run::<Relaxed, Bytes<true>, 2>(&job),
            Encoding::Q5 => blocked::run::<Relaxed, Fives, 1>(&job),
            Encoding::Q4 => blocked::run::<Relaxed, Nibbles, 1>(&job),
        }
    }
}

struct Relaxed;

impl Dot for Relaxed {
    type Code = i8;
    type Weights = v128;
    type Sums = v128;
    const SUMS_REGISTERS: usize = 1;

    #[inline(always)]
    unsafe fn codes(codes: *const i8, _: usize, _: &mut Room) -> *const i8 {
        codes
    }
    #[inline(always)]
    unsafe fn splat(from: *const i8) -> v128 {
        unsafe { v128_load32_splat(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_narrow(from: *const i8) -> v128 {
        unsafe { Self::splat(from) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> v128 {
        unsafe { v128_load(from.cast()) }
    }
    #[inline(always)]
    fn take(weights: v128) -> v128 {
        weights
    }
    #[inline(always)]
    fn zero() -> v128 {
        i32x4_splat(0)
    }
    #[inline(always)]
    fn add(x: v128, weights: v128, sums: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(x, weights, sums)
    }
    #[inline(always)]
    fn finish(sums: v128, start: v128) -> v128 {
        i32x4_add(sums, start)
    }
}
