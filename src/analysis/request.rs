//! Which analysis, and with what options: how JavaScript asks for one.

use super::{Analysis, Setting, Subject};
use crate::error::{Error, Result};
use crate::generate::options::unreadable_option;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// An analysis that is asked for. In JSON it is an object of its options, in
/// which `kind` names it.
#[derive(Debug, Clone, PartialEq)]
pub enum AnalysisRequest {}

impl AnalysisRequest {
    /// Reads a request. Unknown options are refused, as everywhere.
    ///
    /// Errors: `invalid-argument`, `invalid-option`.
    pub fn from_json(text: &str) -> Result<Self> {
        let mut options: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| Error::argument("request", error.to_string()))?;
        let kind = options.remove("kind").unwrap_or_default();
        let options = Value::Object(options);
        let _ = options;
        Err(Error::option("kind", kind, "one of the analyses"))
    }

    /// Checks everything that can be wrong, before the model runs.
    pub fn begin(self, _setting: &Setting, _subjects: Vec<Subject>) -> Result<Box<dyn Analysis>> {
        match self {}
    }
}

/// The options of one kind of analysis.
#[allow(dead_code)]
fn read<T: DeserializeOwned>(options: Value) -> Result<T> {
    serde_path_to_error::deserialize(options).map_err(|error| {
        let (name, complaint) = (error.path().to_string(), error.inner().to_string());
        match complaint.strip_prefix("unknown field ") {
            Some(unknown) => unknown_option(&name, unknown),
            None => unreadable_option(name, &complaint),
        }
    })
}

/// From serde's "`name`, expected one of `a`, `b`".
fn unknown_option(path: &str, unknown: &str) -> Error {
    let (name, known) = unknown.split_once(", expected ").unwrap_or((unknown, ""));
    let name = name.replace('`', "");
    // The path ends in the name or in what it should be in.
    let path = match path.strip_suffix(&name) {
        Some(before) => before.trim_end_matches('.'),
        None => path,
    };
    let option = match path {
        "" | "." => name,
        path => format!("{path}.{name}"),
    };
    Error::option(option, "no option", known.replace('`', ""))
}
