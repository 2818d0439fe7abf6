//! `suppress_tokens` and `begin_suppress_tokens`: tokens that do not come, at
//! all or at first.

use super::{LogitsProcessor, rule_out};

/// Rules tokens out, always or where the history, prompt and output, has one
/// certain length.
///
/// Source: `SuppressTokensLogitsProcessor` and
/// `SuppressTokensAtBeginLogitsProcessor` of transformers. Default: none.
#[derive(Debug)]
pub struct Suppress {
    ids: Vec<u32>,
    length: Option<usize>,
}

impl Suppress {
    /// At every step.
    pub fn always(ids: Vec<u32>) -> Self {
        Self { ids, length: None }
    }

    /// At the step whose history has `length` tokens: the prompt's length for
    /// the first token of the output.
    pub fn at(length: usize, ids: Vec<u32>) -> Self {
        Self {
            ids,
            length: Some(length),
        }
    }
}

impl LogitsProcessor for Suppress {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        if self.length.is_none_or(|length| length == history.len()) {
            rule_out(scores, &self.ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_ruled_out_always_or_at_one_length() {
        const OUT: f32 = f32::NEG_INFINITY;
        let with = |mut processor: Suppress, history: &[u32]| {
            let mut scores = [1.0; 3];
            processor.process(history, &mut scores);
            scores
        };
        let ids = || vec![2, 0, 77];
        assert_eq!(with(Suppress::always(ids()), &[]), [OUT, 1.0, OUT]);
        assert_eq!(with(Suppress::at(2, ids()), &[1, 1]), [OUT, 1.0, OUT]);
        assert_eq!(with(Suppress::at(2, ids()), &[1, 1, 1]), [1.0; 3]);
    }
}
