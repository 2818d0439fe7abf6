//! LayerNorm over a row.

use super::vector::{Native, Vector};

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the first
/// `width` numbers of `x`. All slices have the same length, `width` rounded up
/// to a multiple of four at least; what `weight` and `bias` hold past `width`
/// is zero, and so is the result there.
pub fn layer_norm(
    x: &[f32],
    width: usize,
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
    out: &mut [f32],
) {
    layer_norm_on::<Native>(x, width, weight, bias, epsilon, out);
}

/// [`layer_norm`] on the vectors `V`.
#[inline(always)]
pub fn layer_norm_on<V: Vector>(
    x: &[f32],
    width: usize,
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
    out: &mut [f32],
) {
    // Lanes of the last vector that belong to the row.
    let mask = mask_of::<V>(width);
    let last = width.div_ceil(4) - 1;
    let vector = |index: usize| {
        let vector = V::f32_load(&x[index * 4..]);
        if index == last {
            vector.and(mask)
        } else {
            vector
        }
    };
    let mut sum = V::f32_splat(0.0);
    for index in 0..=last {
        sum = sum.f32_add(vector(index));
    }
    let mean = V::f32_splat(sum.f32_sum() / width as f32);
    let mut squares = V::f32_splat(0.0);
    for index in 0..=last {
        let mut centred = vector(index).f32_sub(mean);
        if index == last {
            centred = centred.and(mask);
        }
        squares = squares.f32_add(centred.f32_mul(centred));
    }
    let variance = squares.f32_sum() / width as f32;
    let scale = V::f32_splat(1.0).f32_div(V::f32_splat(variance + epsilon).f32_sqrt());
    for (((x, weight), bias), out) in x
        .chunks_exact(4)
        .zip(weight.chunks_exact(4))
        .zip(bias.chunks_exact(4))
        .zip(out.chunks_exact_mut(4))
    {
        V::f32_load(x)
            .f32_sub(mean)
            .f32_mul(scale)
            .f32_mul(V::f32_load(weight))
            .f32_add(V::f32_load(bias))
            .f32_store(out);
    }
}

/// All bits set in the lanes that the last vector of a row of `width` fills.
#[inline(always)]
fn mask_of<V: Vector>(width: usize) -> V {
    let filled = (width + 3) % 4 + 1;
    V::i32_splat(filled as i32).i32_gt(V::i32_from([0, 1, 2, 3]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_formula_for_every_width(
            x in prop::collection::vec(-100.0f32..100.0, 1..70),
            weight in -2.0f32..2.0,
            bias in -2.0f32..2.0,
        ) {
            let width = x.len();
            let padded = width.next_multiple_of(32);
            let row = |value: f32| {
                let mut row = vec![value; width];
                row.resize(padded, 0.0);
                row
            };
            let mut input = x.clone();
            // What stands past the row must not count.
            input.resize(padded, 1e6);
            let mut out = vec![7.0; padded];
            layer_norm(&input, width, &row(weight), &row(bias), 1e-5, &mut out);

            let n = width as f64;
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
            for (x, out) in x.iter().zip(&out) {
                let exact = (f64::from(*x) - mean) / (variance + 1e-5).sqrt() * f64::from(weight)
                    + f64::from(bias);
                prop_assert!((f64::from(*out) - exact).abs() < 1e-3, "{out} {exact}");
            }
            prop_assert!(out[width..].iter().all(|&x| x == 0.0));
        }
    }
}
