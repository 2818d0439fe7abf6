//! `top_h`: keeps the best tokens that hold a share of the entropy.

use super::{LogitsProcessor, select};

/// How many of the best tokens count.
const CONSIDERED: usize = 100;

/// Of the best 100 tokens, whose probabilities are taken among themselves, with
/// `H` their entropy: they stay, best first, while
///
/// ```text
/// sum of -p ln p <= top_h * H
/// ```
///
/// the best one always. Equal scores rank by id, the lower one higher. One
/// whose probability is 0 in `f32` never stays.
///
/// Source: E. Baghaei Potraghloo et al., top-H decoding (arXiv:2509.02510);
/// `TopHLogitsWarper` of transformers. Default: none.
#[derive(Debug)]
pub struct TopH {
    top_h: f64,
    best: Vec<(f32, u32)>,
    terms: Vec<f64>,
    scratch: Vec<f32>,
}

impl TopH {
    /// `top_h` is above 0 and at most 1.
    pub fn new(top_h: f64) -> Self {
        Self {
            top_h,
            best: Vec::new(),
            terms: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Fills `best`, best first.
    fn rank(&mut self, scores: &[f32]) {
        let last = select::kth_largest(scores, CONSIDERED, &mut self.scratch);
        self.best.clear();
        select::left(scores, |id, score| {
            if score >= last {
                self.best.push((score, id));
            }
        });
        self.best.sort_unstable_by(|a, b| {
            // Adding 0 makes -0 equal to 0. There is no NaN among them.
            (b.0 + 0.0).total_cmp(&(a.0 + 0.0)).then(a.1.cmp(&b.1))
        });
        self.best.truncate(CONSIDERED);
    }
}

impl LogitsProcessor for TopH {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        self.rank(scores);
        let Some(&(best, _)) = self.best.first() else {
            return; // nothing but -inf
        };
        if best == f32::INFINITY {
            return; // scores that the sampler refuses
        }
        let distance = |score: f32| f64::from(score) - f64::from(best);
        let weights = self
            .best
            .iter()
            .map(|&(score, _)| libm::exp(distance(score)));
        let total: f64 = weights.sum();
        let log_total = libm::log(total);
        self.terms.clear();
        for &(score, _) in &self.best {
            let log_p = distance(score) - log_total;
            let p = libm::exp(log_p);
            if p as f32 == 0.0 {
                break;
            }
            self.terms.push(-p * log_p);
        }
        // Summed in the order of the running sum below, so that with 1 all stay.
        let limit = self.top_h * self.terms.iter().sum::<f64>();
        let mut sum = 0.0;
        let within = |term: &&f64| {
            sum += **term;
            sum <= limit
        };
        let kept = self.terms.iter().take_while(within).count().max(1);
        let (last_score, last_id) = self.best[kept - 1];
        select::rule_out_after(scores, last_score, last_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn kept(top_h: f64, scores: &[f32]) -> Vec<usize> {
        let mut scores = scores.to_vec();
        TopH::new(top_h).process(&[], &mut scores);
        (0..scores.len()).filter(|&i| scores[i] > OUT).collect()
    }

    #[test]
    fn equal_tokens_share_the_entropy_and_the_lowest_ids_stay() {
        assert_eq!(kept(0.45, &[1.5; 10]), [0, 1, 2, 3]);
        assert_eq!(kept(0.1, &[0.0, 0.0, OUT, -0.0]), [0]);
        assert_eq!(kept(1.0, &[0.5; 10]).len(), 10);
    }

    #[test]
    fn only_the_best_hundred_count() {
        assert_eq!(kept(1.0, &[0.5; 300]), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_has_no_probability_in_f32_goes() {
        assert_eq!(kept(1.0, &[0.0, -102.0, -105.0]), [0, 1]);
        assert_eq!(kept(1.0, &[f32::MIN, f32::MAX]), [1]);
    }

    #[test]
    fn scores_without_a_distribution_are_left_to_the_sampler() {
        assert!(kept(0.5, &[]).is_empty());
        assert!(kept(0.5, &[OUT, OUT]).is_empty());
        let mut scores = [1.0, f32::NAN, f32::INFINITY, 0.0];
        TopH::new(0.5).process(&[], &mut scores);
        assert!(scores[1].is_nan() && scores[0] == 1.0);
    }

    proptest! {
        #[test]
        fn agrees_with_sorting_everything(
            coarse in vec(-60i8..60, 1..400),
            top_h in 0.01f64..0.99,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -40 { OUT } else { f32::from(x) / 7.0 })
                .collect();
            let mut order: Vec<usize> = (0..scores.len()).filter(|&i| scores[i] > OUT).collect();
            prop_assume!(!order.is_empty());
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            order.truncate(100);
            let total: f64 = order.iter().map(|&i| f64::from(scores[i]).exp()).sum();
            let term = |i: usize| {
                let p = f64::from(scores[i]).exp() / total;
                -p * p.ln()
            };
            let limit = top_h * order.iter().map(|&i| term(i)).sum::<f64>();
            let mut sum = 0.0;
            let mut expected = Vec::new();
            for (rank, &i) in order.iter().enumerate() {
                sum += term(i);
                // Where rounding decides, there is nothing to compare.
                prop_assume!((sum - limit).abs() > 1e-9);
                if rank == 0 || sum <= limit {
                    expected.push(i);
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(kept(top_h, &scores), expected);
        }
    }
}
