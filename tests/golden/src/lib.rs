//! The golden checks: what Hugging Face transformers computed, against what
//! this library computes.
//!
//! They are a library, not test functions, so that the very same assertions
//! run natively (`tests/native.rs`) and, compiled to wasm, in a browser
//! (`tests/browser`). A check names the fixtures it needs, because a page has
//! to fetch them first.

pub mod fixtures;
pub mod report;
pub mod tokenizer;

pub use fixtures::Fixtures;
pub use report::Report;

/// A named check and the fixture files it reads.
pub struct Check {
    pub name: &'static str,
    pub files: &'static [&'static str],
    pub run: fn(&Fixtures) -> Report,
}

/// Every check there is.
pub const CHECKS: &[Check] = &[
    Check {
        name: "tokenizer-encode",
        files: tokenizer::ENCODE_FILES,
        run: tokenizer::encode,
    },
    Check {
        name: "tokenizer-decode",
        files: tokenizer::DECODE_FILES,
        run: tokenizer::decode,
    },
];
