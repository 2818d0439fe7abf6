//! What decides the answer to a generation, as JSON: what a response cache makes
//! its key of.
//!
//! Two requests that are spelt differently and mean the same are the same JSON:
//! options come after their defaults, those that cannot change the answer are
//! left out, and the prompt is its tokens. Everything that can change it is in:
//! the weights, their number format, the version of the arithmetic, the
//! vocabulary, and where the random numbers stand.

use super::generation::{Input, prompt_tokens};
use super::options::GenerateOptions;
use super::rng::RngState;
use super::scheduler::Scheduler;
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// Whose answers they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// SHA-256 of the weights.
    pub model: String,
    pub dtype: &'static str,
    /// Name and version of this library and of its arithmetic.
    pub engine: String,
}

/// A request for a generation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// All that decides the answer.
    pub request: Value,
    /// The same without the prompt.
    pub family: Value,
    /// Whether chance has no part in it: greedy, or with a seed, and without a
    /// limit of time.
    pub reproducible: bool,
    /// The prompt's text; empty without a tokenizer.
    pub prompt: String,
}

/// Options that say how to compute and not what, or are told otherwise: the
/// prompt's reading by its tokens, the seed by the random numbers' state.
const LEFT_OUT: [&str; 5] = [
    "seed",
    "parseSpecial",
    "cachePrompt",
    "captureAttention",
    "promptLookupNumTokens",
];
/// Options of sampling, which a greedy generation does not do.
const SAMPLING: [&str; 12] = [
    "temperature",
    "topK",
    "topP",
    "minP",
    "temperatureSchedule",
    "topH",
    "adaptiveTopK",
    "adaptiveTopP",
    "typicalP",
    "epsilonCutoff",
    "etaCutoff",
    "mirostat",
];
/// Options that are spelt out at their default too. Those that came later are
/// not, so that a new option changes no key of the answers kept before it.
const ALWAYS_SPELT: [&str; 9] = [
    "eosTokenIds",
    "includeStop",
    "maxTokens",
    "minP",
    "repetitionPenalty",
    "stop",
    "temperature",
    "topK",
    "topP",
];

impl Scheduler {
    /// Describes a request; `rng` is where its random numbers begin unless the
    /// options have a seed.
    ///
    /// Errors: those of a generation.
    pub fn describe_request(
        &self,
        prompt: Input,
        options: &GenerateOptions,
        rng: Option<RngState>,
        origin: &Origin,
    ) -> Result<Request> {
        let model = self.model();
        let config = model.config();
        options.validate(config.vocab_size)?;
        let tokenizer = self.tokenizer().ok();
        let prompt = prompt_tokens(prompt, model, tokenizer, options)?;
        let rng = match options.seed {
            Some(seed) => Some(RngState { seed, position: 0 }),
            None => rng,
        };
        let rng = rng.filter(|_| !options.is_greedy());
        let text = tokenizer.map_or(Ok(String::new()), |tokenizer| tokenizer.decode(&prompt))?;

        let family = json!({
            "kind": "generation",
            "engine": origin.engine,
            "model": origin.model,
            "dtype": origin.dtype,
            "tokenizer": tokenizer.map(|tokenizer| tokenizer.vocabulary_hash()),
            "options": canonical_options(options, &config.eos_token_ids)?,
            // As digits: a number of JSON ends at 2^53.
            "rng": rng.map(|rng| json!({
                "seed": rng.seed.to_string(),
                "position": rng.position.to_string(),
            })),
        });
        let mut request = family.clone();
        request["prompt"] = json!(prompt);
        Ok(Request {
            request,
            family,
            reproducible: (options.is_greedy() || rng.is_some()) && options.max_time_ms.is_none(),
            prompt: text,
        })
    }
}

/// The options that decide the answer, each in its one spelling.
fn canonical_options(options: &GenerateOptions, eos_token_ids: &[u32]) -> Result<Value> {
    let mut options = options.clone();
    let mut ends = options
        .eos_token_ids
        .take()
        .unwrap_or_else(|| eos_token_ids.to_vec());
    ends.sort_unstable();
    ends.dedup();
    options.eos_token_ids = Some(ends);
    options.include_stop &= !options.stop.is_empty() || !options.stop_token_ids.is_empty();
    for ids in [
        &mut options.suppress_tokens,
        &mut options.begin_suppress_tokens,
        &mut options.stop_token_ids,
    ] {
        ids.sort_unstable();
        ids.dedup();
    }

    let mut value = as_json(&options)?;
    let defaults = as_json(&GenerateOptions::default())?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| {
            ALWAYS_SPELT.contains(&name.as_str()) || defaults.get(name) != Some(value)
        });
        let greedy = if options.is_greedy() {
            &SAMPLING[..]
        } else {
            &[]
        };
        for name in LEFT_OUT.iter().chain(greedy) {
            fields.remove(*name);
        }
        if options.is_greedy() {
            fields.insert("temperature".into(), 0.into());
        }
    }
    Ok(value)
}

/// By way of text, which has an f32 in its shortest digits: 0.7, not 0.699999988.
fn as_json(options: &GenerateOptions) -> Result<Value> {
    let internal = |error: serde_json::Error| Error::Internal(error.to_string());
    let text = serde_json::to_string(options).map_err(internal)?;
    serde_json::from_str(&text).map_err(internal)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
