//! Against each window's logits computed at once, as in Hugging Face's loop.

use crate::analysis::testing::{assert_near, ids, logprobs, refused, run};
use crate::analysis::{AnalysisResult, ArrayData};
use crate::state::lab::{EOS, N_POSITIONS, scheduler};
use proptest::prelude::*;

fn told(request: &str, text: &[u32]) -> AnalysisResult {
    run(&mut scheduler(), request, &[text]).unwrap()
}

fn scores(result: &AnalysisResult) -> &[f64] {
    match &result.array("logprobs").unwrap().data {
        ArrayData::F64(data) => data,
        other => panic!("{other:?}"),
    }
}

/// "Perplexity of fixed-length models", with each token scored once.
fn naive(text: &[u32], window: usize, stride: usize) -> Vec<f64> {
    let mut scores = Vec::new();
    let mut previous_end = 0;
    for begin in (0..text.len()).step_by(stride) {
        let end = text.len().min(begin + window);
        let target_len = end - previous_end;
        let own = logprobs(&text[begin..end]);
        scores.extend_from_slice(&own[own.len() - target_len.min(own.len())..]);
        previous_end = end;
        if end == text.len() {
            break;
        }
    }
    scores
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn windows_are_those_of_the_naive_loop(
        len in 2..400usize,
        window in 2..=N_POSITIONS,
        stride in any::<prop::sample::Index>(),
        start in any::<prop::sample::Index>(),
    ) {
        let text = ids(len, len as u32);
        let stride = stride.index(window - 1) + 1;
        // Windows of few tokens over a long text are many.
        prop_assume!(len / stride < 60);
        let expected = naive(&text, window, stride);
        prop_assert_eq!(expected.len(), len - 1);
        let options = format!(r#""window":{window},"stride":{stride}"#);
        let result = told(&format!(r#"{{"kind":"perplexity",{options}}}"#), &text);
        for (&found, &expected) in scores(&result).iter().zip(&expected) {
            prop_assert!((found - expected).abs() < 1e-9);
        }
        prop_assert_eq!(scores(&result).len(), len - 1);
        // Part of the text has the scores that it has in the whole, bitwise.
        let start = start.index(len);
        let range = format!(r#"{{"kind":"perplexity",{options},"range":{{"start":{start}}}}}"#);
        let part = told(&range, &text);
        let first = start.max(1);
        prop_assert_eq!(&part.value["first"], first);
        prop_assert_eq!(scores(&part), &scores(&result)[first - 1..]);
    }
}

#[test]
fn numbers_are_of_one_another_and_bytes_are_those_of_the_scored_text() {
    let text: Vec<u32> = "naïve café".bytes().map(u32::from).collect();
    let result = told(r#"{"kind":"perplexity"}"#, &text);
    let number = |name: &str| result.value[name].as_f64().unwrap();
    let total: f64 = logprobs(&text).iter().sum();
    let count = (text.len() - 1) as f64;
    assert_near(number("logprob"), total);
    assert_near(number("perplexity").ln(), -total / count);
    assert_near(number("bitsPerToken"), -total / count / 2f64.ln());
    // Tokens of a byte each, the first of which is not scored.
    assert_near(number("bitsPerByte"), number("bitsPerToken"));
    assert_eq!(result.value["bytesScored"], text.len() - 1);
    assert_eq!(result.value["windows"], 1);
}

#[test]
fn with_the_end_of_text_before_it_the_first_token_is_scored_too() {
    let text = ids(20, 21);
    let result = told(r#"{"kind":"perplexity","bos":true}"#, &text);
    let expected = logprobs(&[&[EOS], &text[..]].concat());
    assert_eq!(result.value["tokensScored"], 20);
    assert_eq!(result.value["first"], 0);
    for (&found, &expected) in scores(&result).iter().zip(&expected) {
        assert_near(found, expected);
    }
    let bytes = told(r#"{"kind":"perplexity","bos":true}"#, &[97, 98]);
    assert_eq!(bytes.value["bytesScored"], 2);
}

#[test]
fn a_single_token_has_no_perplexity() {
    let result = told(r#"{"kind":"perplexity"}"#, &[7]);
    assert_eq!(result.value["tokensScored"], 0);
    assert!(result.value["perplexity"].is_null() && result.value["bitsPerByte"].is_null());
}

#[test]
fn windows_that_give_some_token_no_context_are_refused() {
    let text = ids(10, 22);
    for (request, name) in [
        (r#"{"kind":"perplexity","window":1}"#.to_owned(), "window"),
        (
            format!(r#"{{"kind":"perplexity","window":{}}}"#, N_POSITIONS + 1),
            "window",
        ),
        (
            r#"{"kind":"perplexity","window":8,"stride":8}"#.to_owned(),
            "stride",
        ),
        (r#"{"kind":"perplexity","stride":0}"#.to_owned(), "stride"),
    ] {
        assert_eq!(refused(&request, &[&text]), name);
    }
}
