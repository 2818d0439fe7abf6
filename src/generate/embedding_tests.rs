//! Embeddings against hidden states that were computed at once, with a model
//! that is really run.

use super::{CALIBRATION, LAYER};
use crate::generate::{Event, GenerateOptions, Input, Scheduler};
use crate::model::{LogitRows, Rows, Taps};
use crate::state::lab::{N_POSITIONS, VOCAB_SIZE, model, scheduler, tokenizer};
use proptest::prelude::*;

fn embed(scheduler: &mut Scheduler, input: Input) -> Vec<f32> {
    let id = scheduler.add_embedding(input, false).unwrap();
    loop {
        for (job, event) in scheduler.step() {
            match event {
                Event::Embedded(vector) if job == id => return vector,
                Event::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }
}

/// The mean over the tokens after the first, from one pass.
fn pooled(tokens: &[u32]) -> Vec<f64> {
    let model = model();
    let mut kv = model.new_kv();
    let rows = Rows {
        kv: &mut kv,
        tokens,
        logits: LogitRows::None,
    };
    let taps = Taps {
        hidden_states: true,
        ..Taps::default()
    };
    let output = model.forward(&mut [rows], taps).unwrap().remove(0);
    let n_embd = model.config().n_embd;
    let from = usize::from(tokens.len() > 1);
    let states: Vec<&[f32]> = output.hidden_states[LAYER]
        .chunks(n_embd)
        .skip(from)
        .collect();
    let mean = |i| states.iter().map(|state| f64::from(state[i])).sum::<f64>();
    (0..n_embd).map(|i| mean(i) / states.len() as f64).collect()
}

/// As the formula says.
fn expected(tokens: &[u32]) -> Vec<f64> {
    let tokenizer = tokenizer();
    let texts: Vec<Vec<f64>> = CALIBRATION
        .lines()
        .map(|line| pooled(&tokenizer.encode(line, false).unwrap().ids))
        .collect();
    let pooled = pooled(tokens);
    let centred: Vec<f64> = (0..pooled.len())
        .map(|i| pooled[i] - texts.iter().map(|text| text[i]).sum::<f64>() / texts.len() as f64)
        .collect();
    let norm = centred.iter().map(|x| x * x).sum::<f64>().sqrt();
    centred.iter().map(|x| x / norm).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn vectors_are_those_of_the_formula_first_and_later(
        tokens in prop::collection::vec(0..VOCAB_SIZE as u32, 1..N_POSITIONS),
    ) {
        let mut scheduler = scheduler();
        let first = embed(&mut scheduler, Input::Tokens(tokens.clone()));
        for (x, y) in first.iter().zip(expected(&tokens)) {
            prop_assert!((f64::from(*x) - y).abs() < 1e-5, "{x} is not {y}");
        }
        // The mean is known now, and so are the text's KV blocks.
        prop_assert_eq!(embed(&mut scheduler, Input::Tokens(tokens)), first);
    }
}

#[test]
fn the_mean_is_computed_once_and_by_whichever_comes_first() {
    let steps = |scheduler: &mut Scheduler| {
        scheduler
            .add_embedding(Input::Text("a text".into()), false)
            .unwrap();
        let mut steps = 0;
        while scheduler.is_busy() {
            scheduler.step();
            steps += 1;
        }
        steps
    };
    let mut scheduler = scheduler();
    assert!(steps(&mut scheduler) > CALIBRATION.lines().count());
    assert_eq!(steps(&mut scheduler), 1);
}

#[test]
fn a_dropped_embedding_leaves_nothing_wrong_behind() {
    let mut scheduler = scheduler();
    let text = || Input::Text("a text of some length, over one block of the cache".into());
    let id = scheduler.add_embedding(text(), false).unwrap();
    scheduler.step();
    scheduler.cancel(id);
    assert!(!scheduler.is_busy());
    let undisturbed = embed(&mut crate::state::lab::scheduler(), text());
    assert_eq!(embed(&mut scheduler, text()), undisturbed);
}

#[test]
fn other_jobs_get_the_same_and_so_does_the_embedding_beside_them() {
    let prompt = || Input::Text("the prompt of the other job".into());
    let options = GenerateOptions {
        max_tokens: 40,
        seed: Some(7),
        ..GenerateOptions::default()
    };
    let run = |embedding: bool| {
        let mut scheduler = scheduler();
        let id = scheduler.add_generation(prompt(), &options).unwrap();
        if embedding {
            scheduler.add_embedding(prompt(), false).unwrap();
        }
        let mut events = Vec::new();
        let mut vector = None;
        while scheduler.is_busy() {
            for (job, event) in scheduler.step() {
                match event {
                    Event::Embedded(data) => vector = Some(data),
                    event if job == id => events.push(event),
                    other => panic!("{other:?}"),
                }
            }
        }
        (events, vector)
    };
    let (alone, _) = run(false);
    let (beside, vector) = run(true);
    assert_eq!(beside, alone);
    assert_eq!(vector, Some(embed(&mut scheduler(), prompt())));
}

#[test]
fn a_prompt_that_was_embedded_is_not_run_again_to_go_on_from() {
    let mut scheduler = scheduler();
    let tokens: Vec<u32> = (0..100).collect();
    embed(&mut scheduler, Input::Tokens(tokens.clone()));
    let options = GenerateOptions {
        max_tokens: 1,
        ..GenerateOptions::default()
    };
    scheduler
        .add_generation(Input::Tokens(tokens), &options)
        .unwrap();
    while scheduler.is_busy() {
        for (_, event) in scheduler.step() {
            if let Event::Done(result) = event {
                assert_eq!(result.usage.tokens_evaluated, 1);
            }
        }
    }
}

#[test]
fn what_cannot_be_embedded_is_refused() {
    let mut scheduler = scheduler();
    let refused = |scheduler: &mut Scheduler, input| {
        let error = scheduler.add_embedding(input, false).unwrap_err();
        error.code()
    };
    let unknown = Input::Tokens(vec![VOCAB_SIZE as u32]);
    assert_eq!(refused(&mut scheduler, unknown), "invalid-token");
    let long = Input::Tokens(vec![0; N_POSITIONS + 1]);
    assert_eq!(refused(&mut scheduler, long), "context-overflow");
    let mut without = Scheduler::new(model(), None, || 0.0);
    assert_eq!(
        refused(&mut without, Input::Tokens(vec![0])),
        "no-tokenizer"
    );
}
