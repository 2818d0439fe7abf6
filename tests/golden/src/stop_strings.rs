//! The stop-string cases of `greedy.json`, fed token by token. Only the bytes
//! of the recorded tokens are needed, neither the model nor the tokenizer.

use crate::{Fixtures, Report};
use cacher_wasm::generate::stop::StopMatcher;
use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    params: Params,
    tokens: Vec<u32>,
    stop: Option<Stop>,
}

#[derive(Deserialize)]
struct Params {
    #[serde(default)]
    stop_strings: Vec<String>,
}

#[derive(Deserialize)]
struct Stop {
    stopping_word: String,
    generated_bytes_hex: String,
    cut_bytes_hex: String,
}

#[derive(Deserialize)]
struct Tokenizer {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
}

pub fn run(fixtures: &Fixtures) -> Report {
    let mut report = Report::default();
    for model in ["mini-a", "mini-b"] {
        let tokenizer: Tokenizer = fixtures.json(&format!("{model}/tokenizer.json"));
        let bytes = token_bytes(tokenizer.model.vocab);
        let file: File = fixtures.json(&format!("{model}/greedy.json"));
        for case in file.cases {
            if let Some(stop) = &case.stop {
                let name = format!("{model} {}", case.name);
                report.case(&name, check(&case, stop, &bytes));
            }
        }
    }
    report
}

fn check(case: &Case, stop: &Stop, bytes: &HashMap<u32, Vec<u8>>) -> Result<(), String> {
    let generated = unhex(&stop.generated_bytes_hex);
    let cut = unhex(&stop.cut_bytes_hex);
    for include_stop in [false, true] {
        let mut matcher = StopMatcher::new(&case.params.stop_strings, include_stop);
        let mut out = Vec::new();
        let mut ended = None;
        for (i, token) in case.tokens.iter().enumerate() {
            let token = bytes.get(token).ok_or("a token without bytes")?;
            if let Some(found) = matcher.push(token, &mut out) {
                ended = Some((i + 1, found));
                break;
            }
        }
        let (tokens, found) = ended.ok_or("no stop string was found")?;
        same("tokens", tokens, case.tokens.len())?;
        let word = &case.params.stop_strings[found.index];
        same("the stop string", word, &stop.stopping_word)?;
        same("the cut", found.start, cut.len())?;
        let until = if include_stop {
            cut.len() + word.len()
        } else {
            cut.len()
        };
        same("the output", &out[..], &generated[..until])?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), String> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("{what}: {got:?} for {expected:?}"))
    }
}

/// The bytes of each token of a byte-level BPE vocabulary: GPT-2 writes the
/// printable bytes as themselves, the others as U+0100 and on, in order.
fn token_bytes(vocab: HashMap<String, u32>) -> HashMap<u32, Vec<u8>> {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=u8::MAX).filter(|b| !printable(b));
    let byte_of: HashMap<char, u8> = (0..=u8::MAX)
        .filter(printable)
        .map(|b| (char::from(b), b))
        .chain(('\u{100}'..).zip(others))
        .collect();
    vocab
        .into_iter()
        .filter_map(|(piece, id)| {
            let bytes: Option<Vec<u8>> = piece.chars().map(|c| byte_of.get(&c).copied()).collect();
            Some((id, bytes?))
        })
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        })
        .collect()
}
