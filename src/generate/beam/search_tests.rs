//! The decisions against naive ones, on a model that is a table: its logits are
//! a hash of the text.

use super::*;
use crate::generate::beam::hamming::Hamming;
use crate::generate::beam::options::EarlyStopping;
use crate::generate::log_prob::log_sum_exp;
use crate::generate::processors::Pipeline;
use crate::generate::rng::Rng; // proptest's prelude has one too
use proptest::prelude::*;

const PROMPT: [u32; 2] = [7, 7];

/// A model of `vocab_size` tokens.
#[derive(Debug, Clone, Copy)]
struct Table {
    seed: u64,
    vocab_size: usize,
}

impl Table {
    fn logits(self, text: &[u32]) -> Vec<f32> {
        let mut key = self.seed;
        for &token in text {
            key = (key ^ u64::from(token)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            key ^= key >> 29;
        }
        let mut rng = Rng::new(key);
        (0..self.vocab_size)
            .map(|_| (rng.next_f64() * 6.0 - 3.0) as f32)
            .collect()
    }

    fn log_probs(self, text: &[u32]) -> Vec<f64> {
        let logits = self.logits(text);
        let log_sum = log_sum_exp(&logits);
        logits
            .iter()
            .map(|&logit| f64::from((f64::from(logit) - log_sum) as f32))
            .collect()
    }
}

#[derive(Debug, Clone)]
struct Case {
    table: Table,
    options: BeamOptions,
    eos: Vec<u32>,
    limit: usize,
}

/// A sequence without its prompt, and its score.
type Found = (Vec<u32>, f64);

fn search(case: &Case) -> Search {
    let picks = Picks::default();
    let mut processors: Vec<Box<dyn LogitsProcessor>> = Vec::new();
    if case.options.num_beam_groups > 1 {
        let penalty = case.options.diversity_penalty;
        processors.push(Box::new(Hamming::new(penalty, picks.clone())));
    }
    Search::new(
        PROMPT.to_vec(),
        &case.options,
        Ends {
            eos_token_ids: case.eos.clone(),
            stop_token_ids: Vec::new(),
            constraint: None,
            limit: case.limit,
            at_limit: FinishReason::Length,
        },
        Texts {
            tokenizer: None,
            stop: Vec::new(),
            include_stop: false,
        },
        Box::new(Pipeline::new(processors)),
        picks,
        Rng::new(case.table.seed),
    )
}

fn step(case: &Case, search: &mut Search) -> Decision {
    let rows = search
        .running()
        .map(|beam| case.table.logits(&beam.history));
    let rows = rows.collect();
    search.step(rows).unwrap()
}

fn run(case: &Case) -> Search {
    let mut search = search(case);
    while !search.is_done() {
        step(case, &mut search);
    }
    search
}

fn found(search: &Search) -> Vec<Found> {
    let best = search.best().into_iter();
    best.map(|h| (h.tokens.clone(), h.score)).collect()
}

fn score(options: &BeamOptions, sum: f64, length: usize) -> f64 {
    sum / (length as f64).powf(options.length_penalty)
}

/// Every sequence there can be, best first.
fn exhaustive(case: &Case) -> Vec<Found> {
    let mut open = vec![(Vec::new(), 0.0)];
    let mut all = Vec::new();
    for length in 1..=case.limit {
        let mut next = Vec::new();
        for (tokens, sum) in open {
            let scores = case.table.log_probs(&[&PROMPT[..], &tokens].concat());
            for (token, log_prob) in (0u32..).zip(scores) {
                let mut tokens: Vec<u32> = tokens.clone();
                tokens.push(token);
                let sum = sum + log_prob;
                if case.eos.contains(&token) || length == case.limit {
                    all.push((tokens, score(&case.options, sum, length)));
                } else {
                    next.push((tokens, sum));
                }
            }
        }
        open = next;
    }
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

/// Candidates of all beams, best first.
fn ranked(rows: Vec<(Found, Vec<f64>)>, count: usize) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for ((tokens, sum), scores) in rows {
        for (token, log_prob) in (0u32..).zip(scores) {
            all.push(([&tokens[..], &[token]].concat(), sum + log_prob));
        }
    }
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(count);
    all
}

/// `_beam_search` of transformers 5, told naively.
fn naive_plain(case: &Case) -> Vec<Found> {
    let o = &case.options;
    let at_once = o.early_stopping == EarlyStopping::AtOnce;
    let mut running: Vec<Found> = vec![(Vec::new(), 0.0)];
    let mut done: Vec<Found> = Vec::new();
    for n in 1.. {
        let rows = running.into_iter().map(|(tokens, sum)| {
            let scores = case.table.log_probs(&[&PROMPT[..], &tokens].concat());
            ((tokens, sum), scores)
        });
        let count = 2.max(1 + case.eos.len()) * o.num_beams;
        running = Vec::new();
        for (rank, (tokens, sum)) in ranked(rows.collect(), count).into_iter().enumerate() {
            let ended = tokens.last().is_some_and(|last| case.eos.contains(last));
            if !ended && n < case.limit {
                running.push((tokens, sum));
            } else if rank < o.num_beams {
                done.push((tokens, score(o, sum, n)));
            }
        }
        running.truncate(o.num_beams);
        done.sort_by(|a, b| b.1.total_cmp(&a.1));
        done.truncate(o.num_beams);
        let Some((_, best)) = running.first() else {
            break;
        };
        if done.len() == o.num_beams {
            let never = o.early_stopping == EarlyStopping::Never && o.length_penalty > 0.0;
            let length = if never { case.limit } else { n };
            if at_once || score(o, *best, length) <= done[done.len() - 1].1 {
                break;
            }
        }
    }
    done
}

/// `_group_beam_search` of transformers 4.46, told naively.
fn naive_groups(case: &Case) -> Vec<Found> {
    let o = &case.options;
    let size = o.num_beams / o.num_beam_groups;
    let mut running: Vec<Vec<Found>> = vec![vec![(Vec::new(), 0.0)]; o.num_beam_groups];
    let mut kept: Vec<Vec<Found>> = vec![Vec::new(); o.num_beam_groups];
    let mut is_done = vec![false; o.num_beam_groups];
    let worst = |kept: &[Found]| kept.iter().map(|k| k.1).fold(f64::INFINITY, f64::min);
    let keep = |kept: &mut Vec<Found>, found: Found| {
        kept.push(found);
        if kept.len() > size {
            let lowest = worst(kept);
            // Where the new one is no better than the worst, it is the new one.
            let last = kept.iter().rposition(|k| k.1 == lowest);
            let _ = last.map(|index| kept.remove(index));
        }
    };
    for n in 1..=case.limit {
        let mut picks = Vec::new();
        for g in 0..o.num_beam_groups {
            if is_done[g] {
                let pad = o.pad_token_id.or(case.eos.first().copied());
                picks.extend(std::iter::repeat_n(pad, size).flatten());
                continue;
            }
            let rows = running[g].drain(..).map(|(tokens, sum)| {
                let scores = case.table.log_probs(&[&PROMPT[..], &tokens].concat());
                let penalised = (0u32..).zip(scores).map(|(token, score)| {
                    let count = picks.iter().filter(|&&pick| pick == token).count();
                    f64::from(score as f32 - o.diversity_penalty * count as f32)
                });
                ((tokens, sum), penalised.collect())
            });
            let count = 2.max(1 + case.eos.len()) * size;
            let candidates = ranked(rows.collect(), count);
            let best = candidates[0].1;
            for (rank, (tokens, sum)) in candidates.into_iter().enumerate() {
                if tokens.last().is_some_and(|last| case.eos.contains(last)) {
                    if rank < size {
                        keep(&mut kept[g], (tokens, score(o, sum, n)));
                    }
                } else if running[g].len() < size {
                    running[g].push((tokens, sum));
                }
            }
            picks.extend(running[g].iter().filter_map(|(tokens, _)| tokens.last()));
            if kept[g].len() == size {
                let never = o.early_stopping == EarlyStopping::Never && o.length_penalty > 0.0;
                let length = if never { case.limit } else { n };
                is_done[g] = o.early_stopping == EarlyStopping::AtOnce
                    || worst(&kept[g]) >= score(o, best, length);
            }
        }
        if is_done.iter().all(|&done| done) {
            break;
        }
    }
    for g in 0..o.num_beam_groups {
        if !is_done[g] {
            for (tokens, sum) in running[g].drain(..) {
                let length = tokens.len();
                keep(&mut kept[g], (tokens, score(o, sum, length)));
            }
        }
    }
    let mut all = kept.concat();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

fn same(found: &[Found], expected: &[Found]) -> Result<(), TestCaseError> {
    let tokens = |all: &[Found]| -> Vec<Vec<u32>> { all.iter().map(|f| f.0.clone()).collect() };
    prop_assert_eq!(tokens(found), tokens(expected));
    for (a, b) in found.iter().zip(expected) {
        prop_assert!((a.1 - b.1).abs() < 1e-9, "{} for {}", a.1, b.1);
    }
    Ok(())
}

fn early_stopping() -> impl Strategy<Value = EarlyStopping> {
    prop_oneof![
        Just(EarlyStopping::AtOnce),
        Just(EarlyStopping::Likely),
        Just(EarlyStopping::Never)
    ]
}

prop_compose! {
    fn a_case(groups: std::ops::Range<usize>)(
        seed: u64,
        vocab_size in 5usize..30,
        size in 1usize..5,
        groups in groups,
        eos in 0usize..3,
        limit in 1usize..9,
        length_penalty in prop_oneof![Just(1.0), -1.0f64..2.5],
        early_stopping in early_stopping(),
        diversity_penalty in 0.1f32..3.0,
        pad in proptest::option::of(0u32..5),
    ) -> Case {
        Case {
            table: Table { seed, vocab_size },
            options: BeamOptions {
                num_beams: size * groups,
                num_beam_groups: groups,
                diversity_penalty: if groups > 1 { diversity_penalty } else { 0.0 },
                length_penalty,
                early_stopping,
                pad_token_id: pad,
                ..BeamOptions::default()
            },
            eos: (0..eos as u32).collect(),
            limit,
        }
    }
}

proptest! {
    #[test]
    fn plain_beams_are_those_of_the_naive_search(case in a_case(1..2)) {
        prop_assume!(case.options.num_beams > 1);
        same(&found(&run(&case)), &naive_plain(&case))?;
    }

    #[test]
    fn groups_are_those_of_the_naive_search(case in a_case(2..5)) {
        same(&found(&run(&case)), &naive_groups(&case))?;
    }

    #[test]
    fn with_beams_enough_every_sequence_is_found(
        seed: u64,
        length_penalty in -1.0f64..2.0,
        early_stopping in early_stopping(),
    ) {
        // Three tokens and three steps: 27 sequences at most.
        let case = Case {
            table: Table { seed, vocab_size: 3 },
            options: BeamOptions {
                num_beams: 27,
                length_penalty,
                early_stopping,
                ..BeamOptions::default()
            },
            eos: vec![1],
            limit: 3,
        };
        same(&found(&run(&case)), &exhaustive(&case))?;
    }

    #[test]
    fn scores_are_those_of_the_tokens(mut case in a_case(1..4), do_sample: bool) {
        case.options.do_sample = do_sample && case.options.num_beam_groups == 1;
        let search = run(&case);
        for kept in search.best() {
            let sum: f64 = kept.transition_scores.iter().map(|&s| f64::from(s)).sum();
            let penalty = if case.options.num_beams == 1 { 0.0 } else { case.options.length_penalty };
            let score = sum / (kept.tokens.len() as f64).powf(penalty);
            prop_assert!((score - kept.score).abs() < 1e-6 * score.abs().max(1.0));
            prop_assert_eq!(kept.beam_indices.len(), kept.tokens.len());
            let ended = kept.tokens.last().is_some_and(|last| case.eos.contains(last));
            prop_assert_eq!(kept.ending.reason == FinishReason::Eos, ended);
            prop_assert!(ended || kept.tokens.len() == case.limit);
        }
        let mut tokens: Vec<_> = search.best().iter().map(|h| (h.group, h.tokens.clone())).collect();
        tokens.sort();
        tokens.dedup();
        prop_assert_eq!(tokens.len(), search.best().len(), "one was found twice");
    }

    #[test]
    fn decisions_say_which_beam_each_next_one_goes_on_from(case in a_case(1..4)) {
        let mut search = search(&case);
        while !search.is_done() {
            let before: Vec<Vec<u32>> = search.running().map(|beam| beam.history.clone()).collect();
            let decision = step(&case, &mut search);
            if search.is_done() {
                break;
            }
            let after: Vec<&Beam> = search.running().collect();
            prop_assert_eq!(after.len(), decision.from.len());
            for (beam, &from) in after.iter().zip(&decision.from) {
                prop_assert_eq!(&beam.history[..beam.history.len() - 1], &before[from][..]);
            }
        }
    }

    #[test]
    fn one_beam_is_greedy(case in a_case(1..2)) {
        let mut case = case;
        case.options.num_beams = 1;
        let found = found(&run(&case));
        let mut text = PROMPT.to_vec();
        loop {
            let next = argmax(&case.table.logits(&text)).unwrap();
            text.push(next);
            if case.eos.contains(&next) || text.len() == PROMPT.len() + case.limit {
                break;
            }
        }
        prop_assert_eq!(&found[0].0, &text[PROMPT.len()..]);
    }

    #[test]
    fn an_abort_keeps_open_beams_and_the_best_come_first(case in a_case(1..4), steps in 0usize..6) {
        let mut search = search(&case);
        for _ in 0..steps {
            if !search.is_done() {
                step(&case, &mut search);
            }
        }
        let ended: Vec<Found> = found(&search);
        let was_done = search.is_done();
        search.abort(&FinishReason::Aborted.into());
        prop_assert!(search.is_done());
        let best = search.best();
        prop_assert!(best.is_sorted_by(|a, b| a.score >= b.score));
        prop_assert!(best.len() <= case.options.num_beams);
        prop_assert_eq!(best.is_empty(), steps == 0);
        for kept in &best {
            let known = ended.contains(&(kept.tokens.clone(), kept.score));
            let aborted = kept.ending.reason == FinishReason::Aborted;
            prop_assert!(known || (aborted && !was_done));
        }
    }
}

fn sampled(seed: u64) -> Case {
    Case {
        table: Table {
            seed,
            vocab_size: 20,
        },
        options: BeamOptions {
            num_beams: 4,
            do_sample: true,
            ..BeamOptions::default()
        },
        eos: vec![0],
        limit: 12,
    }
}

#[test]
fn one_seed_draws_the_same_beams_and_another_draws_others() {
    let all: Vec<_> = (0..10).map(|seed| found(&run(&sampled(seed)))).collect();
    let again: Vec<_> = (0..10).map(|seed| found(&run(&sampled(seed)))).collect();
    assert_eq!(all, again);
    let mut case = sampled(1);
    let mut other = search(&case);
    case.options.do_sample = false;
    other.chance = Some(Rng::new(99));
    while !other.is_done() {
        step(&case, &mut other);
    }
    assert_ne!(found(&other), all[1]);
}

#[test]
fn where_every_token_is_ruled_out_at_once_there_is_no_next_token() {
    let mut search = search(&sampled(1));
    let error = search.step(vec![vec![f32::NAN; 20]]).unwrap_err();
    assert_eq!(error.code(), "no-next-token");
}

#[test]
fn beams_that_run_into_nothing_end_and_what_ended_before_stays() {
    struct OnlyTheEnd;
    impl LogitsProcessor for OnlyTheEnd {
        fn process(&mut self, history: &[u32], scores: &mut [f32]) {
            // Two tokens at first, of which one is the end; then none.
            let keep = if history.len() == PROMPT.len() { 2 } else { 0 };
            scores[keep..].fill(f32::NEG_INFINITY);
        }
    }
    let mut case = sampled(1);
    case.options.do_sample = false;
    let mut search = search(&case);
    search.processors = Box::new(OnlyTheEnd);
    while !search.is_done() {
        step(&case, &mut search);
    }
    let best = search.best();
    assert_eq!(best.len(), 1);
    assert_eq!(best[0].tokens, [0]);
}
