//! Errors as JavaScript sees them: an `Error` with `code` and `details`.

use crate::error::Error;
use serde::Serialize;
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

pub fn report_panic(message: &str) {
    console_error(message);
}

/// The error as an instance of JavaScript's `Error`.
pub fn to_js(error: &Error) -> JsValue {
    let thrown = js_sys::Error::new(&error.to_string());
    let details = error
        .details()
        .serialize(&Serializer::json_compatible())
        .unwrap_or(JsValue::NULL);
    set(&thrown, "code", &error.code().into());
    set(&thrown, "details", &details);
    thrown.into()
}

impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        to_js(&error)
    }
}

/// Sets a property of an object made here, which cannot fail.
pub fn set(object: &JsValue, name: &str, value: &JsValue) {
    let _ = js_sys::Reflect::set(object, &name.into(), value);
}
