//! `epsilon_cutoff`: keeps tokens of at least one certain probability.

use super::{LogitsProcessor, select, softmax::Softmax};

/// ```text
/// ruled out if probability < epsilon
/// ```
///
/// except for the best `min_tokens_to_keep` and ties with the last of these.
///
/// Source: J. Hewitt et al. (arXiv:2210.15191), section 4.2;
/// `EpsilonLogitsWarper` of transformers, which compares in `f32`. Default 0:
/// nothing.
#[derive(Debug)]
pub struct Epsilon {
    epsilon: f32,
    min_tokens_to_keep: usize,
    softmax: Softmax,
    scratch: Vec<f32>,
}

impl Epsilon {
    /// `epsilon` is above 0 and below 1.
    pub fn new(epsilon: f32, min_tokens_to_keep: usize) -> Self {
        Self {
            epsilon,
            min_tokens_to_keep: min_tokens_to_keep.max(1),
            softmax: Softmax::default(),
            scratch: Vec::new(),
        }
    }
}

impl LogitsProcessor for Epsilon {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        if self.softmax.fill(scores) {
            let last_spared =
                select::kth_largest(scores, self.min_tokens_to_keep, &mut self.scratch);
            rule_out_improbable(scores, &self.softmax, self.epsilon, last_spared);
        }
    }
}

/// Rules out what is both less probable than `bar` and below `last_spared`.
pub(super) fn rule_out_improbable(
    scores: &mut [f32],
    softmax: &Softmax,
    bar: f32,
    last_spared: f32,
) {
    for (&id, weight) in softmax.ids.iter().zip(&softmax.weights) {
        let score = &mut scores[id as usize];
        if *score < last_spared && ((weight / softmax.total) as f32) < bar {
            *score = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn kept(epsilon: f32, least: usize, scores: &[f32]) -> Vec<usize> {
        let mut scores = scores.to_vec();
        Epsilon::new(epsilon, least).process(&[], &mut scores);
        (0..scores.len()).filter(|&i| scores[i] > OUT).collect()
    }

    #[test]
    fn the_best_stay_with_their_ties() {
        assert_eq!(kept(0.9, 1, &[1.0, 2.0, 2.0, 0.0]), [1, 2]);
        assert_eq!(kept(0.9, 3, &[1.0, 2.0, 2.0, 1.0, 0.0]), [0, 1, 2, 3]);
        assert_eq!(kept(0.9, 9, &[1.0, OUT, 2.0]), [0, 2]);
    }

    #[test]
    fn the_bar_itself_is_kept() {
        assert_eq!(kept(0.05, 1, &[1.5; 20]).len(), 20);
        assert_eq!(kept(0.25, 1, &[3.0, 3.0, 3.0, 3.0, OUT]), [0, 1, 2, 3]);
    }

    #[test]
    fn scores_without_a_distribution_are_left_to_the_sampler() {
        assert!(kept(0.5, 1, &[]).is_empty());
        assert!(kept(0.5, 1, &[OUT]).is_empty());
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            coarse in vec(-60i8..60, 1..300),
            epsilon in 1e-4f32..0.9,
            least in 1usize..5,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -40 { OUT } else { f32::from(x) / 7.0 })
                .collect();
            let total: f64 = scores.iter().map(|&s| f64::from(s).exp()).sum();
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let spared = sorted[least.min(sorted.len()) - 1];
            let mut expected = Vec::new();
            for (i, &score) in scores.iter().enumerate() {
                let p = f64::from(score).exp() / total;
                // Where rounding decides, there is nothing to compare.
                prop_assume!((p - f64::from(epsilon)).abs() > 1e-7);
                if score > OUT && (p >= f64::from(epsilon) || score >= spared) {
                    expected.push(i);
                }
            }
            prop_assert_eq!(kept(epsilon, least, &scores), expected);
        }
    }
}
