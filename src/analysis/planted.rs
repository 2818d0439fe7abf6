//! A model whose weights are written by hand, with heads that are known.
//!
//! The residual stream is three parts side by side: which token stands here,
//! where this is, and which token stood before, each as a vector with a single
//! one. All rows have as many ones, so that LayerNorm is the same affine map on
//! every number and dot products still tell equal from different.
//!
//! | layer | head | |
//! |---|---|---|
//! | 0 | 0 | previous token: its query is the position less one; it writes the token it finds into the third part |
//! | 0 | 1 | nothing |
//! | 1 | 0 | duplicate token: query and key are the token |
//! | 1 | 1 | induction: its query is the token, its key the token before |
//!
//! The induction head writes the token it finds, so it predicts the next token
//! of what is repeated. The MLPs are zero.

use crate::engine::{Engine, Packed};
use crate::generate::Scheduler;
use crate::model::sink::{FloatSink, Sink};
use crate::model::{Config, Dtype, Model, Reference, names};
use std::rc::Rc;

pub const TOKENS: usize = 12;
pub const POSITIONS: usize = 24;
const WIDTH: usize = 2 * TOKENS + POSITIONS;
const HEAD_DIM: usize = WIDTH / 2;
/// Where the parts begin.
const TOKEN: usize = 0;
const POSITION: usize = TOKENS;
const BEFORE: usize = TOKENS + POSITIONS;
/// How sharp the heads look.
const SHARPNESS: f32 = 2.0;

/// Every token once, then all of them again.
pub fn text() -> Vec<u32> {
    let once = [3, 7, 0, 9, 5, 11, 2, 8, 1, 10];
    once.into_iter().chain(once).collect()
}

pub fn config() -> Config {
    let json = format!(
        r#"{{"model_type":"gpt2","n_layer":2,"n_head":2,"n_embd":{WIDTH},"n_inner":4,"vocab_size":{TOKENS},"n_positions":{POSITIONS},"eos_token_id":[]}}"#
    );
    Config::from_json(json.as_bytes()).unwrap()
}

/// After LayerNorm of a row with so many ones: a one, and a zero.
fn normed(ones: f32) -> (f32, f32) {
    let mean = ones / WIDTH as f32;
    let deviation = (mean - mean * mean).sqrt();
    ((1.0 - mean) / deviation, -mean / deviation)
}

/// A matrix `[rows, columns]` by its entries.
fn matrix(rows: usize, columns: usize, entries: &[(usize, usize, f32)]) -> Vec<f32> {
    let mut matrix = vec![0.0; rows * columns];
    for &(row, column, number) in entries {
        matrix[row * columns + column] = number;
    }
    matrix
}

/// `c_attn` for heads of queries, keys and values `(from, to)`: the number of
/// the normed stream that goes to a number of the head.
type Heads<'a> = [[&'a [(usize, usize)]; 3]; 2];

fn c_attn(heads: Heads) -> Vec<f32> {
    let mut entries = Vec::new();
    for (head, parts) in heads.into_iter().enumerate() {
        for (part, pairs) in parts.into_iter().enumerate() {
            let weight = if part < 2 { SHARPNESS } else { 1.0 };
            let column = part * WIDTH + head * HEAD_DIM;
            entries.extend(pairs.iter().map(|&(from, to)| (from, column + to, weight)));
        }
    }
    matrix(WIDTH, 3 * WIDTH, &entries)
}

fn weight(name: &str) -> Vec<f32> {
    let shape = names::shape(&config(), name).unwrap();
    let tokens: Vec<_> = (0..TOKENS).map(|i| (TOKEN + i, i)).collect();
    let before: Vec<_> = (0..TOKENS).map(|i| (BEFORE + i, i)).collect();
    let here: Vec<_> = (0..POSITIONS).map(|i| (POSITION + i, i)).collect();
    let one_back: Vec<_> = (1..POSITIONS).map(|i| (POSITION + i, i - 1)).collect();
    let ones = |from: usize, to: usize, count: usize, number: f32| -> Vec<_> {
        (0..count).map(|i| (from + i, to + i, number)).collect()
    };
    match name {
        "wte.weight" => matrix(TOKENS, WIDTH, &ones(0, TOKEN, TOKENS, 1.0)),
        "wpe.weight" => matrix(POSITIONS, WIDTH, &ones(0, POSITION, POSITIONS, 1.0)),
        "h.0.attn.c_attn.weight" => c_attn([[&one_back, &here, &tokens], [&[], &[], &[]]]),
        "h.1.attn.c_attn.weight" => c_attn([[&tokens, &tokens, &[]], [&tokens, &before, &tokens]]),
        // A value is a one or a zero after LayerNorm; their difference is brought
        // to 1, and what a zero became is taken off by the bias.
        "h.0.attn.c_proj.weight" => {
            let (one, zero) = normed(2.0);
            matrix(WIDTH, WIDTH, &ones(0, BEFORE, TOKENS, 1.0 / (one - zero)))
        }
        "h.0.attn.c_proj.bias" => {
            let (one, zero) = normed(2.0);
            let mut bias = vec![0.0; WIDTH];
            bias[BEFORE..BEFORE + TOKENS].fill(-zero / (one - zero));
            bias
        }
        "h.1.attn.c_proj.weight" => {
            let (one, zero) = normed(3.0);
            let number = 4.0 / (one - zero);
            matrix(WIDTH, WIDTH, &ones(HEAD_DIM, TOKEN, TOKENS, number))
        }
        _ => {
            let fill = if name.contains("ln_") && name.ends_with("weight") {
                1.0
            } else {
                0.0
            };
            vec![fill; shape.iter().product()]
        }
    }
}

fn fill(sink: &mut dyn Sink) {
    for name in names::all(&config()) {
        sink.begin(&name, false).unwrap();
        sink.push(&weight(&name));
    }
}

pub fn reference() -> Reference {
    let mut sink = FloatSink::new(config());
    fill(&mut sink);
    Reference::new(config(), sink.finish().unwrap()).unwrap()
}

pub fn engine() -> Engine {
    let mut packed = Packed::zeroed(&config(), Dtype::Q8).unwrap();
    fill(&mut packed);
    Engine::new(packed).unwrap()
}

/// A scheduler of each implementation of the model.
pub fn schedulers() -> [Scheduler; 2] {
    let models: [Rc<dyn Model>; 2] = [Rc::new(engine()), Rc::new(reference())];
    models.map(|model| Scheduler::new(model, None, || 0.0))
}
