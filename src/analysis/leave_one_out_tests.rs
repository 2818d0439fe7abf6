//! Against texts that are really written without the token, run from scratch.

use crate::analysis::testing::{assert_near, ids, logprobs, refused, run};
use crate::analysis::{AnalysisResult, ArrayData};
use crate::state::lab::{EOS, scheduler};
use proptest::prelude::*;

fn told(request: &str, text: &[u32]) -> AnalysisResult {
    run(&mut scheduler(), request, &[text]).unwrap()
}

fn changes(result: &AnalysisResult) -> &[f64] {
    match &result.array("changes").unwrap().data {
        ArrayData::F64(data) => data,
        other => panic!("{other:?}"),
    }
}

/// The tokens of the text that stay, each with its place, where one is left out.
fn without(text: &[u32], at: usize, replacement: Option<u32>) -> (Vec<u32>, Vec<usize>) {
    let mut tokens = text.to_vec();
    let mut places: Vec<usize> = (0..text.len()).collect();
    match replacement {
        Some(token) => tokens[at] = token,
        None => {
            tokens.remove(at);
            places.remove(at);
        }
    }
    (tokens, places)
}

/// The change of the scored tokens together; NaN where none is left.
fn naive(text: &[u32], at: usize, replacement: Option<u32>, scored: &[usize]) -> f64 {
    let base = logprobs(text);
    let (tokens, places) = without(text, at, replacement);
    let variant = logprobs(&tokens);
    let left: Vec<f64> = (1..tokens.len())
        .filter(|&index| scored.contains(&places[index]) && places[index] > at)
        .map(|index| base[places[index] - 1] - variant[index - 1])
        .collect();
    let unchanged = scored.iter().any(|&place| place <= at);
    match left.is_empty() && !unchanged {
        true => f64::NAN,
        false => left.iter().fold(0.0, |sum, change| sum + change),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn changes_are_those_of_texts_without_the_token(
        len in 2..80usize,
        target in prop::option::of(any::<prop::sample::Index>()),
        replacement in prop::sample::select(vec!["remove", "eos", "space"]),
    ) {
        let text = ids(len, len as u32 + 500);
        let token = match replacement {
            "eos" => Some(EOS),
            "space" => Some(32),
            _ => None,
        };
        let target = target.map(|target| target.index(len - 1) + 1);
        let option = target.map_or(String::new(), |at| format!(r#","target":{at}"#));
        let request =
            format!(r#"{{"kind":"leaveOneOut","replacement":"{replacement}"{option}}}"#);
        let result = told(&request, &text);
        let all: Vec<usize> = (1..len).collect();
        let (scored, end) = match target {
            Some(at) => (vec![at], at),
            None => (all, len - 1),
        };
        let found = changes(&result);
        prop_assert_eq!(found.len(), end);
        for (at, &found) in found.iter().enumerate() {
            let expected = naive(&text[..target.map_or(len, |at| at + 1)], at, token, &scored);
            // They are kept in f32.
            let near = (found - expected).abs() < 1e-5 * len as f64;
            prop_assert!(near || (found.is_nan() && expected.is_nan()), "{}: {}, not {}", at, found, expected);
        }
        let base = logprobs(&text);
        let base: f64 = match target {
            Some(at) => base[at - 1],
            None => base.iter().sum(),
        };
        prop_assert!((result.value["logprob"].as_f64().unwrap() - base).abs() < 1e-9);
    }
}

#[test]
fn a_token_that_is_not_in_the_text_can_be_looked_at_after_its_end() {
    let text = ids(12, 41);
    let result = told(r#"{"kind":"leaveOneOut","token":9}"#, &text);
    let whole = [&text[..], &[9]].concat();
    assert_eq!(result.value["target"]["index"], 12);
    assert_near(
        result.value["logprob"].as_f64().unwrap(),
        *logprobs(&whole).last().unwrap(),
    );
    let same = told(r#"{"kind":"leaveOneOut","target":12}"#, &whole);
    assert_eq!(changes(&result), changes(&same));
    let within = told(r#"{"kind":"leaveOneOut","target":5,"token":9}"#, &text);
    assert_eq!(within.value["target"]["id"], 9);
    assert_eq!(changes(&within).len(), 5);
}

#[test]
fn putting_the_same_token_there_changes_nothing() {
    let mut text = ids(40, 42);
    text[7] = EOS;
    let request = r#"{"kind":"leaveOneOut","replacement":"eos","range":{"start":7,"end":8}}"#;
    assert_eq!(changes(&told(request, &text)), [0.0]);
}

#[test]
fn where_nothing_is_left_to_predict_from_there_is_no_change_to_tell() {
    let result = told(r#"{"kind":"leaveOneOut"}"#, &[5, 6]);
    assert!(result.value["tokens"][0]["change"].is_null());
    let result = told(r#"{"kind":"leaveOneOut","replacement":"eos"}"#, &[5, 6]);
    assert!(result.value["tokens"][0]["change"].is_f64());
}

#[test]
fn bad_requests_are_refused() {
    let text = ids(6, 43);
    let fault = |rest: &str| refused(&format!(r#"{{"kind":"leaveOneOut",{rest}}}"#), &[&text]);
    assert_eq!(fault(r#""target":0"#), "target");
    assert_eq!(fault(r#""target":6"#), "target");
    assert_eq!(fault(r#""target":3,"range":{"end":4}"#), "range.end");
    let error = run(
        &mut scheduler(),
        r#"{"kind":"leaveOneOut","token":512}"#,
        &[&text],
    );
    assert_eq!(error.unwrap_err().code(), "invalid-token");
    let error = run(&mut scheduler(), r#"{"kind":"leaveOneOut"}"#, &[&[1]]).unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
}
