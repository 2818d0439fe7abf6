//! Two texts against all logits of either; options against distributions that
//! are processed one by one.

use crate::analysis::testing::{assert_near, ids, refused, run};
use crate::generate::log_prob::{kl_divergence, rank};
use crate::state::lab::{all_logits, scheduler};
use serde_json::Value;

fn told(request: &str, inputs: &[&[u32]]) -> Value {
    run(&mut scheduler(), request, inputs).unwrap().value
}

#[test]
fn two_texts_part_at_a_token_and_are_compared_at_what_both_have_after_it() {
    let a = ids(60, 61);
    let mut b = a.clone();
    b[20] = (b[20] + 1) % 250;
    b.remove(40);
    let result = told(r#"{"kind":"compare"}"#, &[&a, &b]);
    assert_eq!(result["firstDivergence"], 20);
    assert_eq!(result["sharedTokens"], 20);
    let (rows_a, rows_b) = (all_logits(&a), all_logits(&b));
    let places = result["positions"].as_array().unwrap();
    assert_eq!(places.len(), 38);
    for place in places {
        let [at_a, at_b] = ["a", "b"].map(|name| place[name].as_u64().unwrap() as usize);
        assert_eq!(a[at_a], b[at_b]);
        let (row_a, row_b) = (&rows_a[at_a - 1], &rows_b[at_b - 1]);
        assert_near(place["kl"].as_f64().unwrap(), kl_divergence(row_a, row_b));
        assert_eq!(place["rankA"], rank(row_a, a[at_a]));
        assert_eq!(place["rankB"], rank(row_b, a[at_a]));
    }
    let next = kl_divergence(rows_a.last().unwrap(), rows_b.last().unwrap());
    assert_near(result["next"]["kl"].as_f64().unwrap(), next);
    let part = told(r#"{"kind":"compare","range":{"start":50}}"#, &[&a, &b]);
    assert_eq!(
        part["positions"].as_array().unwrap(),
        &places[places.len() - 10..]
    );
}

#[test]
fn equal_texts_do_not_part() {
    let a = ids(20, 62);
    let result = told(r#"{"kind":"compare"}"#, &[&a, &a]);
    assert!(result["firstDivergence"].is_null());
    assert_eq!(result["next"]["kl"], 0.0);
    // A text that goes on parts where the other ends.
    let longer = [&a[..], &[1]].concat();
    assert_eq!(
        told(r#"{"kind":"compare"}"#, &[&a, &longer])["firstDivergence"],
        20
    );
}

#[test]
fn one_text_under_two_sets_of_options_is_compared_position_by_position() {
    let text = ids(30, 63);
    let (a, b) = (
        r#"{"topK":0,"temperature":0.5}"#,
        r#"{"topK":0,"temperature":2}"#,
    );
    let request = format!(r#"{{"kind":"compare","options":[{a},{b}],"range":{{"start":10}}}}"#);
    let result = told(&request, &[&text]);
    let rows = all_logits(&text);
    let places = result["positions"].as_array().unwrap();
    assert_eq!(places.len(), 20);
    let mut sum = 0.0;
    for (index, place) in (10..).zip(places) {
        let row = &rows[index - 1];
        let [hot, cold]: [Vec<f32>; 2] = [2.0, 0.5].map(|t| row.iter().map(|x| x / t).collect());
        let kl = place["kl"].as_f64().unwrap();
        assert!((kl - kl_divergence(&cold, &hot)).abs() < 1e-6);
        sum += kl;
        let js = place["js"].as_f64().unwrap();
        assert!(js > 0.0 && js < 2f64.ln());
        assert_eq!(
            (&place["index"], &place["id"]),
            (&index.into(), &text[index].into())
        );
        // A temperature moves no rank.
        assert_eq!(place["rankA"], place["rankB"]);
        assert_eq!(place["rankA"], rank(row, text[index]));
    }
    assert_near(result["meanKl"].as_f64().unwrap(), sum / 20.0);
    assert_eq!(result["firstDivergence"], 10);
}

#[test]
fn the_same_options_differ_nowhere_and_a_token_ruled_out_has_no_rank() {
    let text = ids(12, 64);
    let request = r#"{"kind":"compare","options":[{"topK":3},{"topK":3}]}"#;
    let same = told(request, &[&text]);
    assert!(same["firstDivergence"].is_null());
    assert_eq!(
        (&same["meanKl"], &same["meanJs"]),
        (&0.0.into(), &0.0.into())
    );
    assert_eq!(same["positions"].as_array().unwrap().len(), 11);
    let request = format!(
        r#"{{"kind":"compare","options":[{{"topK":0}},{{"topK":0,"suppressTokens":[{}]}}],
            "range":{{"start":5,"end":6}}}}"#,
        text[5]
    );
    let place = &told(&request, &[&text])["positions"][0];
    // What the first lets come and the second rules out is infinitely far.
    assert!(place["kl"].is_null() && place["rankB"].is_null() && place["logprobB"].is_null());
    assert!(place["rankA"].is_u64() && place["js"].as_f64().unwrap() > 0.0);
}

#[test]
fn divergences_are_those_computed_by_hand() {
    // p = (1/2, 1/2), q = (1/4, 3/4).
    let (p, q) = ([0.0, 0.0], [0.0, 3f32.ln()]);
    let (kl, js) = super::divergences((&p, 2f64.ln()), (&q, 4f64.ln()));
    assert!((kl - (2f64.ln() - 3f64.ln() / 2.0)).abs() < 1e-7);
    let m = [0.375f64, 0.625];
    let half = |p: [f64; 2]| (0..2).map(|i| p[i] * (p[i] / m[i]).ln()).sum::<f64>() / 2.0;
    assert!((js - half([0.5, 0.5]) - half([0.25, 0.75])).abs() < 1e-7);
    let apart = super::divergences(
        (&[0.0, f32::NEG_INFINITY], 0.0),
        (&[f32::NEG_INFINITY, 0.0], 0.0),
    );
    assert_eq!(apart.0, f64::INFINITY);
    assert!((apart.1 - 2f64.ln()).abs() < 1e-12);
}

#[test]
fn bad_requests_are_refused() {
    let text = ids(6, 65);
    let error =
        |request: &str, inputs: &[&[u32]]| run(&mut scheduler(), request, inputs).unwrap_err();
    assert_eq!(
        error(r#"{"kind":"compare"}"#, &[&text]).code(),
        "invalid-argument"
    );
    let both = error(r#"{"kind":"compare","options":[{},{}]}"#, &[&text, &text]);
    assert_eq!(both.code(), "invalid-argument");
    let request = r#"{"kind":"compare","options":[{},{"topP":2}]}"#;
    assert_eq!(refused(request, &[&text]), "options[1].topP");
    let request = r#"{"kind":"compare","promptTokens":1}"#;
    assert_eq!(refused(request, &[&text, &text]), "promptTokens");
}
