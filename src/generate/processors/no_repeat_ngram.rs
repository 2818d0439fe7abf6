//! `no_repeat_ngram_size`: no n tokens in a row come twice.

use super::LogitsProcessor;

/// Rules out each token that came after an earlier occurrence of the last
/// `n - 1` tokens, in the prompt or the output. With `n` = 1, every token
/// seen. Nothing while the history is shorter than `n`.
///
/// Source: `NoRepeatNGramLogitsProcessor` of transformers, after fairseq.
/// Default 0: nothing.
#[derive(Debug)]
pub struct NoRepeatNgram {
    n: usize,
}

impl NoRepeatNgram {
    /// `n` of 0 rules nothing out.
    pub fn new(n: usize) -> Self {
        Self { n }
    }
}

impl LogitsProcessor for NoRepeatNgram {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        if self.n == 0 || history.len() < self.n {
            return;
        }
        // A scan of a whole context is a microsecond, less than it takes to
        // keep an index for every beam.
        let end = &history[history.len() + 1 - self.n..];
        for ngram in history.windows(self.n) {
            if let Some((&last, before)) = ngram.split_last()
                && before == end
                && let Some(score) = scores.get_mut(last as usize)
            {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn ruled_out(n: usize, history: &[u32]) -> Vec<u32> {
        let mut scores = [0.0; 5];
        NoRepeatNgram::new(n).process(history, &mut scores);
        (0u32..)
            .zip(scores)
            .filter(|&(_, score)| score == f32::NEG_INFINITY)
            .map(|(id, _)| id)
            .collect()
    }

    #[test]
    fn what_followed_the_last_tokens_before_does_not_follow_again() {
        assert_eq!(ruled_out(2, &[1, 2, 1, 3, 1]), [2, 3]);
        assert_eq!(ruled_out(3, &[1, 2, 4, 0, 1, 2]), [4]);
        assert_eq!(ruled_out(3, &[1, 2, 4, 0, 2, 1]), [0u32; 0]);
        // The last tokens may overlap with where they stood before.
        assert_eq!(ruled_out(3, &[3, 3, 3]), [3]);
    }

    #[test]
    fn one_token_rules_itself_out_and_a_short_history_nothing() {
        assert_eq!(ruled_out(1, &[4, 0, 4]), [0, 4]);
        assert_eq!(ruled_out(1, &[]), [0u32; 0]);
        assert_eq!(ruled_out(3, &[1, 1]), [0u32; 0]);
        assert_eq!(ruled_out(0, &[1, 1]), [0u32; 0]);
        assert_eq!(ruled_out(2, &[1, 99, 1]), [0u32; 0]);
    }

    proptest! {
        #[test]
        fn a_token_is_ruled_out_where_it_would_repeat_an_ngram(
            history in vec(0u32..3, 0..40),
            n in 1usize..5,
        ) {
            let repeats = |&id: &u32| {
                let mut longer = history.clone();
                longer.push(id);
                let ngrams: Vec<_> = longer.windows(n).collect();
                ngrams
                    .split_last()
                    .is_some_and(|(last, earlier)| earlier.contains(last))
            };
            let expected: Vec<u32> = (0..5).filter(repeats).collect();
            prop_assert_eq!(ruled_out(n, &history), expected);
        }
    }
}
