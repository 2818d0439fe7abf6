//! Against the model's own logits, and hidden states unembedded by hand.

use crate::analysis::testing::run;
use crate::analysis::{AnalysisResult, ArrayData};
use crate::engine::forward::tests::{engine, reference};
use crate::generate::Scheduler;
use crate::generate::log_prob::{log_sum_exp, rank};
use crate::model::{Dtype, LogitRows, Model, Output, Rows, Taps};
use std::rc::Rc;

fn text() -> Vec<u32> {
    (0..40).map(|i| (i * i * 17 + 5) % 101).collect()
}

fn pass(model: &dyn Model) -> Output {
    let mut kv = model.new_kv();
    let taps = Taps {
        hidden_states: true,
        ..Taps::default()
    };
    let tokens = &text();
    let rows = Rows {
        kv: &mut kv,
        tokens,
        logits: LogitRows::All,
    };
    model.forward(&mut [rows], taps).unwrap().remove(0)
}

fn f64s<'a>(result: &'a AnalysisResult, name: &str) -> &'a [f64] {
    match &result.array(name).unwrap().data {
        ArrayData::F64(data) => data,
        other => panic!("{other:?}"),
    }
}

fn u32s<'a>(result: &'a AnalysisResult, name: &str) -> &'a [u32] {
    match &result.array(name).unwrap().data {
        ArrayData::U32(data) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_layer_says_what_the_model_says() {
    let model = engine(Dtype::Q8);
    let output = pass(&model);
    let text = text();
    let mut scheduler = Scheduler::new(Rc::new(model), None, || 0.0);
    let request = r#"{"kind":"lens","layers":[3],"top":4}"#;
    let result = run(&mut scheduler, request, &[&text]).unwrap();
    assert_eq!(result.array("tokens").unwrap().shape, [40, 1, 4]);
    for (position, logits) in output.logits.chunks_exact(101).enumerate() {
        let log_sum = log_sum_exp(logits);
        for place in 0..4 {
            let id = u32s(&result, "tokens")[position * 4 + place];
            assert_eq!(rank(logits, id), place as u32 + 1);
            let logprob = f64s(&result, "logprobs")[position * 4 + place];
            assert_eq!(logprob, f64::from(logits[id as usize]) - log_sum);
        }
        let Some(&next) = text.get(position + 1) else {
            assert!(f64s(&result, "nextLogprob")[position].is_nan());
            assert_eq!(u32s(&result, "nextRank")[position], 0);
            continue;
        };
        let logprob = f64::from(logits[next as usize]) - log_sum;
        assert_eq!(f64s(&result, "nextLogprob")[position], logprob);
        assert_eq!(u32s(&result, "nextRank")[position], rank(logits, next));
    }
}

#[test]
fn every_layer_is_its_hidden_state_through_the_last_norm_and_the_embeddings() {
    let model = reference();
    let output = pass(&model);
    let weights = |name: &str, rows| model.weight_rows(name, 0..rows).unwrap();
    let (wte, gain, bias) = (
        weights("wte.weight", 101),
        weights("ln_f.weight", 1),
        weights("ln_f.bias", 1),
    );
    let mut scheduler = Scheduler::new(Rc::new(reference()), None, || 0.0);
    let request = r#"{"kind":"lens","top":1,"range":{"start":30,"end":33}}"#;
    let result = run(&mut scheduler, request, &[&text()]).unwrap();
    assert_eq!(result.array("norms").unwrap().shape, [3, 4]);
    for position in 30..33 {
        for layer in 0..4 {
            let state = &output.hidden_states[layer][position * 42..][..42];
            let state: Vec<f64> = state.iter().map(|&x| f64::from(x)).collect();
            let at = (position - 30) * 4 + layer;
            let norm = state.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!((f64s(&result, "norms")[at] - norm).abs() < 1e-4);
            let mean = state.iter().sum::<f64>() / 42.0;
            let variance = state.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 42.0;
            let logits: Vec<f32> = wte
                .chunks_exact(42)
                .map(|row| {
                    let parts = row.iter().zip(&state).zip(gain.iter().zip(&bias));
                    let logit = parts.map(|((w, x), (gain, bias))| {
                        let x = (x - mean) / (variance + 1e-5).sqrt();
                        f64::from(*w) * (x * f64::from(*gain) + f64::from(*bias))
                    });
                    logit.sum::<f64>() as f32
                })
                .collect();
            let best = u32s(&result, "tokens")[at];
            assert_eq!(rank(&logits, best), 1);
            let logprob = f64::from(logits[best as usize]) - log_sum_exp(&logits);
            assert!((f64s(&result, "logprobs")[at] - logprob).abs() < 1e-4);
            let entropy: f64 = logits
                .iter()
                .map(|&x| f64::from(x) - log_sum_exp(&logits))
                .map(|logprob| -logprob.exp() * logprob)
                .sum();
            assert!((f64s(&result, "entropy")[at] - entropy).abs() < 1e-4);
        }
    }
}

#[test]
fn wrong_options_are_refused_by_name() {
    for (request, option) in [
        (r#"{"kind":"lens","layers":[4]}"#, "layers[0]"),
        (r#"{"kind":"lens","top":0}"#, "top"),
        (r#"{"kind":"lens","top":101}"#, "top"),
        (r#"{"kind":"lens","range":{"start":40}}"#, "range"),
    ] {
        let mut scheduler = Scheduler::new(Rc::new(reference()), None, || 0.0);
        let error = run(&mut scheduler, request, &[&text()]).unwrap_err();
        assert_eq!(error.details()["option"], option, "{request} {error}");
    }
}
