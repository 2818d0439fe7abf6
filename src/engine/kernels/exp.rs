//! e to the x, the same bits everywhere.
//!
//! `x = n ln 2 + r`; a polynomial of degree 6 gives `e^r` (the coefficients
//! are Cephes' `expf`), the exponent bits give `2^n`. The argument's range ends
//! at ±87, short of infinity and of subnormal numbers, which are slow.

use super::vector::Vector;

/// e to each lane, within 2e-7 of it; arguments beyond ±87 count as ±87, NaN
/// as -87.
#[inline(always)]
pub fn exp<V: Vector>(x: V) -> V {
    let x = V::f32_splat(-87.0).f32_pmax(x);
    let x = V::f32_splat(87.0).f32_pmin(x);
    let n = x
        .f32_mul(V::f32_splat(std::f32::consts::LOG2_E))
        .f32_nearest();
    // ln 2 in two parts, the first so short that its product with n is exact.
    let r = x.f32_sub(n.f32_mul(V::f32_splat(0.693_359_4)));
    let r = r.f32_sub(n.f32_mul(V::f32_splat(-2.121_944_4e-4)));
    let mut p = V::f32_splat(1.987_569_1e-4);
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_6e-1,
        0.5,
    ] {
        p = p.f32_mul(r).f32_add(V::f32_splat(coefficient));
    }
    let e = p
        .f32_mul(r.f32_mul(r))
        .f32_add(r)
        .f32_add(V::f32_splat(1.0));
    let power = n.f32_to_i32().i32_add(V::i32_splat(127)).i32_shl_23();
    e.f32_mul(power)
}

#[cfg(test)]
mod tests {
    use super::super::vector::Plain;
    use super::*;

    fn one(x: f32) -> f32 {
        exp(Plain::f32_splat(x)).f32_lanes()[0]
    }

    #[test]
    fn it_is_e_to_the_x_over_the_whole_range() {
        for i in -87_000..=87_000 {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(one(x)) / exact - 1.0).abs();
            assert!(error < 2e-7, "exp({x}) is off by {error:e}");
        }
        assert_eq!(one(0.0), 1.0);
    }

    #[test]
    fn beyond_the_range_it_stays_finite_and_positive() {
        for x in [-1e30, f32::NEG_INFINITY, -88.0, f32::NAN] {
            assert_eq!(one(x), one(-87.0));
        }
        assert_eq!(one(f32::INFINITY), one(87.0));
    }
}
