//! e to the x in `f64`, the same bits everywhere, many at a time.
//!
//! `x = k ln 2 + r`; Taylor's polynomial of degree 13 gives `e^r`, the exponent
//! bits give `2^k`. There is no branch, so that the compiler vectorises a loop of
//! it, which is several times as fast as `libm`'s over a whole vocabulary.

/// ln 2 in two parts, the first so short that its product with k is exact.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Added and subtracted, it rounds to a whole number; once added, that number
/// stands in the lowest bits.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52

/// 1/2!, 1/3! and so on to 1/13!.
const INVERSE_FACTORIALS: [f64; 12] = {
    let mut all = [0.0; 12];
    let mut factorial = 1.0;
    let mut n = 0;
    while n < 12 {
        factorial *= (n + 2) as f64;
        all[n] = 1.0 / factorial;
        n += 1;
    }
    all
};

/// `distances = scores - best` and `weights = exp(distances)`, all of one length.
// A function of its own, whose arguments are known not to overlap: inlined into
// another, the loop was not vectorised.
#[inline(never)]
pub(crate) fn weigh(scores: &[f32], best: f64, distances: &mut [f64], weights: &mut [f64]) {
    let places = distances.iter_mut().zip(weights);
    for (&score, (distance, weight)) in scores.iter().zip(places) {
        *distance = f64::from(score) - best;
        *weight = exp(*distance);
    }
}

/// e to the `x` of at most 0, within 1e-15 of it; 0 from -700 down, where it is
/// below 1e-304.
#[inline(always)]
fn exp(x: f64) -> f64 {
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut p = INVERSE_FACTORIALS[11];
    let mut n = 11;
    while n > 0 {
        n -= 1;
        p = p * r + INVERSE_FACTORIALS[n];
    }
    let e = (p * r + 1.0) * r + 1.0;
    // The sum of e's exponent and k is within that of a normal number.
    let scaled = f64::from_bits(e.to_bits().wrapping_add(shifted.to_bits() << 52));
    if x > -700.0 { scaled } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_e_to_the_x_down_to_minus_700() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        for i in 0..700_000 {
            let x = -f64::from(i) / 1000.0;
            let exact = libm::exp(x);
            let error = (exp(x) / exact - 1.0).abs();
            assert!(error < 1e-15, "exp({x}) is off by {error:e}");
        }
    }

    #[test]
    fn below_it_is_nothing() {
        for x in [-700.0, -701.0, -1e300, f64::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0);
        }
    }
}
