//! Notices that a text goes in circles.

use crate::generate::options::LoopOptions;

/// The length of the shortest run of tokens that `text` ends in `repeats`
/// times, if there is one of at most `maxPeriod`.
pub(super) fn loop_length(text: &[u32], options: LoopOptions) -> Option<usize> {
    (1..=options.max_period).find(|&period| {
        let Some(start) = text.len().checked_sub(period * options.repeats) else {
            return false;
        };
        // From the end, because most texts differ there at once.
        let pairs = text[start + period..]
            .iter()
            .rev()
            .zip(text[start..].iter().rev().skip(period));
        pairs.into_iter().all(|(a, b)| a == b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPTIONS: LoopOptions = LoopOptions {
        max_period: 3,
        repeats: 3,
    };

    #[test]
    fn a_run_that_stands_there_often_enough_is_a_loop() {
        assert_eq!(loop_length(&[9, 1, 2, 1, 2, 1, 2], OPTIONS), Some(2));
        assert_eq!(loop_length(&[5, 5, 5], OPTIONS), Some(1));
        assert_eq!(loop_length(&[1, 2, 1, 2], OPTIONS), None);
        assert_eq!(loop_length(&[1, 2, 1, 2, 1, 2, 3], OPTIONS), None);
        assert_eq!(loop_length(&[], OPTIONS), None);
    }

    proptest! {
        #[test]
        fn agrees_with_comparing_every_run(
            text in proptest::collection::vec(0u32..2, 0..24),
            max_period in 1usize..5,
            repeats in 2usize..5,
        ) {
            let naive = (1..=max_period).find(|&period| {
                text.len() >= period * repeats && {
                    let runs: Vec<&[u32]> = text.rchunks(period).take(repeats).collect();
                    runs.iter().all(|run| run == &runs[0])
                }
            });
            prop_assert_eq!(loop_length(&text, LoopOptions { max_period, repeats }), naive);
        }
    }
}
