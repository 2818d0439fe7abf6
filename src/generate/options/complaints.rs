//! What is wrong with options that cannot even be read, in a caller's words.

use super::GenerateOptions;
use crate::error::Error;

/// There is no option of this name.
pub fn unknown_option(name: impl Into<String>) -> Error {
    let known = GenerateOptions::names().join(", ");
    Error::option(name, "no option", format!("one of {known}"))
}

/// An option's value is of another kind: what serde says of it, without Rust's
/// names of types.
pub fn unreadable_option(name: impl Into<String>, complaint: &str) -> Error {
    let complaint = complaint.trim_start_matches("Error: ");
    let (found, expected) = complaint
        .rsplit_once(", expected ")
        .unwrap_or((complaint, ""));
    let expected = match expected {
        "usize" | "u32" => "a whole number of at least 0",
        "u64" => "an integer from 0 to 2^64-1",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a tuple of size 2" => "a list of two",
        "" => "of the kind that the types give",
        other => other,
    };
    let found = found
        .trim_start_matches("invalid type: ")
        .trim_start_matches("invalid value: ");
    Error::option(name, found, expected)
}
