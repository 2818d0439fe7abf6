//! What needs more than one pass or more than one context, against computing all
//! of it anew for each token: texts past the context, and guidance.

use crate::forward::mini;
use crate::{Fixtures, Report};
use cacher_wasm::generate::options::{ContextPolicy, TokenSequence};
use cacher_wasm::generate::{Event, GenerateOptions, Input, Scheduler};
use cacher_wasm::model::{LogitRows, Model, Rows, Taps};
use std::rc::Rc;

pub const FILES: &[&str] = &[
    "mini-a/config.json",
    "mini-a/model.safetensors",
    "mini-b/config.json",
    "mini-b/model.safetensors",
];

/// Logits after `tokens`, in one pass over all of them.
fn logits(model: &dyn Model, tokens: &[u32]) -> Vec<f32> {
    let mut kv = model.new_kv();
    let rows = Rows {
        kv: &mut kv,
        tokens,
        logits: LogitRows::Last,
    };
    let mut outputs = model.forward(&mut [rows], Taps::default()).unwrap();
    outputs.remove(0).logits
}

fn best(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (id, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = id;
        }
    }
    best as u32
}

fn generated(scheduler: &mut Scheduler, prompt: &[u32], options: &GenerateOptions) -> Vec<u32> {
    let prompt = Input::Tokens(prompt.to_vec());
    scheduler.add_generation(prompt, options).unwrap();
    loop {
        for (_, event) in scheduler.step() {
            match event {
                Event::Done(result) => return result.tokens,
                Event::Chunk(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn random_tokens(count: usize, vocab_size: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % vocab_size as u32
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Texts that go past the context, for each policy.
pub fn window(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    for name in ["mini-a", "mini-b"] {
        let model = Rc::new(mini(fixtures, name));
        let (n, vocab_size) = (model.config().n_positions, model.config().vocab_size);
        let mut scheduler = Scheduler::new(model.clone(), None, || 0.0);
        for policy in [
            ContextPolicy::TruncateStart,
            ContextPolicy::TruncateMiddle,
            ContextPolicy::KeepPrefix,
        ] {
            for (prompt_len, max_tokens) in [(n - 5, n / 2), (n + 40, 60), (3 * n, 1)] {
                let prompt = random_tokens(prompt_len, vocab_size, prompt_len as u32);
                let options = GenerateOptions {
                    temperature: 0.0,
                    eos_token_ids: Some(Vec::new()),
                    context_policy: policy,
                    keep_prefix_tokens: 7,
                    max_tokens,
                    ..GenerateOptions::default()
                };
                let found = generated(&mut scheduler, &prompt, &options);
                let expected = naive_window(model.as_ref(), &prompt, &options);
                let outcome = (found == expected)
                    .then_some(())
                    .ok_or_else(|| format!("{found:?}, not {expected:?}"));
                report.case(&format!("{name} {policy:?} {prompt_len}"), outcome);
            }
        }
    }
    report
}

fn naive_window(model: &dyn Model, prompt: &[u32], options: &GenerateOptions) -> Vec<u32> {
    let n = model.config().n_positions;
    let mut context = prompt.to_vec();
    let mut output = Vec::new();
    while output.len() < options.max_tokens {
        if context.len() > n {
            let to_come = options.max_tokens - output.len();
            let room = (to_come - 1).min(n / 4);
            let kept = n - room;
            let start = match options.context_policy {
                ContextPolicy::TruncateMiddle => kept / 2,
                ContextPolicy::KeepPrefix => options.keep_prefix_tokens,
                _ => 0,
            };
            let end = start + context.len() - kept;
            context.drain(start..end);
        }
        let token = best(&logits(model, &context));
        context.push(token);
        output.push(token);
    }
    output
}

/// Guided texts, as transformers' formula has it.
pub fn guidance(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    for name in ["mini-a", "mini-b"] {
        let model = Rc::new(mini(fixtures, name));
        let vocab_size = model.config().vocab_size;
        let mut scheduler = Scheduler::new(model.clone(), None, || 0.0);
        for (case, (scale, prompt_len, negative_len)) in [
            (1.5, 9, None),
            (3.0, 40, Some(3)),
            (-0.5, 4, Some(45)),
            (0.0, 12, Some(12)),
        ]
        .into_iter()
        .enumerate()
        {
            let prompt = random_tokens(prompt_len, vocab_size, case as u32);
            let negative = negative_len.map(|len| random_tokens(len, vocab_size, 99));
            let options = GenerateOptions {
                temperature: 0.0,
                eos_token_ids: Some(Vec::new()),
                guidance_scale: scale,
                negative_prompt: negative.clone().map(TokenSequence::Ids),
                max_tokens: 12,
                ..GenerateOptions::default()
            };
            let found = generated(&mut scheduler, &prompt, &options);
            let negative = negative.unwrap_or_else(|| vec![prompt[prompt.len() - 1]]);
            let expected = naive_guidance(model.as_ref(), prompt, negative, scale);
            let outcome = (found == expected)
                .then_some(())
                .ok_or_else(|| format!("{found:?}, not {expected:?}"));
            report.case(&format!("{name} scale {scale}"), outcome);
        }
    }
    report
}

fn naive_guidance(
    model: &dyn Model,
    mut with: Vec<u32>,
    mut without: Vec<u32>,
    scale: f32,
) -> Vec<u32> {
    let log_softmax = |logits: Vec<f32>| -> Vec<f64> {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exp = |&x: &f32| f64::from(x - most).exp();
        let log_sum = logits.iter().map(exp).sum::<f64>().ln();
        let log_prob = |&x: &f32| f64::from(x - most) - log_sum;
        logits.iter().map(log_prob).collect()
    };
    let mut output = Vec::new();
    for _ in 0..12 {
        let a = log_softmax(logits(model, &with));
        let b = log_softmax(logits(model, &without));
        let guided = a
            .iter()
            .zip(&b)
            .map(|(a, b)| f64::from(scale) * (a - b) + b);
        let scores: Vec<f32> = guided.map(|score| score as f32).collect();
        let token = best(&scores);
        with.push(token);
        without.push(token);
        output.push(token);
    }
    output
}
