//! Mirostat: holds the surprise of the text at a level.
//!
//! Not a processor: it learns from each token that was chosen, so it belongs
//! to one text, and a beam search cannot share it.

use super::processors::softmax::Softmax;
use std::f64::consts::LN_2;

/// Mirostat, version 2. It begins with `mu = 2 tau`. With surprises in bits,
/// for each token of the text:
///
/// ```text
/// ruled out if -log2 p > mu
/// chosen from what is left, with the surprise s = -log2 p' there
/// mu = mu - eta * (s - tau)
/// ```
///
/// The best token always stays, of equal ones the lowest id. `p` is a token's
/// probability under the softmax of the scores, `p'` under that of what is left.
///
/// Source: S. Basu et al. (arXiv:2007.14966), algorithm 2; which of the two
/// softmaxes gives `s` is as in llama.cpp (`llama_sampler_init_mirostat_v2`).
///
/// It stands where top-k, top-p and the other truncations do, after the
/// temperature, and in their place.
#[derive(Debug)]
pub struct Mirostat {
    tau: f64,
    eta: f64,
    mu: f64,
    softmax: Softmax,
    /// `ln sum exp(score)` of what is left.
    log_sum: f64,
}

impl Mirostat {
    /// The surprise to hold, in bits a token, above 0; and how fast to correct
    /// it, from 0 to 1.
    pub fn new(tau: f64, eta: f64) -> Self {
        Self {
            tau,
            eta,
            mu: 2.0 * tau,
            softmax: Softmax::default(),
            log_sum: 0.0,
        }
    }

    /// The largest surprise of what is left next, in bits: with it, and the
    /// same text, another run goes on as this one.
    pub fn mu(&self) -> f64 {
        self.mu
    }

    /// Goes on from the `mu` of an earlier run.
    pub fn set_mu(&mut self, mu: f64) {
        self.mu = mu;
    }

    /// Rules out the tokens that would surprise too much. Scores that allow no
    /// choice are left to the sampler.
    pub fn process(&mut self, scores: &mut [f32]) {
        if !self.softmax.fill(scores) {
            return;
        }
        let softmax = &self.softmax;
        let log_total = libm::log(softmax.total);
        let limit = self.mu * LN_2;
        let best = softmax.distances.iter().position(|&d| d == 0.0);
        let mut total = 0.0;
        for (place, &id) in softmax.ids.iter().enumerate() {
            if Some(place) == best || log_total - softmax.distances[place] <= limit {
                total += softmax.weights[place];
            } else {
                scores[id as usize] = f32::NEG_INFINITY;
            }
        }
        let best_score = best.map_or(0.0, |place| scores[softmax.ids[place] as usize]);
        self.log_sum = f64::from(best_score) + libm::log(total);
    }

    /// The surprise, in bits, of a token that [`process`](Self::process) left
    /// with this score.
    pub fn surprise(&self, score: f32) -> f64 {
        (self.log_sum - f64::from(score)) / LN_2
    }

    /// Learns from the surprise of the token that was chosen.
    pub fn observe(&mut self, surprise: f64) {
        self.mu -= self.eta * (surprise - self.tau);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rng::Rng;
    use super::super::sampler::Sampler;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn what_would_surprise_more_than_mu_goes() {
        // Surprises of 1, 2, 3 and 3 bits.
        let logs = [0.5f32, 0.25, 0.125, 0.125].map(f32::ln);
        let mut mirostat = Mirostat::new(1.25, 0.5);
        let mut scores = logs;
        mirostat.process(&mut scores);
        assert_eq!(scores, [logs[0], logs[1], OUT, OUT]);
        // Of what is left, the second has a third of the probability.
        let surprise = mirostat.surprise(scores[1]);
        assert!((surprise - 3f64.log2()).abs() < 1e-6);
        mirostat.observe(surprise);
        assert!((mirostat.mu() - (2.5 - 0.5 * (3f64.log2() - 1.25))).abs() < 1e-6);
    }

    #[test]
    fn the_best_stays_however_small_mu_is() {
        let mut mirostat = Mirostat::new(1.0, 1.0);
        mirostat.observe(50.0);
        assert_eq!(mirostat.mu(), -47.0);
        let mut scores = [1.0, 4.0, 4.0, OUT];
        mirostat.process(&mut scores);
        assert_eq!(scores, [OUT, 4.0, OUT, OUT]);
        assert_eq!(mirostat.surprise(4.0), 0.0);
    }

    #[test]
    fn scores_without_a_distribution_are_left_to_the_sampler() {
        let mut scores = [OUT, OUT];
        Mirostat::new(3.0, 0.1).process(&mut scores);
        assert_eq!(scores, [OUT, OUT]);
        let mut scores = [f32::NAN, 1.0, -50.0];
        Mirostat::new(3.0, 0.1).process(&mut scores);
        assert!(scores[0].is_nan());
    }

    #[test]
    fn the_surprise_of_a_text_comes_to_the_target() {
        // Zipf's law over 5000 words: about 9.7 bits a word, untamed.
        let zipf: Vec<f32> = (1..=5000).map(|rank| -(rank as f32).ln()).collect();
        for tau in [2.0, 4.0, 7.0] {
            let mut mirostat = Mirostat::new(tau, 0.1);
            let mut sampler = Sampler::random(Rng::new(3));
            let mut sum = 0.0;
            for _ in 0..2000 {
                let mut scores = zipf.clone();
                mirostat.process(&mut scores);
                let token = sampler.pick(&scores).unwrap();
                let surprise = mirostat.surprise(scores[token as usize]);
                mirostat.observe(surprise);
                sum += surprise;
            }
            let mean = sum / 2000.0;
            assert!((mean - tau).abs() < 0.1, "{mean} for {tau}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            coarse in vec(-60i8..60, 1..300),
            tau in 0.1f64..6.0,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -40 { OUT } else { f32::from(x) / 7.0 })
                .collect();
            prop_assume!(scores.iter().any(|&s| s > OUT));
            let total: f64 = scores.iter().map(|&s| f64::from(s).exp()).sum();
            let best = scores.iter().copied().fold(OUT, f32::max);
            let best = scores.iter().position(|&s| s == best);
            let mut expected = scores.clone();
            for (id, score) in expected.iter_mut().enumerate() {
                let surprise = -(f64::from(*score).exp() / total).log2();
                // Where rounding decides, there is nothing to compare.
                prop_assume!((surprise - 2.0 * tau).abs() > 1e-9);
                if surprise > 2.0 * tau && Some(id) != best {
                    *score = OUT;
                }
            }
            let mut found = scores;
            let mut mirostat = Mirostat::new(tau, 0.1);
            mirostat.process(&mut found);
            prop_assert_eq!(&found, &expected);
            let left: f64 = found.iter().map(|&s| f64::from(s).exp()).sum();
            for score in found.into_iter().filter(|&s| s > OUT) {
                let surprise = -(f64::from(score).exp() / left).log2();
                prop_assert!((mirostat.surprise(score) - surprise).abs() < 1e-6);
            }
        }
    }
}
