//! Over a model whose next token is known: the one after the last, so a text
//! counts upwards.

use super::*;
use crate::generate::constraint::ConstraintSpec;
use crate::generate::options::{ContextPolicy, LoopOptions, StopAt, TokenSequence};
use crate::generate::scheduler::tests::{
    EOS, N_POSITIONS, VOCAB_SIZE, drain, generate, greedy, scheduler,
};
use crate::generate::{Event, Scheduler};

fn finished(options: &GenerateOptions) -> (String, GenerationResult) {
    generate("A", options)
}

#[test]
fn a_stop_token_ends_it_and_its_text_is_kept_on_wish() {
    let options = GenerateOptions {
        stop_token_ids: vec![68],
        ..greedy(9)
    };
    let (streamed, result) = finished(&options);
    assert_eq!(
        (streamed.as_str(), &result.tokens[..]),
        ("BC", &[66, 67, 68][..])
    );
    assert_eq!(result.finish_reason, FinishReason::StopToken);
    assert_eq!(result.matched, Some(Matched::Number(68.0)));
    let kept = GenerateOptions {
        include_stop: true,
        ..options
    };
    assert_eq!(finished(&kept).0, "BCD");
}

#[test]
fn the_end_of_text_token_is_named() {
    let options = GenerateOptions {
        eos_token_ids: Some(vec![67]),
        ..greedy(9)
    };
    let (_, result) = finished(&options);
    assert_eq!(
        (result.finish_reason, result.matched),
        (FinishReason::Eos, Some(Matched::Number(67.0)))
    );
}

#[test]
fn a_line_ends_it_and_what_goes_on_is_what_was_shown() {
    // The bytes count up from 5 to the newline, 10, and beyond.
    let options = GenerateOptions {
        stop_at: Some(StopAt::Line),
        ..greedy(20)
    };
    let mut scheduler = scheduler();
    let root = BlockName::root(&["test"]);
    let rng = RngState {
        seed: 1,
        position: 0,
    };
    let id = scheduler
        .add_continuation(vec![1], root, rng, &options)
        .unwrap();
    let Some((streamed, Event::Continued(result, continuation))) =
        drain(&mut scheduler).remove(&id)
    else {
        panic!("no continuation");
    };
    assert_eq!(streamed, "\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}");
    assert_eq!(result.text, streamed);
    assert_eq!(result.finish_reason, FinishReason::Boundary);
    assert_eq!(serde_json::to_value(&result.matched).unwrap(), "line");
    assert_eq!(continuation.tokens, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn time_ends_it_with_what_is_there() {
    thread_local!(static NOW: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) });
    let clock = || NOW.with(|now| now.replace(now.get() + 1.0));
    let mut scheduler = Scheduler::new(scheduler().shared_model(), None, clock);
    let options = GenerateOptions {
        max_time_ms: Some(20.0),
        ..greedy(90)
    };
    let id = scheduler
        .add_generation(Input::Tokens(vec![1]), &options)
        .unwrap();
    let Some((_, Event::Done(result))) = drain(&mut scheduler).remove(&id) else {
        panic!("no result");
    };
    assert_eq!(result.finish_reason, FinishReason::Time);
    assert!(
        (1..20).contains(&result.tokens.len()),
        "{}",
        result.tokens.len()
    );
    assert!(matches!(result.matched, Some(Matched::Number(ms)) if ms >= 20.0));
}

#[test]
fn a_token_that_is_too_improbable_is_not_taken_and_not_drawn() {
    let options = GenerateOptions {
        stop_below_probability: 1.0,
        temperature: 5.0,
        top_k: 0,
        seed: Some(3),
        ..greedy(9)
    };
    let mut scheduler = scheduler();
    let root = BlockName::root(&["test"]);
    let rng = RngState {
        seed: 1,
        position: 0,
    };
    let id = scheduler
        .add_continuation(vec![1], root, rng, &options)
        .unwrap();
    let Some((_, Event::Continued(result, continuation))) = drain(&mut scheduler).remove(&id)
    else {
        panic!("no continuation");
    };
    assert_eq!(
        (result.finish_reason, result.tokens.len()),
        (FinishReason::Probability, 0)
    );
    assert!(matches!(result.matched, Some(Matched::Number(p)) if p < 1.0));
    assert_eq!(continuation.tokens, [1]);
    assert_eq!(
        continuation.rng,
        Some(RngState {
            seed: 3,
            position: 0
        })
    );
}

#[test]
fn too_much_entropy_ends_it_before_the_token() {
    let ending_at = |ceiling| {
        let options = GenerateOptions {
            stop_above_entropy: Some(ceiling),
            ..greedy(4)
        };
        finished(&options).1
    };
    assert_eq!(ending_at(5.0).finish_reason, FinishReason::Length);
    let ended = ending_at(0.0);
    assert_eq!(
        (ended.finish_reason, ended.tokens.len()),
        (FinishReason::Entropy, 0)
    );
}

#[test]
fn going_in_circles_ends_it_with_the_length_of_the_circle() {
    let options = GenerateOptions {
        stop_on_loop: Some(LoopOptions {
            max_period: 4,
            repeats: 3,
        }),
        bad_words: vec![TokenSequence::Ids(vec![EOS])],
        ..greedy(90)
    };
    // It never repeats itself.
    assert_eq!(finished(&options).1.finish_reason, FinishReason::Length);
}

#[test]
fn log_probabilities_come_with_the_tokens_and_again_in_full() {
    let options = GenerateOptions {
        logprobs: Some(2),
        prompt_lookup_num_tokens: 4,
        ..greedy(5)
    };
    let mut scheduler = scheduler();
    // What was counted before is drafted.
    let prompt = Input::Text("ABCDEFGAB".into());
    let id = scheduler.add_generation(prompt, &options).unwrap();
    let mut streamed = Vec::new();
    while scheduler.is_busy() {
        for (job, event) in scheduler.step() {
            assert_eq!(job, id);
            match event {
                Event::Chunk(chunk) => {
                    let told = chunk.logprobs.unwrap();
                    assert_eq!(told.len(), chunk.tokens.len());
                    streamed.extend(told);
                }
                Event::Done(result) => {
                    assert!(result.usage.accepted_draft_tokens > 0);
                    assert_eq!(result.logprobs.as_ref(), Some(&streamed));
                    let ids: Vec<u32> = streamed.iter().map(|told| told.id).collect();
                    assert_eq!(ids, result.tokens);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let first = &streamed[0];
    assert_eq!(
        (first.text.as_str(), first.rank, first.top.len()),
        ("C", 1, 2)
    );
    assert_eq!(first.top[0].id, first.id);
    assert!(first.logprob < 0.0 && first.logprob > -1e-4);
    assert!(finished(&greedy(2)).1.logprobs.is_none());
}

/// The position that the model stood at is in the score of token 0, and so in
/// the sum of all.
fn positions(result: &GenerationResult) -> Vec<usize> {
    let told = result.logprobs.as_ref().unwrap();
    let others = 21f64.exp() + (VOCAB_SIZE as f64 - 2.0) * 1f64.exp();
    told.iter()
        .map(|told| {
            let of_zero = (21.0 - told.logprob).exp() - others;
            (of_zero.ln() * 1000.0).round() as usize
        })
        .collect()
}

#[test]
fn a_text_goes_on_past_the_context_as_the_policy_says() {
    for policy in [ContextPolicy::TruncateStart, ContextPolicy::TruncateMiddle] {
        let options = GenerateOptions {
            context_policy: policy,
            logprobs: Some(0),
            ..greedy(30)
        };
        // A model of 100 positions: 20 tokens fit, 10 more are to come then.
        let prompt = vec![5; N_POSITIONS - 19];
        let mut scheduler = scheduler();
        let id = scheduler
            .add_generation(Input::Tokens(prompt), &options)
            .unwrap();
        let mut dropped = Vec::new();
        while scheduler.is_busy() {
            for (job, event) in scheduler.step() {
                assert_eq!(job, id);
                match event {
                    Event::Chunk(chunk) => dropped.push(chunk.dropped_tokens),
                    Event::Done(result) => {
                        assert_eq!(result.finish_reason, FinishReason::Length);
                        assert_eq!(result.tokens.len(), 30);
                        assert_eq!(result.usage.dropped_tokens, dropped.iter().sum::<u32>());
                        let stood = positions(&result);
                        assert_eq!(stood[..20], (80..100).collect::<Vec<_>>());
                        assert_eq!(stood[20..], (90..100).collect::<Vec<_>>());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(dropped[20], 10);
        assert_eq!(dropped.iter().filter(|&&n| n > 0).count(), 1);
    }
}

#[test]
fn a_prompt_that_is_too_long_is_cut_where_that_is_allowed() {
    let options = GenerateOptions {
        context_policy: ContextPolicy::KeepPrefix,
        keep_prefix_tokens: 3,
        ..greedy(1)
    };
    let mut prompt: Vec<u32> = (0..N_POSITIONS as u32 + 50).collect();
    let last = prompt[prompt.len() - 1];
    let mut scheduler = scheduler();
    let id = scheduler
        .add_generation(Input::Tokens(prompt.clone()), &options)
        .unwrap();
    let Some((_, Event::Done(result))) = drain(&mut scheduler).remove(&id) else {
        panic!("no result");
    };
    assert_eq!(result.prompt_tokens, prompt);
    assert_eq!(result.tokens, [last + 1]);
    assert_eq!(result.usage.dropped_tokens, 50);
    assert_eq!(result.usage.tokens_evaluated as usize, N_POSITIONS);
    // The beginning that stays is found in the cache of a text that shares it.
    prompt.truncate(3);
    prompt.extend(200..250);
    let id = scheduler
        .add_generation(Input::Tokens(prompt), &options)
        .unwrap();
    let Some((_, Event::Done(result))) = drain(&mut scheduler).remove(&id) else {
        panic!("no result");
    };
    assert_eq!(result.usage.tokens_evaluated, 50);
}

#[test]
fn guidance_goes_away_from_what_comes_without_the_prompt() {
    // With the prompt 70 comes next, without it 200: both are 20 above the
    // others, so 70 ends `2 * 20` above them, and 200 `1 * 20` below.
    let guided = |scale, negative: &[u32], prompt: Vec<u32>, max_tokens| {
        let options = GenerateOptions {
            guidance_scale: scale,
            negative_prompt: Some(TokenSequence::Ids(negative.to_vec())),
            logprobs: Some(0),
            ..greedy(max_tokens)
        };
        let mut scheduler = scheduler();
        let id = scheduler
            .add_generation(Input::Tokens(prompt), &options)
            .unwrap();
        match drain(&mut scheduler).remove(&id) {
            Some((_, Event::Done(result))) => result,
            other => panic!("{other:?}"),
        }
    };
    let towards = guided(2.0, &[199], vec![69], 3);
    assert_eq!(towards.tokens, [70, 71, 72]);
    let of_first = &towards.logprobs.unwrap()[0];
    assert_eq!(of_first.rank, 1);
    // A scale below 0 leads away from the prompt instead.
    assert_eq!(guided(-1.0, &[199], vec![69], 1).tokens, [200]);
    // One text may have a longer prompt than the other, in several passes.
    let long: Vec<u32> = (0..80).collect();
    assert_eq!(guided(2.0, &long, vec![69], 2).tokens, [70, 71]);
    assert_eq!(guided(2.0, &[5], long.clone(), 2).tokens, [80, 81]);
    // The other's context counts too.
    let ended = guided(2.0, &[5; N_POSITIONS - 2], vec![69], 50);
    assert_eq!(ended.finish_reason, FinishReason::Context);
    assert_eq!(ended.tokens, [70, 71, 72]);
}

#[test]
fn guidance_does_not_check_drafts() {
    let options = GenerateOptions {
        guidance_scale: 1.5,
        prompt_lookup_num_tokens: 4,
        ..greedy(3)
    };
    let error = scheduler()
        .add_generation(Input::Tokens(vec![1]), &options)
        .unwrap_err();
    assert_eq!(error.code(), "invalid-option");
}

fn constrained(spec: ConstraintSpec, max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        constraint: Some(spec),
        ..greedy(max_tokens)
    }
}

#[test]
fn a_constraint_ends_the_text_where_nothing_can_follow() {
    let (_, result) = finished(&constrained(ConstraintSpec::Regex("BC[x-z]".into()), 9));
    assert_eq!(result.finish_reason, FinishReason::Complete);
    assert!(
        ["BCx", "BCy", "BCz"].contains(&&result.text[..]),
        "{}",
        result.text
    );
    let (_, result) = finished(&constrained(ConstraintSpec::Regex("B*".into()), 3));
    assert_eq!(
        (result.text.as_str(), result.finish_reason),
        ("BBB", FinishReason::Length)
    );
    let nothing = ConstraintSpec::Choices(vec![String::new()]);
    let (_, result) = finished(&constrained(nothing, 3));
    assert_eq!(
        (result.tokens.len(), result.finish_reason),
        (0, FinishReason::Complete)
    );
}

#[test]
fn a_constraint_that_cannot_be_is_refused_before_anything_runs() {
    let options = constrained(ConstraintSpec::Regex("(".into()), 3);
    let error = scheduler()
        .add_generation(Input::Tokens(vec![1]), &options)
        .unwrap_err();
    assert_eq!(error.code(), "invalid-option");
    assert!(error.to_string().starts_with("constraint.regex"), "{error}");
}
