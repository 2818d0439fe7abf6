//! Heads that were planted are found.

use crate::analysis::planted;
use crate::analysis::testing::run;
use crate::analysis::{AnalysisResult, ArrayData};

fn numbers<'a>(result: &'a AnalysisResult, name: &str) -> &'a [f64] {
    match &result.array(name).unwrap().data {
        ArrayData::F64(data) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn planted_heads_have_the_highest_scores_of_their_kinds() {
    for mut scheduler in planted::schedulers() {
        for request in [
            r#"{"kind":"heads","excludeCurrentToken":true}"#,
            r#"{"kind":"heads","excludeCurrentToken":true,"excludeBos":true}"#,
            r#"{"kind":"heads","measure":"abs","excludeCurrentToken":true}"#,
        ] {
            let result = run(&mut scheduler, request, &[&planted::text()]).unwrap();
            for (kind, layer, head) in [
                ("previousToken", 0, 0),
                ("duplicateToken", 1, 0),
                ("induction", 1, 1),
            ] {
                let best = &result.value["ranking"][kind][0];
                assert_eq!(
                    (best["layer"].as_u64(), best["head"].as_u64()),
                    (Some(layer), Some(head)),
                    "{kind} {request} {:?}",
                    numbers(&result, kind)
                );
            }
        }
    }
}

#[test]
fn a_sharp_head_scores_near_one_and_the_idle_one_looks_everywhere() {
    for mut scheduler in planted::schedulers() {
        let request = r#"{"kind":"heads"}"#;
        let result = run(&mut scheduler, request, &[&planted::text()]).unwrap();
        // All but the first token have one before them.
        assert!(numbers(&result, "previousToken")[0] > 0.94);
        assert!((numbers(&result, "meanDistance")[0] - 0.95).abs() < 0.02);
        assert!(numbers(&result, "entropy")[0] < 0.05);
        // A uniform row over k keys has entropy ln k and a first token's mass of 1/k.
        let entropy: f64 = (1..=20).map(|k| f64::from(k).ln()).sum::<f64>() / 20.0;
        assert!((numbers(&result, "entropy")[1] - entropy).abs() < 1e-5);
        let mass: f64 = (2..=20).map(|k| 1.0 / f64::from(k)).sum::<f64>() / 19.0;
        assert!((numbers(&result, "firstTokenMass")[1] - mass).abs() < 1e-6);
    }
}

#[test]
fn the_heads_that_predict_a_repetition_are_the_ones_that_are_missed() {
    for mut scheduler in planted::schedulers() {
        for method in ["zero", "mean"] {
            let request =
                format!(r#"{{"kind":"importance","method":"{method}","range":{{"start":11}}}}"#);
            let result = run(&mut scheduler, &request, &[&planted::text()]).unwrap();
            assert_eq!(result.value["ranking"].as_array().unwrap().len(), 4);
            let change = numbers(&result, "change");
            // Induction, and the head that tells it what stood before.
            assert!(change[3] < -5.0 && change[0] < -5.0, "{method} {change:?}");
            // The duplicate-token head writes nothing, nor does the idle one.
            assert!(change[1].abs() < 1e-9 && change[2].abs() < 1e-9);
        }
    }
}

#[test]
fn a_change_is_the_difference_of_two_log_likelihoods() {
    let text = planted::text();
    let [mut scheduler, _] = planted::schedulers();
    let only = r#"{"kind":"importance","layers":[1],"heads":[1],"method":"zero"}"#;
    let one = run(&mut scheduler, only, &[&text]).unwrap();
    let all = r#"{"kind":"importance","method":"zero"}"#;
    let all = run(&mut scheduler, all, &[&text]).unwrap();
    assert_eq!(numbers(&one, "change")[0], numbers(&all, "change")[3]);
    assert_eq!(one.value["logLikelihood"], all.value["logLikelihood"]);
    assert_eq!(one.value["tokensScored"], 19);
    let error = run(&mut scheduler, r#"{"kind":"importance"}"#, &[&[1]]).unwrap_err();
    assert_eq!(error.details()["option"], "range");
}
