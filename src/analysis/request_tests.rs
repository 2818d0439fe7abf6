//! What callers get wrong, by name.

use super::*;
use crate::analysis::AnalysisInput;
use crate::analysis::testing::ids;
use crate::generate::{Event, Input};
use crate::state::lab::scheduler;

fn fault(request: &str) -> String {
    let error = AnalysisRequest::from_json(request).unwrap_err();
    let details = error.details();
    let name = details["option"].as_str().or(details["name"].as_str());
    name.unwrap().to_owned()
}

#[test]
fn the_option_at_fault_is_named_with_its_path() {
    for (request, name) in [
        (r#"{"kind":"tokenz"}"#, "kind"),
        (r#"{}"#, "kind"),
        (r#"{"kind":"tokens","topp":1}"#, "topp"),
        (r#"{"kind":"tokens","top":-1}"#, "top"),
        (r#"{"kind":"tokens","range":{"from":1}}"#, "range.from"),
        (r#"{"kind":"tokens","range":{"start":"1"}}"#, "range.start"),
        (
            r#"{"kind":"distribution","options":{"topP":true}}"#,
            "options.topP",
        ),
        (
            r#"{"kind":"distribution","options":{"top_p":1}}"#,
            "options.top_p",
        ),
        (
            r#"{"kind":"compare","options":[{},{"topK":"x"}]}"#,
            "options[1].topK",
        ),
        (
            r#"{"kind":"leaveOneOut","replacement":"zero"}"#,
            "replacement",
        ),
        (
            r#"{"kind":"compare","options":[{"seed":"x"},{}]}"#,
            "options[0].seed",
        ),
        (r#"{"kind""#, "request"),
    ] {
        assert_eq!(fault(request), name, "{request}");
    }
}

#[test]
fn large_seeds_come_as_strings() {
    let request = r#"{"kind":"distribution","options":{"seed":"18446744073709551615"}}"#;
    let AnalysisRequest::Distribution(request) = AnalysisRequest::from_json(request).unwrap()
    else {
        panic!("another kind")
    };
    assert_eq!(request.options.unwrap().seed, Some(u64::MAX));
}

#[test]
fn an_analysis_can_be_cancelled_and_lets_other_jobs_go_on() {
    let mut scheduler = scheduler();
    let add = |scheduler: &mut crate::generate::Scheduler, request: &str| {
        let request = AnalysisRequest::from_json(request).unwrap();
        let input = AnalysisInput::Plain(Input::Tokens(ids(100, 5)));
        scheduler.add_analysis(request, vec![input]).unwrap()
    };
    let long = add(&mut scheduler, r#"{"kind":"leaveOneOut"}"#);
    let logits = scheduler
        .add_logits(Input::Tokens(ids(40, 6)), None)
        .unwrap();
    let short = add(&mut scheduler, r#"{"kind":"tokens"}"#);
    let mut ended = Vec::new();
    for _ in 0..8 {
        for (id, event) in scheduler.step() {
            match event {
                Event::AnalysisProgress(progress) => assert!(progress.done <= progress.total),
                Event::Analysed(_) | Event::Logits(_) => ended.push(id),
                other => panic!("{other:?}"),
            }
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [logits, short]);
    assert!(scheduler.is_busy());
    scheduler.cancel(long);
    assert!(!scheduler.is_busy());
    assert_eq!(scheduler.step(), []);
}

#[test]
fn a_paused_analysis_runs_nothing_until_it_is_resumed() {
    let mut scheduler = scheduler();
    let request = AnalysisRequest::from_json(r#"{"kind":"tokens"}"#).unwrap();
    let input = AnalysisInput::Plain(Input::Tokens(ids(20, 7)));
    let job = scheduler.add_analysis(request, vec![input]).unwrap();
    scheduler.pause(job);
    assert!(!scheduler.is_busy());
    assert_eq!(scheduler.step(), []);
    scheduler.resume(job);
    let ended = scheduler.step().pop();
    assert!(matches!(ended, Some((_, Event::Analysed(_)))));
}
