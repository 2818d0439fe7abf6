//! What a generation tells: while it runs, and at its end.

use super::token_probs::TokenLogprobs;
use crate::generate::options::StopAt;
use crate::generate::rng::RngState;
use serde::{Deserialize, Serialize};

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum FinishReason {
    /// An end-of-text token came.
    Eos,
    /// A stop string appeared.
    Stop,
    /// One of `stopTokenIds` came.
    StopToken,
    /// A line, sentence or paragraph was complete (`stopAt`).
    Boundary,
    /// What the constraint asks for is complete.
    Complete,
    /// `maxTokens` were generated.
    Length,
    /// The model's last position was reached.
    Context,
    /// `maxTimeMs` were over.
    Time,
    /// The next token was less probable than `stopBelowProbability`.
    Probability,
    /// The model was less sure of the next token than `stopAboveEntropy` lets it
    /// be.
    Entropy,
    /// The text went in circles (`stopOnLoop`).
    Loop,
    /// `stopWhen` said so.
    Callback,
    /// The caller ended it; what was made is kept.
    Aborted,
}

/// What it was that ended a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Matched {
    /// The stop string.
    Text(String),
    /// What was complete.
    Boundary(StopAt),
    /// The id of the token; the loop's length in tokens; the milliseconds, the
    /// probability or the entropy in nats that it was.
    Number(f64),
}

/// An end, and what it was that ended it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    pub reason: FinishReason,
    pub matched: Option<Matched>,
}

impl From<FinishReason> for Ending {
    fn from(reason: FinishReason) -> Self {
        Self {
            reason,
            matched: None,
        }
    }
}

impl Ending {
    pub(in crate::generate) fn number(reason: FinishReason, number: impl Into<f64>) -> Self {
        Self {
            reason,
            matched: Some(Matched::Number(number.into())),
        }
    }
}

/// What one step added.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct GenerationChunk {
    /// New text: whole characters, possibly none, possibly several tokens'.
    pub text: String,
    /// New token ids.
    pub tokens: Vec<u32>,
    /// With `logprobs`: of each new token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(target_arch = "wasm32", tsify(optional))]
    pub logprobs: Option<Vec<TokenLogprobs>>,
    /// Before this step, so many tokens were dropped from what the model sees,
    /// as `contextPolicy` says.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(target_arch = "wasm32", tsify(optional))]
    pub dropped_tokens: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Numbers of tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct Usage {
    pub prompt_tokens: u32,
    /// Prompt tokens that the model was run for; the others were in the KV
    /// cache, or dropped.
    pub tokens_evaluated: u32,
    /// Generated tokens, the one that ended it included.
    pub completion_tokens: u32,
    pub total_tokens: u32,
    /// Tokens of prompt and output that were dropped from what the model sees.
    pub dropped_tokens: u32,
    /// With `promptLookupNumTokens`: tokens that were drafted,
    pub draft_tokens: u32,
    /// and those of them that were right.
    pub accepted_draft_tokens: u32,
}

/// Times, in milliseconds, and the speeds that follow from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct Timings {
    /// From the start of the request to the first token.
    pub prefill_ms: f64,
    /// From the first token to the end.
    pub decode_ms: f64,
    /// Prompt tokens a second of `prefillMs`.
    pub prefill_tokens_per_second: f64,
    /// Tokens after the first, a second of `decodeMs`; 0 with fewer than two.
    pub tokens_per_second: f64,
}

impl Timings {
    pub(in crate::generate) fn new(
        prefill_ms: f64,
        prefilled: usize,
        decode_ms: f64,
        made: usize,
    ) -> Self {
        Self {
            prefill_ms,
            decode_ms,
            prefill_tokens_per_second: per_second(prefilled, prefill_ms),
            tokens_per_second: per_second(made.saturating_sub(1), decode_ms),
        }
    }
}

fn per_second(count: usize, ms: f64) -> f64 {
    if count == 0 || ms <= 0.0 {
        0.0
    } else {
        count as f64 * 1000.0 / ms
    }
}

/// A generation that has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
#[cfg_attr(target_arch = "wasm32", tsify(missing_as_null))]
pub struct GenerationResult {
    /// The generated text, without the prompt. Empty where the model has no
    /// tokenizer.
    pub text: String,
    /// The generated token ids, without the prompt, with the tokens that ended
    /// it (so they may say more than `text`).
    pub tokens: Vec<u32>,
    /// The prompt's token ids.
    pub prompt_tokens: Vec<u32>,
    pub finish_reason: FinishReason,
    /// What it was that ended it: the stop string, the id of the end-of-text or
    /// stop token, `"line"`, `"sentence"` or `"paragraph"`, the length of the
    /// loop in tokens, the milliseconds, the probability, the entropy in nats;
    /// else `null`.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "string | number | null"))]
    pub matched: Option<Matched>,
    /// With `logprobs`: of each of `tokens`; else `null`.
    pub logprobs: Option<Vec<TokenLogprobs>>,
    /// The seed used, so that the text can be made again; a `bigint` above
    /// 2^53-1.
    #[serde(serialize_with = "seed_for_javascript")]
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number | bigint"))]
    pub seed: u64,
    pub usage: Usage,
    pub timings: Timings,
}

/// A number where JavaScript's numbers hold it exactly.
pub(in crate::generate) fn seed_for_javascript<S: serde::Serializer>(
    seed: &u64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if *seed < 1 << 53 {
        serializer.serialize_f64(*seed as f64)
    } else {
        serializer.serialize_u64(*seed)
    }
}

/// What a generation leaves for whoever goes on from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Continuation {
    /// Prompt and output, as the tokens whose text is the prompt's and the
    /// result's: without the end-of-text token, cut before a stop string.
    pub tokens: Vec<u32>,
    /// The random numbers' state; `None` where none were needed.
    pub rng: Option<RngState>,
}
