//! Each processor alone, on the score vectors of `processors.json`.

use crate::fixtures::Array;
use crate::forward::near;
use crate::{Fixtures, Report};
use cacher_wasm::generate::processors::{
    BadWords, Epsilon, Eta, ExponentialDecay, Forced, LogitsProcessor, MinLength, MinP,
    NoRepeatNgram, RemoveInvalid, Renormalize, RepetitionPenalty, SequenceBias, Suppress,
    Temperature, TopH, TopK, TopP, TypicalP,
};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

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
    top_h: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f32>,
    mass: Option<f32>,
    epsilon: Option<f32>,
    #[serde(default = "one")]
    min_tokens_to_keep: usize,
    ngram_size: Option<usize>,
    bad_words_ids: Option<Vec<Vec<u32>>>,
    sequence_bias: Option<Vec<(Vec<u32>, f32)>>,
    min_length: Option<usize>,
    min_new_tokens: Option<usize>,
    prompt_length_to_skip: Option<usize>,
    suppress_tokens: Option<Vec<u32>>,
    begin_suppress_tokens: Option<Vec<u32>>,
    begin_index: Option<usize>,
    max_length: Option<usize>,
    exponential_decay_length_penalty: Option<(usize, f64)>,
    input_ids_seq_length: Option<usize>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

impl Args {
    fn eos(&self) -> Option<Vec<u32>> {
        Some(match self.eos_token_id.as_ref()? {
            OneOrMany::One(id) => vec![*id],
            OneOrMany::Many(ids) => ids.clone(),
        })
    }
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

/// Every processor of the fixture, by its name there.
const PROCESSORS: [(&str, Make); 21] = [
    ("sequence_bias", |args| {
        boxed(SequenceBias::new(args.sequence_bias.clone()?))
    }),
    ("repetition_penalty", |args| {
        boxed(RepetitionPenalty::new(args.penalty?))
    }),
    ("no_repeat_ngram_size", |args| {
        boxed(NoRepeatNgram::new(args.ngram_size?))
    }),
    ("bad_words_ids", |args| {
        boxed(BadWords::new(args.bad_words_ids.clone()?, &args.eos()?))
    }),
    ("min_length", |args| {
        boxed(MinLength::new(args.min_length?, args.eos()?))
    }),
    ("min_new_tokens", |args| {
        let (prompt, least) = (args.prompt_length_to_skip?, args.min_new_tokens?);
        boxed(MinLength::of_output(prompt, least, args.eos()?))
    }),
    ("forced_bos_token_id", |args| {
        boxed(Forced::bos(args.bos_token_id?))
    }),
    ("forced_eos_token_id", |args| {
        boxed(Forced::eos(args.max_length?, args.eos()?))
    }),
    (INVALID, |_| boxed(RemoveInvalid)),
    ("exponential_decay_length_penalty", |args| {
        let (start, factor) = args.exponential_decay_length_penalty?;
        let prompt = args.input_ids_seq_length?;
        boxed(ExponentialDecay::new(prompt, start, factor, args.eos()?))
    }),
    ("suppress_tokens", |args| {
        boxed(Suppress::always(args.suppress_tokens.clone()?))
    }),
    ("begin_suppress_tokens", |args| {
        let ids = args.begin_suppress_tokens.clone()?;
        boxed(Suppress::at(args.begin_index?, ids))
    }),
    ("temperature", |args| {
        boxed(Temperature::new(args.temperature?))
    }),
    ("top_h", |args| boxed(TopH::new(args.top_h?))),
    ("top_k", |args| {
        boxed(TopK::new(args.top_k?, args.min_tokens_to_keep))
    }),
    ("top_p", |args| {
        boxed(TopP::new(args.top_p?, args.min_tokens_to_keep))
    }),
    ("min_p", |args| {
        boxed(MinP::new(args.min_p?, args.min_tokens_to_keep))
    }),
    ("typical_p", |args| {
        boxed(TypicalP::new(args.mass?, args.min_tokens_to_keep))
    }),
    ("epsilon_cutoff", |args| {
        boxed(Epsilon::new(args.epsilon?, args.min_tokens_to_keep))
    }),
    ("eta_cutoff", |args| {
        boxed(Eta::new(args.epsilon?, args.min_tokens_to_keep))
    }),
    (RENORMALIZE, |_| boxed(Renormalize::default())),
];

/// Log-probabilities come of other sums than transformers', so they are only
/// near to them.
const RENORMALIZE: &str = "renormalize_logits";
/// The fixture may be without a case of it, having refused those whose scores
/// do not equal themselves.
const INVALID: &str = "remove_invalid_values";

fn boxed(processor: impl LogitsProcessor + 'static) -> Option<Box<dyn LogitsProcessor>> {
    Some(Box::new(processor))
}

/// Every processor against every case of its kind, value for value.
pub fn run(fixtures: &Fixtures) -> Report {
    let file: File = fixtures.json("processors.json");
    let mut report = Report::default();
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut undecided, mut worst) = (0, 0.0);
    for case in file.cases {
        let Some(&(kind, make)) = PROCESSORS.iter().find(|(kind, _)| *kind == case.processor)
        else {
            report
                .failures
                .push(format!("{}: no such processor", case.name));
            continue;
        };
        if case.rounding_decides {
            undecided += 1;
            continue;
        }
        *checked.entry(kind).or_insert(0) += 1;
        let name = case.name.clone();
        report.case(&name, check(case, make, &file.vectors, &mut worst));
    }
    for (kind, _) in PROCESSORS {
        if !checked.contains_key(kind) && kind != INVALID {
            report.failures.push(format!("{kind}: no case"));
        }
    }
    for (kind, count) in checked {
        report.measured.push(format!("{kind} {count}"));
    }
    report.measured.push(format!(
        "largest difference of a log-probability {worst:.1e}; {undecided} left to rounding"
    ));
    report
}

fn check(
    case: Case,
    make: Make,
    vectors: &HashMap<String, Array>,
    worst: &mut f32,
) -> Result<(), String> {
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
    if case.processor == RENORMALIZE {
        let infinite = |scores: &[f32]| scores.iter().map(|s| s.is_infinite()).collect::<Vec<_>>();
        if infinite(&scores) != infinite(&expected) {
            return Err("others are ruled out".into());
        }
        let finite = |scores: &[f32]| -> Vec<f32> {
            scores.iter().copied().filter(|s| s.is_finite()).collect()
        };
        return near("scores", &finite(&scores), &finite(&expected), worst);
    }
    match (0..scores.len()).find(|&i| scores[i] != expected[i]) {
        Some(i) => Err(format!("at {i}: {} for {}", scores[i], expected[i])),
        None => Ok(()),
    }
}
