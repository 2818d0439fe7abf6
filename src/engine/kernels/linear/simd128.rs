//! The product by wasm's plain SIMD: bytes are widened to 16 bits, of which it
//! has a dot product. As fast as the relaxed form where memory is the limit,
//! and 2.5 times slower where arithmetic is.

use super::Job;
use super::blocked::{self, Bytes, Dot, Fives, Nibbles, SignedBytes};
use crate::engine::matrix::Encoding;
use core::arch::wasm32::*;

pub fn linear(job: Job) {
    // SAFETY: `super::linear` has checked all lengths.
    unsafe {
        match job.matrix.encoding {
            Encoding::Q8 => blocked::run::<Widened, Bytes<false>, 2>(&job),
            Encoding::Q5 => blocked::run::<Widened, Fives, 1>(&job),
            Encoding::Q4 => blocked::run::<Widened, Nibbles, 1>(&job),
            // Only to check the relaxed form against: see `relaxed_dot`.
            Encoding::Q8Offset => blocked::run::<Widened, SignedBytes, 2>(&job),
        }
    }
}

struct Widened;

impl Dot for Widened {
    /// The four activations twice, as i16x8.
    type X = v128;
    /// Rows 0 and 1, rows 2 and 3: two half sums each.
    type Sums = [v128; 2];

    #[inline(always)]
    unsafe fn x(from: *const i8) -> v128 {
        i16x8_extend_low_i8x16(unsafe { v128_load32_splat(from.cast()) })
    }
    #[inline(always)]
    fn zero() -> [v128; 2] {
        [i32x4_splat(0); 2]
    }
    #[inline(always)]
    fn add(x: v128, weights: v128, [low, high]: [v128; 2]) -> [v128; 2] {
        [
            i32x4_add(low, i32x4_dot_i16x8(x, i16x8_extend_low_i8x16(weights))),
            i32x4_add(high, i32x4_dot_i16x8(x, i16x8_extend_high_i8x16(weights))),
        ]
    }
    #[inline(always)]
    fn finish([low, high]: [v128; 2], start: v128) -> v128 {
        let even = i32x4_shuffle::<0, 2, 4, 6>(low, high);
        let odd = i32x4_shuffle::<1, 3, 5, 7>(low, high);
        i32x4_add(i32x4_add(even, odd), start)
    }
}
