//! A `top_k` that follows how sure the model is.

use super::{LogitsProcessor, softmax::Softmax, top_k::keep_best};

/// [`TopK`](super::TopK) with, for `H` the entropy of the softmax and `n` the number of
/// tokens that are not ruled out:
///
/// ```text
/// k = round(min + (max - min) * H / ln n)
/// ```
///
/// halves rounded up. So a sure model chooses among few tokens, an unsure one
/// among many.
///
/// Source: the normalised entropy of llama.cpp's dynamic temperature
/// (`llama_sampler_init_temp_ext`), applied to k. Default: a constant `top_k`.
#[derive(Debug)]
pub struct AdaptiveTopK {
    min: f64,
    max: f64,
    min_tokens_to_keep: usize,
    softmax: Softmax,
    scratch: Vec<f32>,
}

impl AdaptiveTopK {
    /// `min` is at least 1 and at most `max`.
    pub fn new(min: f64, max: f64, min_tokens_to_keep: usize) -> Self {
        Self {
            min,
            max,
            min_tokens_to_keep: min_tokens_to_keep.max(1),
            softmax: Softmax::default(),
            scratch: Vec::new(),
        }
    }
}

impl LogitsProcessor for AdaptiveTopK {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        if self.softmax.fill(scores)
            && let Some(evenness) = self.softmax.evenness()
        {
            let k = (self.min + (self.max - self.min) * evenness).round() as usize;
            keep_best(scores, k.max(self.min_tokens_to_keep), &mut self.scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TopK;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn processed(min: f64, max: f64, least: usize, scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        AdaptiveTopK::new(min, max, least).process(&[], &mut scores);
        scores
    }

    #[test]
    fn a_sure_model_chooses_among_few() {
        let sure = [900.0, 3.0, 2.0, 1.0, 0.0];
        assert_eq!(processed(2.0, 4.0, 1, &sure), [900.0, 3.0, OUT, OUT, OUT]);
        assert_eq!(processed(2.0, 4.0, 3, &sure), [900.0, 3.0, 2.0, OUT, OUT]);
        let unsure = [4e-6, 3e-6, 2e-6, 1e-6, 0.0];
        assert_eq!(
            processed(2.0, 4.0, 1, &unsure),
            [4e-6, 3e-6, 2e-6, 1e-6, OUT]
        );
        // And sure again: nothing is carried over.
        let mut processor = AdaptiveTopK::new(1.0, 4.0, 1);
        for (scores, left) in [(unsure, 4), (sure, 1), (unsure, 4)] {
            let mut scores = scores;
            processor.process(&[], &mut scores);
            assert_eq!(scores.iter().filter(|&&s| s > OUT).count(), left);
        }
    }

    #[test]
    fn a_single_token_and_none_stay_as_they_are() {
        assert_eq!(processed(1.0, 4.0, 1, &[OUT, 3.0]), [OUT, 3.0]);
        assert_eq!(processed(1.0, 4.0, 1, &[OUT]), [OUT]);
    }

    proptest! {
        #[test]
        fn agrees_with_top_k_of_the_definition(
            coarse in vec(-60i8..60, 2..300),
            min in 1.0f64..20.0,
            range in 0.0f64..200.0,
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
            let k = min + range * entropy / (left.len() as f64).ln();
            // Where rounding decides, there is nothing to compare.
            prop_assume!((k.fract() - 0.5).abs() > 1e-6);
            let mut expected = scores.clone();
            TopK::new(k.round() as usize, 1).process(&[], &mut expected);
            prop_assert_eq!(processed(min, min + range, 1, &scores), expected);
        }
    }
}
