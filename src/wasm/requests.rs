//! What a generation's answer is kept under, and kept answers made again.

use super::engine::{Engine, generate_options, input, to_value};
use super::engine::{JsGenerateOptions, JsInput};
use super::errors;
use super::states::ARITHMETIC;
use crate::error::{Error, Result};
use crate::generate::recording::Replay;
use crate::generate::{Input, Origin, Recording, Request};
use crate::state::record::to_json;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A kept answer made again; `state` (JSON) where it is a state's. */
export interface Replay {
  chunks: GenerationChunk[];
  result: GenerationResult;
  state?: string;
}
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "Replay")]
    pub type JsReplay;
}

#[wasm_bindgen]
impl Engine {
    /// What decides the answer to a generation: a `Request` in JSON.
    #[wasm_bindgen(js_name = describeGeneration)]
    pub fn describe_generation(
        &self,
        prompt: JsInput,
        options: JsGenerateOptions,
    ) -> Result<String> {
        let options = generate_options(options.into())?;
        let origin = self.origin();
        let request = self
            .scheduler
            .describe_request(input(prompt)?, &options, None, &origin)?;
        json(&request)
    }

    /// The same for the generation of a state, with options in JSON.
    #[wasm_bindgen(js_name = describeStateGeneration)]
    pub fn describe_state_generation(&self, id: &str, options: &str) -> Result<String> {
        let asked = self.state_request(id, options)?;
        let prompt = Input::Tokens(asked.tokens);
        let origin = self.origin();
        let request =
            self.scheduler
                .describe_request(prompt, &asked.options, Some(asked.rng), &origin)?;
        json(&request)
    }

    /// Answers a generation with a recording (JSON).
    #[wasm_bindgen(js_name = replayGeneration)]
    pub fn replay_generation(
        &self,
        prompt: JsInput,
        options: JsGenerateOptions,
        recording: &str,
    ) -> Result<JsReplay> {
        let options = generate_options(options.into())?;
        let recording = read(recording)?;
        let replay = self
            .scheduler
            .replay(input(prompt)?, &options, None, &recording)?;
        to_object(&replay)
    }

    /// Continues a state's text with a recording (JSON); without `commit`, only
    /// makes sure that it could.
    #[wasm_bindgen(js_name = replayStateGeneration)]
    pub fn replay_state_generation(
        &mut self,
        id: &str,
        options: &str,
        recording: &str,
        commit: bool,
    ) -> Result<JsReplay> {
        let asked = self.state_request(id, options)?;
        let recording = read(recording)?;
        let prompt = Input::Tokens(asked.tokens);
        let replay = self
            .scheduler
            .replay(prompt, &asked.options, Some(asked.rng), &recording)?;
        let object = to_object(&replay)?;
        if !commit {
            return Ok(object);
        }
        let begun = super::engine::milliseconds();
        let info = self.continue_state(id, begun, &replay.result, replay.continuation)?;
        errors::set(&object, "state", &info.into());
        Ok(object)
    }

    fn origin(&self) -> Origin {
        let model = self.states.states.model();
        Origin {
            model: model.sha256.clone(),
            dtype: self.dtype.name(),
            engine: format!("cacher-wasm/{}/{ARITHMETIC}", env!("CARGO_PKG_VERSION")),
        }
    }
}

fn json(request: &Request) -> Result<String> {
    Ok(String::from_utf8_lossy(&to_json(request)?).into_owned())
}

fn read(recording: &str) -> Result<Recording> {
    serde_json::from_str(recording).map_err(|error| Error::InvalidCacheRecord(error.to_string()))
}

fn to_object(replay: &Replay) -> Result<JsReplay> {
    let object = JsValue::from(js_sys::Object::new());
    errors::set(&object, "chunks", &to_value(&replay.chunks)?);
    errors::set(&object, "result", &to_value(&replay.result)?);
    Ok(object.unchecked_into())
}
