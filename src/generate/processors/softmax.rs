//! The softmax of what is not ruled out: what most warpers decide by.

use super::exp::weigh;
use super::select::{BLOCK, largest};

/// Weights of the tokens that are not ruled out, in id order, in `f64`. The
/// vectors are kept between calls to spare allocations.
#[derive(Debug, Default)]
pub(crate) struct Softmax {
    pub ids: Vec<u32>,
    /// `score - best score` of each: at most 0.
    pub distances: Vec<f64>,
    /// `exp(distance)` of each: its probability, times `total`.
    pub weights: Vec<f64>,
    pub total: f64,
    /// The sum of `weight * distance`.
    weighted: f64,
    best: f64,
    left: Vec<f32>,
}

impl Softmax {
    /// Looks at `scores`. False where they have no softmax: all are ruled out,
    /// or one is `+inf`; the sampler reports both, and processors do nothing.
    pub fn fill(&mut self, scores: &[f32]) -> bool {
        self.collect(scores);
        let best = f64::from(largest(&self.left));
        if !best.is_finite() {
            return false;
        }
        self.best = best;
        let Self {
            distances, weights, ..
        } = self;
        distances.resize(self.left.len(), 0.0);
        weights.resize(self.left.len(), 0.0);
        weigh(&self.left, best, distances, weights);
        // Two sums in one loop: each addition waits for the one before it.
        (self.total, self.weighted) = (0.0, 0.0);
        for (&weight, &distance) in weights.iter().zip(distances.iter()) {
            self.total += weight;
            self.weighted += weight * distance;
        }
        true
    }

    /// Fills `ids` and `left`. Blocks that are all ruled out (after top-k nearly
    /// every one) or all left (before it) are dealt with as one.
    fn collect(&mut self, scores: &[f32]) {
        self.ids.clear();
        self.left.clear();
        for (first, block) in (0u32..).step_by(BLOCK).zip(scores.chunks(BLOCK)) {
            let is_left = |score: &f32| *score > f32::NEG_INFINITY;
            // Folds without an early end, so that they are vectorised.
            let any = block.iter().fold(false, |any, score| any | is_left(score));
            if !any {
                continue;
            }
            if block.iter().fold(true, |all, score| all & is_left(score)) {
                self.ids.extend(first..first + block.len() as u32);
                self.left.extend_from_slice(block);
                continue;
            }
            for (id, &score) in (first..).zip(block) {
                if is_left(&score) {
                    self.ids.push(id);
                    self.left.push(score);
                }
            }
        }
    }

    /// The logarithm of the sum of `exp(score)`: what to subtract from a score
    /// for its log-probability.
    pub fn log_sum(&self) -> f64 {
        self.best + libm::log(self.total)
    }

    /// The entropy in nats: `-sum p ln p = ln total - sum w d / total`, so that
    /// no token needs a logarithm.
    pub fn entropy(&self) -> f64 {
        // The rounding of a distribution that is all one token's ends below 0.
        (libm::log(self.total) - self.weighted / self.total).max(0.0)
    }

    /// The entropy as a share of the most that so many tokens can have, from 0
    /// (all is one token's) to 1 (all are equal); `None` for a single token.
    pub fn evenness(&self) -> Option<f64> {
        let most = libm::log(self.ids.len() as f64);
        (most > 0.0).then(|| (self.entropy() / most).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn evenness_is_between_one_token_and_all_alike() {
        let evenness = |scores: &[f32]| {
            let mut softmax = Softmax::default();
            softmax.fill(scores).then(|| softmax.evenness())
        };
        assert_eq!(evenness(&[OUT, 2.0, 2.0, OUT, 2.0]), Some(Some(1.0)));
        assert_eq!(evenness(&[900.0, 0.0, 0.0]), Some(Some(0.0)));
        assert_eq!(evenness(&[OUT, 2.0]), Some(None));
        assert_eq!(evenness(&[OUT]), None);
        assert_eq!(evenness(&[]), None);
        assert_eq!(evenness(&[1.0, f32::INFINITY]), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(coarse in vec(-90i8..60, 2..400)) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -60 { OUT } else { f32::from(x) / 7.0 })
                .collect();
            prop_assume!(scores.iter().any(|&s| s > OUT));
            let mut softmax = Softmax::default();
            prop_assert!(softmax.fill(&scores));
            let sum: f64 = scores.iter().map(|&s| f64::from(s).exp()).sum();
            let mut entropy = 0.0;
            let mut found = softmax.ids.iter().zip(&softmax.weights);
            for (id, &score) in (0u32..).zip(&scores) {
                if score > OUT {
                    let p = f64::from(score).exp() / sum;
                    entropy -= p * p.ln();
                    let (&found_id, weight) = found.next().unwrap();
                    prop_assert_eq!(found_id, id);
                    prop_assert!((weight / softmax.total - p).abs() < 1e-12);
                }
            }
            prop_assert!(found.next().is_none());
            prop_assert!((softmax.entropy() - entropy).abs() < 1e-9);
        }
    }
}
