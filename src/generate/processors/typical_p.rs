//! `typical_p`: keeps tokens about as surprising as is to be expected.

use super::{LogitsProcessor, select, softmax::Softmax};

/// With `H` the entropy of the softmax and `-ln p` the surprise of a token, both
/// in nats, tokens rank by
///
/// ```text
/// | -ln p - H |
/// ```
///
/// the smallest first; the first that together have the probability `mass` stay,
/// and so do ties with the last of them. So the likeliest may be ruled out. At
/// least the first `min_tokens_to_keep` stay: the most typical, not the
/// likeliest; of equal ones the lower ids.
///
/// Source: C. Meister et al., locally typical sampling (arXiv:2202.00666);
/// `TypicalLogitsWarper` of transformers, which compares in `f32`. Default 1:
/// nothing.
#[derive(Debug)]
pub struct TypicalP {
    mass: f32,
    min_tokens_to_keep: usize,
    softmax: Softmax,
    /// How far each token's surprise is from the entropy.
    shifts: Vec<f64>,
    order: Vec<u32>,
}

impl TypicalP {
    /// `mass` is above 0 and below 1.
    pub fn new(mass: f32, min_tokens_to_keep: usize) -> Self {
        Self {
            mass,
            min_tokens_to_keep: min_tokens_to_keep.max(1),
            softmax: Softmax::default(),
            shifts: Vec::new(),
            order: Vec::new(),
        }
    }
}

impl LogitsProcessor for TypicalP {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        let (softmax, shifts, order) = (&mut self.softmax, &mut self.shifts, &mut self.order);
        if !softmax.fill(scores) {
            return;
        }
        let log_total = libm::log(softmax.total);
        let entropy = softmax.entropy();
        shifts.clear();
        let of_distance = |distance: &f64| (log_total - distance - entropy).abs();
        shifts.extend(softmax.distances.iter().map(of_distance));

        let enough = |sum: f64| (sum / softmax.total) as f32 >= self.mass;
        let last = select::place_of_sum(shifts, 0.0, &softmax.weights, order, enough);
        let Some(last) = last else {
            return; // a mass that is 1 but for rounding
        };
        let limit = shifts[last];
        let kept = shifts.iter().filter(|&&shift| shift <= limit).count();
        if kept >= self.min_tokens_to_keep {
            for (&id, &shift) in softmax.ids.iter().zip(shifts.iter()) {
                if shift > limit {
                    scores[id as usize] = f32::NEG_INFINITY;
                }
            }
        } else if shifts.len() > self.min_tokens_to_keep {
            order.clear();
            order.extend((0u32..).zip(shifts.iter()).map(|(place, _)| place));
            let shift_of = |place: &u32| shifts[*place as usize];
            order.select_nth_unstable_by(self.min_tokens_to_keep, |a, b| {
                shift_of(a).total_cmp(&shift_of(b)).then(a.cmp(b))
            });
            for &place in &order[self.min_tokens_to_keep..] {
                scores[softmax.ids[place as usize] as usize] = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn kept(mass: f32, least: usize, scores: &[f32]) -> Vec<usize> {
        let mut scores = scores.to_vec();
        TypicalP::new(mass, least).process(&[], &mut scores);
        (0..scores.len()).filter(|&i| scores[i] > OUT).collect()
    }

    fn logs(probabilities: &[f32]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn the_likeliest_goes_where_it_is_not_typical() {
        // The entropy is 1.33 nats; the surprises are 0.69, 1.61, 1.90, 2.30 and 3.00.
        let scores = logs(&[0.5, 0.2, 0.15, 0.1, 0.05]);
        assert_eq!(kept(0.1, 1, &scores), [1]);
        assert_eq!(kept(0.3, 1, &scores), [1, 2]);
        assert_eq!(kept(0.6, 1, &scores), [0, 1, 2]);
        assert_eq!(kept(0.1, 3, &scores), [0, 1, 2]);
        assert_eq!(kept(0.1, 9, &scores), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn ties_with_the_last_stay() {
        assert_eq!(kept(0.1, 1, &[1.5, OUT, 1.5, 1.5]), [0, 2, 3]);
    }

    #[test]
    fn scores_without_a_distribution_are_left_to_the_sampler() {
        assert!(kept(0.5, 1, &[]).is_empty());
        assert!(kept(0.5, 1, &[OUT, OUT]).is_empty());
        let mut scores = [1.0, f32::NAN, 0.0];
        TypicalP::new(0.5, 1).process(&[], &mut scores);
        assert!(scores[1].is_nan());
    }

    proptest! {
        #[test]
        fn agrees_with_sorting_everything(
            coarse in vec(-60i8..60, 1..300),
            mass in 0.01f32..0.99,
            least in 1usize..5,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -40 { OUT } else { f32::from(x) / 7.0 })
                .collect();
            let left: Vec<usize> = (0..scores.len()).filter(|&i| scores[i] > OUT).collect();
            prop_assume!(!left.is_empty());
            let total: f64 = left.iter().map(|&i| f64::from(scores[i]).exp()).sum();
            let log_p = |i: usize| f64::from(scores[i]) - total.ln();
            let entropy: f64 = left.iter().map(|&i| -log_p(i).exp() * log_p(i)).sum();
            let shift = |i: usize| (-log_p(i) - entropy).abs();
            let mut order = left;
            order.sort_by(|&a, &b| shift(a).total_cmp(&shift(b)).then(a.cmp(&b)));
            let mut sum = 0.0;
            let mut last = order.len() - 1;
            for (rank, &i) in order.iter().enumerate() {
                sum += log_p(i).exp();
                // Where rounding decides, there is nothing to compare.
                prop_assume!((sum - f64::from(mass)).abs() > 1e-6);
                if sum >= f64::from(mass) {
                    last = rank;
                    break;
                }
            }
            let limit = shift(order[last]);
            // Two different scores as far from the entropy: rounding ranks them.
            let close = |pair: &[usize]| {
                scores[pair[0]] != scores[pair[1]] && shift(pair[1]) - shift(pair[0]) < 1e-9
            };
            prop_assume!(!order.windows(2).any(close));
            let stays = |&(rank, &i): &(usize, &usize)| {
                rank < least || scores[i] == scores[order[last]] || shift(i) <= limit
            };
            let mut expected: Vec<usize> =
                order.iter().enumerate().filter(stays).map(|(_, &i)| i).collect();
            expected.sort_unstable();
            prop_assert_eq!(kept(mass, least, &scores), expected);
        }
    }
}
