//! `eta_cutoff`: a probability to reach that is lower where the model is unsure.

use super::epsilon::rule_out_improbable;
use super::{LogitsProcessor, select, softmax::Softmax};

/// With `H` the entropy of the softmax, in nats:
///
/// ```text
/// ruled out if probability < min(eta, sqrt(eta) * exp(-H))
/// ```
///
/// except for the best `min_tokens_to_keep` and ties with the last of these.
///
/// Source: J. Hewitt et al. (arXiv:2210.15191), section 4.3; `EtaLogitsWarper`
/// of transformers, which compares in `f32`. Default 0: nothing.
#[derive(Debug)]
pub struct Eta {
    eta: f64,
    min_tokens_to_keep: usize,
    softmax: Softmax,
    scratch: Vec<f32>,
}

impl Eta {
    /// `eta` is above 0 and below 1.
    pub fn new(eta: f32, min_tokens_to_keep: usize) -> Self {
        Self {
            eta: f64::from(eta),
            min_tokens_to_keep: min_tokens_to_keep.max(1),
            softmax: Softmax::default(),
            scratch: Vec::new(),
        }
    }
}

impl LogitsProcessor for Eta {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        if self.softmax.fill(scores) {
            let by_entropy = self.eta.sqrt() * libm::exp(-self.softmax.entropy());
            let bar = self.eta.min(by_entropy) as f32;
            let last_spared =
                select::kth_largest(scores, self.min_tokens_to_keep, &mut self.scratch);
            rule_out_improbable(scores, &self.softmax, bar, last_spared);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn kept(eta: f32, least: usize, scores: &[f32]) -> Vec<usize> {
        let mut scores = scores.to_vec();
        Eta::new(eta, least).process(&[], &mut scores);
        (0..scores.len()).filter(|&i| scores[i] > OUT).collect()
    }

    #[test]
    fn the_bar_falls_where_much_is_possible() {
        // Sure: the entropy is 0.06 nats and the bar 0.09.
        let sure = [0.99f32, 0.008, 0.002].map(f32::ln);
        assert_eq!(kept(0.09, 1, &sure), [0]);
        // Unsure: that of 64 equal tokens is 4.2 nats and the bar 0.0047.
        assert_eq!(kept(0.09, 1, &[0.5; 64]).len(), 64);
    }

    #[test]
    fn the_best_stay_and_scores_without_a_distribution_too() {
        assert_eq!(kept(0.9, 2, &[5.0, 9.0, 5.0, 1.0]), [0, 1, 2]);
        assert!(kept(0.5, 1, &[OUT]).is_empty());
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            coarse in vec(-60i8..60, 1..300),
            eta in 1e-4f32..0.9,
            least in 1usize..5,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -40 { OUT } else { f32::from(x) / 7.0 })
                .collect();
            let total: f64 = scores.iter().map(|&s| f64::from(s).exp()).sum();
            let p = |score: f32| f64::from(score).exp() / total;
            let left = || scores.iter().copied().filter(|&s| s > OUT);
            let entropy: f64 = left().map(|s| -p(s) * p(s).ln()).sum();
            let eta64 = f64::from(eta);
            let bar = eta64.min(eta64.sqrt() * (-entropy).exp());
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let spared = sorted[least.min(sorted.len()) - 1];
            let mut expected = Vec::new();
            for (i, &score) in scores.iter().enumerate() {
                // Where rounding decides, there is nothing to compare.
                prop_assume!((p(score) - bar).abs() > 1e-7);
                if score > OUT && (p(score) >= bar || score >= spared) {
                    expected.push(i);
                }
            }
            prop_assert_eq!(kept(eta, least, &scores), expected);
        }
    }
}
