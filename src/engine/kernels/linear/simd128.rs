//! The product by wasm's plain SIMD: bytes are widened to 16 bits, of which it
//! has a dot product. Slower than the relaxed form where that is one
//! instruction; where it is not (x86 without AVX-VNNI) it is what 8-bit weights
//! are multiplied by, as the relaxed form is not exact there.
//!
//! Weights are widened as they are loaded, at no cost; activations once for all
//! the weights that they meet. One row takes one group at a time: arithmetic,
//! not memory, is the limit, and a second stream costs registers.

use super::Job;
use super::blocked::{self, Bytes, Dot, Fives, Nibbles, Room, SignedBytes};
use crate::engine::matrix::Encoding;
use core::arch::wasm32::*;

pub fn linear(job: Job) {
    // SAFETY: `super::linear` has checked all lengths.
    unsafe {
        match job.matrix.encoding {
            Encoding::Q8 => blocked::run::<Widened, Bytes<false>, 1>(&job),
            Encoding::Q5 => blocked::run::<Widened, Fives, 1>(&job),
            Encoding::Q4 => blocked::run::<Widened, Nibbles, 1>(&job),
            // Only to check the relaxed form against: see `relaxed_dot`.
            Encoding::Q8Offset => blocked::run::<Widened, SignedBytes, 2>(&job),
        }
    }
}

struct Widened;

impl Dot for Widened {
    type Code = i16;
    /// Rows 0 and 1, rows 2 and 3.
    type Weights = [v128; 2];
    /// Of the same rows: two half sums each.
    type Sums = [v128; 2];
    const SUMS_REGISTERS: usize = 2;

    #[inline(always)]
    unsafe fn codes(codes: *const i8, count: usize, room: &mut Room) -> *const i16 {
        for (index, eight) in room[..count / 8].iter_mut().enumerate() {
            *eight = unsafe { i16x8_load_extend_i8x8(codes.add(index * 8)) };
        }
        room.as_ptr().cast()
    }
    #[inline(always)]
    unsafe fn splat(from: *const i16) -> v128 {
        unsafe { v128_load64_splat(from.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_narrow(from: *const i8) -> v128 {
        i16x8_extend_low_i8x16(unsafe { v128_load32_splat(from.cast()) })
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> [v128; 2] {
        // One instruction each, where widening half a register takes two.
        unsafe {
            [
                i16x8_load_extend_i8x8(from.cast()),
                i16x8_load_extend_i8x8(from.add(8).cast()),
            ]
        }
    }
    #[inline(always)]
    fn take(weights: v128) -> [v128; 2] {
        [
            i16x8_extend_low_i8x16(weights),
            i16x8_extend_high_i8x16(weights),
        ]
    }
    #[inline(always)]
    fn zero() -> [v128; 2] {
        [i32x4_splat(0); 2]
    }
    #[inline(always)]
    fn add(x: v128, weights: [v128; 2], sums: [v128; 2]) -> [v128; 2] {
        [
            i32x4_add(sums[0], i32x4_dot_i16x8(x, weights[0])),
            i32x4_add(sums[1], i32x4_dot_i16x8(x, weights[1])),
        ]
    }
    #[inline(always)]
    fn finish([low, high]: [v128; 2], start: v128) -> v128 {
        let even = i32x4_shuffle::<0, 2, 4, 6>(low, high);
        let odd = i32x4_shuffle::<1, 3, 5, 7>(low, high);
        i32x4_add(i32x4_add(even, odd), start)
    }
}
