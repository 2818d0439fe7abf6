//! One text being written: from prompt to finish reason.
//!
//! A generation asks for rows, is given logits, and says what is new. It never
//! runs the model itself, so any number of them can share a forward pass.

use super::GenerateOptions;
use super::lookup::Lookup;
use super::processors::{LogitsProcessor, Pipeline, PipelineContext, pipeline};
use super::rng::{Rng, RngState, fresh_seed};
use super::sampler::Sampler;
use super::stop::StopMatcher;
use crate::error::{Error, Result};
use crate::model::forward::check_tokens;
use crate::model::{BlockName, BlockTable, KvCache, LogitRows, Model, Rows};
use crate::tokenizer::{TextStream, Tokenizer};
use serde::{Deserialize, Serialize};
use std::rc::Rc;

/// Rows of a prompt that are run in one step: what an abort has to wait for.
pub const PREFILL_CHUNK: usize = 32;

/// Text or token ids.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Text(String),
    Tokens(Vec<u32>),
}

impl Input {
    /// The ids that the model runs: those of the text, or the end-of-text
    /// token where there are none, since GPT-2 needs one token to start from.
    ///
    /// Errors: `no-tokenizer`, `invalid-token`, `context-overflow`,
    /// `invalid-argument` (nothing given, and no end-of-text token).
    pub fn resolve(
        self,
        model: &dyn Model,
        tokenizer: Option<&Tokenizer>,
        parse_special: bool,
    ) -> Result<Vec<u32>> {
        let config = model.config();
        let mut tokens = match self {
            Self::Tokens(tokens) => tokens,
            Self::Text(text) => {
                tokenizer
                    .ok_or(Error::NoTokenizer)?
                    .encode(&text, parse_special)?
                    .ids
            }
        };
        if tokens.is_empty() {
            tokens.push(*config.eos_token_ids.first().ok_or_else(|| {
                Error::argument("prompt", "is empty, and the model has no end-of-text token")
            })?);
        }
        check_text(&tokens, model)?;
        Ok(tokens)
    }
}

/// Refuses what `model` cannot run. Errors: `invalid-token`, `context-overflow`.
pub fn check_text(tokens: &[u32], model: &dyn Model) -> Result<()> {
    let config = model.config();
    check_tokens(tokens, config.vocab_size)?;
    if tokens.len() > config.n_positions {
        return Err(Error::ContextOverflow {
            needed: tokens.len(),
            available: config.n_positions,
        });
    }
    Ok(())
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum FinishReason {
    /// An end-of-text token came.
    Eos,
    /// A stop string appeared.
    Stop,
    /// `maxTokens` were generated.
    Length,
    /// The model's last position was reached.
    Context,
    /// The caller ended it; what was made is kept.
    Aborted,
}

/// What one step added.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct GenerationChunk {
    /// New text: whole characters, possibly none, possibly several tokens'.
    pub text: String,
    /// New token ids.
    pub tokens: Vec<u32>,
}

/// Numbers of tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct Usage {
    pub prompt_tokens: u32,
    /// Prompt tokens that the model was run for; the others were in the KV
    /// cache.
    pub tokens_evaluated: u32,
    /// Generated tokens, the one that ended it included.
    pub completion_tokens: u32,
    pub total_tokens: u32,
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
    /// The prompt as it was run.
    pub prompt_tokens: Vec<u32>,
    pub finish_reason: FinishReason,
    /// The stop string that ended it, else `null`.
    pub stop_sequence: Option<String>,
    /// The seed used, so that the text can be made again; a `bigint` above
    /// 2^53-1.
    #[serde(serialize_with = "seed_for_javascript")]
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number | bigint"))]
    pub seed: u64,
    pub usage: Usage,
    pub timings: Timings,
}

/// A number where JavaScript's numbers hold it exactly.
fn seed_for_javascript<S: serde::Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
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

/// A text being written.
pub struct Generation {
    kv: KvCache,
    /// Positions that the cache had from the start.
    cached: usize,
    /// Prompt and output.
    history: Vec<u32>,
    prompt_len: usize,
    max_tokens: usize,
    n_positions: usize,
    vocab_size: usize,
    lookup: Option<Lookup>,
    /// The last token and a draft, where one is being checked.
    checking: Vec<u32>,
    eos_token_ids: Vec<u32>,
    pipeline: Pipeline,
    sampler: Sampler,
    seed: u64,
    stop_strings: Vec<String>,
    stop: StopMatcher,
    stream: TextStream,
    tokenizer: Option<Rc<Tokenizer>>,
    text: String,
    /// Bytes of output that became text, before any was replaced by U+FFFD.
    text_bytes: usize,
    finish: Option<(FinishReason, Option<String>)>,
    started: f64,
    first_token: Option<f64>,
}

impl Generation {
    /// Checks everything that can be wrong before the model runs. Without a seed
    /// among the options, random numbers go on from `rng`, or are fresh. `now`
    /// is in milliseconds, from any fixed point.
    pub fn new(
        model: &dyn Model,
        tokenizer: Option<Rc<Tokenizer>>,
        prompt: Input,
        options: &GenerateOptions,
        rng: Option<RngState>,
        now: f64,
    ) -> Result<Self> {
        let config = model.config();
        options.validate(config.vocab_size)?;
        let prompt = prompt.resolve(model, tokenizer.as_deref(), options.parse_special)?;
        if tokenizer.is_none() && !options.stop.is_empty() {
            return Err(Error::NoTokenizer);
        }
        let lookup = (options.prompt_lookup_num_tokens > 0)
            .then(|| Lookup::new(options.prompt_lookup_num_tokens));
        if lookup.is_some() && !model.is_exact() {
            return Err(Error::option(
                "promptLookupNumTokens",
                options.prompt_lookup_num_tokens,
                "0 with a model in f32, whose text it could change; load it in another dtype",
            ));
        }
        let rng = match (options.seed, rng) {
            (Some(seed), _) => Rng::new(seed),
            (None, Some(state)) => Rng::from(state),
            (None, None) => Rng::new(fresh_seed()?),
        };
        let seed = rng.state().seed;
        let eos_token_ids = options
            .eos_token_ids
            .clone()
            .unwrap_or_else(|| config.eos_token_ids.clone());
        let context = PipelineContext {
            prompt_len: prompt.len(),
            vocab_size: config.vocab_size,
            eos_token_ids: &eos_token_ids,
            min_tokens_to_keep: 1,
            max_length: prompt.len().saturating_add(options.max_tokens),
            tokenizer: tokenizer.as_deref(),
        };
        let pipeline = pipeline(options, &context)?;
        let mut generation = Self {
            kv: model.new_kv(),
            cached: 0,
            prompt_len: prompt.len(),
            history: prompt,
            max_tokens: options.max_tokens,
            n_positions: config.n_positions,
            vocab_size: config.vocab_size,
            lookup,
            checking: Vec::new(),
            eos_token_ids,
            pipeline,
            sampler: if options.is_greedy() {
                Sampler::greedy()
            } else {
                Sampler::random(rng)
            },
            seed,
            stop: StopMatcher::new(&options.stop, options.include_stop),
            stop_strings: options.stop.clone(),
            stream: TextStream::default(),
            tokenizer,
            text: String::new(),
            text_bytes: 0,
            finish: None,
            started: now,
            first_token: None,
        };
        if generation.max_tokens == 0 {
            generation.finish = Some((FinishReason::Length, None));
        }
        Ok(generation)
    }

    /// Takes what is known of the prompt, before the first step. The last token
    /// is run in any case, for its logits.
    pub fn take_known(&mut self, blocks: &mut BlockTable, root: BlockName) {
        let known = &self.history[..self.prompt_len - 1];
        blocks.fill(root, known, &mut self.kv);
        self.cached = self.kv.len();
    }

    /// Keeps what was computed for texts that begin alike.
    pub fn keep_known(&self, blocks: &mut BlockTable, root: BlockName) {
        blocks.keep(root, &self.history, &self.kv);
    }

    /// True where nothing is left to run.
    pub fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The next rows to run: a piece of the prompt, or the last token, with a
    /// draft of what may follow it.
    pub fn rows(&mut self) -> Rows<'_> {
        let start = self.kv.len();
        let end = self.history.len().min(start + PREFILL_CHUNK);
        self.draft();
        let (tokens, logits) = if !self.checking.is_empty() {
            (&self.checking[..], LogitRows::All)
        } else if end == self.history.len() {
            (&self.history[start..end], LogitRows::Last)
        } else {
            (&self.history[start..end], LogitRows::None)
        };
        Rows {
            kv: &mut self.kv,
            tokens,
            logits,
        }
    }

    /// Looks for a draft, once the prompt has been run.
    fn draft(&mut self) {
        self.checking.clear();
        let Some(lookup) = &self.lookup else { return };
        let start = self.kv.len();
        if start + 1 != self.history.len() || start < self.prompt_len {
            return;
        }
        // The last token of all is never run, so it need not be drafted.
        let made = self.history.len() - self.prompt_len;
        let room = (self.max_tokens - made - 1).min(self.n_positions - start - 1);
        let draft = lookup.draft(&self.history, room);
        if !draft.is_empty() {
            self.checking.push(self.history[start]);
            self.checking.extend(draft);
        }
    }

    /// Takes the logits of the rows last asked for (empty inside a prompt) and
    /// says what is new, `None` where nothing is.
    pub fn accept(&mut self, logits: Vec<f32>, now: f64) -> Result<Option<GenerationChunk>> {
        if logits.is_empty() {
            return Ok(None);
        }
        self.first_token.get_or_insert(now);
        let mut chunk = GenerationChunk::default();
        if self.checking.is_empty() {
            self.accept_one(logits, &mut chunk)?;
        } else {
            self.accept_draft(&logits, &mut chunk)?;
        }
        self.text += &chunk.text;
        Ok(Some(chunk))
    }

    /// Goes through a draft as if its tokens had been run one by one, up to the
    /// first that would not have come.
    fn accept_draft(&mut self, logits: &[f32], chunk: &mut GenerationChunk) -> Result<()> {
        let checking = std::mem::take(&mut self.checking);
        let drafted = checking.len() - 1;
        let start = self.kv.len() - checking.len();
        let mut rows = 0;
        for logits in logits.chunks_exact(self.vocab_size) {
            let token = self.accept_one(logits.to_vec(), chunk)?;
            rows += 1;
            if self.is_finished() || checking.get(rows) != Some(&token) {
                break;
            }
        }
        self.kv.truncate(start + rows);
        if let Some(lookup) = &mut self.lookup {
            lookup.learn(drafted, rows - 1);
        }
        Ok(())
    }

    /// Picks the next token, and puts it and its text into `chunk`.
    fn accept_one(&mut self, mut logits: Vec<f32>, chunk: &mut GenerationChunk) -> Result<u32> {
        self.pipeline.process(&self.history, &mut logits);
        let token = self.sampler.pick(&logits)?;
        self.take(token, chunk);
        Ok(token)
    }

    /// Goes on with tokens that were chosen in an earlier run of the same
    /// request, without the model. Error: `invalid-cache-record` where they go
    /// on after the end.
    pub fn replay(&mut self, tokens: &[u32]) -> Result<GenerationChunk> {
        check_tokens(tokens, self.vocab_size)?;
        let mut chunk = GenerationChunk::default();
        for &token in tokens {
            if self.is_finished() {
                let reason = "has tokens after its end".into();
                return Err(Error::InvalidCacheRecord(reason));
            }
            self.sampler.skip();
            self.take(token, &mut chunk);
        }
        self.text += &chunk.text;
        Ok(chunk)
    }

    fn take(&mut self, token: u32, chunk: &mut GenerationChunk) {
        self.history.push(token);
        chunk.tokens.push(token);

        let text = &mut chunk.text;
        if self.eos_token_ids.contains(&token) {
            self.end(FinishReason::Eos, None, text);
        } else {
            let mut bytes = Vec::new();
            let found = match self.token_bytes(token) {
                Some(token_bytes) => self.stop.push(&token_bytes, &mut bytes),
                None => None,
            };
            self.text_bytes += bytes.len();
            *text += &self.stream.push(&bytes);
            if let Some(found) = found {
                let stop_string = self.stop_strings[found.index].clone();
                self.end(FinishReason::Stop, Some(stop_string), text);
            } else if self.history.len() - self.prompt_len >= self.max_tokens {
                self.end(FinishReason::Length, None, text);
            } else if self.history.len() > self.n_positions {
                self.end(FinishReason::Context, None, text);
            }
        }
    }

    /// Ends it here; what was held back becomes text.
    pub fn abort(&mut self) -> Option<GenerationChunk> {
        if self.is_finished() {
            return None;
        }
        let mut text = String::new();
        self.end(FinishReason::Aborted, None, &mut text);
        self.text += &text;
        (!text.is_empty()).then_some(GenerationChunk {
            text,
            tokens: Vec::new(),
        })
    }

    /// What there is to go on from, now or after the end.
    ///
    /// Where a stop string begins inside a token, what comes before it is
    /// tokenised anew.
    pub fn continuation(&self) -> Result<Continuation> {
        let rng = self.sampler.rng().map(Rng::state);
        let mut tokens = self.history.clone();
        let ended = match &self.finish {
            Some((FinishReason::Eos, _)) => 1,
            Some((FinishReason::Stop, _)) => {
                tokens.truncate(self.prompt_len);
                tokens.extend(self.tokens_before_stop()?);
                0
            }
            _ => 0,
        };
        tokens.truncate(tokens.len() - ended);
        Ok(Continuation { tokens, rng })
    }

    fn tokens_before_stop(&self) -> Result<Vec<u32>> {
        let mut bytes = 0;
        let mut kept: Vec<u32> = Vec::new();
        for &token in &self.history[self.prompt_len..] {
            let token_bytes = self.token_bytes(token).unwrap_or_default();
            let room = self.text_bytes - bytes;
            if token_bytes.len() > room {
                let mut rest = token_bytes[..room].to_vec();
                // The character that is cut may have begun in tokens before.
                while rest.first().is_some_and(|byte| byte & 0xC0 == 0x80)
                    && let Some(before) = kept.pop()
                {
                    let before = self.token_bytes(before).unwrap_or_default();
                    rest.splice(..0, before);
                }
                let rest = String::from_utf8_lossy(&rest);
                if let (false, Some(tokenizer)) = (rest.is_empty(), &self.tokenizer) {
                    kept.extend(tokenizer.encode(&rest, false)?.ids);
                }
                break;
            }
            bytes += token_bytes.len();
            kept.push(token);
        }
        Ok(kept)
    }

    /// The result, once finished.
    pub fn result(self, now: f64) -> Result<GenerationResult> {
        let (finish_reason, stop_sequence) = self
            .finish
            .ok_or_else(|| Error::Internal("a result before the end".into()))?;
        let (prompt, output) = self.history.split_at(self.prompt_len);
        let first_token = self.first_token.unwrap_or(now);
        let (prefill_ms, decode_ms) = (first_token - self.started, now - first_token);
        let prefilled = self.kv.len().min(prompt.len()) - self.cached;
        let (drafted, accepted) = self.lookup.as_ref().map_or((0, 0), Lookup::counts);
        Ok(GenerationResult {
            text: self.text,
            tokens: output.to_vec(),
            prompt_tokens: prompt.to_vec(),
            finish_reason,
            stop_sequence,
            seed: self.seed,
            usage: Usage {
                prompt_tokens: prompt.len() as u32,
                tokens_evaluated: prefilled as u32,
                completion_tokens: output.len() as u32,
                total_tokens: self.history.len() as u32,
                draft_tokens: drafted as u32,
                accepted_draft_tokens: accepted as u32,
            },
            timings: Timings {
                prefill_ms,
                decode_ms,
                prefill_tokens_per_second: per_second(prefilled, prefill_ms),
                tokens_per_second: per_second(output.len().saturating_sub(1), decode_ms),
            },
        })
    }

    fn token_bytes(&self, token: u32) -> Option<Vec<u8>> {
        let tokenizer = self.tokenizer.as_ref()?;
        tokenizer.token_bytes(token).map(<[u8]>::to_vec)
    }

    fn end(&mut self, reason: FinishReason, stop_string: Option<String>, text: &mut String) {
        if reason != FinishReason::Stop {
            let mut bytes = Vec::new();
            self.stop.flush(&mut bytes);
            self.text_bytes += bytes.len();
            *text += &self.stream.push(&bytes);
        }
        *text += &self.stream.finish();
        self.finish = Some((reason, stop_string));
    }
}

fn per_second(count: usize, ms: f64) -> f64 {
    if count == 0 || ms <= 0.0 {
        0.0
    } else {
        count as f64 * 1000.0 / ms
    }
}
