//! Analyses of attention, layers and the KV cache against transformers' numbers
//! for the mini models. They run through the scheduler, as everything that asks
//! for them does.

use crate::analysis_tokens::{analyse, narrow};
use crate::fixtures::{Array, Fixtures};
use crate::forward::{FILES as FORWARD_FILES, log_softmax, mini, near};
use crate::report::Report;
use cacher_wasm::generate::Scheduler;
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
    attentions: Option<Array>,
    hidden_states: Option<Array>,
    last_block_output: Option<Array>,
    keys: Option<Array>,
    values: Option<Array>,
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
    let n = case.input_ids.len();
    let mut told = |request: &str| analyse(scheduler, request, &case.input_ids);
    if let Some(expected) = &case.attentions {
        let found = narrow(&told(r#"{"kind":"attention"}"#)?, "weights")?;
        near("attention", &found, &expected.values, worst)?;
        let [layers, heads] = [expected.shape[0], expected.shape[1]];
        let found = narrow(&told(r#"{"kind":"rollout"}"#)?, "weights")?;
        let rolled = rollout(&expected.values, layers, heads, n);
        near("rollout", &found, &rolled, worst)?;
    }
    if let (Some(states), Some(last)) = (&case.hidden_states, &case.last_block_output) {
        let lens = told(r#"{"kind":"lens","top":1}"#)?;
        let found = narrow(&lens, "norms")?;
        let layers = states.shape[0];
        let width = states.shape[2];
        for position in 0..n {
            for layer in 0..layers {
                // transformers' last entry is after the final LayerNorm.
                let row = if layer + 1 == layers {
                    &last.values[position * width..][..width]
                } else {
                    &states.values[(layer * n + position) * width..][..width]
                };
                let norm = norm(row);
                near(
                    "norm",
                    &found[position * layers + layer..][..1],
                    &[norm],
                    worst,
                )?;
            }
        }
        if let Some(logits) = &case.logits {
            let found = narrow(&lens, "nextLogprob")?;
            let rows = logits.values.chunks(logits.shape[1]).take(n - 1);
            for (position, row) in rows.enumerate() {
                let expected = log_softmax(row, case.input_ids[position + 1] as usize);
                let found = found[position * layers + layers - 1];
                near("lens", &[found], &[expected], worst)?;
            }
        }
    }
    if let Some(logits) = &case.logits {
        for position in [0, n / 2, n - 1] {
            let row = &logits.values[position * logits.shape[1]..][..logits.shape[1]];
            let request = format!(r#"{{"kind":"attribution","position":{position},"token":3}}"#);
            let parts = told(&request)?.value;
            let sum = parts["sum"].as_f64().ok_or("no sum")? as f32;
            near("attribution", &[sum], &row[3..4], worst)?;
        }
    }
    let kv = told(r#"{"kind":"kv"}"#)?;
    for (name, expected) in [("keyNorms", &case.keys), ("valueNorms", &case.values)] {
        if let Some(expected) = expected {
            let width = expected.shape[3];
            let norms: Vec<f32> = expected.values.chunks(width).map(norm).collect();
            near(name, &narrow(&kv, name)?, &norms, worst)?;
        }
    }
    Ok(())
}

fn norm(row: &[f32]) -> f32 {
    let squares = row.iter().map(|&x| f64::from(x) * f64::from(x));
    squares.sum::<f64>().sqrt() as f32
}

/// The product of `0.5 A + 0.5 I` over layers, of attentions `[layers, heads, n, n]`.
fn rollout(attentions: &[f32], layers: usize, heads: usize, n: usize) -> Vec<f32> {
    let mut rolled: Vec<f64> = (0..n * n)
        .map(|at| f64::from(u8::from(at / n == at % n)))
        .collect();
    for layer in 0..layers {
        let passed = |i: usize, j: usize| {
            let at = |head: usize| attentions[((layer * heads + head) * n + i) * n + j];
            let sum: f64 = (0..heads).map(|head| f64::from(at(head))).sum();
            0.5 * sum / heads as f64 + if i == j { 0.5 } else { 0.0 }
        };
        rolled = (0..n * n)
            .map(|at| {
                (0..n)
                    .map(|k| passed(at / n, k) * rolled[k * n + at % n])
                    .sum()
            })
            .collect();
    }
    rolled.into_iter().map(|x| x as f32).collect()
}
