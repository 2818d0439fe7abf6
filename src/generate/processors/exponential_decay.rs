//! `exponential_decay_length_penalty`: makes the end likelier the longer the
//! text.

use super::LogitsProcessor;

/// With `n` the tokens generated beyond `start`, where there are any, for each
/// end-of-text token:
///
/// ```text
/// score = score + |score| * (factor^n - 1)
/// ```
///
/// An end that is ruled out stays so (in transformers it becomes NaN).
///
/// Source: `ExponentialDecayLengthPenalty` of transformers. Default: none. A
/// factor below 1 makes the end less likely.
#[derive(Debug)]
pub struct ExponentialDecay {
    start: usize,
    factor: f64,
    eos_token_ids: Vec<u32>,
}

impl ExponentialDecay {
    /// Begins after `start` tokens of output; `factor` is above 0.
    pub fn new(prompt_len: usize, start: usize, factor: f64, eos_token_ids: Vec<u32>) -> Self {
        Self {
            start: prompt_len.saturating_add(start),
            factor,
            eos_token_ids,
        }
    }
}

impl LogitsProcessor for ExponentialDecay {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        if history.len() <= self.start {
            return;
        }
        let beyond = (history.len() - self.start) as f64;
        // Far beyond, it overflows; infinite is no score.
        let growth = ((libm::pow(self.factor, beyond) - 1.0) as f32).min(f32::MAX);
        for (place, &id) in self.eos_token_ids.iter().enumerate() {
            if let Some(score) = scores.get_mut(id as usize)
                && score.is_finite()
                && !self.eos_token_ids[..place].contains(&id)
            {
                *score = (*score + score.abs() * growth).min(f32::MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_grows_from_the_start_on() {
        let mut processor = ExponentialDecay::new(1, 2, 1.5, vec![0, 1, 2, 0]);
        let mut scores = [4.0, -4.0, f32::NEG_INFINITY, 4.0];
        processor.process(&[9; 3], &mut scores);
        assert_eq!(scores, [4.0, -4.0, f32::NEG_INFINITY, 4.0]);
        processor.process(&[9; 5], &mut scores);
        let growth = 4.0 * (1.5 * 1.5 - 1.0);
        let expected = [4.0 + growth, -4.0 + growth, f32::NEG_INFINITY, 4.0];
        assert_eq!(scores, expected);
    }

    #[test]
    fn it_never_becomes_infinite() {
        let mut scores = [2.0, 1.0, 0.0];
        ExponentialDecay::new(0, 0, 10.0, vec![0, 2]).process(&[9; 1000], &mut scores);
        assert_eq!(scores, [f32::MAX, 1.0, 0.0]);
    }
}
