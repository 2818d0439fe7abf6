//! Analyses of texts and states.

use super::engine::{Engine, input, to_value};
use super::errors;
use crate::analysis::{AnalysisInput, AnalysisRequest, AnalysisResult, ArrayData, NamedArray};
use crate::error::{Error, Result};
use crate::generate::JobId;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What an analysis is of: text, token ids, or the state of an id. */
export type AnalysisSubject = string | Uint32Array | { state: string };

/** Numbers with a shape, the last axis contiguous. */
export interface AnalysisArray {
  name: string;
  shape: number[];
  data: Float32Array | Float64Array | Uint32Array;
}

/** What `Engine.step` tells of analyses; `value` is JSON. */
export type AnalysisEvent =
  | { job: number; type: "analysisProgress"; done: number; total: number }
  | { job: number; type: "analysed"; value: string; arrays: AnalysisArray[] };
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "AnalysisSubject[]")]
    pub type JsAnalysisInputs;
}

#[wasm_bindgen]
impl Engine {
    /// Begins an analysis, asked for in JSON with its `kind` and options; the
    /// job's number.
    #[wasm_bindgen(js_name = addAnalysis)]
    pub fn add_analysis(&mut self, request: &str, subjects: JsAnalysisInputs) -> Result<JobId> {
        let request = AnalysisRequest::from_json(request)?;
        let subjects = js_sys::Array::from(&JsValue::from(subjects));
        let inputs = subjects
            .iter()
            .map(|value| self.analysis_input(value))
            .collect::<Result<_>>()?;
        self.scheduler.add_analysis(request, inputs)
    }

    fn analysis_input(&self, value: JsValue) -> Result<AnalysisInput> {
        let state = match value.is_object() {
            true => js_sys::Reflect::get(&value, &"state".into()).ok(),
            false => None,
        };
        let Some(id) = state.and_then(|id| id.as_string()) else {
            return Ok(AnalysisInput::Plain(input(value.unchecked_into())?));
        };
        let states = &self.states.states;
        let state = states.get(&id)?;
        Ok(AnalysisInput::State {
            tokens: state.tokens.to_vec(),
            root: states.root(state),
        })
    }
}

/// The end of an analysis.
pub(super) fn analysed_event(result: AnalysisResult) -> Result<(&'static str, JsValue)> {
    let object = JsValue::from(js_sys::Object::new());
    let value =
        serde_json::to_string(&result.value).map_err(|error| Error::Internal(error.to_string()))?;
    errors::set(&object, "value", &value.into());
    let arrays = js_sys::Array::new();
    for array in &result.arrays {
        arrays.push(&array_object(array)?);
    }
    errors::set(&object, "arrays", &arrays);
    Ok(("analysed", object))
}

fn array_object(array: &NamedArray) -> Result<JsValue> {
    let object = JsValue::from(js_sys::Object::new());
    let data: JsValue = match &array.data {
        ArrayData::F32(data) => js_sys::Float32Array::from(&data[..]).into(),
        ArrayData::F64(data) => js_sys::Float64Array::from(&data[..]).into(),
        ArrayData::U32(data) => js_sys::Uint32Array::from(&data[..]).into(),
    };
    let shape: Vec<u32> = array.shape.iter().map(|&size| size as u32).collect();
    errors::set(&object, "name", &array.name.as_str().into());
    errors::set(&object, "shape", &to_value(&shape)?);
    errors::set(&object, "data", &data);
    Ok(object)
}
