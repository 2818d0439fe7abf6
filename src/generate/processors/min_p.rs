//! `min_p`: keeps tokens that are not too much less probable than the best.

use super::{LogitsProcessor, select};

/// ```text
/// ruled out if probability < min_p * probability of the best token
/// ```
///
/// except for the best `min_tokens_to_keep`, of which equal scores rank by id,
/// the lower one higher. The quotient of two softmax probabilities is
/// `exp(score - best score)`, so there is no sum to make.
///
/// Source: N. N. Minh et al. (arXiv:2407.01082); `MinPLogitsWarper` of
/// transformers, whose probabilities are `f32`. Default 0: nothing.
#[derive(Debug)]
pub struct MinP {
    min_p: f32,
    min_tokens_to_keep: usize,
    scratch: Vec<f32>,
    ruled_out: Vec<u32>,
}

impl MinP {
    /// `min_p` is from 0 to 1.
    pub fn new(min_p: f32, min_tokens_to_keep: usize) -> Self {
        Self {
            min_p,
            min_tokens_to_keep: min_tokens_to_keep.max(1),
            scratch: Vec::new(),
            ruled_out: Vec::new(),
        }
    }
}

impl LogitsProcessor for MinP {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        let best = f64::from(select::largest(scores));
        let last_spared = select::kth_largest(scores, self.min_tokens_to_keep, &mut self.scratch);
        // Clearly below the bar is decided without an exp; that is nearly all.
        let clearly_below = (best + libm::log(f64::from(self.min_p)) - 1e-2) as f32;
        select::rule_out_below(scores, clearly_below.min(last_spared));

        let better = scores.iter().filter(|&&s| s > last_spared).count();
        let mut ties_spared = self.min_tokens_to_keep.saturating_sub(better);
        let mut ruled_out = std::mem::take(&mut self.ruled_out);
        select::left(scores, |id, score| {
            if score == last_spared && ties_spared > 0 {
                ties_spared -= 1;
            } else if score <= last_spared
                && (libm::exp(f64::from(score) - best) as f32) < self.min_p
            {
                ruled_out.push(id);
            }
        });
        for id in ruled_out.drain(..) {
            scores[id as usize] = f32::NEG_INFINITY;
        }
        self.ruled_out = ruled_out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn processed(min_p: f32, least: usize, scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        MinP::new(min_p, least).process(&[], &mut scores);
        scores
    }

    #[test]
    fn the_bar_is_relative_to_the_best() {
        let scores = [5.0, 5.0 - 0.69, 5.0 - 0.70, OUT];
        assert_eq!(processed(0.5, 1, &scores), [5.0, 5.0 - 0.69, OUT, OUT]);
        assert_eq!(processed(0.0, 1, &scores), scores);
        assert_eq!(processed(1.0, 1, &[2.0, 2.0, 1.9]), [2.0, 2.0, OUT]);
    }

    #[test]
    fn at_least_so_many_stay_and_ties_of_the_last_do_not() {
        assert_eq!(processed(0.9, 2, &[1.0, 9.0, 3.0]), [OUT, 9.0, 3.0]);
        assert_eq!(processed(0.9, 2, &[1.0, 9.0, 1.0]), [1.0, 9.0, OUT]);
        assert_eq!(processed(0.9, 9, &[1.0, 9.0, 1.0]), [1.0, 9.0, 1.0]);
    }

    #[test]
    fn scores_without_a_distribution_are_left_to_the_sampler() {
        assert!(processed(0.5, 1, &[]).is_empty());
        assert_eq!(processed(0.5, 1, &[OUT, OUT]), [OUT, OUT]);
        assert!(processed(0.5, 1, &[f32::NAN, 1.0])[0].is_nan());
    }
}
