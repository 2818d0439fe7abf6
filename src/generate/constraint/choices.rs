//! One of some texts.

use super::hir;
use super::regex::quoted;
use crate::error::{Error, Result};
use regex_syntax::hir::Hir;

pub const OPTION: &str = "constraint.choices";

/// The most texts.
pub const MAX_CHOICES: usize = 10_000;
/// The most bytes of all of them together.
pub const MAX_CHOICES_BYTES: usize = 1 << 16;

pub fn compile(texts: &[String]) -> Result<Hir> {
    if texts.is_empty() || texts.len() > MAX_CHOICES {
        let value = format!("a list of {}", texts.len());
        let range = format!("a list of 1 to {MAX_CHOICES} texts");
        return Err(Error::option(OPTION, value, range));
    }
    let mut bytes = 0;
    for (index, text) in texts.iter().enumerate() {
        bytes += text.len();
        if bytes > MAX_CHOICES_BYTES {
            let range = format!("at most {MAX_CHOICES_BYTES} bytes with those before it");
            return Err(Error::option(
                format!("{OPTION}[{index}]"),
                quoted(text),
                range,
            ));
        }
    }
    // In order, so that texts that begin alike share their states.
    let mut sorted: Vec<&str> = texts.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    Ok(Hir::alternation(
        sorted.into_iter().map(hir::literal).collect(),
    ))
}
