//! The pairs of prompts that the semantic lookup is measured on, the model that
//! gives their vectors, and the measures.

use cacher_wasm::cache::guards;
use cacher_wasm::engine::Engine;
use cacher_wasm::generate::embedding::CALIBRATION;
use cacher_wasm::generate::{Event, Input, Scheduler};
use cacher_wasm::model::{Dtype, LoadedWeights, Loader, LogitRows, Rows, Taps};
use cacher_wasm::tokenizer::Tokenizer;
use serde::Deserialize;
use std::path::Path;
use std::rc::Rc;

/// Two prompts, and whether the answer to one answers the other.
#[derive(Deserialize)]
pub struct Pair {
    pub a: String,
    pub b: String,
    pub same: bool,
    pub kind: String,
}

/// The pairs, in halves: one to choose by and one to report.
#[derive(Deserialize)]
pub struct Pairs {
    pub choose: Vec<Pair>,
    pub report: Vec<Pair>,
}

impl Pairs {
    pub fn read() -> Self {
        serde_json::from_slice(&file("tests/fixtures/cache/pairs.json")).expect("pairs")
    }
}

/// The bytes of a file of the repository.
fn file(path: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// tiny-gpt2 as the demo runs it.
pub fn scheduler() -> Scheduler {
    let mut loader = Loader::new(None, Dtype::Q8);
    for chunk in file("www/models/tiny-gpt2/model.q8_0.gguf").chunks(1 << 20) {
        loader.push(chunk).expect("a model file");
    }
    let loaded = loader.finish().expect("a model file");
    let lists = loaded.tokenizer.expect("a tokenizer");
    let tokenizer = Tokenizer::from_lists(lists.tokens, lists.merges, &lists.special);
    let LoadedWeights::Packed(packed) = loaded.weights else {
        panic!("the weights are not packed");
    };
    let model = Rc::new(Engine::new(*packed).expect("an engine"));
    let tokenizer = Rc::new(tokenizer.expect("a tokenizer"));
    Scheduler::new(model, Some(tokenizer), || 0.0)
}

/// The vector of a prompt, as the library gives it.
pub fn embed(scheduler: &mut Scheduler, prompt: &str) -> Vec<f32> {
    scheduler
        .add_embedding(Input::Text(prompt.to_owned()), false)
        .expect("a prompt");
    loop {
        match scheduler.step().pop() {
            Some((_, Event::Embedded(vector))) => return vector,
            Some((_, event)) => panic!("{event:?}"),
            None => {}
        }
    }
}

/// How a text's hidden states become one vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pooling {
    Mean,
    /// The mean without the first token.
    Rest,
    Last,
}

pub const POOLINGS: [Pooling; 3] = [Pooling::Mean, Pooling::Rest, Pooling::Last];

/// What [`pooled`] gives, one vector of each layer and each of [`POOLINGS`].
pub type Pooled = Vec<[Vec<f64>; 3]>;

/// A text's vectors before they are centred, by layer.
pub fn pooled(scheduler: &Scheduler, text: &str) -> Pooled {
    let tokenizer = scheduler.tokenizer().expect("a tokenizer");
    let tokens = tokenizer.encode(text, false).expect("a text").ids;
    let model = scheduler.model();
    let mut kv = model.new_kv();
    let rows = Rows {
        kv: &mut kv,
        tokens: &tokens,
        logits: LogitRows::None,
    };
    let taps = Taps {
        hidden_states: true,
        ..Taps::default()
    };
    let output = model.forward(&mut [rows], taps).expect("a pass").remove(0);
    let n_embd = model.config().n_embd;
    let layers = output.hidden_states.iter();
    layers
        .map(|states| {
            let states: Vec<&[f32]> = states.chunks(n_embd).collect();
            let mean = |from: usize| {
                let rows = &states[from..];
                let sum = |i| {
                    rows.iter()
                        .map(|row: &&[f32]| f64::from(row[i]))
                        .sum::<f64>()
                };
                (0..n_embd).map(|i| sum(i) / rows.len() as f64).collect()
            };
            let last = states.len() - 1;
            [mean(0), mean(1.min(last)), mean(last)]
        })
        .collect()
}

/// What is subtracted from every vector, by layer and pooling.
pub fn means(scheduler: &Scheduler) -> Pooled {
    let texts: Vec<Pooled> = CALIBRATION
        .lines()
        .map(|text| pooled(scheduler, text))
        .collect();
    let layers = 0..texts[0].len();
    layers
        .map(|layer| {
            [0, 1, 2].map(|pooling| {
                let vectors: Vec<&Vec<f64>> = texts.iter().map(|t| &t[layer][pooling]).collect();
                let sum = |i| vectors.iter().map(|vector| vector[i]).sum::<f64>();
                let places = 0..vectors[0].len();
                places.map(|i| sum(i) / vectors.len() as f64).collect()
            })
        })
        .collect()
}

/// The cosine of two vectors from a centre.
pub fn cosine(a: &[f64], b: &[f64], centre: &[f64]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for ((a, b), centre) in a.iter().zip(b).zip(centre) {
        let (a, b) = (a - centre, b - centre);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab / (aa * bb).sqrt()
}

/// Which guards are asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Guards {
    Off,
    /// Numbers, negations, names and order; other words may differ.
    NotWords,
    All,
}

impl Guards {
    pub fn accept(self, a: &str, b: &str) -> bool {
        match (self, guards::refusal(a, b)) {
            (Self::Off, _) | (_, None) => true,
            (Self::NotWords, Some(reason)) => reason.starts_with("words"),
            (Self::All, Some(_)) => false,
        }
    }
}

/// Right and wrong matches, and how many there should be.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    pub right: usize,
    pub wrong: usize,
    pub same: usize,
}

impl Tally {
    pub fn count(&mut self, same: bool, matched: bool) {
        self.same += usize::from(same);
        self.right += usize::from(same && matched);
        self.wrong += usize::from(!same && matched);
    }

    /// Of the matches, how many are right; 1 where there are none.
    pub fn precision(&self) -> f64 {
        match self.right + self.wrong {
            0 => 1.0,
            all => self.right as f64 / all as f64,
        }
    }

    /// Of the pairs that mean the same, how many are matched.
    pub fn recall(&self) -> f64 {
        self.right as f64 / self.same as f64
    }
}
