//! Against all logits of the text at once, with a model that is really run.

use crate::analysis::testing::{assert_near, ids, logprobs, refused, run};
use crate::generate::log_prob::rank;
use crate::state::lab::{N_POSITIONS, all_logits, scheduler};

#[test]
fn every_token_is_told_as_all_logits_have_it() {
    let text = ids(70, 1);
    let (logits, expected) = (all_logits(&text), logprobs(&text));
    let result = run(&mut scheduler(), r#"{"kind":"tokens","top":3}"#, &[&text]).unwrap();
    let told = result.value["tokens"].as_array().unwrap();
    assert_eq!(told.len(), 70);
    assert!(told[0]["expected"].is_null());
    for index in 1..70 {
        let (row, token) = (&logits[index - 1], &told[index]["expected"]);
        let number = |name: &str| token[name].as_f64().unwrap();
        assert_eq!(told[index]["id"], text[index]);
        assert_near(number("logprob"), expected[index - 1]);
        assert_near(number("surprisalBits"), -expected[index - 1] / 2f64.ln());
        assert_eq!(token["rank"], rank(row, text[index]));
        let shares = row.iter().map(|&x| f64::from(x));
        let sum: f64 = shares.clone().map(f64::exp).sum();
        let entropy: f64 = shares.map(|x| x.exp() / sum * (sum.ln() - x)).sum();
        assert_near(number("entropy"), entropy);
        let top = token["top"].as_array().unwrap();
        let ranks: Vec<u32> = top
            .iter()
            .map(|other| rank(row, other["id"].as_u64().unwrap() as u32))
            .collect();
        assert_eq!(ranks, [1, 2, 3]);
    }
    assert_near(
        result.value["logprob"].as_f64().unwrap(),
        expected.iter().sum(),
    );
}

#[test]
fn a_range_is_a_part_of_the_whole_bitwise_and_known_blocks_are_not_run_again() {
    let text = ids(100, 2);
    let mut scheduler = scheduler();
    let whole = run(&mut scheduler, r#"{"kind":"tokens"}"#, &[&text]).unwrap();
    assert_eq!(whole.value["tokensEvaluated"], 99);
    let request = r#"{"kind":"tokens","range":{"start":-10,"end":97}}"#;
    let part = run(&mut scheduler, request, &[&text]).unwrap();
    let tokens = whole.value["tokens"].as_array().unwrap();
    assert_eq!(part.value["tokens"].as_array().unwrap(), &tokens[90..97]);
    assert_eq!(part.value["tokensEvaluated"], 7);
    let first = run(
        &mut scheduler,
        r#"{"kind":"tokens","range":{"end":1}}"#,
        &[&text],
    )
    .unwrap();
    assert_eq!(first.value["tokensEvaluated"], 0);
}

#[test]
fn pieces_and_offsets_are_those_of_the_text() {
    // A token a byte: those of one character each carry all of it.
    let text: Vec<u32> = "aé😀".bytes().map(u32::from).collect();
    let result = run(&mut scheduler(), r#"{"kind":"tokens"}"#, &[&text]).unwrap();
    let tokens = result.value["tokens"].as_array().unwrap();
    let places: Vec<_> = tokens
        .iter()
        .map(|token| {
            (
                token["start"].as_u64().unwrap(),
                token["end"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        places,
        [(0, 1), (1, 2), (1, 2), (2, 4), (2, 4), (2, 4), (2, 4)]
    );
    assert_eq!(result.value["tokens"][0]["piece"], "a");
}

#[test]
fn bad_requests_are_refused_before_anything_runs() {
    let text = ids(10, 3);
    assert_eq!(refused(r#"{"kind":"tokens","top":101}"#, &[&text]), "top");
    assert_eq!(
        refused(r#"{"kind":"tokens","range":{"start":10}}"#, &[&text]),
        "range"
    );
    let long = ids(N_POSITIONS + 1, 4);
    let error = run(&mut scheduler(), r#"{"kind":"tokens"}"#, &[&long]).unwrap_err();
    assert_eq!(error.code(), "context-overflow");
    let error = run(&mut scheduler(), r#"{"kind":"tokens"}"#, &[&text, &text]).unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
}
