use super::*;
use crate::generate::options::{ContextPolicy, StopAt};
use crate::generate::scheduler::tests::{EOS, VOCAB_SIZE, greedy, scheduler};
use crate::generate::{Ending, Event, FinishReason};
use crate::model::BlockName;
use proptest::prelude::*;

const TIMINGS: Timings = Timings {
    prefill_ms: 1.5,
    decode_ms: 20.0,
    prefill_tokens_per_second: 10.0,
    tokens_per_second: 100.0,
};

/// Computes an answer, and what is kept of it; `None` where the model fails.
fn compute(
    tokens: Vec<u32>,
    rng: RngState,
    options: &GenerateOptions,
) -> Option<(
    Vec<GenerationChunk>,
    GenerationResult,
    Continuation,
    Recording,
)> {
    let mut scheduler = scheduler();
    let root = BlockName::root(&["test"]);
    scheduler
        .add_continuation(tokens, root, rng, options)
        .unwrap();
    let mut chunks = Vec::new();
    loop {
        for (_, event) in scheduler.step() {
            match event {
                Event::Chunk(chunk) => chunks.push(chunk),
                Event::Continued(result, continuation) => {
                    let times = (0u32..).map(|i| f64::from(i) * 2.0);
                    let recording = Recording {
                        seed: result.seed.to_string(),
                        tokens: result.tokens.clone(),
                        chunks: chunks
                            .iter()
                            .map(|chunk| chunk.tokens.len() as u32)
                            .zip(times)
                            .collect(),
                        timings: TIMINGS,
                        logprobs: result.logprobs.clone(),
                        ending: matches!(
                            result.finish_reason,
                            FinishReason::Probability | FinishReason::Entropy | FinishReason::Time
                        )
                        .then(|| Ending {
                            reason: result.finish_reason,
                            matched: result.matched.clone(),
                        }),
                    };
                    return Some((chunks, *result, continuation, recording));
                }
                Event::Failed(_) => return None,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn options() -> impl Strategy<Value = GenerateOptions> {
    (
        0usize..20,
        prop_oneof![Just(0.0f32), Just(1.0), Just(3.0)],
        prop::collection::vec("[A-Za-z]{1,3}", 0..3),
        any::<bool>(),
        prop::option::of(prop::collection::vec(0..VOCAB_SIZE as u32, 0..60)),
        prop_oneof![Just(0usize), Just(4)],
        (
            prop::option::of(0usize..3),
            prop_oneof![Just(0.0), Just(0.9999)],
            prop::option::of(prop_oneof![Just(1e-9), Just(5.0)]),
            prop::collection::vec(0..VOCAB_SIZE as u32, 0..9),
            prop::option::of(prop_oneof![Just(StopAt::Line), Just(StopAt::Sentence)]),
            prop_oneof![
                Just(ContextPolicy::Error),
                Just(ContextPolicy::TruncateMiddle)
            ],
        ),
    )
        .prop_map(
            |(max_tokens, temperature, stop, include_stop, ends, drafts, more)| GenerateOptions {
                logprobs: more.0,
                stop_below_probability: more.1,
                stop_above_entropy: more.2,
                stop_token_ids: more.3,
                stop_at: more.4,
                context_policy: more.5,
                max_tokens,
                temperature,
                top_k: 0,
                stop,
                include_stop,
                eos_token_ids: ends,
                prompt_lookup_num_tokens: drafts,
                ..GenerateOptions::default()
            },
        )
}

proptest! {
    /// Chunks, result, and where a state would go on from: all as computed.
    #[test]
    fn a_replay_is_what_was_computed(
        prompt in prop::collection::vec(0..EOS - 1, 1..90),
        seed in any::<u64>(),
        position in 0u64..1000,
        options in options(),
    ) {
        let rng = RngState { seed, position };
        let computed = compute(prompt.clone(), rng, &options);
        prop_assume!(computed.is_some());
        let (chunks, result, continuation, recording) = computed.unwrap();
        let text = serde_json::to_string(&recording).unwrap();
        let recording: Recording = serde_json::from_str(&text).unwrap();

        let replay = scheduler()
            .replay(Input::Tokens(prompt), &options, Some(rng), &recording)
            .unwrap();
        prop_assert_eq!(replay.chunks, chunks);
        prop_assert_eq!(replay.continuation, continuation);
        prop_assert_eq!(replay.result.usage.tokens_evaluated, 0);
        prop_assert_eq!(&replay.result.timings, &TIMINGS);
        let mut expected = result.clone();
        expected.usage = replay.result.usage.clone();
        expected.timings = TIMINGS;
        prop_assert_eq!(&replay.result, &expected);
        prop_assert_eq!(replay.result.usage.total_tokens, result.usage.total_tokens);
    }
}

fn refused(recording: &Recording, options: &GenerateOptions) -> &'static str {
    let prompt = Input::Tokens(vec![65]);
    match scheduler().replay(prompt, options, None, recording) {
        Ok(replay) => panic!("{replay:?}"),
        Err(error) => error.code(),
    }
}

fn recording(tokens: Vec<u32>) -> Recording {
    Recording {
        seed: "5".into(),
        chunks: vec![(tokens.len() as u32, 0.0)],
        tokens,
        timings: TIMINGS,
        logprobs: None,
        ending: None,
    }
}

#[test]
fn tokens_that_cannot_be_an_answer_are_refused() {
    let three = greedy(3);
    assert_eq!(
        refused(&recording(vec![66, 67]), &three),
        "invalid-cache-record"
    );
    assert_eq!(
        refused(&recording(vec![66; 4]), &three),
        "invalid-cache-record"
    );
    assert_eq!(
        refused(&recording(vec![66, EOS, 67]), &three),
        "invalid-cache-record"
    );
    assert_eq!(
        refused(&recording(vec![66, 67, VOCAB_SIZE as u32]), &three),
        "invalid-token"
    );
    let mut chunks = recording(vec![66, 67, 68]);
    chunks.chunks = vec![(2, 0.0), (2, 1.0)];
    assert_eq!(refused(&chunks, &three), "invalid-cache-record");
    chunks.chunks = vec![(2, 0.0)];
    assert_eq!(refused(&chunks, &three), "invalid-cache-record");
    chunks.chunks = vec![(u32::MAX, 0.0)];
    assert_eq!(refused(&chunks, &three), "invalid-cache-record");
}

#[test]
fn without_a_seed_of_its_own_a_request_takes_the_recordings() {
    let options = GenerateOptions {
        temperature: 1.0,
        ..greedy(3)
    };
    let replay = scheduler()
        .replay(
            Input::Tokens(vec![65]),
            &options,
            None,
            &recording(vec![66, 67, 68]),
        )
        .unwrap();
    assert_eq!(replay.result.seed, 5);
    assert_eq!(replay.result.text, "BCD");
    assert_eq!(replay.result.finish_reason, FinishReason::Length);

    let mut without = recording(vec![66, 67, 68]);
    without.seed = "-1".into();
    assert_eq!(refused(&without, &options), "invalid-cache-record");
}
