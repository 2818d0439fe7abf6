//! `sequence_bias`: makes sequences of tokens more or less likely.

use super::LogitsProcessor;
use std::collections::BTreeMap;

/// For each sequence all but whose last token end the history (of a sequence
/// of one token: always):
///
/// ```text
/// score[last token] = score[last token] + bias
/// ```
///
/// Several sequences that end in one token add up, those of one token first,
/// then in the order given. The same sequence twice counts once, with the last
/// bias. A bias of `-inf` rules the sequence out.
///
/// Source: `SequenceBiasLogitsProcessor` of transformers 5. (Version 4 wants a
/// history as long as the whole sequence.) Default: none.
#[derive(Debug)]
pub struct SequenceBias {
    /// What has to stand before, the token, and the bias.
    sequences: Vec<(Vec<u32>, u32, f32)>,
    /// One sum a token, all 0 between calls.
    sums: Vec<f32>,
}

impl SequenceBias {
    /// Each sequence has one token at least; an empty one does nothing.
    pub fn new(sequences: impl IntoIterator<Item = (Vec<u32>, f32)>) -> Self {
        let mut known = BTreeMap::new();
        let mut distinct: Vec<(Vec<u32>, u32, f32)> = Vec::new();
        for (mut sequence, bias) in sequences {
            let place = *known.entry(sequence.clone()).or_insert(distinct.len());
            if let Some((_, _, earlier)) = distinct.get_mut(place) {
                *earlier = bias;
            } else if let Some(last) = sequence.pop() {
                distinct.push((sequence, last, bias));
            }
        }
        // Stable: the order given stays, within those of one token and others.
        distinct.sort_by_key(|(before, _, _)| !before.is_empty());
        Self {
            sequences: distinct,
            sums: Vec::new(),
        }
    }
}

impl LogitsProcessor for SequenceBias {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        // The biases are summed before one is added to the score: in `f32` that
        // is another number than adding them one by one.
        self.sums.resize(scores.len(), 0.0);
        let acting = |before: &[u32]| history.ends_with(before);
        for (before, token, bias) in &self.sequences {
            if acting(before)
                && let Some(sum) = self.sums.get_mut(*token as usize)
            {
                *sum += bias;
            }
        }
        for (before, token, _) in &self.sequences {
            let token = *token as usize;
            if acting(before)
                && let (Some(sum), Some(score)) = (self.sums.get_mut(token), scores.get_mut(token))
            {
                *score += std::mem::take(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn biased(sequences: &[(&[u32], f32)], history: &[u32], scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        let sequences = sequences.iter().map(|&(ids, bias)| (ids.to_vec(), bias));
        SequenceBias::new(sequences).process(history, &mut scores);
        scores
    }

    #[test]
    fn a_sequence_acts_where_the_rest_of_it_ends_the_history() {
        let sequences: &[(&[u32], f32)] = &[(&[1], 0.5), (&[3, 2], 2.0), (&[4, 3, 0], 1.0)];
        assert_eq!(biased(sequences, &[], &[0.0; 3]), [0.0, 0.5, 0.0]);
        assert_eq!(biased(sequences, &[3], &[0.0; 3]), [0.0, 0.5, 2.0]);
        assert_eq!(biased(sequences, &[4, 3], &[0.0; 3]), [1.0, 0.5, 2.0]);
        assert_eq!(biased(sequences, &[3, 4], &[0.0; 3]), [0.0, 0.5, 0.0]);
    }

    #[test]
    fn biases_of_one_token_add_up_and_the_same_sequence_counts_once() {
        let sequences: &[(&[u32], f32)] = &[(&[1], 9.0), (&[2, 1], 0.5), (&[1], 1.0)];
        assert_eq!(biased(sequences, &[2], &[0.0; 2]), [0.0, 1.5]);
        assert_eq!(biased(sequences, &[0], &[0.0; 2]), [0.0, 1.0]);
    }

    #[test]
    fn nothing_is_carried_over_to_the_next_call() {
        let mut bias = SequenceBias::new([(vec![0], -1.0), (vec![7, 0], f32::NEG_INFINITY)]);
        let mut scores = [2.0, 2.0];
        bias.process(&[7], &mut scores);
        assert_eq!(scores, [f32::NEG_INFINITY, 2.0]);
        let mut scores = [2.0, 2.0];
        bias.process(&[1], &mut scores);
        assert_eq!(scores, [1.0, 2.0]);
    }

    #[test]
    fn ids_outside_the_vocabulary_and_empty_sequences_are_passed_over() {
        let sequences: &[(&[u32], f32)] = &[(&[9], 1.0), (&[], 1.0), (&[1, u32::MAX], 1.0)];
        assert_eq!(biased(sequences, &[1], &[4.0, 4.0]), [4.0, 4.0]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_dense_bias(
            sequences in vec((vec(0u32..4, 1..4), -8i8..8), 0..12),
            history in vec(0u32..4, 0..6),
        ) {
            let sequences: Vec<(Vec<u32>, f32)> = sequences
                .into_iter()
                .map(|(ids, bias)| (ids, f32::from(bias) / 4.0))
                .collect();
            let mut expected = [0.5f32; 4];
            for (place, (ids, bias)) in sequences.iter().enumerate() {
                let again = sequences[place + 1..].iter().any(|(later, _)| later == ids);
                let (last, before) = ids.split_last().unwrap();
                if !again && history.ends_with(before) {
                    expected[*last as usize] += bias; // quarters: exact in any order
                }
            }
            let mut scores = [0.5f32; 4];
            SequenceBias::new(sequences).process(&history, &mut scores);
            prop_assert_eq!(scores, expected);
        }
    }
}
