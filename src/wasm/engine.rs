//! A loaded model and its jobs.

use super::states::StateJobs;
use super::{analysis, beam, errors};
use crate::engine::packed_file;
use crate::error::Error;
use crate::generate::options::{unknown_option, unreadable_option};
use crate::generate::{Event, FinishReason, GenerateOptions, Input, JobId, Scheduler};
use crate::model::{Dtype, TokenizerLists};
use serde::Serialize;
use serde_wasm_bindgen::Serializer;
use std::rc::Rc;
use tsify::Tsify;
use wasm_bindgen::prelude::{JsCast, JsValue, wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// The clock of timings.
pub fn milliseconds() -> f64 {
    performance_now()
}

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What `Engine.step` tells. Of states it tells in JSON. */
export type EngineEvent =
  | { job: number; type: "progress"; done: number; cached: number; total: number; maxTokens: number }
  | ({ job: number; type: "chunk" } & GenerationChunk)
  | { job: number; type: "done"; result: GenerationResult }
  | { job: number; type: "continued"; result: GenerationResult; state: string }
  | { job: number; type: "told"; answer: string }
  | { job: number; type: "logits"; data: Float32Array; shape: [number, number]; tokens: number[] }
  | { job: number; type: "embedding"; data: Float32Array }
  | BeamEvent
  | AnalysisEvent
  | { job: number; type: "error"; error: Error & { code: string; details: unknown } };

/** Token ids and their places in the text. */
export interface Encoding {
  ids: Uint32Array;
  /** `[start, end]` of each token, in UTF-16 code units, flat. */
  offsets: Uint32Array;
}
"#;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(typescript_type = "EngineEvent[]")]
    pub type EngineEvents;
    #[wasm_bindgen(typescript_type = "Encoding")]
    pub type JsEncoding;
    #[wasm_bindgen(typescript_type = "string | Uint32Array")]
    pub type JsInput;
    #[wasm_bindgen(typescript_type = "\"callback\" | undefined")]
    pub type CancelReason;
    #[wasm_bindgen(typescript_type = "Partial<GenerateOptions>")]
    pub type JsGenerateOptions;
}

/// What a model is.
#[derive(Serialize, Tsify)]
#[serde(rename_all = "camelCase")]
#[tsify(missing_as_null)]
pub struct ModelInfo {
    /// Vocabulary size: logits a position.
    vocab_size: u32,
    /// Context length in tokens.
    n_positions: u32,
    n_embd: u32,
    n_layer: u32,
    n_head: u32,
    /// Number of weights.
    parameters: f64,
    /// Bytes the weights take in memory.
    weight_bytes: f64,
    /// Number format of the weights while running.
    #[tsify(type = "\"f32\" | \"q8\" | \"q5\" | \"q4\"")]
    dtype: &'static str,
    has_tokenizer: bool,
    /// End-of-text token, where the model names one.
    eos_token_id: Option<u32>,
    /// SHA-256 of the weights file, hexadecimal.
    sha256: String,
}

/// A model ready to run.
#[wasm_bindgen]
pub struct Engine {
    pub(super) scheduler: Scheduler,
    pub(super) states: StateJobs,
    pub(super) dtype: Dtype,
    /// The model, where it runs from packed weights.
    fast: Option<Rc<crate::engine::Engine>>,
    /// What the header of the packed model needs: `None` where there is none
    /// to write.
    to_pack: Option<Option<TokenizerLists>>,
    sha256: String,
}

impl Engine {
    pub(super) fn new(
        mut scheduler: Scheduler,
        dtype: Dtype,
        fast: Option<Rc<crate::engine::Engine>>,
        sha256: String,
    ) -> Self {
        let states = StateJobs::new(&mut scheduler, dtype, &sha256);
        Self {
            scheduler,
            states,
            dtype,
            fast,
            to_pack: None,
            sha256,
        }
    }

    /// Says that the weights were just packed and may be kept, with the
    /// tokenizer that came with them.
    pub(super) fn keep_for_packing(&mut self, tokenizer: Option<TokenizerLists>) {
        self.to_pack = self.fast.is_some().then_some(tokenizer);
    }
}

#[wasm_bindgen]
impl Engine {
    #[wasm_bindgen(unchecked_return_type = "ModelInfo")]
    pub fn info(&self) -> Result<JsValue, Error> {
        let model = self.scheduler.model();
        let config = model.config();
        to_value(&ModelInfo {
            vocab_size: config.vocab_size as u32,
            n_positions: config.n_positions as u32,
            n_embd: config.n_embd as u32,
            n_layer: config.n_layer as u32,
            n_head: config.n_head as u32,
            parameters: config.parameters() as f64,
            weight_bytes: model.weight_bytes() as f64,
            dtype: self.dtype.name(),
            has_tokenizer: self.scheduler.tokenizer().is_ok(),
            eos_token_id: config.eos_token_ids.first().copied(),
            sha256: self.sha256.clone(),
        })
    }

    /// Header of the packed model, to be stored with the bytes at
    /// `packedAddress()`; once, and only where the weights were packed just
    /// now.
    #[wasm_bindgen(js_name = packedHeader)]
    pub fn packed_header(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let (Some(tokenizer), Some(fast)) = (self.to_pack.take(), &self.fast) else {
            return Ok(None);
        };
        packed_file::header(fast.packed(), &self.sha256, tokenizer).map(Some)
    }

    /// Where in wasm memory the packed weights are.
    #[wasm_bindgen(js_name = packedAddress)]
    pub fn packed_address(&self) -> usize {
        self.fast
            .as_ref()
            .map_or(0, |fast| fast.packed().bytes().as_ptr() as usize)
    }

    /// How many bytes the packed weights are.
    #[wasm_bindgen(js_name = packedBytes)]
    pub fn packed_bytes(&self) -> usize {
        self.fast
            .as_ref()
            .map_or(0, |fast| fast.packed().bytes().len())
    }

    /// Text to token ids. With `parse_special`, text such as `<|endoftext|>`
    /// becomes the token it names.
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<JsEncoding, Error> {
        let encoding = self.scheduler.tokenizer()?.encode(text, parse_special)?;
        let offsets: Vec<u32> = encoding
            .offsets
            .iter()
            .flat_map(|&(start, end)| [start, end])
            .collect();
        let object = js_sys::Object::new();
        errors::set(
            &object,
            "ids",
            &js_sys::Uint32Array::from(&encoding.ids[..]).into(),
        );
        errors::set(
            &object,
            "offsets",
            &js_sys::Uint32Array::from(&offsets[..]).into(),
        );
        Ok(object.unchecked_into())
    }

    /// Token ids to text; bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        self.scheduler.tokenizer()?.decode(ids)
    }

    /// Begins a generation; the job's number.
    #[wasm_bindgen(js_name = addGeneration)]
    pub fn add_generation(
        &mut self,
        prompt: JsInput,
        options: JsGenerateOptions,
    ) -> Result<JobId, Error> {
        let options = generate_options(options.into())?;
        self.scheduler.add_generation(input(prompt)?, &options)
    }

    /// Begins the computation of logits; the job's number. Without
    /// `positions`, of all.
    #[wasm_bindgen(js_name = addLogits)]
    pub fn add_logits(
        &mut self,
        tokens: JsInput,
        positions: Option<Vec<i32>>,
    ) -> Result<JobId, Error> {
        self.scheduler
            .add_logits(input(tokens)?, positions.as_deref())
    }

    /// Begins to embed a prompt as one vector of `nEmbd` numbers, for finding
    /// prompts that mean the same; the job's number.
    #[wasm_bindgen(js_name = addEmbedding)]
    pub fn add_embedding(&mut self, prompt: JsInput, parse_special: bool) -> Result<JobId, Error> {
        self.scheduler.add_embedding(input(prompt)?, parse_special)
    }

    /// Ends a job: a generation's next event is its end, with `reason`, or else
    /// `"aborted"`; any other is dropped.
    pub fn cancel(&mut self, job: JobId, reason: CancelReason) {
        let reason = match JsValue::from(reason).as_string().as_deref() {
            Some("callback") => FinishReason::Callback,
            _ => FinishReason::Aborted,
        };
        self.scheduler.end(job, reason);
    }

    /// Leaves a job out of the steps to come.
    pub fn pause(&mut self, job: JobId) {
        self.scheduler.pause(job);
    }

    /// Has a job that is paused go on.
    pub fn resume(&mut self, job: JobId) {
        self.scheduler.resume(job);
    }

    /// True while there is a job that is not paused.
    pub fn busy(&self) -> bool {
        self.scheduler.is_busy()
    }

    /// Runs one step of every job.
    pub fn step(&mut self) -> Result<EngineEvents, Error> {
        let events = js_sys::Array::new();
        let told = self.scheduler.step();
        for (job, progress) in self.scheduler.prompt_progress() {
            let event = to_value(progress)?;
            errors::set(&event, "type", &"progress".into());
            errors::set(&event, "job", &(*job).into());
            events.push(&event);
        }
        for (job, event) in told {
            let event = match event {
                Event::Continued(result, continuation) => {
                    self.continued(job, &result, continuation)?
                }
                Event::Read(_) | Event::Compared(_) => self.told(event)?,
                event => event_object(event)?,
            };
            errors::set(&event, "job", &job.into());
            events.push(&event);
        }
        Ok(events.unchecked_into())
    }
}

fn event_object(event: Event) -> Result<JsValue, Error> {
    let (kind, object) = match event {
        Event::Chunk(chunk) => ("chunk", to_value(&chunk)?),
        Event::Done(result) => ("done", event_of("result", &to_value(&result)?)),
        Event::BeamStep(step) => beam::step_event(&step)?,
        Event::BeamDone(result) => beam::done_event(&result)?,
        Event::Logits(logits) => {
            let object = JsValue::from(js_sys::Object::new());
            let data = js_sys::Float32Array::from(&logits.data[..]);
            errors::set(&object, "data", &data.into());
            errors::set(
                &object,
                "shape",
                &to_value(&logits.shape.map(|n| n as u32))?,
            );
            errors::set(&object, "tokens", &to_value(&logits.tokens)?);
            ("logits", object)
        }
        Event::Embedded(vector) => {
            let object = JsValue::from(js_sys::Object::new());
            let data = js_sys::Float32Array::from(&vector[..]);
            errors::set(&object, "data", &data.into());
            ("embedding", object)
        }
        Event::AnalysisProgress(progress) => ("analysisProgress", to_value(&progress)?),
        Event::Analysed(result) => analysis::analysed_event(result)?,
        Event::Failed(error) => failed(&error),
        Event::Continued(..) | Event::Read(_) | Event::Compared(_) => {
            failed(&Error::Internal("an event of a state".into()))
        }
    };
    errors::set(&object, "type", &kind.into());
    Ok(object)
}

/// An event with one thing in it.
pub(super) fn event_of(name: &str, value: &JsValue) -> JsValue {
    let object = JsValue::from(js_sys::Object::new());
    errors::set(&object, name, value);
    object
}

/// The event of a job that failed.
pub(super) fn failed(error: &Error) -> (&'static str, JsValue) {
    ("error", event_of("error", &errors::to_js(error)))
}

pub(super) fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<JsValue, Error> {
    let serializer = Serializer::new()
        .serialize_missing_as_null(true)
        .serialize_large_number_types_as_bigints(true);
    value
        .serialize(&serializer)
        .map_err(|error| Error::Internal(error.to_string()))
}

pub(super) fn input(value: JsInput) -> Result<Input, Error> {
    let value = JsValue::from(value);
    if let Some(text) = value.as_string() {
        return Ok(Input::Text(text));
    }
    match value.dyn_into::<js_sys::Uint32Array>() {
        Ok(ids) => Ok(Input::Tokens(ids.to_vec())),
        Err(_) => Err(Error::argument(
            "prompt",
            "must be a string or a Uint32Array of token ids",
        )),
    }
}

/// Reads the options. Those that are `undefined` count as absent, as everywhere
/// in JavaScript. Unknown names are looked for here, because
/// `serde_wasm_bindgen` only asks an object for the names it knows and so never
/// sees another.
pub(super) fn generate_options(value: JsValue) -> Result<GenerateOptions, Error> {
    if value.is_null() || value.is_undefined() {
        return Ok(GenerateOptions::default());
    }
    let Some(object) = value.dyn_ref::<js_sys::Object>() else {
        return Err(Error::argument("options", "must be an object"));
    };
    let known = GenerateOptions::names();
    let given = js_sys::Object::new();
    for entry in js_sys::Object::entries(object).iter() {
        let entry: js_sys::Array = entry.unchecked_into();
        let (name, value) = (entry.get(0), entry.get(1));
        if value.is_undefined() {
            continue;
        }
        let text = name.as_string().unwrap_or_default();
        if !known.contains(&text) {
            return Err(unknown_option(text));
        }
        let _ = js_sys::Reflect::set(&given, &name, &value);
    }
    let deserializer = serde_wasm_bindgen::Deserializer::from(JsValue::from(given));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let name = error.path().to_string();
        unreadable_option(name, &error.into_inner().to_string())
    })
}
