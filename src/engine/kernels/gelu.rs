//! `gelu_new`, GPT-2's activation function.
//!
//! `0.5 x (1 + tanh(u))` with `u = sqrt(2/pi) (x + 0.044715 x^3)` is
//! `x sigmoid(2 u)`, which needs one exponential and one division.
//! (`activations.py` in transformers, `NewGELUActivation`.)

use super::exp::exp;
use super::vector::{Native, Vector};

/// Applies it to each number; the length is a multiple of four.
pub fn gelu(values: &mut [f32]) {
    gelu_on::<Native>(values);
}

/// [`gelu`] on the vectors `V`.
#[inline(always)]
pub fn gelu_on<V: Vector>(values: &mut [f32]) {
    // -2 sqrt(2/pi), for e^(-2u).
    let factor = V::f32_splat(-1.595_769);
    let cubic = V::f32_splat(0.044_715);
    let one = V::f32_splat(1.0);
    for values in values.chunks_exact_mut(4) {
        let x = V::f32_load(values);
        let inner = one.f32_add(cubic.f32_mul(x.f32_mul(x))).f32_mul(x);
        let e = exp(inner.f32_mul(factor));
        x.f32_div(one.f32_add(e)).f32_store(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_formula_with_tanh() {
        for i in -4000..=4000 {
            let x = i as f32 / 200.0;
            let mut values = [x; 4];
            gelu(&mut values);
            let x = f64::from(x);
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            let exact = 0.5 * x * (1.0 + u.tanh());
            assert!((f64::from(values[0]) - exact).abs() < 1e-6 * exact.abs().max(1.0));
        }
    }
}
