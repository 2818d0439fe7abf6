//! tiny-gpt2, the model that is shipped, from its GGUF file: logits, greedy
//! texts and attention rows against transformers' from the same weights.

use crate::fixtures::Fixtures;
use crate::forward::log_softmax;
use crate::report::Report;
use cacher_wasm::generate::{Event, GenerateOptions, Input, Scheduler};
use cacher_wasm::model::{Dtype, Layers, Loader, LogitRows, Model, Output, Reference, Rows, Taps};
use cacher_wasm::tokenizer::Tokenizer;
use serde::Deserialize;
use std::collections::HashMap;
use std::rc::Rc;

pub const FILES: &[&str] = &["tiny-gpt2/model.q8_0.gguf", "tiny-gpt2/golden-q8_0.json"];

/// The fixture's numbers are rounded to five decimals.
const TOLERANCE: f32 = 1e-3;

#[derive(Deserialize)]
struct Goldens {
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
    ids: Vec<u32>,
    top10_ids: Vec<u32>,
    top10_logits: Vec<f32>,
    greedy32: Vec<u32>,
    greedy32_text: String,
    sum_logprob_of_prompt: f32,
    sum_logprob_of_greedy32: f32,
    #[serde(default)]
    attention_last_row: HashMap<String, Vec<f32>>,
}

pub fn check(fixtures: &Fixtures) -> Report {
    let mut loader = Loader::new(None, Dtype::F32);
    for chunk in fixtures.bytes(FILES[0]).chunks(1 << 20) {
        loader.push(chunk).unwrap();
    }
    let loaded = loader.finish().unwrap();
    let lists = loaded.tokenizer.expect("the file has a tokenizer");
    let tokenizer = Tokenizer::from_lists(lists.tokens, lists.merges, &lists.special).unwrap();
    let model = Reference::new(loaded.config, loaded.weights.tensors().unwrap()).unwrap();
    let mut scheduler = Scheduler::new(Rc::new(model), Some(Rc::new(tokenizer)), || 0.0);

    let mut report = Report::default();
    let mut worst = 0.0;
    let goldens: Goldens = fixtures.json(FILES[1]);
    for prompt in &goldens.prompts {
        let outcome = run(&mut scheduler, prompt, &mut worst);
        report.case(&prompt.prompt, outcome);
    }
    report
        .measured
        .push(format!("largest difference of a logit {worst:.1e}"));
    report
}

fn run(scheduler: &mut Scheduler, golden: &Prompt, worst: &mut f32) -> Result<(), String> {
    let ids = scheduler
        .tokenizer()
        .and_then(|tokenizer| tokenizer.encode(&golden.prompt, false))
        .map_err(|e| e.to_string())?
        .ids;
    same("ids", &ids, &golden.ids)?;

    let n = ids.len();
    let output = pass(scheduler.model(), &[&ids[..], &golden.greedy32].concat())?;
    let vocab_size = scheduler.model().config().vocab_size;
    let last = &output.logits[(n - 1) * vocab_size..n * vocab_size];
    let mut order: Vec<u32> = (0..vocab_size as u32).collect();
    order.sort_by(|&a, &b| last[b as usize].total_cmp(&last[a as usize]));
    same("top10_ids", &order[..10], &golden.top10_ids)?;
    let top: Vec<f32> = order[..10].iter().map(|&id| last[id as usize]).collect();
    near("top10_logits", &top, &golden.top10_logits, worst)?;

    let logprob = |range: std::ops::Range<usize>| -> f32 {
        let all = [&ids[..], &golden.greedy32].concat();
        range
            .map(|i| {
                let row = &output.logits[(i - 1) * vocab_size..i * vocab_size];
                log_softmax(row, all[i] as usize)
            })
            .sum()
    };
    // Sums of up to 32 terms, rounded in the fixture.
    let sums = [logprob(1..n), logprob(n..n + golden.greedy32.len())];
    let expected = [golden.sum_logprob_of_prompt, golden.sum_logprob_of_greedy32];
    near("sums of log-probabilities", &sums, &expected, &mut 0.0)?;

    let rows = n + golden.greedy32.len();
    for (name, expected) in &golden.attention_last_row {
        let layer: usize = name
            .strip_prefix("layer")
            .and_then(|rest| rest.strip_suffix("_head0"))
            .and_then(|layer| layer.parse().ok())
            .ok_or_else(|| format!("no layer in {name}"))?;
        // Head 0, the prompt's last row; later positions are masked there.
        let row = &output.attentions[layer][(n - 1) * rows..][..n];
        near(name, row, expected, &mut 0.0)?;
    }

    let options = GenerateOptions {
        max_tokens: golden.greedy32.len(),
        temperature: 0.0,
        eos_token_ids: Some(Vec::new()),
        ..GenerateOptions::default()
    };
    scheduler
        .add_generation(Input::Text(golden.prompt.clone()), &options)
        .map_err(|e| e.to_string())?;
    let (mut streamed, mut ended) = (String::new(), false);
    while scheduler.is_busy() {
        for (_, event) in scheduler.step() {
            match event {
                Event::Chunk(chunk) => streamed += &chunk.text,
                Event::Done(result) => {
                    same("greedy32", &result.tokens, &golden.greedy32)?;
                    same("text", &result.text, &golden.greedy32_text)?;
                    same("streamed text", &streamed, &result.text)?;
                    ended = true;
                }
                other => return Err(format!("{other:?}")),
            }
        }
    }
    same("has ended", &ended, &true)
}

fn pass(model: &dyn Model, tokens: &[u32]) -> Result<Output, String> {
    let mut kv = model.new_kv();
    let rows = Rows {
        kv: &mut kv,
        tokens,
        logits: LogitRows::All,
    };
    let taps = Taps {
        attentions: Layers::ALL,
        ..Taps::default()
    };
    let mut outputs = model
        .forward(&mut [rows], taps)
        .map_err(|e| e.to_string())?;
    Ok(outputs.remove(0))
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, not {expected:?}"))
    }
}

fn near(what: &str, found: &[f32], expected: &[f32], worst: &mut f32) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!(
            "{what}: {} numbers, not {}",
            found.len(),
            expected.len()
        ));
    }
    for (a, b) in found.iter().zip(expected) {
        let difference = (a - b).abs();
        if difference.is_nan() || difference > TOLERANCE * b.abs().max(1.0) {
            return Err(format!("{what}: {a}, not {b}"));
        }
        *worst = worst.max(difference);
    }
    Ok(())
}
