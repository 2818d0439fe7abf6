//! A generation as it is kept for the next request that is the same: its tokens
//! and how they came.
//!
//! Text, finish reason and stop string are not kept. They follow from tokens and
//! request, so they are made again when an answer is taken out, without running
//! the model. It costs microseconds, keeps records small, and whatever a shared
//! store may have been fed, an answer never says what its tokens do not say.

use super::generation::{
    Continuation, Ending, Generation, GenerationChunk, GenerationResult, Input, Timings,
    TokenLogprobs,
};
use super::options::GenerateOptions;
use super::rng::RngState;
use super::scheduler::Scheduler;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Tokens of an answer that came to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recording {
    /// In decimal digits, since a number of JSON ends at 2^53.
    pub seed: String,
    pub tokens: Vec<u32>,
    /// Of each chunk: how many tokens it had, and when it came, in milliseconds
    /// after the request.
    pub chunks: Vec<(u32, f64)>,
    pub timings: Timings,
    /// Of each token, where the request asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprobs>>,
    /// How it ended, where that does not follow from tokens and request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// A recorded answer, made again.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    pub chunks: Vec<GenerationChunk>,
    /// Its timings are those of the recording; no token was evaluated.
    pub result: GenerationResult,
    pub continuation: Continuation,
}

impl Recording {
    /// The seed as a number. Error: `invalid-cache-record`.
    pub fn seed(&self) -> Result<u64> {
        self.seed.parse().map_err(|_| invalid("has no seed"))
    }

    /// The log-probabilities that the request asks for: as many as there are
    /// tokens, of these tokens.
    fn checked_logprobs(
        &self,
        options: &GenerateOptions,
        vocab_size: usize,
    ) -> Result<Option<&[TokenLogprobs]>> {
        let Some(count) = options.logprobs else {
            return Ok(None);
        };
        let logprobs = self.logprobs.as_deref().unwrap_or_default();
        let are_of_tokens = logprobs.len() == self.tokens.len()
            && logprobs.iter().zip(&self.tokens).all(|(told, &token)| {
                let ids = told.top.iter().map(|top| top.id as usize);
                told.id == token && told.top.len() <= count && ids.max() < Some(vocab_size)
            });
        if !are_of_tokens {
            return Err(invalid("lacks the log-probabilities of its tokens"));
        }
        Ok(Some(logprobs))
    }
}

impl Scheduler {
    /// Answers a request with a recording: chunk by chunk, as they came. Random
    /// numbers go on from `rng`, else from the recording's seed.
    ///
    /// Errors: those of a generation; `invalid-cache-record` where these tokens
    /// cannot be an answer to this request.
    pub fn replay(
        &self,
        prompt: Input,
        options: &GenerateOptions,
        rng: Option<RngState>,
        recording: &Recording,
    ) -> Result<Replay> {
        let mut options = options.clone();
        if options.seed.is_none() && rng.is_none() {
            options.seed = Some(recording.seed()?);
        }
        let tokenizer = self.shared_tokenizer();
        let model = self.model();
        let constraints = &self.constraints;
        let mut generation =
            Generation::new(model, tokenizer, prompt, &options, rng, constraints, 0.0)?;
        let mut logprobs = recording.checked_logprobs(&options, model.config().vocab_size)?;
        let mut rest = &recording.tokens[..];
        let mut chunks = Vec::with_capacity(recording.chunks.len());
        for &(count, _) in &recording.chunks {
            let (tokens, others) = rest
                .split_at_checked(count as usize)
                .ok_or_else(|| invalid("has chunks of more tokens than there are"))?;
            rest = others;
            let told = logprobs.map(|all| all.split_at(tokens.len()));
            logprobs = told.map(|(_, others)| others);
            chunks.push(generation.replay(tokens, told.map(|(of_chunk, _)| of_chunk))?);
        }
        if let Some(ending) = &recording.ending {
            let text = generation.replay_ending(ending)?;
            // A chunk without tokens is the last there is, if there is any.
            match chunks.last_mut() {
                Some(last) => last.text += &text,
                None => chunks.push(GenerationChunk {
                    text,
                    ..GenerationChunk::default()
                }),
            }
        }
        if !rest.is_empty() || !generation.is_finished() {
            return Err(invalid("ends before its end"));
        }
        let continuation = generation.continuation()?;
        let mut result = generation.result(0.0)?;
        result.timings = recording.timings.clone();
        Ok(Replay {
            chunks,
            result,
            continuation,
        })
    }
}

fn invalid(reason: &str) -> Error {
    Error::InvalidCacheRecord(reason.into())
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
