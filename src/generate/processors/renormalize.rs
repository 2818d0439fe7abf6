//! `renormalize_logits`: scores that are log-probabilities of what is left.

use super::{LogitsProcessor, softmax::Softmax};

/// `score = score - ln(sum of exp(scores))`, over what is not ruled out.
///
/// What is sampled stays the same; in beam search, whose sums are of scores, the
/// sequences compare differently.
///
/// Source: `LogitNormalization` of transformers. Default: off.
#[derive(Debug, Default)]
pub struct Renormalize(Softmax);

impl LogitsProcessor for Renormalize {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        if !self.0.fill(scores) {
            return;
        }
        let log_total = libm::log(self.0.total);
        for (&id, distance) in self.0.ids.iter().zip(&self.0.distances) {
            scores[id as usize] = (distance - log_total) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let mut scores = [1.0, -2.0, f32::NEG_INFINITY, 800.0, 799.0];
        Renormalize::default().process(&[], &mut scores);
        let sum: f64 = scores.iter().map(|&s| f64::from(s).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6);
        assert_eq!(scores[2], f32::NEG_INFINITY);
        assert!((scores[3] - scores[4] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn scores_without_a_distribution_are_left_to_the_sampler() {
        let mut scores = [f32::NEG_INFINITY; 2];
        Renormalize::default().process(&[], &mut scores);
        assert_eq!(scores, [f32::NEG_INFINITY; 2]);
    }
}
