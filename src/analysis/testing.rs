//! Runs an analysis to its end through the scheduler, over the mini model of
//! the states' tests.

use super::{AnalysisInput, AnalysisRequest, AnalysisResult};
use crate::error::Result;
use crate::generate::log_prob::log_sum_exp;
use crate::generate::{Event, Input, Scheduler};
use crate::state::lab::{VOCAB_SIZE, all_logits, scheduler};

/// The result for token ids; panics where a job fails.
pub fn run(scheduler: &mut Scheduler, request: &str, inputs: &[&[u32]]) -> Result<AnalysisResult> {
    let request = AnalysisRequest::from_json(request)?;
    let inputs = inputs
        .iter()
        .map(|tokens| AnalysisInput::Plain(Input::Tokens(tokens.to_vec())))
        .collect();
    let job = scheduler.add_analysis(request, inputs)?;
    let mut last = 0;
    loop {
        for (id, event) in scheduler.step() {
            match event {
                Event::AnalysisProgress(progress) => {
                    assert!(progress.done >= last && progress.done <= progress.total);
                    last = progress.done;
                }
                Event::Analysed(result) if id == job => return Ok(result),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Ids of some length that no two seeds share.
pub fn ids(count: usize, seed: u32) -> Vec<u32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 10) % VOCAB_SIZE as u32
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// The log-probability of each token after the first, of all logits at once.
pub fn logprobs(tokens: &[u32]) -> Vec<f64> {
    let rows = all_logits(tokens);
    let next = rows.iter().zip(&tokens[1..]);
    next.map(|(row, &id)| f64::from(row[id as usize]) - log_sum_exp(row))
        .collect()
}

#[track_caller]
pub fn assert_near(found: f64, expected: f64) {
    let difference = (found - expected).abs();
    assert!(difference < 1e-9, "{found}, not {expected}");
}

/// The option that is at fault.
#[track_caller]
pub fn refused(request: &str, inputs: &[&[u32]]) -> String {
    let error = run(&mut scheduler(), request, inputs).unwrap_err();
    assert_eq!(error.code(), "invalid-option", "{error}");
    error.details()["option"].as_str().unwrap().to_owned()
}
