//! Each processor alone, on the score vectors of `processors.json`.

use crate::fixtures::Array;
use crate::{Fixtures, Report};
use cacher_wasm::generate::processors::{
    LogitsProcessor, MinP, RepetitionPenalty, Temperature, TopK, TopP,
};
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
struct File {
    vectors: HashMap<String, Array>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    processor: String,
    vector: String,
    input_ids: Vec<u32>,
    hf_args: Args,
    expected: Expected,
    /// A threshold falls on a rounding error, so nothing can be asserted.
    #[serde(default)]
    rounding_decides: bool,
    /// Which of equal scores stay is left to the sort: only how many counts.
    #[serde(default)]
    tie_order: bool,
}

/// The arguments of Hugging Face's constructors, by their names there.
#[derive(Deserialize)]
struct Args {
    penalty: Option<f32>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f32>,
    #[serde(default = "one")]
    min_tokens_to_keep: usize,
}

fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Dense {
        dense: Array,
    },
    /// The entries that are not `-inf`.
    Kept {
        size: usize,
        ids: Vec<usize>,
        values: Array,
    },
}

impl Expected {
    fn scores(self) -> Vec<f32> {
        match self {
            Self::Dense { dense } => dense.values,
            Self::Kept { size, ids, values } => {
                let mut scores = vec![f32::NEG_INFINITY; size];
                for (id, value) in ids.into_iter().zip(values.values) {
                    scores[id] = value;
                }
                scores
            }
        }
    }
}

type Make = fn(&Args) -> Option<Box<dyn LogitsProcessor>>;

/// The processors there are, by the fixture's names.
const PROCESSORS: [(&str, Make); 5] = [
    ("repetition_penalty", |args| {
        Some(Box::new(RepetitionPenalty::new(args.penalty?)))
    }),
    ("temperature", |args| {
        Some(Box::new(Temperature::new(args.temperature?)))
    }),
    ("top_k", |args| {
        Some(Box::new(TopK::new(args.top_k?, args.min_tokens_to_keep)))
    }),
    ("top_p", |args| {
        Some(Box::new(TopP::new(args.top_p?, args.min_tokens_to_keep)))
    }),
    ("min_p", |args| {
        Some(Box::new(MinP::new(args.min_p?, args.min_tokens_to_keep)))
    }),
];

/// Every processor against every case of its kind, value for value.
pub fn run(fixtures: &Fixtures) -> Report {
    let file: File = fixtures.json("processors.json");
    let mut report = Report::default();
    let mut checked = HashMap::new();
    for case in file.cases {
        let Some(&(kind, make)) = PROCESSORS.iter().find(|(kind, _)| *kind == case.processor)
        else {
            continue;
        };
        if case.rounding_decides {
            continue;
        }
        *checked.entry(kind).or_insert(0) += 1;
        let name = case.name.clone();
        report.case(&name, check(case, make, &file.vectors));
    }
    for (kind, _) in PROCESSORS {
        let count = checked.get(kind).copied().unwrap_or(0);
        report.measured.push(format!("{kind} {count}"));
        if count == 0 {
            report.failures.push(format!("{kind}: no case"));
        }
    }
    report
}

fn check(case: Case, make: Make, vectors: &HashMap<String, Array>) -> Result<(), String> {
    let mut processor = make(&case.hf_args).ok_or("an argument is missing")?;
    let vector = vectors.get(&case.vector).ok_or("no such vector")?;
    let mut scores = vector.values.clone();
    processor.process(&case.input_ids, &mut scores);
    let mut expected = case.expected.scores();
    if case.tie_order {
        scores.sort_by(f32::total_cmp);
        expected.sort_by(f32::total_cmp);
    }
    if scores.len() != expected.len() {
        return Err(format!("{} scores of {}", scores.len(), expected.len()));
    }
    match (0..scores.len()).find(|&i| scores[i] != expected[i]) {
        Some(i) => Err(format!("at {i}: {} for {}", scores[i], expected[i])),
        None => Ok(()),
    }
}
