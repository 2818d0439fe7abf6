//! 128-bit vectors: the few operations that the kernels need, once as wasm
//! SIMD and once as plain Rust.
//!
//! The kernels outside `linear` are written against [`Vector`], so the two
//! forms run the same operations in the same order, and each of those is
//! exactly defined by IEEE 754 or is an integer operation. That makes the
//! results equal bit for bit, natively and in every browser; a test runs both
//! forms side by side. Nothing here may round differently from one machine to
//! another: no fused multiply-add, no reciprocal estimates, no `min`/`max` on
//! floats (their answers to NaN differ).

/// Sixteen bytes, seen as f32x4, i32x4, i16x8 or i8x16.
pub trait Vector: Copy {
    fn f32_splat(value: f32) -> Self;
    fn i32_splat(value: i32) -> Self;
    fn i32_from(lanes: [i32; 4]) -> Self;
    /// The first four numbers of `from`.
    fn f32_load(from: &[f32]) -> Self;
    /// Into the first four numbers of `to`.
    fn f32_store(self, to: &mut [f32]);
    /// The first eight bytes of `from`, sign-extended to i16x8.
    fn i16_load_i8(from: &[i8]) -> Self;

    fn f32_add(self, other: Self) -> Self;
    fn f32_sub(self, other: Self) -> Self;
    fn f32_mul(self, other: Self) -> Self;
    fn f32_div(self, other: Self) -> Self;
    fn f32_sqrt(self) -> Self;
    /// `self < other ? other : self`, so `self` where either is NaN.
    fn f32_pmax(self, other: Self) -> Self;
    /// `other < self ? other : self`, so `self` where either is NaN.
    fn f32_pmin(self, other: Self) -> Self;
    /// To the nearest whole number, ties to even.
    fn f32_nearest(self) -> Self;
    /// To i32, saturating; NaN gives 0.
    fn f32_to_i32(self) -> Self;
    /// From i32, to the nearest f32.
    fn i32_to_f32(self) -> Self;

    fn i32_add(self, other: Self) -> Self;
    fn i32_max(self, other: Self) -> Self;
    fn i32_min(self, other: Self) -> Self;
    /// All bits set where `self > other`.
    fn i32_gt(self, other: Self) -> Self;
    fn i32_shl_23(self) -> Self;
    fn and(self, other: Self) -> Self;
    /// Products of i16 pairs, added in pairs: i32x4.
    fn i16_dot(self, other: Self) -> Self;

    fn i32_lanes(self) -> [i32; 4];
    /// Four vectors of i32, each lane cut to i8 with saturation, in order.
    fn i32_store_i8(four: [Self; 4], to: &mut [i8]);
    fn f32_lanes(self) -> [f32; 4];

    /// The four lanes' sum, always in this order.
    fn f32_sum(self) -> f32 {
        let [a, b, c, d] = self.f32_lanes();
        (a + b) + (c + d)
    }
}

/// The vector of this build.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub type Native = wasm::V128;
/// The vector of this build.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub type Native = Plain;

/// [`Vector`] in plain Rust.
#[derive(Debug, Clone, Copy)]
pub struct Plain([u32; 4]);

impl Plain {
    fn f(self) -> [f32; 4] {
        self.0.map(f32::from_bits)
    }

    fn i(self) -> [i32; 4] {
        self.0.map(|bits| bits as i32)
    }

    fn h(self) -> [i16; 8] {
        bytemuck::cast(self.0)
    }

    fn zip_f(self, other: Self, one: impl Fn(f32, f32) -> f32) -> Self {
        let (a, b) = (self.f(), other.f());
        Self(std::array::from_fn(|i| one(a[i], b[i]).to_bits()))
    }

    fn zip_i(self, other: Self, one: impl Fn(i32, i32) -> i32) -> Self {
        let (a, b) = (self.i(), other.i());
        Self(std::array::from_fn(|i| one(a[i], b[i]) as u32))
    }
}

impl Vector for Plain {
    fn f32_splat(value: f32) -> Self {
        Self([value.to_bits(); 4])
    }
    fn i32_splat(value: i32) -> Self {
        Self([value as u32; 4])
    }
    fn i32_from(lanes: [i32; 4]) -> Self {
        Self(lanes.map(|lane| lane as u32))
    }
    fn f32_load(from: &[f32]) -> Self {
        Self(std::array::from_fn(|i| from[i].to_bits()))
    }
    fn f32_store(self, to: &mut [f32]) {
        to[..4].copy_from_slice(&self.f());
    }
    fn i16_load_i8(from: &[i8]) -> Self {
        let wide: [i16; 8] = std::array::from_fn(|i| i16::from(from[i]));
        Self(bytemuck::cast(wide))
    }
    fn f32_add(self, other: Self) -> Self {
        self.zip_f(other, |a, b| a + b)
    }
    fn f32_sub(self, other: Self) -> Self {
        self.zip_f(other, |a, b| a - b)
    }
    fn f32_mul(self, other: Self) -> Self {
        self.zip_f(other, |a, b| a * b)
    }
    fn f32_div(self, other: Self) -> Self {
        self.zip_f(other, |a, b| a / b)
    }
    fn f32_sqrt(self) -> Self {
        Self(self.f().map(|x| x.sqrt().to_bits()))
    }
    fn f32_pmax(self, other: Self) -> Self {
        self.zip_f(other, |a, b| if a < b { b } else { a })
    }
    fn f32_pmin(self, other: Self) -> Self {
        self.zip_f(other, |a, b| if b < a { b } else { a })
    }
    fn f32_nearest(self) -> Self {
        Self(self.f().map(|x| x.round_ties_even().to_bits()))
    }
    fn f32_to_i32(self) -> Self {
        Self(self.f().map(|x| x as i32 as u32))
    }
    fn i32_to_f32(self) -> Self {
        Self(self.i().map(|x| (x as f32).to_bits()))
    }
    fn i32_add(self, other: Self) -> Self {
        self.zip_i(other, i32::wrapping_add)
    }
    fn i32_max(self, other: Self) -> Self {
        self.zip_i(other, i32::max)
    }
    fn i32_min(self, other: Self) -> Self {
        self.zip_i(other, i32::min)
    }
    fn i32_gt(self, other: Self) -> Self {
        self.zip_i(other, |a, b| if a > b { -1 } else { 0 })
    }
    fn i32_shl_23(self) -> Self {
        Self(self.0.map(|x| x << 23))
    }
    fn and(self, other: Self) -> Self {
        self.zip_i(other, |a, b| a & b)
    }
    fn i16_dot(self, other: Self) -> Self {
        let (a, b) = (self.h().map(i32::from), other.h().map(i32::from));
        Self(std::array::from_fn(|i| {
            (a[2 * i] * b[2 * i]).wrapping_add(a[2 * i + 1] * b[2 * i + 1]) as u32
        }))
    }
    fn i32_lanes(self) -> [i32; 4] {
        self.i()
    }
    fn i32_store_i8(four: [Self; 4], to: &mut [i8]) {
        for (to, vector) in to.chunks_exact_mut(4).zip(four) {
            for (to, lane) in to.iter_mut().zip(vector.i()) {
                *to = lane.clamp(-128, 127) as i8;
            }
        }
    }
    fn f32_lanes(self) -> [f32; 4] {
        self.f()
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub mod wasm {
    use super::Vector;
    use core::arch::wasm32::*;

    /// [`Vector`] in wasm's SIMD.
    #[derive(Debug, Clone, Copy)]
    pub struct V128(v128);

    impl Vector for V128 {
        #[inline(always)]
        fn f32_splat(value: f32) -> Self {
            Self(f32x4_splat(value))
        }
        #[inline(always)]
        fn i32_splat(value: i32) -> Self {
            Self(i32x4_splat(value))
        }
        #[inline(always)]
        fn i32_from([a, b, c, d]: [i32; 4]) -> Self {
            Self(i32x4(a, b, c, d))
        }
        #[inline(always)]
        fn f32_load(from: &[f32]) -> Self {
            let from: &[f32; 4] = from.first_chunk().expect("four numbers");
            // SAFETY: 16 readable bytes; wasm loads need no alignment.
            Self(unsafe { v128_load(from.as_ptr().cast()) })
        }
        #[inline(always)]
        fn f32_store(self, to: &mut [f32]) {
            let to: &mut [f32; 4] = to.first_chunk_mut().expect("four numbers");
            // SAFETY: 16 writable bytes.
            unsafe { v128_store(to.as_mut_ptr().cast(), self.0) }
        }
        #[inline(always)]
        fn i16_load_i8(from: &[i8]) -> Self {
            let from: &[i8; 8] = from.first_chunk().expect("eight bytes");
            // SAFETY: 8 readable bytes.
            Self(unsafe { i16x8_load_extend_i8x8(from.as_ptr()) })
        }
        #[inline(always)]
        fn f32_add(self, other: Self) -> Self {
            Self(f32x4_add(self.0, other.0))
        }
        #[inline(always)]
        fn f32_sub(self, other: Self) -> Self {
            Self(f32x4_sub(self.0, other.0))
        }
        #[inline(always)]
        fn f32_mul(self, other: Self) -> Self {
            Self(f32x4_mul(self.0, other.0))
        }
        #[inline(always)]
        fn f32_div(self, other: Self) -> Self {
            Self(f32x4_div(self.0, other.0))
        }
        #[inline(always)]
        fn f32_sqrt(self) -> Self {
            Self(f32x4_sqrt(self.0))
        }
        #[inline(always)]
        fn f32_pmax(self, other: Self) -> Self {
            Self(f32x4_pmax(self.0, other.0))
        }
        #[inline(always)]
        fn f32_pmin(self, other: Self) -> Self {
            Self(f32x4_pmin(self.0, other.0))
        }
        #[inline(always)]
        fn f32_nearest(self) -> Self {
            Self(f32x4_nearest(self.0))
        }
        #[inline(always)]
        fn f32_to_i32(self) -> Self {
            Self(i32x4_trunc_sat_f32x4(self.0))
        }
        #[inline(always)]
        fn i32_to_f32(self) -> Self {
            Self(f32x4_convert_i32x4(self.0))
        }
        #[inline(always)]
        fn i32_add(self, other: Self) -> Self {
            Self(i32x4_add(self.0, other.0))
        }
        #[inline(always)]
        fn i32_max(self, other: Self) -> Self {
            Self(i32x4_max(self.0, other.0))
        }
        #[inline(always)]
        fn i32_min(self, other: Self) -> Self {
            Self(i32x4_min(self.0, other.0))
        }
        #[inline(always)]
        fn i32_gt(self, other: Self) -> Self {
            Self(i32x4_gt(self.0, other.0))
        }
        #[inline(always)]
        fn i32_shl_23(self) -> Self {
            Self(i32x4_shl(self.0, 23))
        }
        #[inline(always)]
        fn and(self, other: Self) -> Self {
            Self(v128_and(self.0, other.0))
        }
        #[inline(always)]
        fn i16_dot(self, other: Self) -> Self {
            Self(i32x4_dot_i16x8(self.0, other.0))
        }
        #[inline(always)]
        fn i32_lanes(self) -> [i32; 4] {
            // SAFETY: both are sixteen plain bytes.
            unsafe { core::mem::transmute(self.0) }
        }
        #[inline(always)]
        fn i32_store_i8([a, b, c, d]: [Self; 4], to: &mut [i8]) {
            let to: &mut [i8; 16] = to.first_chunk_mut().expect("sixteen bytes");
            let low = i16x8_narrow_i32x4(a.0, b.0);
            let high = i16x8_narrow_i32x4(c.0, d.0);
            // SAFETY: 16 writable bytes.
            unsafe { v128_store(to.as_mut_ptr().cast(), i8x16_narrow_i16x8(low, high)) }
        }
        #[inline(always)]
        fn f32_lanes(self) -> [f32; 4] {
            // SAFETY: both are sixteen plain bytes.
            unsafe { core::mem::transmute(self.0) }
        }
    }
}
