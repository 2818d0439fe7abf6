//! The forward pass against transformers': logits, log-probabilities,
//! attentions, hidden states, keys and values, cached decoding.

use crate::fixtures::{Array, Fixtures};
use crate::report::Report;
use cacher_wasm::model::{
    Config, Dtype, KvCache, Layers, Loaded, Loader, LogitRows, Model, Output, Reference, Rows, Taps,
};
use serde::Deserialize;

pub const FILES: &[&str] = &[
    "mini-a/config.json",
    "mini-a/model.safetensors",
    "mini-a/forward.json",
    "mini-b/config.json",
    "mini-b/model.safetensors",
    "mini-b/forward.json",
    "mini-c/config.json",
    "mini-c/model.safetensors",
    "mini-c/forward.json",
];

/// What a correct f32 engine meets, relative above 1 (fixtures' README).
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    input_ids: Vec<u32>,
    logits: Option<Array>,
    logits_tail: Option<Array>,
    next_token_logprobs: Option<Array>,
    attentions: Option<Array>,
    hidden_states: Option<Array>,
    last_block_output: Option<Array>,
    keys: Option<Array>,
    values: Option<Array>,
    cached: Vec<Cached>,
}

#[derive(Deserialize)]
struct Cached {
    chunks: Vec<usize>,
}

/// Loads a mini model, in chunks as a download gives them.
pub fn load(fixtures: &Fixtures, name: &str, dtype: Dtype) -> Loaded {
    let config = Config::from_json(&fixtures.bytes(&format!("{name}/config.json"))).unwrap();
    let mut loader = Loader::new(Some(config), dtype);
    for chunk in fixtures
        .bytes(&format!("{name}/model.safetensors"))
        .chunks(10_000)
    {
        loader.push(chunk).unwrap();
    }
    loader.finish().unwrap()
}

/// A mini model in f32.
pub fn mini(fixtures: &Fixtures, name: &str) -> Reference {
    let loaded = load(fixtures, name, Dtype::F32);
    Reference::new(loaded.config, loaded.weights.tensors().unwrap()).unwrap()
}

pub fn check(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    let mut worst = Worst::default();
    for name in ["mini-a", "mini-b", "mini-c"] {
        let model = mini(fixtures, name);
        let goldens: Goldens = fixtures.json(&format!("{name}/forward.json"));
        for case in &goldens.cases {
            let outcome = run(&model, case, &mut worst);
            report.case(&format!("{name} {}", case.name), outcome);
        }
    }
    report.measured.push(format!(
        "largest differences: logits {:.1e}, hidden states {:.1e}, attentions {:.1e}, log-probabilities {:.1e}, keys and values {:.1e}, cached decoding {:.1e}",
        worst.logits, worst.hidden, worst.attentions, worst.logprobs, worst.kv, worst.cached
    ));
    report
}

#[derive(Default)]
struct Worst {
    logits: f32,
    hidden: f32,
    attentions: f32,
    logprobs: f32,
    kv: f32,
    cached: f32,
}

fn run(model: &Reference, case: &Case, worst: &mut Worst) -> Result<(), String> {
    let taps = Taps {
        hidden_states: true,
        attentions: Layers::ALL,
        ..Taps::default()
    };
    let (output, kv) = pass(model, &case.input_ids, &[case.input_ids.len()], taps)?;
    let vocab_size = model.config().vocab_size;

    if let Some(expected) = &case.logits {
        near(
            "logits",
            &output.logits,
            &expected.values,
            &mut worst.logits,
        )?;
        same_argmax(&output.logits, &expected.values, vocab_size)?;
    }
    if let Some(expected) = &case.logits_tail {
        let tail = &output.logits[output.logits.len() - expected.values.len()..];
        near("logits_tail", tail, &expected.values, &mut worst.logits)?;
        same_argmax(tail, &expected.values, vocab_size)?;
    }
    if let Some(expected) = &case.next_token_logprobs {
        let logprobs: Vec<f32> = output
            .logits
            .chunks(vocab_size)
            .zip(&case.input_ids[1..])
            .map(|(logits, &id)| log_softmax(logits, id as usize))
            .collect();
        near(
            "next_token_logprobs",
            &logprobs,
            &expected.values,
            &mut worst.logprobs,
        )?;
    }
    if let Some(expected) = &case.attentions {
        near(
            "attentions",
            &output.attentions.concat(),
            &expected.values,
            &mut worst.attentions,
        )?;
    }
    // transformers gives the last block's output only after `ln_f`; here both
    // are there, one after the other.
    let mut states = output.hidden_states;
    let last_block = states.remove(states.len() - 2);
    if let Some(expected) = &case.hidden_states {
        near(
            "hidden_states",
            &states.concat(),
            &expected.values,
            &mut worst.hidden,
        )?;
    }
    if let Some(expected) = &case.last_block_output {
        near(
            "last_block_output",
            &last_block,
            &expected.values,
            &mut worst.hidden,
        )?;
    }
    for (what, expected) in [("keys", &case.keys), ("values", &case.values)] {
        if let Some(expected) = expected {
            let found = by_head(model.config(), &kv, what == "keys");
            near(what, &found, &expected.values, &mut worst.kv)?;
        }
    }
    for Cached { chunks } in &case.cached {
        let (cached, _) = pass(model, &case.input_ids, chunks, Taps::default())?;
        near(
            &format!("cached in {chunks:?}"),
            &cached.logits,
            &output.logits,
            &mut worst.cached,
        )?;
    }
    Ok(())
}

/// Runs the ids in passes of the given sizes; the logits of all positions.
fn pass(
    model: &Reference,
    ids: &[u32],
    chunks: &[usize],
    taps: Taps,
) -> Result<(Output, KvCache), String> {
    let mut kv = model.new_kv();
    let mut whole = Output::default();
    for &count in chunks {
        let tokens = &ids[kv.len()..kv.len() + count];
        let rows = Rows {
            kv: &mut kv,
            tokens,
            logits: LogitRows::All,
        };
        let mut outputs = model
            .forward(&mut [rows], taps)
            .map_err(|e| e.to_string())?;
        let output = outputs.remove(0);
        whole.logits.extend(output.logits);
        whole.hidden_states = output.hidden_states;
        whole.attentions = output.attentions;
    }
    if kv.len() != ids.len() {
        return Err(format!("{} positions cached, {} run", kv.len(), ids.len()));
    }
    Ok((whole, kv))
}

/// The cache as transformers lays it out: `[n_layer, n_head, n, head_dim]`.
fn by_head(config: &Config, kv: &KvCache, keys: bool) -> Vec<f32> {
    let mut out = Vec::new();
    for layer in 0..config.n_layer {
        let (k, v) = kv.gather(layer, kv.len());
        let rows = if keys { k } else { v };
        for head in 0..config.n_head {
            for row in rows.chunks(config.n_embd) {
                out.extend(&row[head * config.head_dim()..][..config.head_dim()]);
            }
        }
    }
    out
}

pub fn log_softmax(logits: &[f32], index: usize) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| f64::from(x - most).exp()).sum();
    (f64::from(logits[index] - most) - sum.ln()) as f32
}

/// Checks every number, and keeps the largest difference seen.
pub fn near(what: &str, found: &[f32], expected: &[f32], worst: &mut f32) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!(
            "{what}: {} numbers, not {}",
            found.len(),
            expected.len()
        ));
    }
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        let difference = (a - b).abs() / b.abs().max(1.0);
        if difference.is_nan() || difference > TOLERANCE {
            return Err(format!("{what}[{index}] is {a}, not {b}"));
        }
        *worst = worst.max(difference);
    }
    Ok(())
}

fn same_argmax(found: &[f32], expected: &[f32], vocab_size: usize) -> Result<(), String> {
    let argmax = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    for (row, (a, b)) in found
        .chunks(vocab_size)
        .zip(expected.chunks(vocab_size))
        .enumerate()
    {
        if argmax(a) != argmax(b) {
            return Err(format!("row {row}: another token is the most probable"));
        }
    }
    Ok(())
}
