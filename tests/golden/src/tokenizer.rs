//! GPT-2's tokenizer against Hugging Face's: text to ids and offsets, ids to
//! text at once and token by token.

use crate::{Fixtures, Report};
use cacher_wasm::tokenizer::{TextStream, Tokenizer};
use serde::Deserialize;

pub const ENCODE_FILES: &[&str] = &[
    "encode.json",
    "gpt2-tokenizer/vocab.json",
    "gpt2-tokenizer/merges.txt",
];

pub const DECODE_FILES: &[&str] = &[
    "decode.json",
    "gpt2-tokenizer/vocab.json",
    "gpt2-tokenizer/merges.txt",
];

fn gpt2(fixtures: &Fixtures) -> Tokenizer {
    Tokenizer::from_vocab_and_merges(
        &fixtures.bytes("gpt2-tokenizer/vocab.json"),
        &fixtures.bytes("gpt2-tokenizer/merges.txt"),
    )
    .unwrap_or_else(|e| panic!("gpt2-tokenizer: {e}"))
}

#[derive(Deserialize)]
struct File<Case> {
    cases: Vec<Case>,
}

/// Texts, and texts that are a repetition.
#[derive(Deserialize)]
#[serde(untagged)]
enum EncodeCase {
    Text(TextCase),
    Repeat(RepeatCase),
}

#[derive(Deserialize)]
struct TextCase {
    name: String,
    text: String,
    utf16: Option<Vec<u16>>,
    ids: Vec<u32>,
    offsets: Vec<u32>,
    offsets_utf16: Option<Vec<u32>>,
    ids_special: Option<Vec<u32>>,
    offsets_special: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct RepeatCase {
    name: String,
    repeat: Repeat,
    ids_packed: Packed,
    count: usize,
}

#[derive(Deserialize)]
struct Repeat {
    prefix: String,
    unit: String,
    count: usize,
    suffix: String,
}

#[derive(Deserialize)]
struct Packed {
    head: Vec<u32>,
    cycle: Vec<u32>,
    times: usize,
    tail: Vec<u32>,
}

pub fn encode(fixtures: &Fixtures) -> Report {
    let tokenizer = gpt2(fixtures);
    let mut report = Report::default();
    for case in fixtures.json::<File<EncodeCase>>("encode.json").cases {
        match case {
            EncodeCase::Text(case) => report.case(&case.name, encode_text(&tokenizer, &case)),
            EncodeCase::Repeat(case) => report.case(&case.name, encode_repeat(&tokenizer, &case)),
        }
    }
    report
}

fn encode_text(tokenizer: &Tokenizer, case: &TextCase) -> Result<(), String> {
    let in_utf16 = utf16_positions(&case.text);
    let to_utf16 =
        |offsets: &[u32]| -> Vec<u32> { offsets.iter().map(|&at| in_utf16[at as usize]).collect() };
    if let Some(units) = &case.utf16 {
        equal("text", &String::from_utf16_lossy(units), &case.text)?;
    }
    let offsets = to_utf16(&case.offsets);
    if let Some(recorded) = &case.offsets_utf16 {
        equal("recorded offsets", &offsets, recorded)?;
    }
    encodes(tokenizer, &case.text, false, &case.ids, &offsets)?;

    // Where nothing special is recorded, there is nothing special in the text.
    let ids = case.ids_special.as_ref().unwrap_or(&case.ids);
    let offsets = case.offsets_special.as_ref().unwrap_or(&case.offsets);
    encodes(tokenizer, &case.text, true, ids, &to_utf16(offsets))
}

fn encodes(
    tokenizer: &Tokenizer,
    text: &str,
    parse_special: bool,
    ids: &[u32],
    offsets: &[u32],
) -> Result<(), String> {
    let encoding = tokenizer
        .encode(text, parse_special)
        .map_err(|e| e.to_string())?;
    let flat: Vec<u32> = encoding.offsets.iter().flat_map(|&(a, b)| [a, b]).collect();
    equal("ids", &encoding.ids[..], ids)?;
    equal("offsets", &flat[..], offsets)
}

fn encode_repeat(tokenizer: &Tokenizer, case: &RepeatCase) -> Result<(), String> {
    let Repeat {
        prefix,
        unit,
        count,
        suffix,
    } = &case.repeat;
    let text = format!("{prefix}{}{suffix}", unit.repeat(*count));
    let Packed {
        head,
        cycle,
        times,
        tail,
    } = &case.ids_packed;
    let ids = [head.clone(), cycle.repeat(*times), tail.clone()].concat();
    equal("recorded count", &ids.len(), &case.count)?;
    let encoding = tokenizer.encode(&text, false).map_err(|e| e.to_string())?;
    // Not by `equal`: a hundred thousand ids are no message.
    if encoding.ids != ids {
        return Err(format!(
            "other ids, {} of {}",
            encoding.ids.len(),
            ids.len()
        ));
    }
    let end = encoding.offsets.last().map_or(0, |&(_, end)| end as usize);
    equal("end of the last offset", &end, &text.encode_utf16().count())
}

/// For each code point, and the end, its position in UTF-16 code units.
fn utf16_positions(text: &str) -> Vec<u32> {
    let mut at = 0;
    let mut positions = vec![0];
    for character in text.chars() {
        at += character.len_utf16() as u32;
        positions.push(at);
    }
    positions
}

#[derive(Deserialize)]
struct DecodeCase {
    name: String,
    ids: Vec<u32>,
    steps: Vec<String>,
    flush: String,
    text: String,
}

pub fn decode(fixtures: &Fixtures) -> Report {
    let tokenizer = gpt2(fixtures);
    let mut report = Report::default();
    for case in fixtures.json::<File<DecodeCase>>("decode.json").cases {
        report.case(&case.name, decode_case(&tokenizer, &case));
    }
    report
}

fn decode_case(tokenizer: &Tokenizer, case: &DecodeCase) -> Result<(), String> {
    let text = tokenizer.decode(&case.ids).map_err(|e| e.to_string())?;
    equal("text", &text, &case.text)?;
    equal("number of steps", &case.ids.len(), &case.steps.len())?;
    let mut stream = TextStream::default();
    for (&id, step) in case.ids.iter().zip(&case.steps) {
        let bytes = tokenizer.token_bytes(id).ok_or(format!("no token {id}"))?;
        equal("step", &stream.push(bytes), step)?;
    }
    equal("flush", &stream.finish(), &case.flush)
}

fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    got: &T,
    expected: &T,
) -> Result<(), String> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what}: {got:?} instead of {expected:?}"))
}
