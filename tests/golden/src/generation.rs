//! Whole generations on the mini models against transformers' `generate()`:
//! greedy texts with their stops and the processed scores of their tokens, and
//! all the processed scores that sampling draws from.

use crate::fixtures::{Array, Fixtures};
use crate::forward::{mini, near};
use crate::report::Report;
use cacher_wasm::generate::generation::Matched;
use cacher_wasm::generate::processors::{LogitsProcessor, Pipeline, PipelineContext, pipeline};
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
    /// The processed score of each token.
    transition_scores: Vec<f32>,
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

/// The options of transformers, by their names there and here.
const NAMES: [(&str, &str); 24] = [
    ("max_new_tokens", "maxTokens"),
    ("temperature", "temperature"),
    ("top_h", "topH"),
    ("top_k", "topK"),
    ("top_p", "topP"),
    ("min_p", "minP"),
    ("typical_p", "typicalP"),
    ("epsilon_cutoff", "epsilonCutoff"),
    ("eta_cutoff", "etaCutoff"),
    ("repetition_penalty", "repetitionPenalty"),
    ("no_repeat_ngram_size", "noRepeatNgramSize"),
    ("bad_words_ids", "badWords"),
    ("sequence_bias", "sequenceBias"),
    ("suppress_tokens", "suppressTokens"),
    ("begin_suppress_tokens", "beginSuppressTokens"),
    ("min_length", "minLength"),
    ("min_new_tokens", "minNewTokens"),
    ("forced_bos_token_id", "forcedBosTokenId"),
    ("forced_eos_token_id", "forcedEosTokenId"),
    (
        "exponential_decay_length_penalty",
        "exponentialDecayLengthPenalty",
    ),
    ("remove_invalid_values", "removeInvalidValues"),
    ("renormalize_logits", "renormalizeLogits"),
    ("eos_token_id", "eosTokenIds"),
    ("stop_strings", "stop"),
];

/// The case's parameters as a caller in JavaScript gives them; an error where
/// one has no counterpart.
pub fn options(params: &Map<String, Value>) -> Result<GenerateOptions, String> {
    let mut ours = Map::new();
    for (name, value) in params {
        if name == "do_sample" {
            continue;
        }
        let Some((_, our_name)) = NAMES.iter().find(|(theirs, _)| theirs == name) else {
            return Err(format!("there is no option like {name}"));
        };
        let value = match (name.as_str(), value) {
            ("eos_token_id", Value::Number(id)) => Value::Array(vec![id.clone().into()]),
            _ => value.clone(),
        };
        ours.insert((*our_name).to_owned(), value);
    }
    if params.get("do_sample") != Some(&Value::Bool(true)) {
        ours.insert("temperature".to_owned(), 0.into());
    }
    serde_json::from_value(ours.into()).map_err(|e| e.to_string())
}

/// The processors of a generation that continues `prompt`.
fn pipeline_of(
    options: &GenerateOptions,
    model: &dyn Model,
    prompt: &[u32],
) -> Result<Pipeline, String> {
    let config = model.config();
    options
        .validate(config.vocab_size)
        .map_err(|e| e.to_string())?;
    let context = PipelineContext {
        prompt_len: prompt.len(),
        vocab_size: config.vocab_size,
        eos_token_ids: options
            .eos_token_ids
            .as_deref()
            .unwrap_or(&config.eos_token_ids),
        min_tokens_to_keep: 1,
        max_length: prompt.len() + options.max_tokens,
        tokenizer: None,
    };
    pipeline(options, &context).map_err(|e| e.to_string())
}

/// The processed scores before each of `tokens`, which are taken as chosen.
fn processed_scores(
    model: &dyn Model,
    options: &GenerateOptions,
    prompt: &[u32],
    tokens: &[u32],
) -> Result<Vec<Vec<f32>>, String> {
    let mut pipeline = pipeline_of(options, model, prompt)?;
    let mut kv = model.new_kv();
    let mut history = prompt.to_vec();
    let mut all = Vec::new();
    for &token in tokens {
        let rows = Rows {
            tokens: &history[kv.len()..],
            kv: &mut kv,
            logits: LogitRows::Last,
        };
        let outputs = model.forward(&mut [rows], Taps::default());
        let mut scores = outputs.map_err(|e| e.to_string())?.remove(0).logits;
        pipeline.process(&history, &mut scores);
        all.push(scores);
        history.push(token);
    }
    Ok(all)
}

pub fn greedy(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    let mut worst = 0.0;
    for name in ["mini-a", "mini-b"] {
        let tokenizer = fixtures.bytes(&format!("{name}/tokenizer.json"));
        let tokenizer = Tokenizer::from_tokenizer_json(&tokenizer).unwrap();
        let model = Rc::new(mini(fixtures, name));
        let mut scheduler = Scheduler::new(model.clone(), Some(Rc::new(tokenizer)), || 0.0);
        let goldens: Goldens<Greedy> = fixtures.json(&format!("{name}/greedy.json"));
        for case in &goldens.cases {
            let outcome = options(&case.params).and_then(|options| {
                run_greedy(&mut scheduler, case, &options)?;
                check_scores(model.as_ref(), case, &options, &mut worst)
            });
            report.case(&format!("{name} {}", case.name), outcome);
        }
    }
    let worst = format!("largest difference of a score {worst:.1e}");
    report.measured.push(worst);
    report
}

fn check_scores(
    model: &dyn Model,
    case: &Greedy,
    options: &GenerateOptions,
    worst: &mut f32,
) -> Result<(), String> {
    let scores = processed_scores(model, options, &case.prompt, &case.tokens)?;
    let chosen: Vec<f32> = scores
        .iter()
        .zip(&case.tokens)
        .map(|(scores, &token)| scores[token as usize])
        .collect();
    near("scores", &chosen, &case.transition_scores, worst)
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
                        other => return Err(format!("it ended with {other:?}")),
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
                    let word =
                        (reason == "stop").then(|| Matched::Text(stop.stopping_word.clone()));
                    let matched = result.matched.filter(|_| reason == "stop");
                    let (found, expected) = ((result.text, matched), (text, word));
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
    let mut worst = 0.0;
    for name in ["mini-a", "mini-b"] {
        let model = mini(fixtures, name);
        let goldens: Goldens<Warped> = fixtures.json(&format!("{name}/warped.json"));
        for case in &goldens.cases {
            let outcome = options(&case.params)
                .and_then(|options| run_warped(&model, case, &options, &mut worst));
            report.case(&format!("{name} {}", case.name), outcome);
        }
    }
    let worst = format!("largest difference of a score {worst:.1e}");
    report.measured.push(worst);
    report
}

fn run_warped(
    model: &dyn Model,
    case: &Warped,
    options: &GenerateOptions,
    worst: &mut f32,
) -> Result<(), String> {
    let tokens = &case.tokens[..case.processed.len()];
    let all = processed_scores(model, options, &case.prompt, tokens)?;
    for (step, (scores, expected)) in all.iter().zip(&case.processed).enumerate() {
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
        if kept(scores) != kept(&expected) {
            return Err(format!(
                "step {step} keeps {:?}, not {:?}",
                kept(scores),
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
            &finite(scores),
            &finite(&expected),
            worst,
        )?;
    }
    Ok(())
}
