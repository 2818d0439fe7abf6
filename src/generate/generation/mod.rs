//! One text being written: from prompt to finish reason.
//!
//! A generation asks for rows, is given logits, and says what is new. It never
//! runs the model itself, so any number of them can share a forward pass.

mod boundary;
mod capture;
mod guidance;
mod input;
mod looping;
mod outcome;
mod output_text;
mod token_probs;
mod window;

pub use input::{Input, check_text};
pub(super) use outcome::seed_for_javascript;
pub use outcome::{
    Continuation, Ending, FinishReason, GenerationChunk, GenerationResult, Matched, Timings, Usage,
};
pub(crate) use token_probs::{Distribution, likeliest};
pub use token_probs::{TokenLogprob, TokenLogprobs};

use super::GenerateOptions;
use super::constraint::Constraint;
use super::lookup::Lookup;
use super::mirostat::Mirostat;
use super::processors::softmax::Softmax;
use super::processors::{LogitsProcessor, Pipeline, PipelineContext, Place, pipeline};
use super::progress::PromptProgress;
use super::recent_constraints::RecentConstraints;
use super::rng::{Rng, RngState, fresh_seed};
use super::sampler::Sampler;
use crate::error::{Error, Result};
use crate::model::captured::CapturedAttention;
use crate::model::forward::check_tokens;
use crate::model::{BlockName, BlockTable, KvCache, Layers, LogitRows, Model, Output, Rows};
use crate::tokenizer::Tokenizer;
use capture::Capture;
use guidance::Guide;
use looping::loop_length;
use output_text::{OutputText, TextEnd};
use std::rc::Rc;
use token_probs::token_logprobs;
use window::Window;

/// Rows of a prompt that are run in one step: what an abort has to wait for.
pub const PREFILL_CHUNK: usize = 32;

/// The tokens of a prompt, all of them, whatever will be dropped.
///
/// Errors: those of [`Input::resolve`], `context-overflow` as `contextPolicy`
/// has it.
pub fn prompt_tokens(
    prompt: Input,
    model: &dyn Model,
    tokenizer: Option<&Tokenizer>,
    options: &GenerateOptions,
) -> Result<Vec<u32>> {
    let window = Window::new(options, model.config().n_positions)?;
    let tokens = prompt.into_tokens(model, tokenizer, options.parse_special)?;
    window.to_drop(tokens.len(), options.max_tokens)?;
    Ok(tokens)
}

/// A text being written.
pub struct Generation {
    options: GenerateOptions,
    kv: KvCache,
    /// Positions that the cache had from the start.
    cached: usize,
    /// Prompt tokens that were run, once all have been.
    prefilled: Option<usize>,
    /// Prompt and output.
    history: Vec<u32>,
    prompt_len: usize,
    /// What the model sees of it.
    context: Vec<u32>,
    window: Window,
    /// Tokens that it does not see any more, and those of them not yet told.
    dropped: usize,
    newly_dropped: usize,
    n_positions: usize,
    vocab_size: usize,
    guide: Option<Guide>,
    capture: Option<Capture>,
    lookup: Option<Lookup>,
    /// The last token and a draft, where one is being checked.
    checking: Vec<u32>,
    eos_token_ids: Vec<u32>,
    pipeline: Pipeline,
    constraint: Option<Rc<Constraint>>,
    mirostat: Option<Mirostat>,
    sampler: Sampler,
    seed: u64,
    output_text: OutputText,
    tokenizer: Option<Rc<Tokenizer>>,
    text: String,
    logprobs: Vec<TokenLogprobs>,
    softmax: Softmax,
    finish: Option<Ending>,
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
        constraints: &RecentConstraints,
        now: f64,
    ) -> Result<Self> {
        let config = model.config();
        options.validate(config.vocab_size)?;
        let window = Window::new(options, config.n_positions)?;
        let prompt = prompt_tokens(prompt, model, tokenizer.as_deref(), options)?;
        if tokenizer.is_none() && (!options.stop.is_empty() || options.stop_at.is_some()) {
            return Err(Error::NoTokenizer);
        }
        let guide = Guide::new(model, tokenizer.as_deref(), &prompt, options)?;
        let capture = Capture::new(config, options.capture_attention.as_ref(), guide.is_some())?;
        let mut kv = model.new_kv();
        kv.ablate(options.ablation(config)?);
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
        let mut pipeline = pipeline(options, &context)?;
        let constraint = constraints.get(options, tokenizer.as_ref(), &eos_token_ids)?;
        if let Some(constraint) = &constraint {
            let processor = constraint.processor(prompt.len());
            pipeline.insert(Place::BeforeWarpers, Box::new(processor));
        }
        let mirostat = options
            .mirostat
            .filter(|_| !options.is_greedy())
            .map(|mirostat| Mirostat::new(mirostat.tau, mirostat.eta));
        let mut generation = Self {
            kv,
            cached: 0,
            prefilled: None,
            prompt_len: prompt.len(),
            context: prompt.clone(),
            history: prompt,
            window,
            dropped: 0,
            newly_dropped: 0,
            n_positions: config.n_positions,
            vocab_size: config.vocab_size,
            guide,
            capture,
            lookup,
            checking: Vec::new(),
            eos_token_ids,
            pipeline,
            constraint,
            mirostat,
            sampler: if options.is_greedy() {
                Sampler::greedy()
            } else {
                Sampler::random(rng)
            },
            seed,
            output_text: OutputText::new(options),
            tokenizer,
            text: String::new(),
            logprobs: Vec::new(),
            softmax: Softmax::default(),
            finish: None,
            started: now,
            first_token: None,
            options: options.clone(),
        };
        generation.fit()?;
        if generation.is_complete() {
            generation.finish = Some(FinishReason::Complete.into());
        } else if options.max_tokens == 0 {
            generation.finish = Some(FinishReason::Length.into());
        }
        Ok(generation)
    }

    /// Takes what is known of the prompt, before the first step. The last token
    /// is run in any case, for its logits.
    pub fn take_known(&mut self, blocks: &mut BlockTable, root: BlockName) {
        let known = &self.context[..self.context.len() - 1];
        blocks.fill(root, known, &mut self.kv);
        self.cached = self.kv.len();
    }

    /// Keeps what was computed for texts that begin alike.
    pub fn keep_known(&self, blocks: &mut BlockTable, root: BlockName) {
        blocks.keep(root, &self.context, &self.kv);
    }

    /// The layers whose attention it captures.
    pub fn captured_layers(&self) -> Layers {
        let capture = self.capture.as_ref();
        capture.map_or(Layers::NONE, Capture::layers)
    }

    /// Takes the attention of the rows last asked for, `count` of them run,
    /// before they are accepted; `tapped` are the layers it is there of.
    pub fn capture(
        &mut self,
        output: &Output,
        count: usize,
        tapped: Layers,
        root: BlockName,
        captured: &mut CapturedAttention,
    ) {
        let Some(capture) = &mut self.capture else {
            return;
        };
        let start = self.kv.len() - count;
        let tokens = if self.checking.is_empty() {
            &self.context[start..start + count]
        } else {
            &self.checking[..]
        };
        let (before, root) = (&self.context[..start], self.kv.root(root));
        capture.take(before, tokens, output, tapped, root, captured);
    }

    /// True where nothing is left to run.
    pub fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Drops what does not fit the model's context any more.
    fn fit(&mut self) -> Result<()> {
        let to_come = self.options.max_tokens - self.made();
        if let Some(range) = self.window.to_drop(self.context.len(), to_come)? {
            self.kv.truncate(range.start);
            if let Some(capture) = &mut self.capture {
                capture.forget_from(range.start);
            }
            self.dropped += range.len();
            self.newly_dropped += range.len();
            self.context.drain(range);
        }
        Ok(())
    }

    /// True where the constraint lets nothing follow.
    fn is_complete(&self) -> bool {
        let output = &self.history[self.prompt_len..];
        let constraint = self.constraint.as_ref();
        constraint.is_some_and(|constraint| constraint.is_complete(output))
    }

    /// Tokens of guidance's text, with the one that is being taken.
    fn guide_len(&self) -> usize {
        self.guide.as_ref().map_or(0, |guide| guide.len() + 1)
    }

    /// Tokens generated so far.
    fn made(&self) -> usize {
        self.history.len() - self.prompt_len
    }

    /// Puts the next rows to run into the batch: a piece of the prompt, or the
    /// last token, with a draft of what may follow it; and those of guidance.
    pub fn rows<'b>(&'b mut self, batch: &mut Vec<Rows<'b>>) {
        let start = self.kv.len();
        let end = self.context.len().min(start + PREFILL_CHUNK);
        self.draft();
        let (tokens, logits) = if !self.checking.is_empty() {
            (&self.checking[..], LogitRows::All)
        } else if end == self.context.len() {
            (&self.context[start..end], LogitRows::Last)
        } else {
            (&self.context[start..end], LogitRows::None)
        };
        if !self.guide.as_ref().is_some_and(Guide::is_waited_for) {
            batch.push(Rows {
                kv: &mut self.kv,
                tokens,
                logits,
            });
        }
        batch.extend(self.guide.as_mut().and_then(Guide::rows));
    }

    /// Looks for a draft, once the prompt has been run.
    fn draft(&mut self) {
        self.checking.clear();
        let Some(lookup) = &self.lookup else { return };
        let start = self.kv.len();
        if start + 1 != self.context.len() || self.prefilled.is_none() {
            return;
        }
        // The last token of all is never run, so it need not be drafted.
        let room = (self.options.max_tokens - self.made() - 1).min(self.n_positions - start - 1);
        let draft = lookup.draft(&self.context, room);
        if !draft.is_empty() {
            self.checking.push(self.context[start]);
            self.checking.extend(draft);
        }
    }

    /// Takes the logits of each of the rows last asked for (empty inside a
    /// prompt) and says what is new, `None` where nothing is.
    pub fn accept(
        &mut self,
        mut logits: Vec<Vec<f32>>,
        now: f64,
    ) -> Result<Option<GenerationChunk>> {
        let mut scores = None;
        let mut logits = match &mut self.guide {
            None => logits.pop().unwrap_or_default(),
            Some(guide) => {
                guide.accept(logits);
                let (logits, guided) = guide.guided().unwrap_or_default();
                scores = Some(guided);
                logits
            }
        };
        let elapsed = now - self.started;
        let over = self.options.max_time_ms.is_some_and(|most| elapsed >= most);
        if logits.is_empty() && !over {
            return Ok(None);
        }
        let mut chunk = self.new_chunk();
        if over {
            self.end(Ending::number(FinishReason::Time, elapsed), &mut chunk.text);
        } else {
            self.first_token.get_or_insert(now);
            self.prefilled.get_or_insert(self.kv.len() - self.cached);
            if self.checking.is_empty() {
                let scores = scores.unwrap_or_else(|| std::mem::take(&mut logits));
                self.accept_one(&logits, scores, &mut chunk)?;
            } else {
                self.accept_draft(&logits, &mut chunk)?;
            }
        }
        self.text += &chunk.text;
        Ok(Some(chunk))
    }

    fn new_chunk(&mut self) -> GenerationChunk {
        GenerationChunk {
            dropped_tokens: std::mem::take(&mut self.newly_dropped) as u32,
            logprobs: self.options.logprobs.map(|_| Vec::new()),
            ..GenerationChunk::default()
        }
    }

    /// Goes through a draft as if its tokens had been run one by one, up to the
    /// first that would not have come.
    fn accept_draft(&mut self, logits: &[f32], chunk: &mut GenerationChunk) -> Result<()> {
        let checking = std::mem::take(&mut self.checking);
        let drafted = checking.len() - 1;
        let start = self.kv.len() - checking.len();
        let mut rows = 0;
        for logits in logits.chunks_exact(self.vocab_size) {
            let token = self.accept_one(&[], logits.to_vec(), chunk)?;
            rows += 1;
            if self.is_finished() || checking.get(rows).copied() != token {
                break;
            }
        }
        self.kv.truncate(start + rows);
        if let Some(lookup) = &mut self.lookup {
            lookup.learn(drafted, rows - 1);
        }
        Ok(())
    }

    /// Picks the next token, and puts it and its text into `chunk`; `None` where
    /// the text ends before it. `scores` are the model's `logits`, which may be
    /// left out then, or what guidance made of them.
    fn accept_one(
        &mut self,
        logits: &[f32],
        mut scores: Vec<f32>,
        chunk: &mut GenerationChunk,
    ) -> Result<Option<u32>> {
        let options = &self.options;
        let tells = options.logprobs.is_some()
            || options.stop_below_probability > 0.0
            || options.stop_above_entropy.is_some();
        // A pass over the whole vocabulary, which costs as much as a warper.
        let mut told = None;
        if tells {
            let logits = if logits.is_empty() { &scores } else { logits };
            let distribution = Distribution::new(logits, &mut self.softmax);
            told = distribution.map(|distribution| (distribution, logits.to_vec()));
        }
        if let (Some((distribution, _)), Some(most)) = (&told, options.stop_above_entropy)
            && distribution.entropy > most
        {
            let ending = Ending::number(FinishReason::Entropy, distribution.entropy);
            self.end(ending, &mut chunk.text);
            return Ok(None);
        }

        self.pipeline.process(&self.history, &mut scores);
        if let Some(mirostat) = &mut self.mirostat {
            mirostat.process(&mut scores);
        }
        let before = self.sampler.clone_rng();
        let token = self.sampler.pick(&scores)?;
        if let Some((distribution, logits)) = &told {
            let probability = libm::exp(distribution.log_prob(logits, token));
            if probability < self.options.stop_below_probability {
                // It was not drawn, whatever goes on from here.
                self.sampler.restore_rng(before);
                let ending = Ending::number(FinishReason::Probability, probability);
                self.end(ending, &mut chunk.text);
                return Ok(None);
            }
            if let (Some(count), Some(list), Some(drawn_from)) = (
                self.options.logprobs,
                &mut chunk.logprobs,
                Distribution::new(&scores, &mut self.softmax),
            ) {
                let tokenizer = self.tokenizer.as_deref();
                let processed = (&scores[..], &drawn_from);
                let logprobs =
                    token_logprobs(token, count, logits, distribution, processed, tokenizer);
                self.logprobs.push(logprobs.clone());
                list.push(logprobs);
            }
        }
        if let Some(mirostat) = &mut self.mirostat {
            let surprise = mirostat.surprise(scores[token as usize]);
            mirostat.observe(surprise);
        }
        self.take(token, chunk)?;
        if let (false, Some(guide)) = (self.is_finished(), &mut self.guide) {
            let to_come = self.options.max_tokens - (self.history.len() - self.prompt_len);
            guide.take(token, to_come)?;
        }
        Ok(Some(token))
    }

    /// Goes on with tokens that were chosen in an earlier run of the same
    /// request, without the model. Error: `invalid-cache-record` where they go
    /// on after the end.
    pub fn replay(
        &mut self,
        tokens: &[u32],
        logprobs: Option<&[TokenLogprobs]>,
    ) -> Result<GenerationChunk> {
        check_tokens(tokens, self.vocab_size)?;
        let mut chunk = self.new_chunk();
        for &token in tokens {
            if self.is_finished() {
                let reason = "has tokens after its end".into();
                return Err(Error::InvalidCacheRecord(reason));
            }
            self.sampler.skip();
            self.take(token, &mut chunk)?;
        }
        if let (Some(logprobs), Some(list)) = (logprobs, &mut chunk.logprobs) {
            self.logprobs.extend_from_slice(logprobs);
            list.extend_from_slice(logprobs);
        }
        self.text += &chunk.text;
        Ok(chunk)
    }

    /// Ends a replay as the earlier run ended, where that does not follow from
    /// its tokens; the text that was held back. Error: `invalid-cache-record`
    /// where these options cannot end it so.
    pub fn replay_ending(&mut self, ending: &Ending) -> Result<String> {
        let options = &self.options;
        let can_be = match ending.reason {
            FinishReason::Time => options.max_time_ms.is_some(),
            FinishReason::Probability => options.stop_below_probability > 0.0,
            FinishReason::Entropy => options.stop_above_entropy.is_some(),
            _ => false,
        };
        if !can_be || self.is_finished() {
            let reason = "ends as this request cannot end".into();
            return Err(Error::InvalidCacheRecord(reason));
        }
        let mut text = String::new();
        self.end(ending.clone(), &mut text);
        self.text += &text;
        Ok(text)
    }

    fn take(&mut self, token: u32, chunk: &mut GenerationChunk) -> Result<()> {
        self.history.push(token);
        self.context.push(token);
        chunk.tokens.push(token);

        let text = &mut chunk.text;
        if self.eos_token_ids.contains(&token) {
            self.end(Ending::number(FinishReason::Eos, token), text);
            return Ok(());
        }
        let stops = self.options.stop_token_ids.contains(&token);
        if !stops || self.options.include_stop {
            let tokenizer = self.tokenizer.as_ref();
            let bytes = tokenizer.and_then(|tokenizer| tokenizer.token_bytes(token));
            let ending = match self.output_text.push(bytes.unwrap_or_default(), text) {
                None => None,
                Some(TextEnd::Boundary) => Some(Ending {
                    reason: FinishReason::Boundary,
                    matched: self.options.stop_at.map(Matched::Boundary),
                }),
                Some(TextEnd::Stop(index)) => Some(Ending {
                    reason: FinishReason::Stop,
                    matched: Some(Matched::Text(self.options.stop[index].clone())),
                }),
            };
            if let Some(ending) = ending {
                self.end(ending, text);
                return Ok(());
            }
        }
        if stops {
            self.end(Ending::number(FinishReason::StopToken, token), text);
        } else if self.is_complete() {
            self.end(FinishReason::Complete.into(), &mut chunk.text);
        } else if let Some(length) = self
            .options
            .stop_on_loop
            .and_then(|options| loop_length(&self.history[self.prompt_len..], options))
        {
            self.end(Ending::number(FinishReason::Loop, length as f64), text);
        } else if self.made() >= self.options.max_tokens {
            self.end(FinishReason::Length.into(), text);
        } else if self.context.len().max(self.guide_len()) > self.n_positions {
            if !self.window.slides() {
                self.end(FinishReason::Context.into(), text);
                return Ok(());
            }
            self.fit()?;
        }
        Ok(())
    }

    /// How far a step has come in the prompt, before what it gave is accepted;
    /// `None` where it was past it.
    pub fn prompt_progress(&self) -> Option<PromptProgress> {
        self.prefilled.is_none().then_some(PromptProgress {
            done: self.kv.len() as u32,
            cached: self.cached as u32,
            total: self.context.len() as u32,
            max_tokens: self.options.max_tokens as u32,
        })
    }

    /// Leaves `ms` milliseconds out of its times.
    pub fn pass_over(&mut self, ms: f64) {
        self.started += ms;
        self.first_token = self.first_token.map(|at| at + ms);
    }

    /// Ends it here, for `reason`; what was held back becomes text.
    pub fn abort(&mut self, reason: FinishReason) -> Option<GenerationChunk> {
        if self.is_finished() {
            return None;
        }
        let mut text = String::new();
        self.end(reason.into(), &mut text);
        self.text += &text;
        (!text.is_empty()).then_some(GenerationChunk {
            text,
            ..GenerationChunk::default()
        })
    }

    /// What there is to go on from, now or after the end.
    ///
    /// Where a stop string begins inside a token, what comes before it is
    /// tokenised anew.
    pub fn continuation(&self) -> Result<Continuation> {
        let rng = self.sampler.rng().map(Rng::state);
        let mut tokens = self.history.clone();
        match self.finish.as_ref().map(|ending| ending.reason) {
            Some(FinishReason::Eos) => {
                tokens.pop();
            }
            Some(FinishReason::StopToken) if !self.options.include_stop => {
                tokens.pop();
            }
            Some(FinishReason::Stop | FinishReason::Boundary) => {
                tokens.truncate(self.prompt_len);
                let output = &self.history[self.prompt_len..];
                let tokenizer = self.tokenizer.as_deref();
                tokens.extend(self.output_text.tokens(output, tokenizer)?);
            }
            _ => {}
        }
        Ok(Continuation { tokens, rng })
    }

    /// The result, once finished.
    pub fn result(self, now: f64) -> Result<GenerationResult> {
        let prefilled = self.prefilled.unwrap_or(self.kv.len() - self.cached);
        let made = self.made();
        let Ending { reason, matched } = self
            .finish
            .ok_or_else(|| Error::Internal("a result before the end".into()))?;
        let (prompt, output) = self.history.split_at(self.prompt_len);
        let first_token = self.first_token.unwrap_or(now);
        let (prefill_ms, decode_ms) = (first_token - self.started, now - first_token);
        let (drafted, accepted) = self.lookup.as_ref().map_or((0, 0), Lookup::counts);
        Ok(GenerationResult {
            text: self.text,
            tokens: output.to_vec(),
            prompt_tokens: prompt.to_vec(),
            finish_reason: reason,
            matched,
            logprobs: self.options.logprobs.map(|_| self.logprobs),
            seed: self.seed,
            usage: Usage {
                prompt_tokens: prompt.len() as u32,
                tokens_evaluated: prefilled as u32,
                completion_tokens: output.len() as u32,
                total_tokens: self.history.len() as u32,
                dropped_tokens: self.dropped as u32,
                draft_tokens: drafted as u32,
                accepted_draft_tokens: accepted as u32,
            },
            timings: Timings::new(prefill_ms, prefilled, decode_ms, made),
        })
    }

    fn end(&mut self, ending: Ending, text: &mut String) {
        self.output_text.end(ending.reason, text);
        self.finish = Some(ending);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
mod inspection_tests;
