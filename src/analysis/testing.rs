//! Runs an analysis to its end through the scheduler, over the mini model of
//! the states' tests.

use super::{AnalysisInput, AnalysisRequest, AnalysisResult};
use crate::error::Result;
use crate::generate::{Event, Input, Scheduler};

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
