//! The choice of the next token from processed scores.
//!
//! Without randomness it is the best token. With it, the softmax is drawn from
//! by its inverse distribution function, and everything that could make two
//! machines choose differently is pinned: `f64` sums in id order, an `exp`
//! that is compiled in (`libm`: the platform's own differs in its last bits),
//! and one number a token from a generator known by name ([`Rng`]).

use super::processors::select::largest;
use super::rng::Rng;
use crate::error::{Error, Result};

/// Chooses tokens: greedily, or by chance.
#[derive(Debug)]
pub struct Sampler {
    rng: Option<Rng>,
    /// Tokens not ruled out, with the sum of the weights up to each.
    cumulative: Vec<(u32, f64)>,
}

impl Sampler {
    /// Always the best token.
    pub fn greedy() -> Self {
        Self {
            rng: None,
            cumulative: Vec::new(),
        }
    }

    /// By chance, with one number of `rng` a token.
    pub fn random(rng: Rng) -> Self {
        Self {
            rng: Some(rng),
            cumulative: Vec::new(),
        }
    }

    /// The random numbers yet to come; none where it is greedy.
    pub fn rng(&self) -> Option<&Rng> {
        self.rng.as_ref()
    }

    /// Where the random numbers stand, to go back there.
    pub fn clone_rng(&self) -> Option<Rng> {
        self.rng.clone()
    }

    /// Goes back: what was drawn since is drawn again.
    pub fn restore_rng(&mut self, rng: Option<Rng>) {
        self.rng = rng;
    }

    /// Draws as [`pick`](Self::pick) does, for a token that is known already.
    pub fn skip(&mut self) {
        if let Some(rng) = &mut self.rng {
            rng.next_f64();
        }
    }

    /// Chooses a token by its score. A token at `-inf` is never chosen.
    ///
    /// # Errors
    ///
    /// [`Error::NoNextToken`] where every score is `-inf`, or one is NaN or,
    /// unless greedy, `+inf`. The generator has not moved then.
    pub fn pick(&mut self, scores: &[f32]) -> Result<u32> {
        match &mut self.rng {
            None => argmax(scores),
            Some(rng) => draw(scores, rng, &mut self.cumulative),
        }
    }
}

/// The token with the largest score, of equal ones the lowest id.
///
/// # Errors
///
/// [`Error::NoNextToken`] where every score is `-inf`, or one is NaN.
pub fn argmax(scores: &[f32]) -> Result<u32> {
    let best = checked_largest(scores)?;
    (0u32..)
        .zip(scores)
        .find(|&(_, &score)| score == best)
        .map(|(id, _)| id)
        .ok_or_else(every_token_ruled_out)
}

/// Scores looked over at once.
const BLOCK: usize = 64;

fn draw(scores: &[f32], rng: &mut Rng, cumulative: &mut Vec<(u32, f64)>) -> Result<u32> {
    let best = checked_largest(scores)?;
    if best == f32::INFINITY {
        return Err(Error::NoNextToken(
            "a score is +infinity; a temperature too close to 0 does that (0 itself is greedy)"
                .into(),
        ));
    }
    let best = f64::from(best);
    cumulative.clear();
    for (first, block) in (0u32..).step_by(BLOCK).zip(scores.chunks(BLOCK)) {
        // After top-k nearly every block is ruled out as a whole.
        if largest(block) > f32::NEG_INFINITY {
            let left = (first..)
                .zip(block)
                .filter(|&(_, &s)| s > f32::NEG_INFINITY);
            cumulative.extend(left.map(|(id, &score)| (id, f64::from(score))));
        }
    }
    let mut total = 0.0;
    for (_, score) in cumulative.iter_mut() {
        total += libm::exp(*score - best);
        *score = total;
    }
    // The number is below 1, so the target is below the last sum, also after
    // rounding; and a token of weight 0 has the sum of the one before it, so
    // it is never the first to pass the target.
    let target = rng.next_f64() * total;
    let index = cumulative.partition_point(|&(_, sum)| sum <= target);
    match cumulative.get(index) {
        Some(&(id, _)) => Ok(id),
        None => Err(every_token_ruled_out()),
    }
}

/// The largest score, of scores that can be chosen from.
fn checked_largest(scores: &[f32]) -> Result<f32> {
    // A fold without an early end, so that it is vectorised.
    if scores.iter().fold(false, |any, score| any | score.is_nan()) {
        return Err(Error::NoNextToken("the model's scores hold NaN".into()));
    }
    let best = largest(scores);
    if best == f32::NEG_INFINITY {
        return Err(every_token_ruled_out());
    }
    Ok(best)
}

fn every_token_ruled_out() -> Error {
    Error::NoNextToken("every token is ruled out".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::rng::Rng; // proptest's prelude has one too
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn draws(scores: &[f32], seed: u64, count: usize) -> Vec<u32> {
        let mut sampler = Sampler::random(Rng::new(seed));
        (0..count).map(|_| sampler.pick(scores).unwrap()).collect()
    }

    #[test]
    fn greedy_takes_the_best_and_of_equals_the_lowest_id() {
        assert_eq!(argmax(&[1.0, 3.0, OUT, 3.0, 2.0]).unwrap(), 1);
        assert_eq!(argmax(&[OUT, -0.0, 0.0]).unwrap(), 1);
        assert_eq!(Sampler::greedy().pick(&[0.0, f32::INFINITY]).unwrap(), 1);
        let long: Vec<f32> = (0..1000).map(|i| ((i * 37) % 1000) as f32).collect();
        assert_eq!(argmax(&long).unwrap(), 27);
    }

    #[test]
    fn scores_that_allow_no_choice_are_errors_and_draw_nothing() {
        let mut random = Sampler::random(Rng::new(1));
        for bad in [
            &[][..],
            &[OUT, OUT],
            &[1.0, f32::NAN],
            &[f32::NAN],
            &[f32::INFINITY, 1.0],
        ] {
            let error = random.pick(bad).unwrap_err();
            assert_eq!(error.code(), "no-next-token", "{bad:?}");
        }
        assert_eq!(random.rng().unwrap().position(), 0);
        assert!(argmax(&[OUT]).is_err() && argmax(&[2.0, f32::NAN]).is_err());
    }

    #[test]
    fn draws_follow_the_softmax() {
        let scores = [1.0, OUT, 0.0, -1.0, 2.5, -3.0, 0.5];
        let total: f64 = scores.iter().map(|&s| f64::from(s).exp()).sum();
        let mut counts = [0usize; 7];
        let n = 200_000;
        for id in draws(&scores, 11, n) {
            counts[id as usize] += 1;
        }
        assert_eq!(counts[1], 0);
        let chi_square: f64 = (0..7)
            .filter(|&i| i != 1)
            .map(|i| {
                let expected = n as f64 * f64::from(scores[i]).exp() / total;
                (counts[i] as f64 - expected).powi(2) / expected
            })
            .sum();
        // 5 degrees of freedom: above 20.5 by chance once in a thousand seeds.
        assert!(chi_square < 20.5, "{chi_square}: {counts:?}");
    }

    #[test]
    fn one_seed_is_one_series_and_another_is_another() {
        let scores: Vec<f32> = (0..500).map(|i| (i as f32 * 0.7).sin()).collect();
        assert_eq!(draws(&scores, 5, 50), draws(&scores, 5, 50));
        assert_ne!(draws(&scores, 5, 50), draws(&scores, 6, 50));
    }

    /// From the independent ChaCha8 of [`Rng`]'s tests. The series of a seed is
    /// a promise: never adjust it.
    #[test]
    fn a_known_seed_gives_its_known_series() {
        let scores: Vec<f32> = (0..500).map(|i| (i as f32 * 0.25) % 7.0).collect();
        let known = [391, 417, 359, 108, 55, 111, 419, 136];
        assert_eq!(draws(&scores, 2026, 8), known);
    }

    #[test]
    fn scores_far_apart_neither_overflow_nor_reach_ruled_out_tokens() {
        assert_eq!(draws(&[f32::MIN, f32::MAX, OUT], 1, 100), [1; 100]);
        assert_eq!(draws(&[OUT, OUT, f32::MIN, OUT], 1, 100), [2; 100]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_inverse_distribution_function(
            coarse in vec(-50i8..50, 1..200),
            seed: u64,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -20 { OUT } else { f32::from(x) / 5.0 })
                .collect();
            prop_assume!(scores.iter().any(|&s| s > OUT));
            let weights: Vec<f64> = scores.iter().map(|&s| f64::from(s).exp()).collect();
            let total: f64 = weights.iter().sum();
            let target = Rng::new(seed).next_f64();
            let mut sum = 0.0;
            let mut expected = None;
            for (id, weight) in weights.iter().enumerate() {
                sum += weight / total;
                // Where rounding decides, there is nothing to compare.
                prop_assume!((sum - target).abs() > 1e-12);
                if expected.is_none() && sum > target {
                    expected = Some(id as u32);
                }
            }
            let got = Sampler::random(Rng::new(seed)).pick(&scores).unwrap();
            prop_assert_eq!(Some(got), expected);
        }
    }
}
