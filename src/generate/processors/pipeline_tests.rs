//! What options become, and in which order.

use super::*;
use crate::generate::options::{ByEntropy, MirostatOptions, TokenName, TokenSequence};

const OUT: f32 = f32::NEG_INFINITY;

/// After a prompt of one token, of at most nine; token 3 is end-of-text.
const CONTEXT: PipelineContext = PipelineContext {
    prompt_len: 1,
    vocab_size: 4,
    eos_token_ids: &[3],
    min_tokens_to_keep: 1,
    max_length: 9,
    tokenizer: None,
};

fn with(options: &GenerateOptions, context: &PipelineContext) -> Pipeline {
    pipeline(options, context).unwrap()
}

fn processed(options: &GenerateOptions, history: &[u32], scores: &[f32]) -> Vec<f32> {
    let mut scores = scores.to_vec();
    with(options, &CONTEXT).process(history, &mut scores);
    scores
}

fn greedy() -> GenerateOptions {
    GenerateOptions {
        temperature: 0.0,
        ..Default::default()
    }
}

fn ids(ids: &[u32]) -> TokenSequence {
    TokenSequence::Ids(ids.to_vec())
}

#[test]
fn temperature_comes_before_the_truncations() {
    // At temperature 1 the best token alone has 0.64 of the probability,
    // at 4 it has 0.35, so that another is needed for 0.6.
    let options = GenerateOptions {
        temperature: 4.0,
        top_p: 0.6,
        ..Default::default()
    };
    let scores = [3.0, 2.0, 1.0, 0.0];
    assert_eq!(processed(&options, &[], &scores), [0.75, 0.5, OUT, OUT]);
    let options = GenerateOptions {
        temperature: 1.0,
        ..options
    };
    assert_eq!(processed(&options, &[], &scores), [3.0, OUT, OUT, OUT]);
}

#[test]
fn top_p_sees_only_what_top_k_left() {
    // Of all four the best has 0.53 of the probability, of the best two
    // 0.62: enough for 0.6 only there.
    let options = GenerateOptions {
        top_k: 2,
        top_p: 0.6,
        ..Default::default()
    };
    let scores = [1.5, 1.0, -0.3, -0.8];
    assert_eq!(processed(&options, &[], &scores), [1.5, OUT, OUT, OUT]);
    let options = GenerateOptions {
        top_k: 0,
        ..options
    };
    assert_eq!(processed(&options, &[], &scores), [1.5, 1.0, OUT, OUT]);
}

#[test]
fn greedy_uses_penalties_but_no_warpers() {
    let options = GenerateOptions {
        top_h: Some(0.1),
        top_k: 1,
        top_p: 0.1,
        min_p: 0.9,
        typical_p: 0.1,
        epsilon_cutoff: 0.9,
        eta_cutoff: 0.9,
        temperature_schedule: Some(Schedule::Linear { to: 9.0, tokens: 1 }),
        adaptive_top_k: Some(ByEntropy { min: 1.0, max: 1.0 }),
        adaptive_top_p: Some(ByEntropy { min: 0.1, max: 0.1 }),
        repetition_penalty: 2.0,
        ..greedy()
    };
    assert_eq!(
        processed(&options, &[1, 2, 2], &[1.0, 4.0, -1.0, 0.0]),
        [1.0, 2.0, -2.0, 0.0]
    );
}

#[test]
fn defaults_are_top_k_alone() {
    let pipeline = with(&GenerateOptions::default(), &CONTEXT);
    assert!(pipeline.sequence_bias.is_empty() && pipeline.processors.is_empty());
    assert_eq!(pipeline.warpers.len(), 1);
}

#[test]
fn biases_and_penalties_come_in_their_order() {
    let options = GenerateOptions {
        sequence_bias: vec![(ids(&[1]), 2.0)],
        repetition_penalty: 2.0,
        frequency_penalty: 0.5,
        presence_penalty: 0.25,
        logit_bias: vec![
            (TokenName::Id(1), Bias::Add(8.0)),
            (TokenName::Id(2), Bias::RuleOut),
        ],
        ..greedy()
    };
    // (4 + 2) / 2 - 2 * 0.5 - 0.25 + 8; the prompt counts for repetition alone.
    assert_eq!(
        processed(&options, &[0, 1, 1], &[4.0, 4.0, 4.0, 4.0]),
        [2.0, 9.75, OUT, 4.0]
    );
}

#[test]
fn invalid_values_are_removed_after_n_grams_and_before_suppression() {
    let options = GenerateOptions {
        no_repeat_ngram_size: 1,
        remove_invalid_values: true,
        suppress_tokens: vec![2],
        ..greedy()
    };
    assert_eq!(
        processed(&options, &[0], &[1.0, f32::NAN, 1.0, f32::INFINITY]),
        [f32::MIN, 0.0, OUT, f32::MAX]
    );
}

#[test]
fn the_least_length_of_the_output_counts_instead_of_that_of_all() {
    let options = GenerateOptions {
        min_length: 3,
        ..greedy()
    };
    let eos_is_out = |options: &GenerateOptions, length: usize| {
        processed(options, &vec![0; length], &[0.0; 4])[3] == OUT
    };
    assert!(eos_is_out(&options, 2) && !eos_is_out(&options, 3));
    for (least, still_out) in [(0, 0), (1, 1), (5, 5)] {
        let options = GenerateOptions {
            min_new_tokens: Some(least),
            ..options.clone()
        };
        assert!((1..9).all(|length| eos_is_out(&options, length) == (length <= still_out)));
    }
}

#[test]
fn forced_tokens_come_first_and_last() {
    let options = GenerateOptions {
        forced_bos_token_id: Some(2),
        forced_eos_token_id: vec![3],
        begin_suppress_tokens: vec![0],
        exponential_decay_length_penalty: Some((3, 2.0)),
        ..greedy()
    };
    let at = |length: usize| processed(&options, &vec![1; length], &[1.0; 4]);
    assert_eq!(at(1), [OUT, OUT, 0.0, OUT]);
    // After a forced token, the next one is the first that is chosen.
    assert_eq!(at(2), [OUT, 1.0, 1.0, 1.0]);
    assert_eq!(at(4), [1.0; 4]);
    assert_eq!(at(6), [1.0, 1.0, 1.0, 4.0]);
    assert_eq!(at(8), [OUT, OUT, OUT, 0.0]);
    // A longer prompt has no forced first token.
    let context = PipelineContext {
        prompt_len: 2,
        ..CONTEXT
    };
    let mut scores = [1.0; 4];
    with(&options, &context).process(&[1, 1], &mut scores);
    assert_eq!(scores, [OUT, 1.0, 1.0, 1.0]);
}

#[test]
fn bad_words_are_out_but_eos_alone_is_none() {
    let options = GenerateOptions {
        bad_words: vec![ids(&[3]), ids(&[0]), ids(&[1, 2])],
        ..greedy()
    };
    assert_eq!(processed(&options, &[1], &[1.0; 4]), [OUT, 1.0, OUT, 1.0]);
}

#[test]
fn renormalisation_is_last_and_not_only_of_sampling() {
    let options = GenerateOptions {
        renormalize_logits: true,
        suppress_tokens: vec![1],
        ..greedy()
    };
    let half = -(2f32.ln());
    assert_eq!(
        processed(&options, &[], &[5.0, 9.0, 5.0, OUT]),
        [half, OUT, half, OUT]
    );
    let sampling = GenerateOptions {
        temperature: 3.0,
        top_k: 2,
        ..options
    };
    assert_eq!(
        processed(&sampling, &[], &[5.0, 9.0, 5.0, 1.0]),
        [half, OUT, half, OUT]
    );
}

#[test]
fn schedules_stand_where_their_numbers_do() {
    let options = GenerateOptions {
        temperature: 2.0,
        temperature_schedule: Some(Schedule::Linear { to: 4.0, tokens: 2 }),
        adaptive_top_k: Some(ByEntropy { min: 2.0, max: 2.0 }),
        top_k: 1,
        adaptive_top_p: Some(ByEntropy { min: 1.0, max: 1.0 }),
        top_p: 0.001,
        ..Default::default()
    };
    let scores = [8.0, 4.0, 2.0, 0.0];
    assert_eq!(processed(&options, &[0], &scores), [4.0, 2.0, OUT, OUT]);
    assert_eq!(processed(&options, &[0; 4], &scores), [2.0, 1.0, OUT, OUT]);
    let entropy = GenerateOptions {
        temperature_schedule: Some(Schedule::Entropy {
            min: 2.0,
            max: 2.0,
            exponent: 1.0,
        }),
        ..options
    };
    assert_eq!(processed(&entropy, &[0], &scores), [4.0, 2.0, OUT, OUT]);
}

#[test]
fn mirostat_takes_the_place_of_the_truncations() {
    let options = GenerateOptions {
        temperature: 2.0,
        mirostat: Some(MirostatOptions::default()),
        top_h: Some(0.1),
        top_k: 1,
        top_p: 0.1,
        min_p: 0.9,
        typical_p: 0.1,
        epsilon_cutoff: 0.9,
        eta_cutoff: 0.9,
        adaptive_top_k: Some(ByEntropy { min: 1.0, max: 1.0 }),
        adaptive_top_p: Some(ByEntropy { min: 0.1, max: 0.1 }),
        ..Default::default()
    };
    assert_eq!(
        processed(&options, &[0], &[8.0, 4.0, 2.0, 0.0]),
        [4.0, 2.0, 1.0, 0.0]
    );
}

#[test]
fn every_truncation_leaves_as_many_as_it_must() {
    let context = PipelineContext {
        min_tokens_to_keep: 3,
        ..CONTEXT
    };
    let off = GenerateOptions {
        top_k: 0,
        ..Default::default()
    };
    let narrow = ByEntropy { min: 1.0, max: 1.0 };
    let tiny = ByEntropy { min: 0.1, max: 0.1 };
    let scores = [9.0, 1.0, 0.5, 0.0];
    let cases: [fn(&mut GenerateOptions); 6] = [
        |o| o.top_k = 1,
        |o| o.top_p = 0.1,
        |o| o.min_p = 0.9,
        |o| o.typical_p = 0.1,
        |o| o.epsilon_cutoff = 0.9,
        |o| o.eta_cutoff = 0.9,
    ];
    let mut all: Vec<GenerateOptions> = Vec::new();
    for change in cases {
        let mut options = off.clone();
        change(&mut options);
        all.push(options);
    }
    all.push(GenerateOptions {
        adaptive_top_k: Some(narrow),
        ..off.clone()
    });
    all.push(GenerateOptions {
        adaptive_top_p: Some(tiny),
        ..off
    });
    for options in all {
        let mut scores = scores;
        with(&options, &context).process(&[0], &mut scores);
        assert_eq!(scores, [9.0, 1.0, 0.5, OUT], "{options:?}");
    }
}

#[test]
fn texts_are_read_by_the_tokenizer_and_wrong_ones_are_named() {
    let file = std::fs::read("tests/fixtures/mini-a/tokenizer.json").unwrap();
    let tokenizer = Tokenizer::from_tokenizer_json(&file).unwrap();
    let context = PipelineContext {
        vocab_size: 512,
        tokenizer: Some(&tokenizer),
        ..CONTEXT
    };
    let text = |text: &str| TokenSequence::Text(text.into());
    let id = |text: &str| tokenizer.encode(text, true).unwrap().ids[0];
    let options = GenerateOptions {
        bad_words: vec![text("!")],
        sequence_bias: vec![(text(" "), 0.5), (text("#"), 2.0)],
        logit_bias: vec![(TokenName::Text("$".into()), Bias::Add(3.0))],
        ..greedy()
    };
    let mut scores = vec![0.0; 512];
    with(&options, &context).process(&[9], &mut scores);
    assert_eq!(scores[id("!") as usize], OUT);
    assert_eq!(scores[id(" ") as usize], 0.5);
    assert_eq!(scores[id("#") as usize], 2.0);
    assert_eq!(scores[id("$") as usize], 3.0);
    assert_eq!(scores.iter().filter(|&&score| score != 0.0).count(), 4);
    // After a space too.
    let after_space = tokenizer.encode(" !", true).unwrap().ids;
    let (last, before) = after_space.split_last().unwrap();
    let mut scores = vec![0.0; 512];
    with(&options, &context).process(before, &mut scores);
    assert_eq!(scores[*last as usize], OUT);

    let several = GenerateOptions {
        logit_bias: vec![(TokenName::Text("$#!".into()), Bias::Add(3.0))],
        ..greedy()
    };
    let error = pipeline(&several, &context).err().unwrap();
    assert_eq!(error.details()["option"], "logitBias");
    let none = PipelineContext {
        tokenizer: None,
        ..context
    };
    let error = pipeline(&options, &none).err().unwrap();
    assert_eq!(error.code(), "no-tokenizer");
}

/// Doubles every score.
struct Double;

impl LogitsProcessor for Double {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        for score in scores {
            *score *= 2.0;
        }
    }
}

#[test]
fn processors_of_others_have_their_places() {
    let options = GenerateOptions {
        sequence_bias: vec![(ids(&[0]), 1.0)],
        logit_bias: vec![(TokenName::Id(0), Bias::Add(10.0))],
        temperature_schedule: Some(Schedule::Linear { to: 4.0, tokens: 1 }),
        ..Default::default()
    };
    let with_double = |place| {
        let mut pipeline = with(&options, &CONTEXT);
        pipeline.insert(place, Box::new(Double));
        let mut scores = [1.0, 0.0, 0.0, 0.0];
        pipeline.process(&[1, 1], &mut scores);
        scores[0]
    };
    assert_eq!(with_double(Place::AfterSequenceBias), (4.0 + 10.0) / 4.0);
    assert_eq!(with_double(Place::BeforeWarpers), (2.0 + 10.0) * 2.0 / 4.0);
}
