//! The scheduler over a model whose next token is known: the one after the
//! last, so a text counts upwards.

use super::*;
use crate::generate::FinishReason;
use crate::generate::generation::Matched;
use crate::generate::generation::PREFILL_CHUNK;
use crate::model::{Config, KvFormat, Output};
use std::collections::HashMap;

pub(crate) const VOCAB_SIZE: usize = 300;
pub(crate) const N_POSITIONS: usize = 100;
pub(crate) const EOS: u32 = 299;
/// After this token every score is NaN.
const POISON: u32 = 298;

/// Scores the token after the last 20 above the others, and tells the position
/// in the score of token 0.
struct Counting(Config);

impl Counting {
    fn new() -> Self {
        let config = format!(
            r#"{{"model_type":"gpt2","n_layer":1,"n_head":1,"n_embd":2,"vocab_size":{VOCAB_SIZE},
                "n_positions":{N_POSITIONS},"eos_token_id":{EOS}}}"#
        );
        Self(Config::from_json(config.as_bytes()).unwrap())
    }
}

impl Model for Counting {
    fn is_exact(&self) -> bool {
        true
    }

    fn kv_format(&self) -> KvFormat {
        KvFormat::F32
    }

    fn config(&self) -> &Config {
        &self.0
    }

    fn weight_bytes(&self) -> u64 {
        0
    }

    fn forward(&self, batch: &mut [Rows], _: Taps) -> Result<Vec<Output>> {
        batch.iter_mut().map(|rows| run(rows)).collect()
    }
}

fn run(rows: &mut Rows) -> Result<Output> {
    let n = rows.tokens.len();
    rows.kv.reserve(n)?;
    let mut logits = Vec::new();
    for row in rows.logits.indices(n) {
        let token = rows.tokens[row];
        let mut scores = vec![if token == POISON { f32::NAN } else { 1.0 }; VOCAB_SIZE];
        scores[0] = (rows.kv.len() + row) as f32 / 1000.0;
        scores[(token as usize + 1) % VOCAB_SIZE] += 20.0;
        logits.extend(scores);
    }
    rows.kv.commit(n);
    Ok(Output {
        logits,
        ..Output::default()
    })
}

/// Token `i` is the character `i`; so token 65 reads "A".
pub(crate) fn tokenizer() -> Rc<Tokenizer> {
    let bytes = (0..=255u8).map(|byte| crate::tokenizer::byte_to_char(byte).to_string());
    let mut tokens: Vec<String> = bytes.collect();
    tokens.extend((256..VOCAB_SIZE).map(|i| format!("<{i}>")));
    Rc::new(Tokenizer::from_lists(tokens, Vec::new(), &[EOS]).unwrap())
}

pub(crate) fn scheduler() -> Scheduler {
    Scheduler::new(Rc::new(Counting::new()), Some(tokenizer()), || 0.0)
}

pub(crate) fn greedy(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens,
        temperature: 0.0,
        ..GenerateOptions::default()
    }
}

/// Runs everything; each job's streamed text and its end.
pub(crate) fn drain(scheduler: &mut Scheduler) -> HashMap<JobId, (String, Event)> {
    let mut texts: HashMap<JobId, String> = HashMap::new();
    let mut ends = HashMap::new();
    while scheduler.is_busy() {
        for (id, event) in scheduler.step() {
            match event {
                Event::Chunk(chunk) => *texts.entry(id).or_default() += &chunk.text,
                end => {
                    let text = texts.remove(&id).unwrap_or_default();
                    ends.insert(id, (text, end));
                }
            }
        }
    }
    ends
}

pub(crate) fn generate(prompt: &str, options: &GenerateOptions) -> (String, GenerationResult) {
    let mut scheduler = scheduler();
    let id = scheduler
        .add_generation(Input::Text(prompt.into()), options)
        .unwrap();
    match drain(&mut scheduler).remove(&id) {
        Some((text, Event::Done(result))) => (text, result),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_text_is_streamed_and_told_in_full() {
    let (streamed, result) = generate("A", &greedy(3));
    assert_eq!((streamed.as_str(), result.text.as_str()), ("BCD", "BCD"));
    assert_eq!(result.tokens, [66, 67, 68]);
    assert_eq!(result.prompt_tokens, [65]);
    assert_eq!(result.finish_reason, FinishReason::Length);
    assert_eq!(result.usage.total_tokens, 4);
}

#[test]
fn the_end_of_text_token_ends_it_and_is_no_text() {
    let prompt = Input::Tokens(vec![EOS - 1 - 2]);
    let mut scheduler = scheduler();
    let options = GenerateOptions {
        eos_token_ids: Some(vec![297]),
        ..greedy(10)
    };
    let id = scheduler.add_generation(prompt, &options).unwrap();
    let Some((text, Event::Done(result))) = drain(&mut scheduler).remove(&id) else {
        panic!("no result");
    };
    assert_eq!(result.tokens, [297]);
    assert_eq!(
        (text.as_str(), result.finish_reason),
        ("", FinishReason::Eos)
    );
}

#[test]
fn a_stop_string_ends_it_and_is_named() {
    let options = GenerateOptions {
        stop: vec!["zz".into(), "EF".into()],
        ..greedy(50)
    };
    let (streamed, result) = generate("A", &options);
    assert_eq!(streamed, "BCD");
    assert_eq!(result.text, "BCD");
    assert_eq!(result.matched, Some(Matched::Text("EF".into())));
    assert_eq!(result.tokens, [66, 67, 68, 69, 70]);
    let kept = GenerateOptions {
        include_stop: true,
        ..options
    };
    assert_eq!(generate("A", &kept).1.text, "BCDEF");
}

#[test]
fn text_held_back_for_a_stop_string_comes_at_the_end() {
    let options = GenerateOptions {
        stop: vec!["DEX".into()],
        ..greedy(4)
    };
    assert_eq!(generate("A", &options).0, "BCDE");
}

#[test]
fn the_last_position_ends_it() {
    for prompt_len in [N_POSITIONS - 2, N_POSITIONS] {
        let (_, result) = generate(&"A".repeat(prompt_len), &greedy(50));
        assert_eq!(result.finish_reason, FinishReason::Context);
        assert_eq!(result.tokens.len(), N_POSITIONS + 1 - prompt_len);
    }
}

#[test]
fn a_prompt_over_the_context_is_refused_with_both_numbers() {
    let error = scheduler()
        .add_generation(Input::Text("A".repeat(N_POSITIONS + 5)), &greedy(1))
        .unwrap_err();
    let (needed, available) = (N_POSITIONS + 5, N_POSITIONS);
    assert_eq!(error, Error::ContextOverflow { needed, available });
}

#[test]
fn no_tokens_asked_for_are_no_tokens() {
    let (text, result) = generate("A", &greedy(0));
    assert_eq!((text.as_str(), result.tokens.len()), ("", 0));
    assert_eq!(result.finish_reason, FinishReason::Length);
}

#[test]
fn an_empty_prompt_starts_from_the_end_of_text_token() {
    let (text, result) = generate("", &greedy(1));
    assert_eq!(result.prompt_tokens, [EOS]);
    assert_eq!(text, "\0");
}

#[test]
fn a_prompt_of_several_chunks_is_run_whole() {
    let len = 2 * PREFILL_CHUNK + 5;
    let mut scheduler = scheduler();
    scheduler
        .add_generation(Input::Text("A".repeat(len)), &greedy(1))
        .unwrap();
    let mut steps = 0;
    while scheduler.is_busy() {
        scheduler.step();
        steps += 1;
    }
    assert_eq!(steps, 3);
}

#[test]
fn jobs_at_the_same_time_give_what_each_gives_alone() {
    let options = |seed| GenerateOptions {
        seed: Some(seed),
        temperature: 30.0,
        max_tokens: 20,
        eos_token_ids: Some(vec![]),
        stop: vec!["qq".into()],
        ..GenerateOptions::default()
    };
    let prompts = [
        "A",
        "a longer prompt than one chunk holds, so that it lags",
        "xyz",
    ];
    let mut together = scheduler();
    let mut ids = Vec::new();
    for (prompt, seed) in prompts.iter().zip(1..) {
        let prompt = Input::Text((*prompt).into());
        ids.push(together.add_generation(prompt, &options(seed)).unwrap());
    }
    let mut ends = drain(&mut together);
    for ((prompt, seed), id) in prompts.iter().zip(1..).zip(ids) {
        let (streamed, result) = generate(prompt, &options(seed));
        assert_eq!(ends.remove(&id), Some((streamed, Event::Done(result))));
    }
}

#[test]
fn a_cancelled_job_keeps_what_it_made_and_the_next_one_works() {
    let mut scheduler = scheduler();
    for steps in [0, 1, 5] {
        let options = GenerateOptions {
            stop: vec!["FGHIJKLMN".into()],
            cache_prompt: false,
            ..greedy(50)
        };
        let prompt = Input::Text("A".repeat(PREFILL_CHUNK + 1));
        let id = scheduler.add_generation(prompt, &options).unwrap();
        let mut text = String::new();
        let collect = |events: Vec<(JobId, Event)>, text: &mut String| {
            let mut result = None;
            for (_, event) in events {
                match event {
                    Event::Chunk(chunk) => *text += &chunk.text,
                    Event::Done(done) => result = Some(done),
                    other => panic!("{other:?}"),
                }
            }
            result
        };
        for _ in 0..steps {
            assert_eq!(collect(scheduler.step(), &mut text), None);
        }
        scheduler.cancel(id);
        scheduler.cancel(id);
        let result = collect(scheduler.step(), &mut text).unwrap();
        assert_eq!(result.finish_reason, FinishReason::Aborted);
        // The first step only runs a piece of the prompt.
        assert_eq!(result.tokens.len(), usize::saturating_sub(steps, 1));
        assert_eq!(text, "BCDEFGH"[..result.tokens.len()]);
        assert_eq!(text, result.text);
        assert!(!scheduler.is_busy());
    }
    assert_eq!(generate("A", &greedy(2)).0, "BC");
}

#[test]
fn a_job_that_fails_leaves_the_others_alone() {
    let mut scheduler = scheduler();
    let bad = scheduler
        .add_generation(Input::Tokens(vec![POISON]), &greedy(5))
        .unwrap();
    let good = scheduler
        .add_generation(Input::Text("A".into()), &greedy(5))
        .unwrap();
    let ends = drain(&mut scheduler);
    assert!(matches!(&ends[&bad].1, Event::Failed(error) if error.code() == "no-next-token"));
    assert!(matches!(&ends[&good].1, Event::Done(result) if result.text == "BCDEF"));
}

#[test]
fn an_analysis_that_fails_ends_alone() {
    let mut scheduler = scheduler();
    let mut add = |tokens: Vec<u32>| {
        let request = AnalysisRequest::from_json(r#"{"kind":"tokens"}"#).unwrap();
        let input = AnalysisInput::Plain(Input::Tokens(tokens));
        scheduler.add_analysis(request, vec![input]).unwrap()
    };
    let (bad, good) = (add(vec![1, POISON, 2]), add(vec![1, 2]));
    let text = scheduler
        .add_generation(Input::Text("A".into()), &greedy(5))
        .unwrap();
    let ends = drain(&mut scheduler);
    assert!(matches!(&ends[&bad].1, Event::Failed(error) if error.code() == "no-next-token"));
    assert!(matches!(&ends[&good].1, Event::Analysed(_)));
    assert!(matches!(&ends[&text].1, Event::Done(result) if result.text == "BCDEF"));
}

#[test]
fn logits_come_for_the_positions_asked_in_the_order_asked() {
    let mut scheduler = scheduler();
    let tokens: Vec<u32> = (0..2 * PREFILL_CHUNK as u32 + 3).collect();
    let n = tokens.len();
    let positions = [-1, 0, 40, 40, -(n as i32)];
    for (asked, expected) in [
        (Some(&positions[..]), vec![n - 1, 0, 40, 40, 0]),
        (Some(&[]), vec![]),
        (None, (0..n).collect()),
    ] {
        let id = scheduler
            .add_logits(Input::Tokens(tokens.clone()), asked)
            .unwrap();
        let Some((_, Event::Logits(logits))) = drain(&mut scheduler).remove(&id) else {
            panic!("no logits");
        };
        assert_eq!(logits.shape, [expected.len(), VOCAB_SIZE]);
        for (row, position) in logits.data.chunks(VOCAB_SIZE).zip(expected) {
            assert_eq!(row[0], position as f32 / 1000.0);
            assert_eq!(row[position + 1], 21.0);
        }
    }
}

#[test]
fn positions_outside_the_text_are_refused_by_number() {
    for position in [3, -4] {
        let error = scheduler()
            .add_logits(Input::Tokens(vec![1, 2, 3]), Some(&[position]))
            .unwrap_err();
        assert_eq!(error.code(), "invalid-argument");
        assert!(error.to_string().contains(&position.to_string()), "{error}");
    }
}

#[test]
fn bad_input_is_refused_before_anything_runs() {
    let mut scheduler = scheduler();
    let tokens = Input::Tokens(vec![1, VOCAB_SIZE as u32]);
    let error = scheduler.add_generation(tokens, &greedy(1)).unwrap_err();
    assert_eq!(error.code(), "invalid-token");
    assert!(!scheduler.is_busy());
}

#[test]
fn a_model_without_a_tokenizer_works_on_ids_alone() {
    let mut scheduler = Scheduler::new(Rc::new(Counting::new()), None, || 0.0);
    let text = Input::Text("A".into());
    let error = scheduler.add_generation(text, &greedy(1)).unwrap_err();
    assert_eq!(error, Error::NoTokenizer);
    let id = scheduler
        .add_generation(Input::Tokens(vec![65]), &greedy(2))
        .unwrap();
    let ends = drain(&mut scheduler);
    assert!(matches!(&ends[&id].1, Event::Done(r) if r.tokens == [66, 67] && r.text.is_empty()));
}

/// What a request makes, with its usage and the steps it took.
fn speculate(
    engine: &Rc<crate::engine::Engine>,
    options: &GenerateOptions,
) -> (GenerationResult, usize) {
    let prompt: Vec<u32> = [5, 6, 7, 8, 9, 5, 6, 7].repeat(3);
    let mut scheduler = Scheduler::new(engine.clone(), None, || 0.0);
    scheduler
        .add_generation(Input::Tokens(prompt), options)
        .unwrap();
    let (mut steps, mut streamed) = (0, Vec::new());
    loop {
        steps += 1;
        for (_, event) in scheduler.step() {
            match event {
                Event::Chunk(chunk) => streamed.extend(chunk.tokens),
                Event::Done(result) => {
                    assert_eq!(streamed, result.tokens);
                    return (result, steps);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn drafts_change_the_number_of_steps_and_nothing_else() {
    let engine = Rc::new(crate::engine::forward::tests::engine(
        crate::model::Dtype::Q8,
    ));
    let mut saved = 0;
    for (temperature, repetition_penalty, eos) in [
        (0.0, 1.0, None),
        (0.3, 1.0, None),
        (1.0, 1.2, None),
        (0.0, 1.0, Some(3)),
    ] {
        for seed in 0..6 {
            let plain = GenerateOptions {
                max_tokens: 20 + 17 * seed as usize,
                temperature,
                repetition_penalty,
                seed: Some(seed),
                eos_token_ids: Some(eos.map_or(vec![], |eos| vec![eos, seed as u32])),
                ..GenerateOptions::default()
            };
            let (expected, steps) = speculate(&engine, &plain);
            for most in [1, 3, 16] {
                let drafting = GenerateOptions {
                    prompt_lookup_num_tokens: most,
                    ..plain.clone()
                };
                let (found, fewer) = speculate(&engine, &drafting);
                assert_eq!(found.tokens, expected.tokens);
                assert_eq!(found.finish_reason, expected.finish_reason);
                assert!(fewer <= steps);
                let accepted = found.usage.accepted_draft_tokens;
                assert!(accepted <= found.usage.draft_tokens);
                saved += steps - fewer;
            }
        }
    }
    assert!(saved > 100, "only {saved} steps were saved");
}

#[test]
fn a_model_whose_results_depend_on_the_batch_refuses_drafts() {
    struct Inexact(Counting);
    impl Model for Inexact {
        fn config(&self) -> &Config {
            self.0.config()
        }
        fn weight_bytes(&self) -> u64 {
            0
        }
        fn is_exact(&self) -> bool {
            false
        }
        fn kv_format(&self) -> KvFormat {
            KvFormat::F32
        }
        fn forward(&self, batch: &mut [Rows], taps: Taps) -> Result<Vec<Output>> {
            self.0.forward(batch, taps)
        }
    }
    let mut scheduler = Scheduler::new(Rc::new(Inexact(Counting::new())), None, || 0.0);
    let options = GenerateOptions {
        prompt_lookup_num_tokens: 4,
        ..GenerateOptions::default()
    };
    let error = scheduler
        .add_generation(Input::Tokens(vec![1]), &options)
        .unwrap_err();
    assert_eq!(error.code(), "invalid-option");
}

#[test]
fn a_character_before_a_stop_string_stays_whole_in_what_goes_on() {
    // Token 66 ends the character that 65 begins, and begins the stop string.
    let parts = [
        (65, "\u{6F22}".as_bytes()[..1].to_vec()),
        (66, {
            let mut part = "\u{6F22}".as_bytes()[1..].to_vec();
            part.extend(b"XY");
            part
        }),
    ];
    let chars = |bytes: &[u8]| -> String {
        bytes
            .iter()
            .map(|&byte| crate::tokenizer::byte_to_char(byte))
            .collect()
    };
    let mut tokens: Vec<String> = (0..=255u8).map(|byte| chars(&[byte])).collect();
    tokens.extend((256..VOCAB_SIZE).map(|i| format!("<{i}>")));
    for (token, bytes) in parts {
        tokens[token] = chars(&bytes);
    }
    // The bytes themselves keep a token each, at the end.
    for (place, byte) in (256..).zip([65, 66]) {
        tokens[place] = chars(&[byte]);
    }
    let tokenizer = Rc::new(Tokenizer::from_lists(tokens, Vec::new(), &[EOS]).unwrap());
    let mut scheduler = Scheduler::new(Rc::new(Counting::new()), Some(tokenizer.clone()), || 0.0);
    let options = GenerateOptions {
        stop: vec!["X".into()],
        ..greedy(5)
    };
    let rng = crate::generate::rng::RngState {
        seed: 0,
        position: 0,
    };
    let root = BlockName::root(&["test"]);
    let id = scheduler
        .add_continuation(vec![64], root, rng, &options)
        .unwrap();
    match drain(&mut scheduler).remove(&id) {
        Some((_, Event::Continued(result, continuation))) => {
            assert_eq!(result.text, "\u{6F22}");
            assert_eq!(tokenizer.decode(&continuation.tokens).unwrap(), "@\u{6F22}");
        }
        other => panic!("{other:?}"),
    }
}

/// A generation of a prompt of two pieces, after `steps` steps.
fn begun(scheduler: &mut Scheduler, steps: usize) -> JobId {
    let prompt = Input::Text("A".repeat(PREFILL_CHUNK + 1));
    let id = scheduler.add_generation(prompt, &greedy(5)).unwrap();
    for _ in 0..steps {
        scheduler.step();
    }
    id
}

#[test]
fn a_paused_job_waits_and_then_goes_on_as_if_nothing_had_been() {
    for steps in 0..6 {
        let mut scheduler = scheduler();
        let id = begun(&mut scheduler, steps);
        let other = scheduler
            .add_generation(Input::Text("M".into()), &greedy(9))
            .unwrap();
        scheduler.pause(id);
        scheduler.pause(id);
        let ends = drain(&mut scheduler);
        assert!(!ends.contains_key(&id), "after {steps} steps");
        assert!(matches!(&ends[&other].1, Event::Done(result) if result.text == "NOPQRSTUV"));
        assert!(scheduler.step().is_empty(), "there is nothing to do");
        scheduler.resume(id);
        assert!(scheduler.is_busy());
        let ends = drain(&mut scheduler);
        assert!(matches!(&ends[&id].1, Event::Done(result) if result.text == "BCDEF"));
    }
}

#[test]
fn a_paused_job_can_be_ended() {
    for reason in [FinishReason::Aborted, FinishReason::Callback] {
        for steps in 0..5 {
            let mut scheduler = scheduler();
            let id = begun(&mut scheduler, steps);
            scheduler.pause(id);
            assert!(!scheduler.is_busy());
            scheduler.end(id, reason);
            assert!(scheduler.is_busy(), "its end has not been told");
            let ends = drain(&mut scheduler);
            let Event::Done(result) = &ends[&id].1 else {
                panic!("no result");
            };
            assert_eq!(result.finish_reason, reason);
            assert_eq!(result.text, "BCD"[..usize::saturating_sub(steps, 1)]);
        }
    }
}

#[test]
fn the_time_of_a_pause_is_not_the_jobs() {
    thread_local!(static NOW: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) });
    let clock = || NOW.replace(NOW.get() + 1.0);
    let times = |paused_after: &[usize]| {
        NOW.set(0.0);
        let mut scheduler = Scheduler::new(Rc::new(Counting::new()), Some(tokenizer()), clock);
        let id = begun(&mut scheduler, 0);
        for step in 0.. {
            if paused_after.contains(&step) {
                scheduler.pause(id);
                NOW.set(NOW.get() + 1000.0);
                scheduler.resume(id);
            }
            for (_, event) in scheduler.step() {
                if let Event::Done(result) = event {
                    return (result.timings.prefill_ms, result.timings.decode_ms);
                }
            }
        }
        unreachable!()
    };
    let (prefill, decode) = times(&[]);
    let (paused_prefill, paused_decode) = times(&[0, 1, 3, 4]);
    assert!(paused_prefill - prefill < 20.0, "{paused_prefill}");
    assert!(paused_decode - decode < 20.0, "{paused_decode}");
}

#[test]
fn the_reading_of_a_prompt_is_told_piece_by_piece() {
    let mut scheduler = scheduler();
    let prompt = Input::Text("A".repeat(2 * PREFILL_CHUNK + 6));
    let id = scheduler.add_generation(prompt, &greedy(7)).unwrap();
    let mut told = Vec::new();
    while scheduler.is_busy() {
        scheduler.step();
        told.extend_from_slice(scheduler.prompt_progress());
    }
    let progress = |done| PromptProgress {
        done,
        cached: 0,
        total: 70,
        max_tokens: 7,
    };
    assert_eq!(told, [32, 64, 70].map(|done| (id, progress(done))));
}

#[test]
fn a_prompt_that_has_been_read_is_there_for_others_before_its_text_ends() {
    let mut scheduler = scheduler();
    let prompt = || Input::Text("A".repeat(2 * PREFILL_CHUNK + 6));
    scheduler.add_generation(prompt(), &greedy(7)).unwrap();
    for _ in 0..3 {
        scheduler.step();
    }
    let second = scheduler.add_generation(prompt(), &greedy(7)).unwrap();
    scheduler.step();
    let [(id, progress)] = scheduler.prompt_progress() else {
        panic!("one reads its prompt");
    };
    assert_eq!((*id, progress.cached, progress.done), (second, 69, 70));
    let ends = drain(&mut scheduler);
    assert!(
        ends.values()
            .all(|(_, end)| matches!(end, Event::Done(r) if r.text == "BCDEFGH"))
    );
}

#[test]
fn a_fault_of_the_model_ends_paused_jobs_too() {
    struct Faulty(Counting);
    impl Model for Faulty {
        fn is_exact(&self) -> bool {
            true
        }
        fn kv_format(&self) -> KvFormat {
            self.0.kv_format()
        }
        fn config(&self) -> &Config {
            self.0.config()
        }
        fn weight_bytes(&self) -> u64 {
            0
        }
        fn forward(&self, _: &mut [Rows], _: Taps) -> Result<Vec<Output>> {
            Err(Error::Internal("a fault".into()))
        }
    }
    let mut scheduler = Scheduler::new(Rc::new(Faulty(Counting::new())), Some(tokenizer()), || 0.0);
    let paused = begun(&mut scheduler, 0);
    begun(&mut scheduler, 0);
    scheduler.pause(paused);
    let ends = drain(&mut scheduler);
    assert_eq!(ends.len(), 2);
    assert!(matches!(ends[&paused].1, Event::Failed(_)));
}
