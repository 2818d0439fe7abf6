//! Counts by hand, and against a quadratic search.

use crate::analysis::testing::{ids, refused, run};
use crate::state::lab::scheduler;
use proptest::prelude::*;
use serde_json::Value;

fn told(request: &str, inputs: &[&[u32]]) -> Value {
    run(&mut scheduler(), request, inputs).unwrap().value
}

#[test]
fn counts_ratios_and_text_by_hand() {
    // abcabca
    let text: Vec<u32> = "abcabca".bytes().map(u32::from).collect();
    let result = told(r#"{"kind":"ngrams","maxN":3,"top":2}"#, &[&text]);
    let [one, two, three] = &result["ngrams"].as_array().unwrap()[..] else {
        panic!("{result}")
    };
    assert_eq!((&one["total"], &one["distinct"]), (&7.into(), &3.into()));
    assert_eq!(one["top"][0]["text"], "a");
    assert_eq!(one["top"][0]["count"], 3);
    assert_eq!((&two["total"], &two["distinct"]), (&6.into(), &3.into()));
    assert_eq!(two["repetition"], 0.5);
    assert_eq!(two["distinctRatio"], 3.0 / 7.0);
    // All of it comes twice: the first that came is first.
    assert_eq!(two["top"][0]["text"], "ab");
    assert_eq!(two["top"][1]["text"], "bc");
    assert_eq!(
        (&three["total"], &three["distinct"]),
        (&5.into(), &3.into())
    );
    assert!(three["novel"].is_null());
}

#[test]
fn novelty_is_against_a_prompt_within_the_text_or_beside_it() {
    let whole: Vec<u32> = "abcd bcxd".bytes().map(u32::from).collect();
    let inside = told(r#"{"kind":"ngrams","maxN":2,"promptTokens":5}"#, &[&whole]);
    let beside = told(r#"{"kind":"ngrams","maxN":2}"#, &[&whole[5..], &whole[..5]]);
    assert_eq!(inside, beside);
    // Of b c x d: x; of bc cx xd: cx and xd.
    assert_eq!(inside["ngrams"][0]["novel"], 1);
    assert_eq!(inside["ngrams"][0]["novelty"], 0.25);
    assert_eq!(inside["ngrams"][1]["novel"], 2);
    assert_eq!(inside["promptTokens"], 5);
}

#[test]
fn runs_longer_than_the_text_are_none() {
    let result = told(r#"{"kind":"ngrams","maxN":16}"#, &[&[1, 2]]);
    let last = &result["ngrams"][15];
    assert_eq!((&last["total"], &last["distinct"]), (&0.into(), &0.into()));
    assert_eq!(
        (&last["repetition"], &last["distinctRatio"]),
        (&0.0.into(), &0.0.into())
    );
}

#[test]
fn bad_requests_are_refused() {
    let text = ids(4, 31);
    assert_eq!(refused(r#"{"kind":"ngrams","maxN":0}"#, &[&text]), "maxN");
    assert_eq!(refused(r#"{"kind":"ngrams","maxN":17}"#, &[&text]), "maxN");
    assert_eq!(refused(r#"{"kind":"ngrams","top":1001}"#, &[&text]), "top");
    assert_eq!(
        refused(r#"{"kind":"ngrams","promptTokens":4}"#, &[&text]),
        "promptTokens"
    );
    let both = r#"{"kind":"ngrams","promptTokens":1}"#;
    assert_eq!(refused(both, &[&text, &text]), "promptTokens");
}

proptest! {
    #[test]
    fn agrees_with_a_search_for_every_run(
        text in prop::collection::vec(0..4u32, 1..40),
        prompt in prop::collection::vec(0..4u32, 1..20),
    ) {
        let result = told(r#"{"kind":"ngrams","top":1000}"#, &[&text, &prompt]);
        for n in 1..=4 {
            let found = &result["ngrams"][n - 1];
            let runs: Vec<&[u32]> = text.windows(n).collect();
            let mut distinct: Vec<&[u32]> = Vec::new();
            for run in &runs {
                if !distinct.contains(run) {
                    distinct.push(run);
                }
            }
            let novel = runs.iter().filter(|run| !prompt.windows(n).any(|p| p == **run)).count();
            prop_assert_eq!(&found["total"], runs.len());
            prop_assert_eq!(&found["distinct"], distinct.len());
            prop_assert_eq!(&found["novel"], novel);
            let counts = found["top"].as_array().unwrap().iter();
            let counts: Vec<u64> = counts.map(|run| run["count"].as_u64().unwrap()).collect();
            prop_assert!(counts.is_sorted_by(|a, b| a >= b));
            prop_assert_eq!(counts.iter().sum::<u64>() as usize, runs.len());
        }
    }
}
