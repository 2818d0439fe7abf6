//! Whole generations on the mini models against transformers' `generate()`:
//! greedy texts with their stops, and the processed scores that sampling draws
//! from. A case that uses a control which this library does not have yet is
//! left out by the names of its parameters.

use crate::fixtures::{Array, Fixtures};
use crate::forward::{mini, near};
use crate::report::Report;
use cacher_wasm::generate::processors::{LogitsProcessor, pipeline};
use cacher_wasm::generate::{Event, FinishReason, GenerateOptions, Input, Scheduler};
use cacher_wasm::model::{LogitRows, Model, Rows, Taps};
use cacher_wasm::tokenizer::Tokenizer;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::rc::Rc;

pub const GREEDY_FILES: &[&str] = &[
    "mini-a/config.json",
    "mini-a/model.safetensors",
    "mini-a/tokenizer.json",
    "mini-a/greedy.json",
    "mini-b/config.json",
    "mini-b/model.safetensors",
    "mini-b/tokenizer.json",
    "mini-b/greedy.json",
];

pub const WARPED_FILES: &[&str] = &[
    "mini-a/config.json",
    "mini-a/model.safetensors",
    "mini-a/warped.json",
    "mini-b/config.json",
    "mini-b/model.safetensors",
    "mini-b/warped.json",
];

#[derive(Deserialize)]
struct Goldens<C> {
    cases: Vec<C>,
}

#[derive(Deserialize)]
struct Greedy {
    name: String,
    prompt: Vec<u32>,
    params: Map<String, Value>,
    tokens: Vec<u32>,
    finish_reason: String,
    stop: Option<Stop>,
}

#[derive(Deserialize)]
struct Stop {
    stopping_word: String,
    cut_bytes_hex: String,
}

#[derive(Deserialize)]
struct Warped {
    name: String,
    prompt: Vec<u32>,
    params: Map<String, Value>,
    tokens: Vec<u32>,
    processed: Vec<Processed>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Processed {
    Dense { dense: Array },
    Kept { ids: Vec<usize>, values: Array },
}

/// The case's parameters as options; `None` where one is not there yet.
pub fn options(params: &Map<String, Value>) -> Option<GenerateOptions> {
    let mut options = GenerateOptions::default();
    if params.get("do_sample") == Some(&Value::Bool(false)) {
        options.temperature = 0.0;
    }
    for (name, value) in params {
        let number = value.as_f64().unwrap_or(f64::NAN) as f32;
        match name.as_str() {
            "do_sample" => {}
            "max_new_tokens" => options.max_tokens = value.as_u64()? as usize,
            "repetition_penalty" => options.repetition_penalty = number,
            "temperature" => options.temperature = number,
            "top_k" => options.top_k = value.as_u64()? as usize,
            "top_p" => options.top_p = value.as_f64()?,
            "min_p" => options.min_p = number,
            "eos_token_id" => {
                options.eos_token_ids = Some(match value {
                    Value::Array(ids) => ids
                        .iter()
                        .map(|id| id.as_u64().map(|id| id as u32))
                        .collect::<Option<_>>()?,
                    id => vec![id.as_u64()? as u32],
                });
            }
            "stop_strings" => options.stop = serde_json::from_value(value.clone()).ok()?,
            _ => return None,
        }
    }
    Some(options)
}

pub fn greedy(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    let mut left_out = 0;
    for name in ["mini-a", "mini-b"] {
        let tokenizer = fixtures.bytes(&format!("{name}/tokenizer.json"));
        let tokenizer = Tokenizer::from_tokenizer_json(&tokenizer).unwrap();
        let model = Rc::new(mini(fixtures, name));
        let mut scheduler = Scheduler::new(model, Some(Rc::new(tokenizer)), || 0.0);
        let goldens: Goldens<Greedy> = fixtures.json(&format!("{name}/greedy.json"));
        for case in &goldens.cases {
            match options(&case.params) {
                Some(options) => {
                    let outcome = run_greedy(&mut scheduler, case, &options);
                    report.case(&format!("{name} {}", case.name), outcome);
                }
                None => left_out += 1,
            }
        }
    }
    report
        .measured
        .push(format!("{left_out} use other controls"));
    report
}

fn run_greedy(
    scheduler: &mut Scheduler,
    case: &Greedy,
    options: &GenerateOptions,
) -> Result<(), String> {
    scheduler
        .add_generation(Input::Tokens(case.prompt.clone()), options)
        .map_err(|e| e.to_string())?;
    let mut streamed = (String::new(), Vec::new());
    while scheduler.is_busy() {
        for (_, event) in scheduler.step() {
            match event {
                Event::Chunk(chunk) => {
                    streamed.0 += &chunk.text;
                    streamed.1.extend(chunk.tokens);
                }
                Event::Done(result) => {
                    let reason = match result.finish_reason {
                        FinishReason::Eos => "eos",
                        FinishReason::Stop => "stop",
                        FinishReason::Length => "length",
                        FinishReason::Context => "context",
                        FinishReason::Aborted => "aborted",
                    };
                    let found = (&result.tokens, reason);
                    let expected = (&case.tokens, case.finish_reason.as_str());
                    if found != expected {
                        return Err(format!("{found:?}, not {expected:?}"));
                    }
                    if streamed != (result.text.clone(), result.tokens) {
                        return Err(format!("streamed {streamed:?}"));
                    }
                    let Some(stop) = &case.stop else {
                        return Ok(());
                    };
                    let text = String::from_utf8_lossy(&unhex(&stop.cut_bytes_hex)).into_owned();
                    let word = (reason == "stop").then(|| stop.stopping_word.clone());
                    let (found, expected) = ((result.text, result.stop_sequence), (text, word));
                    return if found == expected {
                        Ok(())
                    } else {
                        Err(format!("{found:?}, not {expected:?}"))
                    };
                }
                other => return Err(format!("{other:?}")),
            }
        }
    }
    Err("it ended without a result".into())
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

pub fn warped(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    let (mut left_out, mut worst) = (0, 0.0);
    for name in ["mini-a", "mini-b"] {
        let model = mini(fixtures, name);
        let goldens: Goldens<Warped> = fixtures.json(&format!("{name}/warped.json"));
        for case in &goldens.cases {
            match options(&case.params) {
                Some(options) => {
                    let outcome = run_warped(&model, case, &options, &mut worst);
                    report.case(&format!("{name} {}", case.name), outcome);
                }
                None => left_out += 1,
            }
        }
    }
    report.measured.push(format!(
        "largest difference of a score {worst:.1e}; {left_out} use other controls"
    ));
    report
}

fn run_warped(
    model: &dyn Model,
    case: &Warped,
    options: &GenerateOptions,
    worst: &mut f32,
) -> Result<(), String> {
    let mut pipeline = pipeline(options);
    let mut kv = model.new_kv();
    let mut history = case.prompt.clone();
    for (step, expected) in case.processed.iter().enumerate() {
        let rows = Rows {
            tokens: &history[kv.len()..],
            kv: &mut kv,
            logits: LogitRows::Last,
        };
        let outputs = model.forward(&mut [rows], Taps::default());
        let mut scores = outputs.map_err(|e| e.to_string())?.remove(0).logits;
        pipeline.process(&history, &mut scores);
        let expected = match expected {
            Processed::Dense { dense } => dense.values.clone(),
            Processed::Kept { ids, values } => {
                let mut all = vec![f32::NEG_INFINITY; scores.len()];
                for (&id, &value) in ids.iter().zip(&values.values) {
                    all[id] = value;
                }
                all
            }
        };
        let kept = |scores: &[f32]| -> Vec<usize> {
            (0..scores.len())
                .filter(|&id| scores[id] > f32::NEG_INFINITY)
                .collect()
        };
        if kept(&scores) != kept(&expected) {
            return Err(format!(
                "step {step} keeps {:?}, not {:?}",
                kept(&scores),
                kept(&expected)
            ));
        }
        let finite = |scores: &[f32]| -> Vec<f32> {
            scores
                .iter()
                .copied()
                .filter(|score| score.is_finite())
                .collect()
        };
        near(
            &format!("step {step}"),
            &finite(&scores),
            &finite(&expected),
            worst,
        )?;
        history.push(case.tokens[step]);
    }
    Ok(())
}
