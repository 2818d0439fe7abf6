//! `repetition_penalty`: lowers the scores of tokens already seen.

use super::LogitsProcessor;

/// For each token in the history, prompt or output, once however often it
/// occurs:
///
/// ```text
/// score = score < 0 ? score * penalty : score / penalty
/// ```
///
/// Source: CTRL (arXiv:1909.05858), made sign-aware in transformers'
/// `RepetitionPenaltyLogitsProcessor`. Default 1: nothing. Below 1 it rewards
/// repetition.
#[derive(Debug)]
pub struct RepetitionPenalty {
    penalty: f32,
    /// One flag a token, all false between calls.
    seen: Vec<bool>,
}

impl RepetitionPenalty {
    /// `penalty` is a number above 0.
    pub fn new(penalty: f32) -> Self {
        Self {
            penalty,
            seen: Vec::new(),
        }
    }
}

impl LogitsProcessor for RepetitionPenalty {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        self.seen.resize(scores.len(), false);
        for &id in history {
            let id = id as usize;
            // An id outside the vocabulary has no score to change.
            if let (Some(score), Some(seen)) = (scores.get_mut(id), self.seen.get_mut(id))
                && !std::mem::replace(seen, true)
            {
                if *score < 0.0 {
                    *score *= self.penalty;
                } else {
                    *score /= self.penalty;
                }
            }
        }
        for &id in history {
            if let Some(seen) = self.seen.get_mut(id as usize) {
                *seen = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seen_token_is_penalised_once() {
        let mut processor = RepetitionPenalty::new(2.0);
        let mut scores = [4.0, -4.0, 4.0, f32::NEG_INFINITY];
        processor.process(&[0, 1, 0, 3, 0], &mut scores);
        assert_eq!(scores, [2.0, -8.0, 4.0, f32::NEG_INFINITY]);
        // Nothing is carried over to the next call.
        processor.process(&[2], &mut scores);
        assert_eq!(scores, [2.0, -8.0, 2.0, f32::NEG_INFINITY]);
    }

    #[test]
    fn ids_outside_the_vocabulary_are_passed_over() {
        let mut scores = [4.0, 4.0];
        RepetitionPenalty::new(2.0).process(&[7, 1, u32::MAX], &mut scores);
        assert_eq!(scores, [4.0, 2.0]);
    }
}
