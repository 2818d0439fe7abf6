//! Comparisons against all logits of both texts, computed at once and without
//! a cache, with a model that is really run.

use crate::generate::comparison::ComparisonResult;
use crate::generate::log_prob::{kl_divergence, log_sum_exp, rank};
use crate::generate::{Event, Scheduler};
use crate::model::BlockName;
use crate::state::lab::{N_POSITIONS, VOCAB_SIZE, all_logits, scheduler};
use proptest::prelude::*;

type Pairs = Vec<(usize, usize)>;

fn roots() -> [BlockName; 2] {
    ["a", "b"].map(|root| BlockName::root(&[root]))
}

fn compare(scheduler: &mut Scheduler, texts: &[Vec<u32>; 2], pairs: &Pairs) -> ComparisonResult {
    let job = scheduler.add_comparison(texts.clone(), roots(), pairs);
    job.unwrap();
    loop {
        match scheduler.step().pop() {
            Some((_, Event::Compared(result))) => return result,
            Some((_, other)) => panic!("{other:?}"),
            None => {}
        }
    }
}

/// The divergence in plain terms: sum p (ln p - ln q).
fn naive_kl(a: &[f32], b: &[f32]) -> f64 {
    let probabilities = |logits: &[f32]| -> Vec<f64> {
        let all: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        logits.iter().map(|&x| f64::from(x).exp() / all).collect()
    };
    let pairs = probabilities(a).into_iter().zip(probabilities(b));
    pairs.map(|(p, q)| p * (p / q).ln()).sum()
}

fn check(result: &ComparisonResult, texts: &[Vec<u32>; 2], pairs: &Pairs) {
    let [a, b] = texts.each_ref().map(|tokens| all_logits(tokens));
    assert_eq!(result.positions.len(), pairs.len());
    for (place, &(at, bt)) in result.positions.iter().zip(pairs) {
        assert_eq!((place.a as usize, place.b as usize), (at, bt));
        let (a, b) = (&a[at - 1], &b[bt - 1]);
        assert_eq!(place.kl.to_bits(), kl_divergence(a, b).to_bits());
        assert!((place.kl - naive_kl(a, b)).abs() < 1e-9);
        let token = texts[0][at];
        let sorted = |logits: &[f32]| {
            let mut ids: Vec<u32> = (0..VOCAB_SIZE as u32).collect();
            ids.sort_by(|x, y| logits[*y as usize].total_cmp(&logits[*x as usize]));
            1 + ids.iter().position(|id| *id == token).unwrap() as u32
        };
        assert_eq!((place.rank_a, place.rank_b), (sorted(a), sorted(b)));
        assert_eq!(place.rank_a, rank(a, token));
    }
    let (a, b) = (a.last().unwrap(), b.last().unwrap());
    assert_eq!(result.next_kl, Some(kl_divergence(a, b)));
    assert_eq!(result.next_top.len(), 10);
    let p = |logits: &[f32], token: usize| (f64::from(logits[token]) - log_sum_exp(logits)).exp();
    let mut last = f64::INFINITY;
    for next in &result.next_top {
        let token = next.token as usize;
        assert!((next.a - p(a, token)).abs() < 1e-12 && (next.b - p(b, token)).abs() < 1e-12);
        assert!(next.a.max(next.b) <= last);
        last = next.a.max(next.b);
    }
    let others =
        (0..VOCAB_SIZE).filter(|id| result.next_top.iter().all(|n| n.token as usize != *id));
    assert!(
        others
            .map(|id| p(a, id).max(p(b, id)))
            .all(|other| other <= last + 1e-12)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_told_is_what_all_logits_say_whatever_the_cache_has(
        texts in prop::array::uniform2(
            prop::collection::vec(0..VOCAB_SIZE as u32, 1..N_POSITIONS)),
        chosen in prop::collection::vec(any::<[bool; 2]>(), N_POSITIONS),
        known in any::<[prop::sample::Index; 2]>(),
    ) {
        let mut texts = texts;
        // Places as they come, and the same token in both.
        let places = |side: usize, len: usize| {
            (1..len).filter(|at| chosen[*at][side]).collect::<Vec<_>>()
        };
        let (at, bt) = (places(0, texts[0].len()), places(1, texts[1].len()));
        let pairs: Pairs = at.into_iter().zip(bt).collect();
        for &(at, bt) in &pairs {
            texts[1][bt] = texts[0][at];
        }
        let mut fresh = scheduler();
        let result = compare(&mut fresh, &texts, &pairs);
        prop_assert_eq!(result.tokens_evaluated as usize, texts[0].len() + texts[1].len());
        check(&result, &texts, &pairs);
        check(&compare(&mut fresh, &texts, &pairs), &texts, &pairs);
        let mut partly = scheduler();
        for ((tokens, root), known) in texts.iter().zip(roots()).zip(known) {
            let known = tokens[..known.index(tokens.len()) + 1].to_vec();
            partly.add_reading(known, root, None).unwrap();
        }
        while partly.is_busy() {
            partly.step();
        }
        check(&compare(&mut partly, &texts, &pairs), &texts, &pairs);
    }
}

#[test]
fn an_empty_text_has_nothing_to_compare() {
    let mut scheduler = scheduler();
    let result = compare(&mut scheduler, &[vec![], vec![1, 2]], &Vec::new());
    assert_eq!((result.next_kl, result.tokens_evaluated), (None, 0));
    assert!(result.next_top.is_empty() && result.positions.is_empty());
}

#[test]
fn places_out_of_order_are_refused() {
    let mut scheduler = scheduler();
    for pairs in [vec![(0, 1)], vec![(1, 2), (2, 2)], vec![(3, 1)]] {
        let texts = [vec![1, 2, 3], vec![1, 2, 3]];
        assert!(scheduler.add_comparison(texts, roots(), &pairs).is_err());
    }
    assert!(!scheduler.is_busy());
}
