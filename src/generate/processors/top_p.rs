//! `top_p`: keeps the nucleus, the fewest best tokens that hold probability p.

use super::{LogitsProcessor, select, softmax::Softmax};

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
    softmax: Softmax,
    nucleus: Nucleus,
}

impl TopP {
    /// `p` is from 0 to 1. It is `f64` because `1 - p` is: 1 - 0.9 is not the
    /// same number when 0.9 was rounded to `f32` first, and with equal scores
    /// that decides.
    pub fn new(p: f64, min_tokens_to_keep: usize) -> Self {
        Self {
            p,
            softmax: Softmax::default(),
            nucleus: Nucleus::new(min_tokens_to_keep),
        }
    }
}

impl LogitsProcessor for TopP {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        if self.softmax.fill(scores) {
            self.nucleus.keep(self.p, &self.softmax, scores);
        }
    }
}

/// What finds the nucleus of a softmax, with its buffers.
#[derive(Debug)]
pub(super) struct Nucleus {
    min_tokens_to_keep: usize,
    /// Of the tokens that may stay, in the softmax.
    places: Vec<u32>,
    keys: Vec<f64>,
    weights: Vec<f64>,
    order: Vec<u32>,
    scratch: Vec<f32>,
}

impl Nucleus {
    pub fn new(min_tokens_to_keep: usize) -> Self {
        Self {
            min_tokens_to_keep: min_tokens_to_keep.max(1),
            places: Vec::new(),
            keys: Vec::new(),
            weights: Vec::new(),
            order: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Rules out of `scores`, whose softmax is `softmax`, what is beyond the
    /// nucleus of probability `p`.
    pub fn keep(&mut self, p: f64, softmax: &Softmax, scores: &mut [f32]) {
        if p >= 1.0 {
            return;
        }
        self.rank_likely(p, softmax, scores);
        let most_ruled_out = (1.0 - p) as f32;
        let rest_goes = |sum: f64| ((softmax.total - sum) / softmax.total) as f32 <= most_ruled_out;
        let (keys, order) = (&self.keys, &mut self.order);
        let lowest = -f64::from(select::largest(scores));
        let place = select::place_of_sum(keys, lowest, &self.weights, order, rest_goes);
        // But for rounding, there is one.
        if let Some(&place) = place.and_then(|place| self.places.get(place)) {
            let id = softmax.ids[place as usize];
            let (score, id) = self.spare(scores[id as usize], id, scores);
            select::rule_out_after(scores, score, id);
        }
    }

    /// Collects the tokens that may stay.
    fn rank_likely(&mut self, p: f64, softmax: &Softmax, scores: &[f32]) {
        // Of n tokens, one with less than 1/n of what may be ruled out goes for
        // sure: it and all below it make no more than that. Of a vocabulary that
        // leaves few.
        let surely_out = (1.0 - p) * softmax.total / softmax.ids.len() as f64;
        self.places.resize(softmax.ids.len(), 0);
        let mut count = 0;
        for (place, &weight) in (0u32..).zip(&softmax.weights) {
            // Overwritten by the next where it goes: no branch to guess wrong.
            self.places[count] = place;
            count += usize::from(weight >= surely_out);
        }
        self.places.truncate(count);
        let places = || self.places.iter().map(|&place| place as usize);
        self.keys.clear();
        // Adding 0 makes -0 equal to 0.
        let key = |place: usize| 0.0 - f64::from(scores[softmax.ids[place] as usize]) + 0.0;
        self.keys.extend(places().map(key));
        self.weights.clear();
        self.weights
            .extend(places().map(|place| softmax.weights[place]));
    }

    /// The last token to keep, so that the best `min_tokens_to_keep` are.
    fn spare(&mut self, score: f32, id: u32, scores: &[f32]) -> (f32, u32) {
        if self.min_tokens_to_keep == 1 {
            return (score, id);
        }
        let bar = select::kth_largest(scores, self.min_tokens_to_keep, &mut self.scratch);
        if score < bar {
            return (score, id);
        }
        let better = scores.iter().filter(|&&s| s > bar).count();
        let ties = (0u32..).zip(scores).filter(|&(_, &s)| s == bar);
        let mut ids = ties.map(|(id, _)| id);
        let spared = ids.nth(self.min_tokens_to_keep - better - 1).unwrap_or(id);
        if score == bar {
            (bar, spared.max(id))
        } else {
            (bar, spared)
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
