//! Against the logits at that position, and against what a generation tells of
//! the same options.

use crate::analysis::testing::{assert_near, ids, refused, run};
use crate::analysis::{AnalysisResult, ArrayData};
use crate::generate::log_prob::log_sum_exp;
use crate::generate::{Event, GenerateOptions, GenerationResult, Input};
use crate::state::lab::{EOS, all_logits, scheduler};

fn told(request: &str, text: &[u32]) -> AnalysisResult {
    run(&mut scheduler(), request, &[text]).unwrap()
}

fn floats<'r>(result: &'r AnalysisResult, name: &str) -> &'r [f32] {
    match &result.array(name).unwrap().data {
        ArrayData::F32(data) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_model_alone_is_its_softmax_at_that_position() {
    let text = ids(60, 11);
    let request = r#"{"kind":"distribution","position":40,"full":true,"top":5}"#;
    let result = told(request, &text);
    let row = &all_logits(&text)[40];
    let log_sum = log_sum_exp(row);
    for (&found, &logit) in floats(&result, "logprobs").iter().zip(row) {
        assert!((f64::from(found) - (f64::from(logit) - log_sum)).abs() < 1e-6);
    }
    assert!(result.value["processed"].is_null());
    assert!(result.array("processedLogprobs").is_none());
    let next = &result.value["next"];
    assert_eq!(next["id"], text[41]);
    let expected = f64::from(row[text[41] as usize]) - log_sum;
    assert_near(next["logprob"].as_f64().unwrap(), expected);
    assert_eq!(result.value["top"].as_array().unwrap().len(), 5);
    let last = told(r#"{"kind":"distribution"}"#, &text);
    assert_eq!(last.value["position"], 59);
    assert!(last.value["next"].is_null() && last.arrays.is_empty());
}

/// The first token's log-probabilities as a generation tells them.
fn generated(text: &[u32], options: GenerateOptions) -> GenerationResult {
    let mut scheduler = scheduler();
    let options = GenerateOptions {
        max_tokens: 1,
        logprobs: Some(20),
        seed: Some(1),
        ..options
    };
    let job = scheduler.add_generation(Input::Tokens(text.to_vec()), &options);
    loop {
        for (id, event) in scheduler.step() {
            if let Event::Done(result) = event {
                assert_eq!(id, job.clone().unwrap());
                return result;
            }
        }
    }
}

#[test]
fn processed_it_is_what_a_generation_draws_from() {
    let text = ids(30, 12);
    for (json, options) in [
        (
            r#"{"temperature":0.7,"topK":20,"topP":0.9,"repetitionPenalty":1.3}"#,
            GenerateOptions {
                temperature: 0.7,
                top_k: 20,
                top_p: 0.9,
                repetition_penalty: 1.3,
                ..GenerateOptions::default()
            },
        ),
        (
            r#"{"topK":0,"minP":0.1,"minNewTokens":3,"suppressTokens":[5,6]}"#,
            GenerateOptions {
                top_k: 0,
                min_p: 0.1,
                min_new_tokens: Some(3),
                suppress_tokens: vec![5, 6],
                ..GenerateOptions::default()
            },
        ),
    ] {
        let request = format!(r#"{{"kind":"distribution","options":{json},"full":true}}"#);
        let result = told(&request, &text);
        let expected = generated(&text, options);
        let expected = &expected.logprobs.unwrap()[0].top;
        let top = result.value["top"].as_array().unwrap();
        assert_eq!(top.len(), expected.len());
        for (found, expected) in top.iter().zip(expected) {
            assert_eq!(found["id"], expected.id);
            assert_eq!(found["logprob"].as_f64(), Some(expected.logprob));
            assert_eq!(
                found["processedLogprob"].as_f64(),
                expected.processed_logprob
            );
        }
        let processed = floats(&result, "processedLogprobs");
        let left = processed.iter().filter(|&&score| score > f32::NEG_INFINITY);
        assert_eq!(result.value["processed"]["left"], left.count());
        let sum: f64 = processed.iter().map(|&score| f64::from(score).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        let mass: f64 = floats(&result, "logprobs")
            .iter()
            .zip(processed)
            .filter(|&(_, &score)| score > f32::NEG_INFINITY)
            .map(|(&logprob, _)| f64::from(logprob).exp())
            .sum();
        let told = result.value["processed"]["mass"].as_f64().unwrap();
        assert!((told - mass).abs() < 1e-5, "{told}, not {mass}");
    }
}

#[test]
fn a_constraint_counts_from_the_end_of_the_prompt() {
    // "ab" and then "c" of the output; the expression wants "cd".
    let text: Vec<u32> = "abc".bytes().map(u32::from).collect();
    let options = r#"{"constraint":{"regex":"cd"},"topK":0}"#;
    let request = format!(r#"{{"kind":"distribution","promptTokens":2,"options":{options}}}"#);
    let result = told(&request, &text);
    assert_eq!(result.value["processed"]["left"], 1);
    assert_eq!(result.value["processed"]["top"][0]["id"], u32::from(b'd'));
    assert_eq!(result.value["processed"]["entropy"], 0.0);
}

#[test]
fn where_all_is_ruled_out_that_is_told() {
    let text: Vec<u32> = "abx".bytes().map(u32::from).collect();
    let options = r#"{"constraint":{"regex":"cd"}}"#;
    let request = format!(r#"{{"kind":"distribution","promptTokens":2,"options":{options}}}"#);
    let result = told(&request, &text);
    let processed = &result.value["processed"];
    assert_eq!(
        (&processed["left"], &processed["mass"]),
        (&0.into(), &0.0.into())
    );
    assert!(processed["entropy"].is_null());
    assert!(result.value["top"][0]["processedLogprob"].is_null());
}

#[test]
fn what_depends_on_more_than_the_text_is_refused() {
    let text = ids(5, 13);
    let fault = |rest: &str| refused(&format!(r#"{{"kind":"distribution",{rest}}}"#), &[&text]);
    assert_eq!(
        fault(r#""options":{"mirostat":{"tau":5,"eta":0.1}}"#),
        "options.mirostat"
    );
    assert_eq!(
        fault(r#""options":{"guidanceScale":2}"#),
        "options.guidanceScale"
    );
    assert_eq!(fault(r#""options":{"topP":2}"#), "options.topP");
    assert_eq!(
        fault(r#""options":{"ablateHeads":[{"layer":0,"head":0}]}"#),
        "options.ablateHeads"
    );
    assert_eq!(fault(r#""position":5"#), "position");
    assert_eq!(
        fault(r#""position":1,"promptTokens":3,"options":{}"#),
        "promptTokens"
    );
    assert_eq!(fault(r#""promptTokens":3"#), "promptTokens");
}

#[test]
fn empty_text_is_the_end_of_text_token() {
    let result = told(r#"{"kind":"distribution","top":1}"#, &[]);
    let expected = told(r#"{"kind":"distribution","top":1}"#, &[EOS]);
    assert_eq!(result.value, expected.value);
}
