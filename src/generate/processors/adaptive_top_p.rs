//! A `top_p` that follows how sure the model is.

use super::{LogitsProcessor, softmax::Softmax, top_p::Nucleus};

/// [`TopP`](super::TopP) with, for `H` the entropy of the softmax and `n` the number of
/// tokens that are not ruled out:
///
/// ```text
/// p = min + (max - min) * H / ln n
/// ```
///
/// So where the model is sure, its unlikely tokens go sooner.
///
/// Source: the normalised entropy of llama.cpp's dynamic temperature
/// (`llama_sampler_init_temp_ext`), applied to p. Default: a constant `top_p`.
#[derive(Debug)]
pub struct AdaptiveTopP {
    min: f64,
    max: f64,
    softmax: Softmax,
    nucleus: Nucleus,
}

impl AdaptiveTopP {
    /// `min` is at least 0 and at most `max`, which is at most 1.
    pub fn new(min: f64, max: f64, min_tokens_to_keep: usize) -> Self {
        Self {
            min,
            max,
            softmax: Softmax::default(),
            nucleus: Nucleus::new(min_tokens_to_keep),
        }
    }
}

impl LogitsProcessor for AdaptiveTopP {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        if self.softmax.fill(scores)
            && let Some(evenness) = self.softmax.evenness()
        {
            let p = self.min + (self.max - self.min) * evenness;
            self.nucleus.keep(p, &self.softmax, scores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TopP;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn processed(min: f64, max: f64, scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        AdaptiveTopP::new(min, max, 1).process(&[], &mut scores);
        scores
    }

    #[test]
    fn a_sure_model_chooses_among_few() {
        // Where all is equal, p is `max`.
        let unsure = processed(0.1, 0.75, &[1.0; 8]);
        assert_eq!(unsure.iter().filter(|&&s| s > OUT).count(), 6);
        let sure = processed(0.1, 0.75, &[30.0, 1.0, 1.0]);
        assert_eq!(sure, [30.0, OUT, OUT]);
    }

    #[test]
    fn a_single_token_and_none_stay_as_they_are() {
        assert_eq!(processed(0.1, 0.9, &[OUT, 3.0]), [OUT, 3.0]);
        assert_eq!(processed(0.1, 0.9, &[OUT]), [OUT]);
    }

    proptest! {
        #[test]
        fn agrees_with_top_p_of_the_definition(
            coarse in vec(-60i8..60, 2..300),
            min in 0.0f64..0.5,
            range in 0.0f64..0.5,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| if x < -40 { OUT } else { f32::from(x) / 7.0 })
                .collect();
            let left: Vec<f64> = scores.iter().filter(|s| **s > OUT).map(|&s| f64::from(s)).collect();
            prop_assume!(left.len() > 1);
            let total: f64 = left.iter().map(|s| s.exp()).sum();
            let p = |s: &f64| s.exp() / total;
            let entropy: f64 = left.iter().map(|s| -p(s) * p(s).ln()).sum();
            let top_p = min + range * entropy / (left.len() as f64).ln();
            let with = |p: f64| {
                let mut scores = scores.clone();
                TopP::new(p, 1).process(&[], &mut scores);
                scores
            };
            let (a_little_less, a_little_more) = (with(top_p - 1e-7), with(top_p + 1e-7));
            // Where rounding decides, there is nothing to compare.
            prop_assume!(a_little_less == a_little_more);
            prop_assert_eq!(processed(min, min + range, &scores), a_little_less);
        }
    }
}
