//! `temperature`: flattens or sharpens the distribution.

use super::{LogitsProcessor, select::largest};

/// `score = score / temperature`.
///
/// Source: `TemperatureLogitsWarper` of transformers. Default 1: nothing.
/// Temperature 0 is not this processor's: it means greedy, without warpers.
/// A temperature so small that a score overflows to `+inf` makes the sampler
/// report an error.
#[derive(Debug)]
pub struct Temperature(f32);

impl Temperature {
    /// `temperature` is a number above 0.
    pub fn new(temperature: f32) -> Self {
        Self(temperature)
    }
}

impl LogitsProcessor for Temperature {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        divide(scores, self.0);
    }
}

fn divide(scores: &mut [f32], temperature: f32) {
    // Division, not multiplication by the inverse: that rounds twice.
    for score in scores {
        *score /= temperature;
    }
}

/// Divides by a temperature that was computed, so that nobody chose it to be
/// too close to 0: where it is, only the best stay, which is its limit.
pub(super) fn divide_or_take_best(scores: &mut [f32], temperature: f32) {
    let best = largest(scores);
    if temperature > 0.0 && (best / temperature).is_finite() {
        return divide(scores, temperature);
    }
    for score in scores {
        if *score < best {
            *score = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn scores_are_divided() {
        let mut scores = [3.0, -1.0, OUT];
        Temperature::new(2.0).process(&[], &mut scores);
        assert_eq!(scores, [1.5, -0.5, OUT]);
    }

    #[test]
    fn a_computed_temperature_of_nearly_zero_takes_the_best() {
        for temperature in [0.0, 1e-44, 1e-38] {
            for best in [9.0, -9.0] {
                let mut scores = [best, best - 1.0, best, OUT];
                divide_or_take_best(&mut scores, temperature);
                assert_eq!(scores, [best, OUT, best, OUT]);
            }
        }
        let mut scores = [OUT, OUT];
        divide_or_take_best(&mut scores, 0.5);
        assert_eq!(scores, [OUT, OUT]);
    }
}
