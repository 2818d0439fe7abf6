//! The golden checks for a page: it asks which there are, fetches their
//! fixtures, and runs them one by one.
//!
//! A panic traps, and its message is that of the exception the page catches,
//! so nothing here needs to guard against one.

use crate::{CHECKS, Fixtures, Report};
use js_sys::{Map, Uint8Array};
use serde::Serialize;
use std::collections::HashMap;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    files: &'static [&'static str],
}

/// `[{ name, files }]` of every check, as JSON.
#[wasm_bindgen]
pub fn checks() -> String {
    let listed: Vec<Listed> = CHECKS
        .iter()
        .map(|check| Listed {
            name: check.name,
            files: check.files,
        })
        .collect();
    json(&listed)
}

/// Runs the check of that name with `files` (path to `Uint8Array`); its
/// `{ cases, failures, measured }`, as JSON.
#[wasm_bindgen]
pub fn run(name: &str, files: &Map) -> String {
    let check = CHECKS
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no check named {name}"));
    let mut contents = HashMap::new();
    files.for_each(&mut |bytes: JsValue, path: JsValue| {
        let path = path.as_string().unwrap_or_default();
        contents.insert(path, bytes.unchecked_into::<Uint8Array>().to_vec());
    });
    let report: Report = (check.run)(&Fixtures::new(move |path| contents.get(path).cloned()));
    json(&report)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|e| panic!("{e}"))
}
