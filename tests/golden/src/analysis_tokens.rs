//! Analyses of tokens against transformers': log-probabilities, loss and
//! perplexity, the distribution at any position, and cosines of its hidden
//! states. They run through the scheduler, as everything that asks for them
//! does.

use crate::fixtures::{Array, Fixtures};
use crate::forward::{FILES as FORWARD_FILES, log_softmax, mini, near};
use crate::report::Report;
use cacher_wasm::analysis::{AnalysisInput, AnalysisRequest, AnalysisResult, ArrayData};
use cacher_wasm::generate::{Event, Input, Scheduler};
use serde::Deserialize;
use std::rc::Rc;

pub const FILES: &[&str] = FORWARD_FILES;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    input_ids: Vec<u32>,
    logits: Option<Array>,
    next_token_logprobs: Option<Array>,
    loss: Option<f32>,
    perplexity: Option<f32>,
    hidden_states: Option<Array>,
}

pub fn check(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    let mut worst = 0.0;
    for name in ["mini-a", "mini-b", "mini-c"] {
        let model = Rc::new(mini(fixtures, name));
        let mut scheduler = Scheduler::new(model, None, || 0.0);
        let goldens: Goldens = fixtures.json(&format!("{name}/forward.json"));
        for case in &goldens.cases {
            let outcome = run(&mut scheduler, case, &mut worst);
            report.case(&format!("{name} {}", case.name), outcome);
        }
    }
    report
        .measured
        .push(format!("largest difference {worst:.1e}"));
    report
}

fn run(scheduler: &mut Scheduler, case: &Case, worst: &mut f32) -> Result<(), String> {
    let mut told = |request: &str| analyse(scheduler, request, &case.input_ids);
    let tokens = told(r#"{"kind":"tokens","top":3}"#)?;
    let perplexity = told(r#"{"kind":"perplexity"}"#)?;
    if let Some(expected) = &case.next_token_logprobs {
        let list = tokens.value["tokens"].as_array().ok_or("no tokens")?;
        let found = list[1..].iter().map(|token| &token["expected"]["logprob"]);
        let found: Option<Vec<f32>> = found.map(|x| x.as_f64().map(|x| x as f32)).collect();
        let found = found.ok_or("a log-probability is missing")?;
        near("tokens", &found, &expected.values, worst)?;
        let found = narrow(&perplexity, "logprobs")?;
        near("perplexity's logprobs", &found, &expected.values, worst)?;
    }
    if let (Some(loss), Some(expected)) = (case.loss, case.perplexity) {
        let number = |name: &str| perplexity.value[name].as_f64().unwrap_or(f64::NAN);
        let found = number("perplexity") as f32;
        near("perplexity", &[found], &[expected], worst)?;
        let found = (number("bitsPerToken") * std::f64::consts::LN_2) as f32;
        near("loss", &[found], &[loss], worst)?;
    }
    if let Some(expected) = &case.logits {
        let vocab_size = expected.shape[1];
        for (position, row) in expected.values.chunks(vocab_size).enumerate() {
            let request = format!(r#"{{"kind":"distribution","position":{position},"full":true}}"#);
            let found = narrow(&told(&request)?, "logprobs")?;
            let row: Vec<f32> = (0..vocab_size).map(|id| log_softmax(row, id)).collect();
            near(&format!("distribution at {position}"), &found, &row, worst)?;
        }
    }
    if let Some(expected) = &case.hidden_states {
        let layers = expected.shape[0];
        let size = expected.values.len() / layers;
        for (layer, states) in expected.values.chunks(size).enumerate() {
            // transformers' last entry is after the final LayerNorm; here that
            // is one more.
            let layer = if layer + 1 == layers { layers } else { layer };
            let request = format!(r#"{{"kind":"correlation","layer":{layer}}}"#);
            let found = narrow(&told(&request)?, "cosines")?;
            let cosines = cosines(states, expected.shape[2]);
            near(
                &format!("cosines at layer {layer}"),
                &found,
                &cosines,
                worst,
            )?;
        }
    }
    Ok(())
}

fn cosines(states: &[f32], width: usize) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum()
    };
    let rows: Vec<&[f32]> = states.chunks(width).collect();
    let pairs = rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b)));
    pairs
        .map(|(a, b)| (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32)
        .collect()
}

pub fn narrow(result: &AnalysisResult, name: &str) -> Result<Vec<f32>, String> {
    match result.array(name).map(|array| &array.data) {
        Some(ArrayData::F32(data)) => Ok(data.clone()),
        Some(ArrayData::F64(data)) => Ok(data.iter().map(|&x| x as f32).collect()),
        _ => Err(format!("there are no {name}")),
    }
}

/// Runs an analysis to its end.
pub fn analyse(
    scheduler: &mut Scheduler,
    request: &str,
    tokens: &[u32],
) -> Result<AnalysisResult, String> {
    let told = |error: cacher_wasm::Error| format!("{request}: {error}");
    let asked = AnalysisRequest::from_json(request).map_err(told)?;
    let input = AnalysisInput::Plain(Input::Tokens(tokens.to_vec()));
    scheduler.add_analysis(asked, vec![input]).map_err(told)?;
    while scheduler.is_busy() {
        for (_, event) in scheduler.step() {
            match event {
                Event::Analysed(result) => return Ok(result),
                Event::AnalysisProgress(_) => {}
                Event::Failed(error) => return Err(told(error)),
                other => return Err(format!("{request}: {other:?}")),
            }
        }
    }
    Err(format!("{request}: it never ended"))
}
