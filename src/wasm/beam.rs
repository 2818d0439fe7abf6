//! Beam searches: of a prompt, and of a state's text.

use super::engine::{Engine, JsInput, event_of, generate_options, input, to_value};
use super::errors;
use crate::error::{Error, Result};
use crate::generate::beam::{Allowed, BeamOptions, BeamResult, BeamStep};
use crate::generate::options::unreadable_option;
use crate::generate::{GenerateOptions, Input, JobId};
use serde_json::{Map, Value};
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What `Engine.step` tells of beam searches. */
export type BeamEvent =
  | ({ job: number; type: "beamStep" } & BeamStep)
  | { job: number; type: "beamDone"; result: BeamResult };
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "Partial<BeamOptions & GenerateOptions>")]
    pub type JsBeamOptions;
    #[wasm_bindgen(typescript_type = "(Uint32Array | null)[]")]
    pub type JsAllowed;
}

#[wasm_bindgen]
impl Engine {
    /// Begins a beam search; the job's number. With `is_asked`, nothing may come
    /// before `allowTokens` has said what.
    #[wasm_bindgen(js_name = addBeamSearch)]
    pub fn add_beam_search(
        &mut self,
        prompt: JsInput,
        options: JsBeamOptions,
        is_asked: bool,
    ) -> Result<JobId> {
        let (beams, generation) = split(options.into())?;
        let beams = beam_options(beams)?;
        let generation = generate_options(generation)?;
        let job = self
            .scheduler
            .add_beam_search(input(prompt)?, None, &beams, &generation)?;
        self.begin_to_ask(job, is_asked);
        Ok(job)
    }

    /// Searches from a state's text, which stays as it is; options in JSON over
    /// those of the state.
    #[wasm_bindgen(js_name = addStateBeamSearch)]
    pub fn add_state_beam_search(
        &mut self,
        id: &str,
        options: &str,
        is_asked: bool,
    ) -> Result<JobId> {
        let mut rest: Map<String, Value> = serde_json::from_str(options)
            .map_err(|error| Error::argument("options", error.to_string()))?;
        let mut beams = Map::new();
        for name in BeamOptions::names() {
            beams.extend(rest.remove_entry(&name));
        }
        check_names(rest.keys())?;
        let beams = beams_from(Value::Object(beams))?;
        let asked = self.state_request(id, &Value::Object(rest).to_string())?;
        let states = &self.states.states;
        let root = states.root(states.get(id)?);
        let job = self.scheduler.add_beam_search(
            Input::Tokens(asked.tokens),
            Some((root, asked.rng)),
            &beams,
            &asked.options,
        )?;
        self.begin_to_ask(job, is_asked);
        Ok(job)
    }

    /// Says what may come after each of a search's open beams, which are named
    /// by their nodes (0 is the prompt); `null` is anything.
    #[wasm_bindgen(js_name = allowTokens)]
    pub fn allow_tokens(&mut self, job: JobId, nodes: &[u32], allowed: JsAllowed) -> Result<()> {
        let lists = js_sys::Array::from(&JsValue::from(allowed));
        let ids = |list: JsValue| -> Result<Option<Vec<u32>>> {
            if list.is_null() {
                return Ok(None);
            }
            match list.dyn_into::<js_sys::Uint32Array>() {
                Ok(ids) => Ok(Some(ids.to_vec())),
                Err(_) => Err(Error::Internal("allowed tokens are no Uint32Array".into())),
            }
        };
        let lists = lists.iter().map(ids).collect::<Result<Vec<_>>>()?;
        let told = nodes.iter().copied().zip(lists).collect();
        self.scheduler.allow(job, Allowed::Told(told));
        Ok(())
    }

    fn begin_to_ask(&mut self, job: JobId, is_asked: bool) {
        if is_asked {
            self.scheduler.allow(job, Allowed::Told(Default::default()));
        }
    }
}

/// What a step of a search has tried.
pub(super) fn step_event(step: &BeamStep) -> Result<(&'static str, JsValue)> {
    Ok(("beamStep", to_value(step)?))
}

/// The end of a search.
pub(super) fn done_event(result: &BeamResult) -> Result<(&'static str, JsValue)> {
    Ok(("beamDone", event_of("result", &to_value(result)?)))
}

/// Refuses names that no option has, of beams or of generations.
fn check_names<'n>(names: impl IntoIterator<Item = &'n String>) -> Result<()> {
    let known = [BeamOptions::names(), GenerateOptions::names()].concat();
    match names.into_iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let range = format!("one of {}", known.join(", "));
            Err(Error::option(name, "no option", range))
        }
    }
}

/// The options of beams, and all others.
fn split(options: JsValue) -> Result<(JsValue, JsValue)> {
    let (beams, rest) = (js_sys::Object::new(), js_sys::Object::new());
    if !options.is_null() && !options.is_undefined() {
        let Some(options) = options.dyn_ref::<js_sys::Object>() else {
            return Err(Error::argument("options", "must be an object"));
        };
        let known = BeamOptions::names();
        let mut names = Vec::new();
        for entry in js_sys::Object::entries(options).iter() {
            let entry: js_sys::Array = entry.unchecked_into();
            let (name, value) = (entry.get(0).as_string().unwrap_or_default(), entry.get(1));
            if value.is_undefined() {
                continue;
            }
            let part = if known.contains(&name) { &beams } else { &rest };
            errors::set(part, &name, &value);
            names.push(name);
        }
        check_names(&names)?;
    }
    Ok((beams.into(), rest.into()))
}

fn beam_options(value: JsValue) -> Result<BeamOptions> {
    let deserializer = serde_wasm_bindgen::Deserializer::from(value);
    readable(serde_path_to_error::deserialize(deserializer))
}

fn beams_from(value: Value) -> Result<BeamOptions> {
    readable(serde_path_to_error::deserialize(value))
}

fn readable<E: std::fmt::Display>(
    read: std::result::Result<BeamOptions, serde_path_to_error::Error<E>>,
) -> Result<BeamOptions> {
    read.map_err(|error| {
        let name = error.path().to_string();
        unreadable_option(name, &error.into_inner().to_string())
    })
}
