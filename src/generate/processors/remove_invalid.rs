//! `remove_invalid_values`: makes numbers of what is none.

use super::LogitsProcessor;

/// NaN becomes 0, `+inf` the largest `f32`, `-inf` the lowest.
///
/// So what the processors before it ruled out has a score again, though one of
/// probability 0 beside any other.
///
/// Source: `InfNanRemoveLogitsProcessor` of transformers. Default: off, and
/// the sampler reports NaN and `+inf` as errors.
#[derive(Debug)]
pub struct RemoveInvalid;

impl LogitsProcessor for RemoveInvalid {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        for score in scores {
            *score = if score.is_nan() {
                0.0
            } else {
                score.clamp(f32::MIN, f32::MAX)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_score_becomes_a_number() {
        let mut scores = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -2.5, 0.0];
        RemoveInvalid.process(&[], &mut scores);
        assert_eq!(scores, [0.0, f32::MAX, f32::MIN, -2.5, 0.0]);
    }
}
