//! Readings against all logits of the text, computed at once and without a
//! cache, with a model that is really run.

use crate::generate::log_prob::log_sum_exp;
use crate::generate::reading::ReadingResult;
use crate::generate::{Event, Scheduler};
use crate::model::BlockName;
use crate::state::lab::{N_POSITIONS, VOCAB_SIZE, all_logits, scheduler};
use proptest::prelude::*;

fn read(scheduler: &mut Scheduler, tokens: &[u32], from: Option<usize>) -> ReadingResult {
    let root = BlockName::root(&["root"]);
    scheduler.add_reading(tokens.to_vec(), root, from).unwrap();
    loop {
        match scheduler.step().pop() {
            Some((_, Event::Read(result))) => return result,
            Some((_, other)) => panic!("{other:?}"),
            None => {}
        }
    }
}

fn log_prob(tokens: &[u32], from: usize) -> f64 {
    let logits = all_logits(tokens);
    let scored = from.max(1)..tokens.len().max(from.max(1));
    scored
        .map(|at| {
            let row = &logits[at - 1];
            f64::from(row[tokens[at] as usize]) - log_sum_exp(row)
        })
        .fold(0.0, |sum, score| sum + score)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn scores_are_those_of_all_logits_whatever_the_cache_has(
        tokens in prop::collection::vec(0..VOCAB_SIZE as u32, 1..N_POSITIONS),
        from in any::<prop::sample::Index>(),
        before in any::<prop::sample::Index>(),
    ) {
        let from = from.index(tokens.len() + 3);
        let expected = log_prob(&tokens, from);
        let mut scheduler = scheduler();
        let first = read(&mut scheduler, &tokens, Some(from));
        prop_assert_eq!(first.log_prob.to_bits(), expected.to_bits());
        prop_assert_eq!(first.tokens_scored as usize, tokens.len().saturating_sub(from.max(1)));
        prop_assert_eq!(first.tokens_evaluated as usize, tokens.len());
        // With all of it known, and with some.
        let again = read(&mut scheduler, &tokens, Some(from));
        prop_assert_eq!(again.log_prob.to_bits(), expected.to_bits());
        let run = (tokens.len() + 1).saturating_sub(from.max(1));
        prop_assert_eq!(again.tokens_evaluated as usize, run);
        let mut partly = crate::state::lab::scheduler();
        read(&mut partly, &tokens[..before.index(tokens.len()) + 1], None);
        let result = read(&mut partly, &tokens, Some(from));
        prop_assert_eq!(result.log_prob.to_bits(), expected.to_bits());
    }
}

#[test]
fn a_text_that_was_read_is_known_whole() {
    let mut scheduler = scheduler();
    let tokens: Vec<u32> = (0..100).collect();
    let first = read(&mut scheduler, &tokens, None);
    assert_eq!((first.tokens_evaluated, first.tokens_scored), (100, 0));
    assert_eq!(first.log_prob, 0.0);
    assert_eq!(read(&mut scheduler, &tokens, None).tokens_evaluated, 0);
    assert_eq!(read(&mut scheduler, &[], Some(0)).tokens_evaluated, 0);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let mut scheduler = scheduler();
    let root = BlockName::root(&["root"]);
    let refused = |scheduler: &mut Scheduler, tokens| {
        let error = scheduler.add_reading(tokens, root, None).unwrap_err();
        error.code()
    };
    assert_eq!(refused(&mut scheduler, vec![512]), "invalid-token");
    let long = vec![0; N_POSITIONS + 1];
    assert_eq!(refused(&mut scheduler, long), "context-overflow");
}
