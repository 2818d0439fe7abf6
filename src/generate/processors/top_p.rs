//! `top_p`: keeps the nucleus, the fewest best tokens that hold probability p.

use super::{LogitsProcessor, select};

/// With `P` the probability of a token and of all that rank below it, under
/// the softmax of what is not ruled out yet:
///
/// ```text
/// ruled out if P <= 1 - p
/// ```
///
/// except for the best `min_tokens_to_keep`. Equal scores rank by id, the
/// lower one higher (transformers leaves that to its sort).
///
/// Source: A. Holtzman et al., nucleus sampling (arXiv:1904.09751); the
/// inequality is that of transformers' `TopPLogitsWarper`, which compares in
/// `f32`. Default 1: nothing.
#[derive(Debug)]
pub struct TopP {
    p: f64,
    min_tokens_to_keep: usize,
    ranked: Vec<Candidate>,
    scratch: Vec<f32>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    score: f32,
    id: u32,
    /// Probability, times a factor that is the same for all.
    weight: f64,
}

impl TopP {
    /// `p` is from 0 to 1. It is `f64` because `1 - p` is: 1 - 0.9 is not the
    /// same number when 0.9 was rounded to `f32` first, and with equal scores
    /// that decides.
    pub fn new(p: f64, min_tokens_to_keep: usize) -> Self {
        Self {
            p,
            min_tokens_to_keep: min_tokens_to_keep.max(1),
            ranked: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Fills `ranked` with the tokens that may stay, best first, and gives the
    /// weight of all tokens.
    fn rank(&mut self, scores: &[f32]) -> f64 {
        let best = f64::from(select::largest(scores));
        let mut total = 0.0;
        self.ranked.clear();
        for (id, &score) in (0u32..).zip(scores) {
            if score > f32::NEG_INFINITY {
                let weight = libm::exp(f64::from(score) - best);
                total += weight;
                self.ranked.push(Candidate { score, id, weight });
            }
        }
        // Of n tokens, one with at most 1/n of what may be ruled out goes for
        // sure: it and all below it make no more than that. Few are left to
        // sort then.
        let surely_out = (1.0 - self.p) * total / self.ranked.len() as f64;
        let surely_in = select::kth_largest(scores, self.min_tokens_to_keep, &mut self.scratch);
        self.ranked
            .retain(|c| c.weight > surely_out || c.score >= surely_in);
        self.ranked.sort_unstable_by(|a, b| {
            // Adding 0 makes -0 equal to 0. There is no NaN among them.
            let descending = (b.score + 0.0).total_cmp(&(a.score + 0.0));
            descending.then(a.id.cmp(&b.id))
        });
        total
    }
}

impl LogitsProcessor for TopP {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        let total = self.rank(scores);
        let ruled_out = (1.0 - self.p) as f32;
        let mut above = 0.0;
        let mut last_kept = None;
        for (rank, &candidate) in self.ranked.iter().enumerate() {
            let from_here_down = ((total - above) / total) as f32;
            if rank >= self.min_tokens_to_keep && from_here_down <= ruled_out {
                break;
            }
            above += candidate.weight;
            last_kept = Some(candidate);
        }
        let Some(last) = last_kept else {
            return; // nothing but -inf, or scores that the sampler refuses
        };
        for (id, score) in (0u32..).zip(scores) {
            if *score < last.score || (*score == last.score && id > last.id) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn kept(p: f64, least: usize, scores: &[f32]) -> Vec<usize> {
        let mut scores = scores.to_vec();
        TopP::new(p, least).process(&[], &mut scores);
        (0..scores.len())
            .filter(|&i| scores[i] > f32::NEG_INFINITY)
            .collect()
    }

    #[test]
    fn of_equal_scores_the_lowest_ids_stay() {
        assert_eq!(kept(0.6, 1, &[1.5; 10]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(kept(0.7, 1, &[1.5; 10]), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(kept(0.5, 1, &[-0.0, 0.0, -0.0, 0.0]), [0, 1]);
    }

    #[test]
    fn at_least_so_many_stay() {
        assert_eq!(kept(0.0, 1, &[1.0, 9.0, 3.0]), [1]);
        assert_eq!(kept(0.1, 2, &[1.0, 9.0, 3.0]), [1, 2]);
        assert_eq!(kept(0.1, 5, &[1.0, 9.0, 3.0]), [0, 1, 2]);
    }

    #[test]
    fn scores_without_a_distribution_are_left_to_the_sampler() {
        let out = f32::NEG_INFINITY;
        assert!(kept(0.5, 1, &[]).is_empty());
        assert!(kept(0.5, 1, &[out, out]).is_empty());
        let mut scores = [1.0, f32::NAN, f32::INFINITY];
        TopP::new(0.5, 1).process(&[], &mut scores);
        assert!(scores[1].is_nan());
    }

    proptest! {
        #[test]
        fn agrees_with_sorting_everything(
            coarse in vec(-60i8..60, 1..400),
            p in 0.01f64..0.999,
            least in 1usize..4,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -40 { f32::NEG_INFINITY } else { f32::from(x) / 7.0 })
                .collect();
            // Ascending, as transformers does it; ties with the higher id first.
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)));
            let total: f64 = scores.iter().map(|&s| f64::from(s).exp()).sum();
            let mut cumulative = 0.0;
            let mut expected = Vec::new();
            for (rank, &i) in order.iter().enumerate() {
                cumulative += f64::from(scores[i]).exp() / total;
                // Where rounding decides, there is nothing to compare.
                prop_assume!((cumulative - (1.0 - p)).abs() > 1e-6);
                let kept = cumulative > 1.0 - p || rank + least >= scores.len();
                if kept && scores[i] > f32::NEG_INFINITY {
                    expected.push(i);
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(kept(p, least, &scores), expected);
        }
    }
}
