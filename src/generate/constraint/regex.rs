//! Regular expressions as they are written, to what automata are made of.

use super::automaton::Failure;
use crate::error::{Error, Result};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

/// The longest expression, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// How deep groups and repetitions may nest.
pub const MAX_PATTERN_NESTING: u32 = 100;

/// Reads an expression in the syntax of the `regex` crate. Errors name
/// `option`.
pub fn parse(option: &str, pattern: &str) -> Result<Hir> {
    check_length(option, pattern)?;
    let hir = ParserBuilder::new()
        .nest_limit(MAX_PATTERN_NESTING)
        .build()
        .parse(pattern)
        .map_err(|error| not_valid(option, pattern, &error))?;
    if hir.properties().look_set().contains_word_unicode() {
        let range = r"free of Unicode word boundaries: `(?-u:\b)` is the one of ASCII";
        return Err(Error::option(option, quoted(pattern), range));
    }
    Ok(hir)
}

pub fn check_length(option: &str, pattern: &str) -> Result<()> {
    if pattern.len() > MAX_PATTERN_BYTES {
        let value = format!("{} bytes long", pattern.len());
        let range = format!("at most {MAX_PATTERN_BYTES} bytes long");
        return Err(Error::option(option, value, range));
    }
    Ok(())
}

/// The error for an expression that cannot be read.
pub fn not_valid(option: &str, pattern: &str, error: &regex_syntax::Error) -> Error {
    let (reason, at) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => {
            (error.kind().to_string(), error.span().start.offset)
        }
        other => (other.to_string(), 0),
    };
    let range = format!("a regular expression (byte {at}: {reason})");
    Error::option(option, quoted(pattern), range)
}

/// The error for an expression that there is no automaton of.
pub fn failed(option: &str, value: &str, failure: Failure) -> Error {
    let range = match failure {
        Failure::TooLarge => "smaller: its automaton takes more than is granted",
        Failure::Unmatchable => "something that a text of this vocabulary can match: none can",
        Failure::Unsupported => "an expression that a finite automaton can match",
    };
    Error::option(option, quoted(value), range)
}

/// As JSON spells it, and of bounded length.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 200;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    serde_json::Value::String(short).to_string()
}
