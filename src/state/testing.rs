//! What the tests of this folder share: a tokenizer whose tokens are bytes,
//! GPT-2's own, and sequences that have much in common.

use crate::tokenizer::{Tokenizer, byte_to_char};
use proptest::prelude::*;
use std::sync::LazyLock;

/// A token for each byte, its id the byte: every character above U+007F takes
/// several tokens.
pub static BYTES: LazyLock<Tokenizer> = LazyLock::new(|| {
    let tokens = (0..=255).map(|byte| byte_to_char(byte).to_string());
    Tokenizer::from_lists(tokens.collect(), Vec::new(), &[]).unwrap()
});

pub static GPT2: LazyLock<Tokenizer> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt2-tokenizer");
    let file = |name: &str| std::fs::read(format!("{folder}/{name}")).unwrap();
    Tokenizer::from_vocab_and_merges(&file("vocab.json"), &file("merges.txt")).unwrap()
});

/// The tokens of a text in [`BYTES`].
pub fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

/// Few different tokens, so that two sequences have many in common.
pub fn few_tokens() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..4, 0..24)
}

/// Tokens of [`BYTES`]: ASCII, whole characters, parts of characters.
pub fn byte_tokens() -> impl Strategy<Value = Vec<u32>> {
    let part = prop_oneof![
        3 => prop::sample::select(vec!["a", "b", "é", "è", "漢", "漣", "碢", "😀", "😂"])
            .prop_map(bytes),
        1 => prop::sample::select(vec![0xC3, 0xA9, 0xE6, 0xBC, 0xF0, 0x9F, 0x80, 0xFF])
            .prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}
