//! `frequency_penalty` and `presence_penalty`: lower the scores of tokens by
//! how often the output has them.

use super::LogitsProcessor;

/// With `count` how often the output, without the prompt, has a token:
///
/// ```text
/// score = score - count * frequency - (count > 0 ? presence : 0)
/// ```
///
/// Source: OpenAI's API ("Advanced usage", frequency and presence penalties);
/// counted over the output alone as in vLLM. Default 0 and 0: nothing. Below 0
/// they reward repetition.
#[derive(Debug)]
pub struct CountPenalty {
    frequency: f32,
    presence: f32,
    prompt_len: usize,
    /// One count a token, all 0 between calls.
    counts: Vec<u32>,
}

impl CountPenalty {
    /// The output is the history from `prompt_len` on.
    pub fn new(frequency: f32, presence: f32, prompt_len: usize) -> Self {
        Self {
            frequency,
            presence,
            prompt_len,
            counts: Vec::new(),
        }
    }
}

impl LogitsProcessor for CountPenalty {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        let output = history.get(self.prompt_len..).unwrap_or_default();
        self.counts.resize(scores.len(), 0);
        for &id in output {
            // An id outside the vocabulary has no score to change.
            if let Some(count) = self.counts.get_mut(id as usize) {
                *count += 1;
            }
        }
        for &id in output {
            let id = id as usize;
            if let (Some(score), Some(count)) = (scores.get_mut(id), self.counts.get_mut(id))
                && *count > 0
            {
                *score -= std::mem::take(count) as f32 * self.frequency;
                *score -= self.presence;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequency_counts_and_presence_does_not() {
        let mut scores = [1.0, 1.0, 1.0, f32::NEG_INFINITY];
        let mut processor = CountPenalty::new(0.5, 0.25, 2);
        let history = [2, 2, 0, 1, 0, 3, 0, 9];
        processor.process(&history, &mut scores);
        let expected = [1.0 - 1.5 - 0.25, 1.0 - 0.5 - 0.25, 1.0, f32::NEG_INFINITY];
        assert_eq!(scores, expected);
        // Nothing is carried over to the next call.
        let mut again = [1.0, 1.0, 1.0, f32::NEG_INFINITY];
        processor.process(&history, &mut again);
        assert_eq!(again, expected);
    }

    #[test]
    fn the_prompt_does_not_count() {
        let mut scores = [1.0; 3];
        CountPenalty::new(1.0, 1.0, 3).process(&[0, 1, 2], &mut scores);
        assert_eq!(scores, [1.0; 3]);
        CountPenalty::new(1.0, 1.0, 9).process(&[0, 1, 2], &mut scores);
        assert_eq!(scores, [1.0; 3]);
    }
}
