//! Beam search on the mini models against transformers': plain beams of 5.x,
//! diverse groups of 4.46. Each case is run as a job of the scheduler, so that
//! sharing and reordering of the KV caches are checked with the decisions.

use crate::fixtures::Fixtures;
use crate::forward::mini;
use crate::generation::options;
use crate::report::Report;
use cacher_wasm::generate::beam::{BeamNodeState, BeamOptions, BeamResult, BeamSequence, BeamStep};
use cacher_wasm::generate::{Event, FinishReason, Input, Scheduler};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

pub const BEAM_FILES: &[&str] = &[
    "mini-a/config.json",
    "mini-a/model.safetensors",
    "mini-a/beam.json",
    "mini-b/config.json",
    "mini-b/model.safetensors",
    "mini-b/beam.json",
];

pub const GROUPS_FILES: &[&str] = &[
    "mini-a/config.json",
    "mini-a/model.safetensors",
    "mini-a/groups.json",
    "mini-b/config.json",
    "mini-b/model.safetensors",
    "mini-b/groups.json",
];

/// What the fixtures' README allows for a beam's scores, relative above 1.
const TOLERANCE: f64 = 1e-3;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    prompt: Vec<u32>,
    params: Map<String, Value>,
    /// Forward passes, the prompt's included.
    steps: Option<u32>,
    sequences_scores: Option<Vec<f64>>,
    hypotheses: Option<Vec<Hypothesis>>,
    /// In place of hypotheses where there is one beam.
    tokens: Option<Vec<u32>>,
    transition_scores_normalized: Option<Vec<Option<f64>>>,
}

#[derive(Deserialize)]
struct Hypothesis {
    tokens: Vec<u32>,
    finished: bool,
    transition_scores: Option<Vec<f64>>,
    beam_indices: Option<Vec<u32>>,
}

/// The case's parameters, without those of a generation.
fn beam_options(params: &mut Map<String, Value>) -> Option<BeamOptions> {
    let names = [
        ("num_beams", "numBeams"),
        ("num_return_sequences", "numReturnSequences"),
        ("length_penalty", "lengthPenalty"),
        ("early_stopping", "earlyStopping"),
        ("num_beam_groups", "numBeamGroups"),
        ("diversity_penalty", "diversityPenalty"),
        ("pad_token_id", "padTokenId"),
    ];
    let mut options = Map::new();
    for (theirs, ours) in names {
        if let Some(value) = params.remove(theirs) {
            options.insert(ours.into(), value);
        }
    }
    params.insert("do_sample".into(), false.into());
    serde_json::from_value(options.into()).ok()
}

/// Plain beam search.
pub fn beam(fixtures: &Fixtures) -> Report {
    check(fixtures, "beam")
}

/// Diverse beam search.
pub fn groups(fixtures: &Fixtures) -> Report {
    check(fixtures, "groups")
}

fn check(fixtures: &Fixtures, kind: &str) -> Report {
    let mut report = Report::default();
    let mut worst = 0.0;
    for name in ["mini-a", "mini-b"] {
        let model = Rc::new(mini(fixtures, name));
        let mut scheduler = Scheduler::new(model, None, || 0.0);
        let goldens: Goldens = fixtures.json(&format!("{name}/{kind}.json"));
        for case in goldens.cases {
            let mut params = case.params.clone();
            let beams = beam_options(&mut params);
            let generation = options(&params);
            let (beams, generation) = match (beams, generation) {
                (Some(beams), Ok(generation)) => (beams, generation),
                (beams, generation) => {
                    report.case(
                        &case.name,
                        Err(format!("{beams:?}, {:?}", generation.err())),
                    );
                    continue;
                }
            };
            let job = scheduler.add_beam_search(
                Input::Tokens(case.prompt.clone()),
                None,
                &beams,
                &generation,
            );
            let outcome = job
                .map_err(|error| error.to_string())
                .and_then(|_| run(&mut scheduler))
                .and_then(|(steps, result)| {
                    check_tree(&steps, &result)?;
                    check_scores(&beams, &result)?;
                    compare(&case, &result, &mut worst)
                });
            report.case(&format!("{name} {}", case.name), outcome);
        }
    }
    report
        .measured
        .push(format!("largest difference of a score {worst:.1e}"));
    report
}

fn run(scheduler: &mut Scheduler) -> Result<(Vec<BeamStep>, BeamResult), String> {
    let mut steps = Vec::new();
    while scheduler.is_busy() {
        for (_, event) in scheduler.step() {
            match event {
                Event::BeamStep(step) => steps.push(step),
                Event::BeamDone(result) => return Ok((steps, *result)),
                other => return Err(format!("{other:?}")),
            }
        }
    }
    Err("it ended without a result".into())
}

fn compare(case: &Case, found: &BeamResult, worst: &mut f64) -> Result<(), String> {
    if let Some(tokens) = &case.tokens {
        let only = &found.sequences[0];
        same("tokens", &only.tokens, tokens)?;
        let expected = case.transition_scores_normalized.iter().flatten();
        for (&found, expected) in only.transition_scores.iter().zip(expected) {
            if let &Some(expected) = expected {
                near(f64::from(found), expected, worst)?;
            }
        }
        return Ok(());
    }
    if let Some(steps) = case.steps {
        same("steps", &found.steps, &steps)?;
    }
    let hypotheses = case.hypotheses.as_deref().unwrap_or_default();
    same("how many", &found.sequences.len(), &hypotheses.len())?;
    let scores = case.sequences_scores.as_deref().unwrap_or_default();
    same("scores", &scores.len(), &hypotheses.len())?;
    for ((sequence, hypothesis), &score) in found.sequences.iter().zip(hypotheses).zip(scores) {
        same("tokens", &sequence.tokens, &hypothesis.tokens)?;
        let ended = sequence.finish_reason == FinishReason::Eos;
        same("ended", &ended, &hypothesis.finished)?;
        near(sequence.score, score, worst)?;
        if let Some(indices) = &hypothesis.beam_indices {
            same("beam indices", &sequence.beam_indices, indices)?;
        }
        let transitions = hypothesis.transition_scores.iter().flatten();
        for (&found, &expected) in sequence.transition_scores.iter().zip(transitions) {
            near(f64::from(found), expected, worst)?;
        }
    }
    Ok(())
}

/// The score of each sequence is that of its tokens.
fn check_scores(options: &BeamOptions, result: &BeamResult) -> Result<(), String> {
    for sequence in &result.sequences {
        let scores = &sequence.transition_scores;
        same("scores of tokens", &scores.len(), &sequence.tokens.len())?;
        let sum: f64 = scores.iter().map(|&score| f64::from(score)).sum();
        let penalty = if options.num_beams == 1 {
            0.0
        } else {
            options.length_penalty
        };
        let score = sum / (scores.len() as f64).powf(penalty);
        if (score - sequence.score).abs() > 1e-9 * score.abs().max(1.0) && options.num_beams > 1 {
            return Err(format!("its tokens score {score}, not {}", sequence.score));
        }
    }
    if !result.sequences.is_sorted_by(|a, b| a.score >= b.score) {
        return Err("the best is not first".into());
    }
    Ok(())
}

/// The tree's finished nodes are the sequences that are kept, by their paths.
fn check_tree(steps: &[BeamStep], result: &BeamResult) -> Result<(), String> {
    let mut nodes = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        same("step", &step.step, &(index as u32 + 1))?;
        for node in &step.nodes {
            let known = node.parent == 0 || nodes.contains_key(&node.parent);
            same("the parent is known", &known, &true)?;
            nodes.insert(node.id, node.clone());
        }
        let changed = [
            (&step.pruned, BeamNodeState::Pruned),
            (&step.finished, BeamNodeState::Finished),
        ];
        for (ids, state) in changed {
            for id in ids {
                nodes.get_mut(id).ok_or("a change of no node")?.state = state;
            }
        }
    }
    let tokens = |sequence: &BeamSequence| {
        let (mut path, mut at) = (Vec::new(), sequence.node);
        while let Some(node) = nodes.get(&at) {
            path.insert(0, node.token);
            at = node.parent;
        }
        path
    };
    for sequence in &result.sequences {
        same("path", &tokens(sequence), &sequence.tokens)?;
        let node = nodes.get(&sequence.node).ok_or("no such node")?;
        same("state", &node.state, &BeamNodeState::Finished)?;
        same("score", &node.score, &sequence.score)?;
    }
    let leaves = |state| nodes.values().filter(move |node| node.state == state);
    let ended = leaves(BeamNodeState::Finished).count();
    if ended < result.sequences.len() {
        return Err(format!("{ended} finished nodes"));
    }
    // What still runs leads to something finished.
    for node in leaves(BeamNodeState::Running) {
        let goes_on = |other: &cacher_wasm::generate::beam::BeamNode| {
            other.parent == node.id && other.state != BeamNodeState::Pruned
        };
        if !nodes.values().any(goes_on) {
            return Err(format!("node {} runs into nothing", node.id));
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, not {expected:?}"))
    }
}

fn near(found: f64, expected: f64, worst: &mut f64) -> Result<(), String> {
    let difference = (found - expected).abs() / expected.abs().max(1.0);
    if difference.is_nan() || difference > TOLERANCE {
        return Err(format!("{found}, not {expected}"));
    }
    *worst = worst.max(difference);
    Ok(())
}
