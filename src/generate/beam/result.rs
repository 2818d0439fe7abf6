//! What a beam search gives in the end.

use super::group::Hypothesis;
use crate::generate::generation::{FinishReason, Matched, Timings, Usage, seed_for_javascript};
use serde::Serialize;

/// One of the sequences found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
#[cfg_attr(target_arch = "wasm32", tsify(missing_as_null))]
pub struct BeamSequence {
    /// The generated text, without the prompt. Empty where the model has no
    /// tokenizer.
    pub text: String,
    /// The generated token ids, without the prompt, with the tokens that ended
    /// it (so they may say more than `text`).
    pub tokens: Vec<u32>,
    /// The token ids whose text is `text`: what to go on from.
    pub text_tokens: Vec<u32>,
    /// The sum of `transitionScores`, divided by the number of tokens to the
    /// power `lengthPenalty` (with one beam: by nothing).
    pub score: f64,
    /// Log-probability of each token after the processors, in nats.
    pub transition_scores: Vec<f32>,
    /// Of each token, which of the beams it came after.
    pub beam_indices: Vec<u32>,
    pub finish_reason: FinishReason,
    /// What it was that ended it: the stop string, or the id of the end-of-text
    /// or stop token; the milliseconds; else `null`.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "string | number | null"))]
    pub matched: Option<Matched>,
    /// Its last node in the tree.
    pub node: u32,
    /// The group of beams that found it; 0 where there are no groups.
    pub group: u32,
}

impl BeamSequence {
    pub(super) fn new(hypothesis: Hypothesis, text: (String, Vec<u32>)) -> Self {
        Self {
            text: text.0,
            text_tokens: text.1,
            tokens: hypothesis.tokens,
            score: hypothesis.score,
            transition_scores: hypothesis.transition_scores,
            beam_indices: hypothesis.beam_indices,
            finish_reason: hypothesis.ending.reason,
            matched: hypothesis.ending.matched,
            node: hypothesis.node,
            group: hypothesis.group as u32,
        }
    }
}

/// A beam search that has ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct BeamResult {
    /// The best sequences, best first; fewer than `numReturnSequences` only
    /// where no more could be made.
    pub sequences: Vec<BeamSequence>,
    /// The prompt as it was run.
    pub prompt_tokens: Vec<u32>,
    /// Steps of the search: tokens of the longest beam.
    pub steps: u32,
    /// The seed used, so that the sequences can be made again; a `bigint` above
    /// 2^53-1.
    #[serde(serialize_with = "seed_for_javascript")]
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number | bigint"))]
    pub seed: u64,
    /// Completion tokens are those of the sequences returned.
    pub usage: Usage,
    pub timings: Timings,
}
