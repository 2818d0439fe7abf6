//! The parts sum to the logit.

use crate::analysis::planted;
use crate::analysis::testing::run;
use crate::engine::forward::tests::{engine, reference};
use crate::generate::Scheduler;
use crate::model::{Dtype, Model};
use serde_json::Value;
use std::rc::Rc;

fn text() -> Vec<u32> {
    (0..40).map(|i| (i * i * 17 + 5) % 101).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The largest `difference` over positions and tokens, and `remainder`.
fn worst(model: Rc<dyn Model>) -> (f64, f64) {
    let mut scheduler = Scheduler::new(model, None, || 0.0);
    let (mut difference, mut remainder) = (0.0f64, 0.0f64);
    for position in [0, 1, 17, 31, 32, 39] {
        for (token, against) in [(0, "null"), (55, "null"), (100, "7")] {
            let request = format!(
                r#"{{"kind":"attribution","position":{position},"token":{token},"against":{against}}}"#
            );
            let result = run(&mut scheduler, &request, &[&text()]).unwrap().value;
            difference = difference.max(number(&result["difference"]).abs());
            let layers = result["layers"].as_array().unwrap();
            assert_eq!(layers.len(), 3);
            let mut sum = number(&result["tokenEmbedding"])
                + number(&result["positionEmbedding"])
                + number(&result["finalBias"]);
            for layer in layers {
                let heads: f64 = layer["heads"].as_array().unwrap().iter().map(number).sum();
                let parts = heads + number(&layer["bias"]) + number(&layer["remainder"]);
                assert!((parts - number(&layer["attention"])).abs() < 1e-12);
                remainder = remainder.max(number(&layer["remainder"]).abs());
                sum += number(&layer["attention"]) + number(&layer["mlp"]);
            }
            assert!((sum - number(&result["sum"])).abs() < 1e-12);
            let logit = number(&result["logit"]);
            assert!((logit - sum - number(&result["difference"])).abs() < 1e-12);
        }
    }
    (difference, remainder)
}

#[test]
fn parts_sum_to_the_logit_but_for_rounding() {
    let (difference, remainder) = worst(Rc::new(reference()));
    println!("f32: {difference:e} {remainder:e}");
    assert!(
        difference < 1e-5 && remainder < 1e-5,
        "{difference} {remainder}"
    );
}

#[test]
fn in_a_packed_model_they_sum_to_it_but_for_what_its_activations_lose() {
    let (difference, remainder) = worst(Rc::new(engine(Dtype::Q8)));
    println!("q8: {difference:e} {remainder:e}");
    assert!(
        difference < 0.1 && remainder < 0.1,
        "{difference} {remainder}"
    );
}

#[test]
fn the_planted_induction_head_is_what_predicts_a_repetition() {
    for mut scheduler in planted::schedulers() {
        let text = planted::text();
        let request = r#"{"kind":"attribution","position":14}"#;
        let result = run(&mut scheduler, request, &[&text]).unwrap().value;
        assert_eq!(result["token"], text[15]);
        assert_eq!(result["rank"], 1);
        let of_head = number(&result["layers"][1]["heads"][1]);
        let others = [
            &result["tokenEmbedding"],
            &result["positionEmbedding"],
            &result["layers"][0]["attention"],
            &result["layers"][1]["heads"][0],
        ];
        for other in others {
            assert!(of_head > 3.0 * number(other).abs(), "{of_head} {other}");
        }
    }
}

#[test]
fn the_token_is_the_next_of_the_text_and_at_its_end_the_likeliest() {
    let mut scheduler = Scheduler::new(Rc::new(reference()), None, || 0.0);
    let request = r#"{"kind":"attribution","position":-2}"#;
    let result = run(&mut scheduler, request, &[&text()]).unwrap().value;
    assert_eq!(result["token"], text()[39]);
    let last = run(&mut scheduler, r#"{"kind":"attribution"}"#, &[&text()]);
    assert_eq!(last.unwrap().value["rank"], 1);
    for (request, option) in [
        (r#"{"kind":"attribution","position":40}"#, "position"),
        (r#"{"kind":"attribution","token":101}"#, "token"),
        (r#"{"kind":"attribution","against":101}"#, "against"),
    ] {
        let error = run(&mut scheduler, request, &[&text()]).unwrap_err();
        assert_eq!(error.details()["option"], option, "{error}");
    }
}
