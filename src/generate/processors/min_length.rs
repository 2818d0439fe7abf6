//! `min_length` and `min_new_tokens`: no end before so many tokens.

use super::{LogitsProcessor, rule_out};

/// Rules out the end-of-text tokens while the history, prompt and output, is
/// shorter than `min_length`.
///
/// Source: `MinLengthLogitsProcessor` and `MinNewTokensLengthLogitsProcessor`
/// of transformers. Default 0: nothing.
#[derive(Debug)]
pub struct MinLength {
    min_length: usize,
    eos_token_ids: Vec<u32>,
}

impl MinLength {
    /// Counts prompt and output.
    pub fn new(min_length: usize, eos_token_ids: Vec<u32>) -> Self {
        Self {
            min_length,
            eos_token_ids,
        }
    }

    /// Counts the output alone.
    pub fn of_output(prompt_len: usize, min_new_tokens: usize, eos_token_ids: Vec<u32>) -> Self {
        Self::new(prompt_len.saturating_add(min_new_tokens), eos_token_ids)
    }
}

impl LogitsProcessor for MinLength {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        if history.len() < self.min_length {
            rule_out(scores, &self.eos_token_ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_ruled_out_until_the_length_is_reached() {
        const OUT: f32 = f32::NEG_INFINITY;
        for mut processor in [
            MinLength::new(3, vec![1, 8]),
            MinLength::of_output(2, 1, vec![1, 8]),
        ] {
            let mut scores = [1.0; 3];
            processor.process(&[0, 0, 0], &mut scores);
            assert_eq!(scores, [1.0; 3]);
            processor.process(&[0, 0], &mut scores);
            assert_eq!(scores, [1.0, OUT, 1.0]);
        }
    }
}
