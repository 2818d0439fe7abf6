//! Against hidden states of one pass over the whole text.

use crate::analysis::testing::{ids, logprobs, refused, run};
use crate::analysis::{AnalysisResult, ArrayData};
use crate::model::{LogitRows, Rows, Taps};
use crate::state::lab::{model, scheduler};

fn matrix<'r>(result: &'r AnalysisResult, name: &str) -> &'r [f32] {
    match &result.array(name).unwrap().data {
        ArrayData::F32(data) => data,
        other => panic!("{other:?}"),
    }
}

fn hidden(text: &[u32], layer: usize) -> Vec<Vec<f64>> {
    let model = model();
    let taps = Taps {
        hidden_states: true,
        ..Taps::default()
    };
    let rows = Rows {
        kv: &mut model.new_kv(),
        tokens: text,
        logits: LogitRows::None,
    };
    let output = model.forward(&mut [rows], taps).unwrap().remove(0);
    output.hidden_states[layer]
        .chunks_exact(model.config().n_embd)
        .map(|row| row.iter().map(|&x| f64::from(x)).collect())
        .collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn cosines_are_those_of_the_hidden_states_at_that_layer() {
    let text = ids(75, 51);
    for layer in 0..3 {
        for range in [0..75, 33..70] {
            let states = &hidden(&text, layer)[range.clone()];
            let n = range.len();
            let mut scheduler = scheduler();
            let request = |centered: bool| {
                format!(
                    r#"{{"kind":"correlation","layer":{layer},"centered":{centered},
                        "range":{{"start":{},"end":{}}}}}"#,
                    range.start, range.end
                )
            };
            let result = run(&mut scheduler, &request(false), &[&text]).unwrap();
            let centered = run(&mut scheduler, &request(true), &[&text]).unwrap();
            let mean: Vec<f64> = (0..states[0].len())
                .map(|i| states.iter().map(|row| row[i]).sum::<f64>() / n as f64)
                .collect();
            let less = |row: &[f64]| -> Vec<f64> {
                row.iter().zip(&mean).map(|(x, mean)| x - mean).collect()
            };
            for i in 0..n {
                for j in 0..n {
                    let expected = cosine(&states[i], &states[j]);
                    let found = f64::from(matrix(&result, "cosines")[i * n + j]);
                    assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
                    let expected = cosine(&less(&states[i]), &less(&states[j]));
                    let found = f64::from(matrix(&centered, "cosines")[i * n + j]);
                    assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
                }
            }
            assert_eq!(result.value["layer"], layer);
        }
    }
}

#[test]
fn the_last_layer_is_the_default_and_counts_from_the_end() {
    let text = ids(9, 52);
    let told = |request: &str| run(&mut scheduler(), request, &[&text]).unwrap();
    let last = told(r#"{"kind":"correlation"}"#);
    assert_eq!(last.value["layer"], 2);
    assert_eq!(last, told(r#"{"kind":"correlation","layer":2}"#));
    assert_eq!(
        told(r#"{"kind":"correlation","layer":-3}"#).value["layer"],
        0
    );
}

#[test]
fn influence_is_what_a_later_token_loses_without_the_earlier_one() {
    let text = ids(20, 53);
    let request = r#"{"kind":"correlation","influence":true,"range":{"start":4,"end":18}}"#;
    let result = run(&mut scheduler(), request, &[&text]).unwrap();
    let found = matrix(&result, "influence");
    let base = logprobs(&text[..18]);
    for i in 0..14 {
        let mut variant = text[..18].to_vec();
        variant.remove(4 + i);
        let variant = logprobs(&variant);
        for j in 0..14 {
            let expected = match j > i {
                true => base[4 + j - 1] - variant[4 + j - 2],
                false => 0.0,
            };
            let found = f64::from(found[i * 14 + j]);
            assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
        }
    }
}

#[test]
fn bad_requests_are_refused() {
    let text = ids(6, 54);
    let fault = |rest: &str| refused(&format!(r#"{{"kind":"correlation",{rest}}}"#), &[&text]);
    assert_eq!(fault(r#""layer":3"#), "layer");
    assert_eq!(fault(r#""layer":-4"#), "layer");
    assert_eq!(fault(r#""replacement":"eos""#), "replacement");
}
