//! `bad_words_ids`: sequences of tokens that never come.

use super::{LogitsProcessor, SequenceBias};

/// Rules out the last token of a sequence where its others end the history: a
/// [`SequenceBias`] of `-inf`.
///
/// A sequence that is one end-of-text token alone is left out, so that a text
/// can end.
///
/// Source: `NoBadWordsLogitsProcessor` of transformers 5. Default: none.
#[derive(Debug)]
pub struct BadWords(SequenceBias);

impl BadWords {
    /// Each sequence has one token at least; an empty one does nothing.
    pub fn new(words: impl IntoIterator<Item = Vec<u32>>, eos_token_ids: &[u32]) -> Self {
        let ends = |word: &Vec<u32>| matches!(word[..], [id] if eos_token_ids.contains(&id));
        let words = words.into_iter().filter(|word| !ends(word));
        Self(SequenceBias::new(
            words.map(|word| (word, f32::NEG_INFINITY)),
        ))
    }
}

impl LogitsProcessor for BadWords {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        self.0.process(history, scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_cannot_be_finished_and_eos_alone_is_no_word() {
        const OUT: f32 = f32::NEG_INFINITY;
        let words = [vec![0], vec![5, 1], vec![3], vec![6, 3]];
        let mut processor = BadWords::new(words, &[3, 4]);
        for (history, expected) in [
            (&[5][..], [OUT, OUT, 1.0, 1.0]),
            (&[1], [OUT, 1.0, 1.0, 1.0]),
            (&[1, 6], [OUT, 1.0, 1.0, OUT]),
        ] {
            let mut scores = [1.0; 4];
            processor.process(history, &mut scores);
            assert_eq!(scores, expected);
        }
    }
}
