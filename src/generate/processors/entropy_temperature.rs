//! A temperature that follows how sure the model is.

use super::{LogitsProcessor, softmax::Softmax, temperature::divide_or_take_best};

/// With `H` the entropy of the softmax and `n` the number of tokens that are not
/// ruled out:
///
/// ```text
/// T = min + (max - min) * (H / ln n) ^ exponent
/// score = score / T
/// ```
///
/// so a sure model is taken at its word, and an unsure one may say more. A
/// single token stays as it is. Where `T` is 0, or so small that a score would
/// overflow, only the best stay.
///
/// Source: llama.cpp's dynamic temperature (`llama_sampler_init_temp_ext`), whose
/// `temp - dynatemp_range` and `temp + dynatemp_range` are `min` and `max` here.
/// Default: a constant temperature.
#[derive(Debug)]
pub struct EntropyTemperature {
    min: f64,
    max: f64,
    exponent: f64,
    softmax: Softmax,
}

impl EntropyTemperature {
    /// `min` is at least 0 and at most `max`; `exponent` is above 0.
    pub fn new(min: f64, max: f64, exponent: f64) -> Self {
        Self {
            min,
            max,
            exponent,
            softmax: Softmax::default(),
        }
    }
}

impl LogitsProcessor for EntropyTemperature {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        if self.softmax.fill(scores)
            && let Some(evenness) = self.softmax.evenness()
        {
            let share = libm::pow(evenness, self.exponent);
            let temperature = self.min + (self.max - self.min) * share;
            divide_or_take_best(scores, temperature as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn processed(min: f64, max: f64, exponent: f64, scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        EntropyTemperature::new(min, max, exponent).process(&[], &mut scores);
        scores
    }

    #[test]
    fn unsure_is_hot_and_sure_is_cold() {
        assert_eq!(processed(0.5, 2.0, 1.0, &[3.0, OUT, 3.0]), [1.5, OUT, 1.5]);
        let sure = processed(0.5, 2.0, 1.0, &[300.0, 1.0, OUT]);
        assert_eq!(sure, [600.0, 2.0, OUT]);
        assert_eq!(processed(0.0, 2.0, 1.0, &[900.0, 1.0]), [900.0, OUT]);
    }

    #[test]
    fn the_exponent_bends_the_way_between() {
        // p = (1/4, 3/4): the entropy is 0.8113 of ln 2.
        let scores = [0.0, 3f32.ln()];
        for (exponent, expected) in [(1.0, 0.811_278), (2.0, 0.658_172)] {
            let found = processed(0.0, 1.0, exponent, &scores)[1];
            assert!((scores[1] / found - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn a_single_token_and_none_stay_as_they_are() {
        assert_eq!(processed(0.5, 2.0, 1.0, &[OUT, 3.0]), [OUT, 3.0]);
        assert_eq!(processed(0.5, 2.0, 1.0, &[OUT, OUT]), [OUT, OUT]);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            coarse in vec(-60i8..60, 2..300),
            min in 0.1f64..1.0,
            range in 0.0f64..2.0,
            exponent in 0.1f64..3.0,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -40 { OUT } else { f32::from(x) / 7.0 })
                .collect();
            let left: Vec<f64> = scores.iter().filter(|s| **s > OUT).map(|&s| f64::from(s)).collect();
            prop_assume!(left.len() > 1);
            let total: f64 = left.iter().map(|s| s.exp()).sum();
            let p = |s: &f64| s.exp() / total;
            let entropy: f64 = left.iter().map(|s| -p(s) * p(s).ln()).sum();
            let share = (entropy / (left.len() as f64).ln()).powf(exponent);
            let temperature = min + range * share;
            let found = processed(min, min + range, exponent, &scores);
            for (&score, found) in scores.iter().zip(found) {
                let expected = f64::from(score) / temperature;
                prop_assert!(
                    score == OUT && found == OUT || (f64::from(found) - expected).abs() < 1e-4
                );
            }
        }
    }
}
