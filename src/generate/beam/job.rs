//! A beam search being run: the prompt once, then all beams in one pass a step.
//!
//! Beams share the blocks of the KV cache that they have in common: a beam that
//! is continued twice is a cache cloned, which copies nothing but, when it is
//! next written to, the block it ends in. The last of the beams that go on from
//! one takes its cache over, so that where none is continued twice nothing is
//! copied at all.

use super::allowed::Allowed;
use super::group::Hypothesis;
use super::hamming::{Hamming, Picks};
use super::options::BeamOptions;
use super::result::{BeamResult, BeamSequence};
use super::search::{Ends, Search};
use super::trail::Texts;
use super::tree::{BeamStep, NodeId};
use crate::error::{Error, Result};
use crate::generate::generation::{Ending, PREFILL_CHUNK, Timings, Usage};
use crate::generate::processors::{Pipeline, PipelineContext, Place, pipeline};
use crate::generate::recent_constraints::RecentConstraints;
use crate::generate::rng::{Rng, RngState, fresh_seed};
use crate::generate::{FinishReason, GenerateOptions, Input};
use crate::model::{BlockName, BlockTable, KvCache, LogitRows, Model, Rows};
use crate::tokenizer::Tokenizer;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What is asked of a search.
pub struct BeamRequest<'r> {
    pub prompt: Input,
    pub options: &'r BeamOptions,
    pub generation: &'r GenerateOptions,
    /// Where random numbers go on, without a seed among the options; `None`: a
    /// fresh one.
    pub rng: Option<RngState>,
}

/// A beam search and the KV caches of its beams.
pub struct BeamSearch {
    search: Search,
    /// One a row: the prompt's alone at first, then that of each open beam.
    caches: Vec<KvCache>,
    /// Of sequences that have ended and are kept, by their last nodes.
    ended: BTreeMap<NodeId, KvCache>,
    prompt: Vec<u32>,
    /// Positions that the cache had from the start.
    cached: usize,
    num_return_sequences: usize,
    seed: u64,
    /// The last tokens of the open beams, for the rows of a step.
    last: Vec<u32>,
    steps: usize,
    max_time_ms: Option<f64>,
    started: f64,
    first_token: Option<f64>,
}

impl BeamSearch {
    /// Checks everything that can be wrong before the model runs. `now` is in
    /// milliseconds, from any fixed point.
    ///
    /// Errors: `invalid-option`, and those of a generation.
    pub fn new(
        model: &dyn Model,
        tokenizer: Option<Rc<Tokenizer>>,
        request: BeamRequest,
        constraints: &RecentConstraints,
        now: f64,
    ) -> Result<Self> {
        let BeamRequest {
            prompt,
            options,
            generation,
            rng,
        } = request;
        let config = model.config();
        generation.validate(config.vocab_size)?;
        options.validate(generation, config.vocab_size)?;
        let prompt = prompt.resolve(model, tokenizer.as_deref(), generation.parse_special)?;
        if tokenizer.is_none() && !generation.stop.is_empty() {
            return Err(Error::NoTokenizer);
        }
        let rng = match (generation.seed, rng) {
            (Some(seed), _) => Rng::new(seed),
            (None, Some(state)) => Rng::from(state),
            (None, None) => Rng::new(fresh_seed()?),
        };
        let seed = rng.state().seed;
        let picks = Picks::default();
        // The last token of all is never run, so there is one more than positions.
        let room = config.n_positions + 1 - prompt.len();
        let eos_token_ids = generation
            .eos_token_ids
            .clone()
            .unwrap_or_else(|| config.eos_token_ids.clone());
        let ends = Ends {
            constraint: constraints.get(generation, tokenizer.as_ref(), &eos_token_ids)?,
            eos_token_ids,
            stop_token_ids: generation.stop_token_ids.clone(),
            limit: generation.max_tokens.min(room),
            at_limit: if generation.max_tokens <= room {
                FinishReason::Length
            } else {
                FinishReason::Context
            },
        };
        let context = PipelineContext {
            prompt_len: prompt.len(),
            vocab_size: config.vocab_size,
            eos_token_ids: &ends.eos_token_ids,
            min_tokens_to_keep: 1,
            max_length: prompt.len().saturating_add(generation.max_tokens),
            tokenizer: tokenizer.as_deref(),
        };
        let mut kv = model.new_kv();
        kv.ablate(generation.ablation(config)?);
        let mut processors = processors(options, generation, context, &picks)?;
        if let Some(constraint) = &ends.constraint {
            let processor = constraint.processor(prompt.len());
            processors.insert(Place::BeforeWarpers, Box::new(processor));
        }
        let texts = Texts {
            tokenizer,
            stop: generation.stop.clone(),
            include_stop: generation.include_stop,
        };
        Ok(Self {
            search: Search::new(
                prompt.clone(),
                options,
                ends,
                texts,
                Box::new(processors),
                picks,
                rng,
            ),
            caches: vec![kv],
            ended: BTreeMap::new(),
            prompt,
            cached: 0,
            num_return_sequences: options.num_return_sequences,
            seed,
            last: Vec::new(),
            steps: 0,
            max_time_ms: generation.max_time_ms,
            started: now,
            first_token: None,
        })
    }

    /// Sets what beams may go on with, or where that is learnt.
    pub fn set_allowed(&mut self, allowed: Allowed) {
        self.search.set_allowed(allowed);
    }

    /// Takes what is known of the prompt, before the first step. The last token
    /// is run in any case, for its logits.
    pub fn take_known(&mut self, blocks: &mut BlockTable, root: BlockName) {
        let known = &self.prompt[..self.prompt.len() - 1];
        if let Some(cache) = self.caches.first_mut() {
            blocks.fill(root, known, cache);
            self.cached = cache.len();
        }
    }

    /// Keeps what was computed of the sequences found, for texts that begin
    /// alike.
    pub fn keep_known(&self, blocks: &mut BlockTable, root: BlockName) {
        if self.steps == 0
            && let Some(cache) = self.caches.first()
        {
            blocks.keep(root, &self.prompt, cache);
        }
        // The best last: what was used last is dropped last.
        for hypothesis in self.returned().into_iter().rev() {
            if let Some(cache) = self.ended.get(&hypothesis.node) {
                let text = [&self.prompt[..], &hypothesis.tokens].concat();
                blocks.keep(root, &text, cache);
            }
        }
    }

    /// True where nothing is left to run.
    pub fn is_finished(&self) -> bool {
        self.search.is_done()
    }

    /// Puts the next rows to run into `batch`: a piece of the prompt, or the
    /// last token of every beam.
    pub fn rows<'b>(&'b mut self, batch: &mut Vec<Rows<'b>>) {
        if self.steps == 0 {
            for kv in &mut self.caches {
                let start = kv.len();
                let end = self.prompt.len().min(start + PREFILL_CHUNK);
                let logits = if end == self.prompt.len() {
                    LogitRows::Last
                } else {
                    LogitRows::None
                };
                let tokens = &self.prompt[start..end];
                batch.push(Rows { kv, tokens, logits });
            }
            return;
        }
        for (kv, token) in self.caches.iter_mut().zip(&self.last) {
            batch.push(Rows {
                kv,
                tokens: std::slice::from_ref(token),
                logits: LogitRows::Last,
            });
        }
    }

    /// Takes the logits of the rows last asked for (empty inside the prompt) and
    /// says what is new, `None` where nothing is.
    pub fn accept(&mut self, mut logits: Vec<Vec<f32>>, now: f64) -> Result<Option<BeamStep>> {
        let elapsed = now - self.started;
        if self.max_time_ms.is_some_and(|most| elapsed >= most) {
            return Ok(self.abort(&Ending::number(FinishReason::Time, elapsed)));
        }
        if logits.first().is_none_or(Vec::is_empty) {
            return Ok(None);
        }
        self.first_token.get_or_insert(now);
        if self.steps == 0 {
            // Every group begins with the prompt.
            let groups = self.search.running().count();
            logits.resize(groups, logits[0].clone());
            self.caches.resize(groups, self.caches[0].clone());
        }
        self.steps += 1;
        let decision = self.search.step(logits)?;
        for (node, row) in decision.ended {
            self.ended.insert(node, self.caches[row].clone());
        }
        self.continue_from(&decision.from);
        self.last.clear();
        let last = self.search.running().map(|beam| beam.history.last());
        self.last.extend(last.flatten());
        self.forget_given_up();
        Ok(Some(self.search.take_tree()))
    }

    /// Gives each beam the cache of the one that it goes on from.
    fn continue_from(&mut self, from: &[usize]) {
        let mut caches: Vec<Option<KvCache>> = std::mem::take(&mut self.caches)
            .into_iter()
            .map(Some)
            .collect();
        for (index, &row) in from.iter().enumerate() {
            let is_last = !from[index + 1..].contains(&row);
            let cache = match caches.get_mut(row) {
                Some(cache) if is_last => cache.take(),
                Some(cache) => cache.clone(),
                None => None,
            };
            self.caches.extend(cache);
        }
    }

    /// Lets go of the caches of sequences that better ones have replaced.
    fn forget_given_up(&mut self) {
        let kept: Vec<NodeId> = self.search.best().iter().map(|kept| kept.node).collect();
        self.ended.retain(|node, _| kept.contains(node));
    }

    /// Leaves `ms` milliseconds out of its times.
    pub fn pass_over(&mut self, ms: f64) {
        self.started += ms;
        self.first_token = self.first_token.map(|at| at + ms);
    }

    /// Ends it here: the open beams count as sequences.
    pub fn abort(&mut self, ending: &Ending) -> Option<BeamStep> {
        if self.search.is_done() {
            return None;
        }
        let open = self.search.running().map(|beam| beam.node);
        for (node, cache) in open.zip(&self.caches) {
            self.ended.insert(node, cache.clone());
        }
        self.search.abort(ending);
        (self.steps > 0).then(|| self.search.take_tree())
    }

    fn returned(&self) -> Vec<&Hypothesis> {
        let mut best = self.search.best();
        best.truncate(self.num_return_sequences);
        best
    }

    /// The result, once finished.
    pub fn result(self, now: f64) -> Result<BeamResult> {
        let sequence = |found: &Hypothesis| {
            let text = self.search.text(found)?;
            Ok(BeamSequence::new(found.clone(), text))
        };
        let sequences: Vec<BeamSequence> = self
            .returned()
            .into_iter()
            .map(sequence)
            .collect::<Result<_>>()?;
        let first_token = self.first_token.unwrap_or(now);
        let (prefill_ms, decode_ms) = (first_token - self.started, now - first_token);
        let run = match self.steps {
            0 => self.caches.first().map_or(0, KvCache::len),
            _ => self.prompt.len(),
        };
        let prefilled = run - self.cached;
        let made: usize = sequences.iter().map(|found| found.tokens.len()).sum();
        Ok(BeamResult {
            sequences,
            steps: self.steps as u32,
            seed: self.seed,
            usage: Usage {
                prompt_tokens: self.prompt.len() as u32,
                tokens_evaluated: prefilled as u32,
                completion_tokens: made as u32,
                total_tokens: (self.prompt.len() + made) as u32,
                dropped_tokens: 0,
                draft_tokens: 0,
                accepted_draft_tokens: 0,
            },
            timings: Timings::new(prefill_ms, prefilled, decode_ms, self.steps),
            prompt_tokens: self.prompt,
        })
    }
}

/// The processors of the search.
fn processors(
    options: &BeamOptions,
    generation: &GenerateOptions,
    mut context: PipelineContext,
    picks: &Picks,
) -> Result<Pipeline> {
    let mut generation = generation.clone();
    if options.num_beams > 1 {
        // So that there is something to go on with, whatever ends.
        context.min_tokens_to_keep = 2.max(1 + context.eos_token_ids.len());
    }
    if !options.do_sample {
        generation.temperature = 0.0;
    }
    let mut all = pipeline(&generation, &context)?;
    if options.num_beam_groups > 1 {
        let penalty = Hamming::new(options.diversity_penalty, picks.clone());
        all.insert(Place::AfterSequenceBias, Box::new(penalty));
    }
    Ok(all)
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
