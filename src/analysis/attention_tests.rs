//! Against the maps of one pass over the whole text.

use crate::analysis::testing::run;
use crate::analysis::{AnalysisResult, ArrayData};
use crate::engine::forward::tests::{engine, reference};
use crate::generate::Scheduler;
use crate::model::{Dtype, Layers, LogitRows, Model, Rows, Taps};
use std::rc::Rc;

const N: usize = 70;

fn text(seed: u32) -> Vec<u32> {
    let id = |i: u32| (i * i * 31 + i * 7 + seed * 13) % 101;
    (0..N as u32).map(id).collect()
}

fn scheduler() -> Scheduler {
    Scheduler::new(Rc::new(engine(Dtype::Q8)), None, || 0.0)
}

/// `[layer][head][query][key]`, in one pass.
fn maps(text: &[u32]) -> Vec<Vec<Vec<Vec<f32>>>> {
    let model = engine(Dtype::Q8);
    let mut kv = model.new_kv();
    let taps = Taps {
        attentions: Layers::ALL,
        ..Taps::default()
    };
    let rows = Rows {
        kv: &mut kv,
        tokens: text,
        logits: LogitRows::None,
    };
    let output = model.forward(&mut [rows], taps).unwrap().remove(0);
    let n = text.len();
    let head = |head: &[f32]| head.chunks_exact(n).map(<[f32]>::to_vec).collect();
    let layer = |layer: Vec<f32>| layer.chunks_exact(n * n).map(head).collect();
    output.attentions.into_iter().map(layer).collect()
}

fn f32s<'a>(result: &'a AnalysisResult, name: &str) -> (&'a [usize], &'a [f32]) {
    let array = result.array(name).unwrap();
    match &array.data {
        ArrayData::F32(data) => (&array.shape, data),
        other => panic!("{other:?}"),
    }
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
fn any_part_is_the_same_part_of_one_whole_pass_bitwise() {
    let text = text(1);
    let maps = maps(&text);
    let mut scheduler = scheduler();
    let all = run(&mut scheduler, r#"{"kind":"attention"}"#, &[&text]).unwrap();
    let (shape, weights) = f32s(&all, "weights");
    assert_eq!(shape, [3, 3, N, N]);
    let flat: Vec<f32> = maps.iter().flatten().flatten().flatten().copied().collect();
    assert_eq!(weights, flat);

    let request = r#"{"kind":"attention","layers":[2,0],"heads":[1],"queries":{"start":-5},"keys":{"start":3,"end":68}}"#;
    let part = run(&mut scheduler, request, &[&text]).unwrap();
    let (shape, weights) = f32s(&part, "weights");
    assert_eq!(shape, [2, 1, 5, 65]);
    let expected: Vec<f32> = [0, 2]
        .iter()
        .flat_map(|&layer: &usize| &maps[layer][1][65..])
        .flat_map(|row| &row[3..68])
        .copied()
        .collect();
    assert_eq!(weights, expected);
    // The other positions were known.
    assert_eq!(part.value["tokensEvaluated"], 5);
    assert_eq!(part.value["layers"], serde_json::json!([0, 2]));
}

#[test]
fn the_bits_are_those_of_decoding() {
    let text = text(2);
    let maps = maps(&text);
    let mut scheduler = scheduler();
    for query in (0..N).rev() {
        let request = format!(
            r#"{{"kind":"attention","layers":[1],"queries":{{"start":{query},"end":{}}}}}"#,
            query + 1
        );
        let row = run(&mut scheduler, &request, &[&text]).unwrap();
        let expected: Vec<f32> = maps[1]
            .iter()
            .flat_map(|head| &head[query])
            .copied()
            .collect();
        assert_eq!(f32s(&row, "weights").1, expected);
    }
}

#[test]
fn averages_are_means_and_rows_sum_to_one() {
    let text = text(3);
    let maps = maps(&text);
    for (average, shape) in [
        ("heads", [3, 1, N, N]),
        ("layers", [1, 3, N, N]),
        ("both", [1, 1, N, N]),
    ] {
        let request = format!(r#"{{"kind":"attention","average":"{average}"}}"#);
        let result = run(&mut scheduler(), &request, &[&text]).unwrap();
        let (found, weights) = f32s(&result, "weights");
        assert_eq!(found, shape);
        for row in weights.chunks_exact(N) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
        let axes = |axis: usize, index: usize| {
            if shape[axis] == 1 {
                0..3
            } else {
                index..index + 1
            }
        };
        let expected: Vec<f32> = (0..shape.iter().product())
            .map(|at: usize| {
                let (place, query, key) = (at / N / N, at / N % N, at % N);
                let heads = axes(1, place % shape[1]);
                let all: Vec<f64> = axes(0, place / shape[1])
                    .flat_map(|layer| heads.clone().map(move |head| (layer, head)))
                    .map(|(layer, head)| f64::from(maps[layer][head][query][key]))
                    .collect();
                (all.iter().sum::<f64>() / all.len() as f64) as f32
            })
            .collect();
        assert_eq!(weights, expected);
    }
}

#[test]
fn a_threshold_leaves_what_reaches_it_and_normalised_rows_sum_to_one() {
    let text = text(4);
    let maps = maps(&text);
    for normalize in [false, true] {
        let request = format!(
            r#"{{"kind":"attention","threshold":0.1,"normalize":{normalize},"layers":[0,1]}}"#
        );
        let result = run(&mut scheduler(), &request, &[&text]).unwrap();
        assert_eq!(result.value["normalized"], normalize);
        assert!(result.array("weights").is_none());
        let mut found = u32s(&result, "layer")
            .iter()
            .zip(u32s(&result, "head"))
            .zip(u32s(&result, "query").iter().zip(u32s(&result, "key")))
            .zip(f32s(&result, "weight").1);
        let mut empty = 0;
        for layer in 0..2 {
            for head in 0..3 {
                for (query, row) in maps[layer as usize][head as usize].iter().enumerate() {
                    let row = row.iter().enumerate();
                    let kept: Vec<_> = row.filter(|&(_, &w)| f64::from(w) >= 0.1).collect();
                    let sum: f64 = kept.iter().map(|&(_, &w)| f64::from(w)).sum();
                    empty += usize::from(kept.is_empty());
                    for (key, &weight) in kept {
                        let expected = if normalize {
                            (f64::from(weight) / sum) as f32
                        } else {
                            weight
                        };
                        let ((at, place), &weight) = found.next().unwrap();
                        assert_eq!((*at.0, *at.1), (layer, head));
                        assert_eq!((*place.0, *place.1), (query as u32, key as u32));
                        assert_eq!(weight, expected);
                    }
                }
            }
        }
        assert!(found.next().is_none());
        assert_eq!(result.value["emptyRows"], empty);
    }
}

#[test]
fn what_is_too_large_is_refused_with_the_number_before_anything_runs() {
    // 3 * 3 * 2048 * 2048 * 4 bytes.
    let config = crate::model::Config {
        n_positions: 4096,
        ..engine(Dtype::Q8).config().clone()
    };
    let packed = crate::engine::Packed::zeroed(&config, Dtype::Q8).unwrap();
    let model = crate::engine::Engine::new(packed).unwrap();
    let mut scheduler = Scheduler::new(Rc::new(model), None, || 0.0);
    let text = vec![1; 2048];
    let error = run(&mut scheduler, r#"{"kind":"attention"}"#, &[&text]).unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
    assert!(error.to_string().contains("150994944 bytes"), "{error}");
    let error = run(&mut scheduler, r#"{"kind":"flow"}"#, &[&text]).unwrap_err();
    assert!(error.to_string().contains("2048 tokens"), "{error}");
}

#[test]
fn wrong_options_are_refused_by_name() {
    let text = text(5);
    for (request, option) in [
        (r#"{"kind":"attention","layers":[3]}"#, "layers[0]"),
        (r#"{"kind":"attention","heads":[]}"#, "heads"),
        (r#"{"kind":"attention","threshold":0}"#, "threshold"),
        (r#"{"kind":"attention","queries":{"start":70}}"#, "queries"),
        (r#"{"kind":"attention","keys":{"end":71}}"#, "keys.end"),
        (r#"{"kind":"rollout","layer":3}"#, "layer"),
        (r#"{"kind":"segments"}"#, "segments"),
        (
            r#"{"kind":"segments","segments":[{"ranges":[]}]}"#,
            "segments[0].ranges",
        ),
        (
            r#"{"kind":"segments","segments":[{"ranges":[{"start":71}]}]}"#,
            "segments[0].ranges[0].start",
        ),
    ] {
        let error = run(&mut scheduler(), request, &[&text]).unwrap_err();
        assert_eq!(error.details()["option"], option, "{request} {error}");
    }
}

/// `0.5 A + 0.5 I` of the mean over heads, in f64.
fn passed_on(text: &[u32]) -> Vec<Vec<Vec<f64>>> {
    let maps = maps(text);
    let layer = |layer: &Vec<Vec<Vec<f32>>>| {
        let at = |i: usize, j: usize| {
            let heads = layer.iter().map(|head| f64::from(head[i][j]));
            heads.sum::<f64>() / 6.0 + if i == j { 0.5 } else { 0.0 }
        };
        let n = text.len();
        (0..n).map(|i| (0..n).map(|j| at(i, j)).collect()).collect()
    };
    maps.iter().map(layer).collect()
}

#[test]
fn a_rollout_is_the_product_of_the_layers() {
    let text = text(6);
    let layers = passed_on(&text);
    let mut product = layers[0].clone();
    for layer in &layers[1..] {
        let at = |i: usize, j: usize| (0..N).map(|k| layer[i][k] * product[k][j]).sum();
        product = (0..N).map(|i| (0..N).map(|j| at(i, j)).collect()).collect();
    }
    let mut scheduler = scheduler();
    let result = run(&mut scheduler, r#"{"kind":"rollout"}"#, &[&text]).unwrap();
    let (shape, weights) = f32s(&result, "weights");
    assert_eq!(shape, [N, N]);
    for (row, expected) in weights.chunks_exact(N).zip(&product) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        for (found, expected) in row.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6);
        }
    }
    let request = r#"{"kind":"rollout","queries":{"start":-1},"layer":0}"#;
    let last = run(&mut scheduler, request, &[&text]).unwrap();
    for (found, expected) in f32s(&last, "weights").1.iter().zip(&layers[0][N - 1]) {
        assert!((f64::from(*found) - expected).abs() < 1e-7);
    }
}

#[test]
fn a_flow_of_one_layer_is_its_edge_and_of_more_no_more_than_leaves_the_source() {
    let text = &text(7)[..20];
    let layers = passed_on(text);
    let mut scheduler = scheduler();
    let request = r#"{"kind":"flow","layer":0,"queries":{}}"#;
    let result = run(&mut scheduler, request, &[text]).unwrap();
    for (row, expected) in f64s(&result, "flow").chunks_exact(20).zip(&layers[0]) {
        for (found, expected) in row.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12);
        }
    }
    let result = run(&mut scheduler, r#"{"kind":"flow"}"#, &[text]).unwrap();
    assert_eq!(result.array("flow").unwrap().shape, [1, 20]);
    for (token, &flow) in f64s(&result, "flow").iter().enumerate() {
        // Into a token flows at most what its edges hold, out of the source 1.
        let most: f64 = (token..20).map(|i| layers[0][i][token]).sum();
        assert!(flow > 0.0 && flow <= most.min(1.0) + 1e-9);
    }
}

#[test]
fn segments_that_make_up_a_text_share_all_attention() {
    let text = text(8);
    let maps = maps(&text);
    let request = r#"{"kind":"segments","segments":[
        {"name":"prompt","ranges":[{"end":20},{"start":60}]},
        {"name":"answer","ranges":[{"start":20,"end":60}]}]}"#;
    let result = run(&mut scheduler(), request, &[&text]).unwrap();
    let is_answer = |i: usize| (20..60).contains(&i);
    let mass = f64s(&result, "mass");
    for masses in mass.chunks_exact(2) {
        assert!((masses.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    }
    let sum: f64 = (20..60)
        .flat_map(|i| (0..N).filter(|&j| !is_answer(j)).map(move |j| (i, j)))
        .map(|(i, j)| f64::from(maps[2][1][i][j]))
        .sum();
    let at = (2 * 3 + 1) * 4 + 2;
    assert!((mass[at] - sum / 40.0).abs() < 1e-9);
    assert_eq!(u32s(&result, "pairs")[2], 40 * 20);
    assert!((f64s(&result, "meanWeight")[at] - sum / 800.0).abs() < 1e-9);
    assert_eq!(result.value["segments"][0]["tokens"], 30);
}

#[test]
fn models_that_are_not_exact_are_read_whole() {
    let text = text(9);
    let mut scheduler = Scheduler::new(Rc::new(reference()), None, || 0.0);
    let request = r#"{"kind":"attention","queries":{"start":-1}}"#;
    for _ in 0..2 {
        let result = run(&mut scheduler, request, &[&text]).unwrap();
        assert_eq!(result.value["tokensEvaluated"], N);
        let (_, weights) = f32s(&result, "weights");
        for row in weights.chunks_exact(N) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}
