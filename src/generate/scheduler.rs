//! Everything that is being computed, one batched step at a time.
//!
//! [`Scheduler::step`] runs the model once for all active jobs: a chunk of the
//! prompt for those that begin, one token for those that write. It returns
//! after that one pass, so whoever drives it can let other work in between;
//! a cancellation takes effect at the next step. A job that is paused is left
//! out of the steps and keeps all it has. Jobs do not influence each other's
//! results.

use super::GenerateOptions;
use super::beam::{Allowed, BeamOptions, BeamRequest, BeamResult, BeamSearch, BeamStep};
use super::comparison::{Comparison, ComparisonResult};
use super::embedding::Embedding;
use super::generation::{
    Continuation, FinishReason, Generation, GenerationChunk, GenerationResult, Input,
};
use super::logits::{Logits, LogitsRun};
use super::progress::PromptProgress;
use super::reading::{Reading, ReadingResult};
use super::recent_constraints::RecentConstraints;
use super::rng::RngState;
use crate::analysis::{
    Analysis, AnalysisInput, AnalysisProgress, AnalysisRequest, AnalysisResult, Bench, Setting,
};
use crate::error::{Error, Result};
use crate::model::{BlockName, BlockTable, Layers, Model, Output, Rows, Taps};
use crate::tokenizer::Tokenizer;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Names a job; never used twice by a scheduler.
pub type JobId = u32;

/// Something new about a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Chunk(GenerationChunk),
    /// The job has ended.
    Done(GenerationResult),
    /// A continuation's job has ended.
    Continued(Box<GenerationResult>, Continuation),
    /// What a step of a beam search has tried.
    BeamStep(BeamStep),
    /// The job has ended.
    BeamDone(Box<BeamResult>),
    /// The job has ended.
    Logits(Logits),
    /// The job has ended.
    Read(ReadingResult),
    /// The job has ended.
    Compared(ComparisonResult),
    /// The job has ended; the vector has length 1.
    Embedded(Vec<f32>),
    /// A step of an analysis has been run.
    AnalysisProgress(AnalysisProgress),
    /// The job has ended.
    Analysed(AnalysisResult),
    /// The job has ended.
    Failed(Error),
}

enum Work {
    Generation(Box<Generation>),
    /// A generation whose end tells how to go on from it.
    Continuation(Box<Generation>),
    Beams(Box<BeamSearch>),
    Logits(LogitsRun),
    Reading(Reading),
    Comparison(Box<Comparison>),
    Embedding(Box<Embedding>),
    /// Runs the model itself, beside the common batch.
    Analysis(Box<dyn Analysis>),
}

struct Job {
    work: Work,
    /// What the chains of its KV blocks begin with; `None` where they are its
    /// own alone. A comparison has two.
    roots: Option<[BlockName; 2]>,
    /// Since when it is left out of the steps.
    paused: Option<f64>,
}

/// Bytes of KV blocks that are kept for texts to come, if nothing else is said:
/// six contexts of GPT-2's smallest model in 8 bits.
pub const DEFAULT_KV_BUDGET: usize = 128 << 20;

/// Milliseconds from any fixed point, never going back.
pub type Clock = fn() -> f64;

/// A model and the jobs that share it.
pub struct Scheduler {
    model: Rc<dyn Model>,
    tokenizer: Option<Rc<Tokenizer>>,
    clock: Clock,
    /// KV blocks of what was computed, by their tokens.
    blocks: BlockTable,
    pub(super) constraints: RecentConstraints,
    /// What the chains of plain requests begin with.
    root: BlockName,
    jobs: BTreeMap<JobId, Job>,
    /// What all embeddings have in common, once one has been made.
    mean: Option<Rc<[f64]>>,
    /// Events for the next step to tell.
    pending: Vec<(JobId, Event)>,
    /// Of the last step.
    prompt_progress: Vec<(JobId, PromptProgress)>,
    next: JobId,
}

impl Scheduler {
    pub fn new(model: Rc<dyn Model>, tokenizer: Option<Rc<Tokenizer>>, clock: Clock) -> Self {
        Self {
            model,
            tokenizer,
            clock,
            blocks: BlockTable::new(DEFAULT_KV_BUDGET),
            constraints: RecentConstraints::default(),
            root: BlockName::root(&["plain"]),
            jobs: BTreeMap::new(),
            mean: None,
            pending: Vec::new(),
            prompt_progress: Vec::new(),
            next: 1,
        }
    }

    pub fn model(&self) -> &dyn Model {
        self.model.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn shared_model(&self) -> Rc<dyn Model> {
        Rc::clone(&self.model)
    }

    /// The tokenizer, where the model has one. Error: `no-tokenizer`.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_deref().ok_or(Error::NoTokenizer)
    }

    /// The tokenizer, to share.
    pub fn shared_tokenizer(&self) -> Option<Rc<Tokenizer>> {
        self.tokenizer.clone()
    }

    /// Sets what plain requests' KV blocks are named after.
    pub fn set_kv_root(&mut self, root: BlockName) {
        self.root = root;
    }

    /// Sets how many bytes of KV blocks are kept. What was kept is forgotten.
    pub fn set_kv_budget(&mut self, bytes: usize) {
        self.blocks = BlockTable::new(bytes);
    }

    /// The model, its tokenizer, and the KV blocks that are kept.
    pub fn parts(&mut self) -> (&dyn Model, Option<&Tokenizer>, &mut BlockTable) {
        let tokenizer = self.tokenizer.as_deref();
        (self.model.as_ref(), tokenizer, &mut self.blocks)
    }

    /// The KV blocks that are kept.
    pub fn blocks(&mut self) -> &mut BlockTable {
        &mut self.blocks
    }

    /// Begins a generation. Nothing is computed before the next step.
    pub fn add_generation(&mut self, prompt: Input, options: &GenerateOptions) -> Result<JobId> {
        let generation = Generation::new(
            self.model.as_ref(),
            self.tokenizer.clone(),
            prompt,
            options,
            None,
            &self.constraints,
            (self.clock)(),
        )?;
        let roots = self.plain_roots().filter(|_| options.cache_prompt);
        Ok(self.add(Work::Generation(Box::new(generation)), roots))
    }

    /// Begins a generation that goes on from `tokens`, whose KV blocks are named
    /// after `root`, with random numbers from where `rng` stands unless the
    /// options have a seed. Its end is an [`Event::Continued`].
    pub fn add_continuation(
        &mut self,
        tokens: Vec<u32>,
        root: BlockName,
        rng: RngState,
        options: &GenerateOptions,
    ) -> Result<JobId> {
        let generation = Generation::new(
            self.model.as_ref(),
            self.tokenizer.clone(),
            Input::Tokens(tokens),
            options,
            Some(rng),
            &self.constraints,
            (self.clock)(),
        )?;
        let roots = Some([root; 2]).filter(|_| options.cache_prompt);
        Ok(self.add(Work::Continuation(Box::new(generation)), roots))
    }

    /// What a continuation could go on from if it ended now; `None` where there
    /// is no such job.
    pub fn continuation(&self, id: JobId) -> Option<Result<Continuation>> {
        match &self.jobs.get(&id)?.work {
            Work::Continuation(generation) => Some(generation.continuation()),
            _ => None,
        }
    }

    /// Begins a beam search; see [`BeamSearch::new`]. `from` are a state's: what
    /// its KV blocks are named after, and its random numbers.
    pub fn add_beam_search(
        &mut self,
        prompt: Input,
        from: Option<(BlockName, RngState)>,
        options: &BeamOptions,
        generation: &GenerateOptions,
    ) -> Result<JobId> {
        let search = BeamSearch::new(
            self.model.as_ref(),
            self.tokenizer.clone(),
            BeamRequest {
                prompt,
                options,
                generation,
                rng: from.map(|(_, rng)| rng),
            },
            &self.constraints,
            (self.clock)(),
        )?;
        let roots = from.map_or_else(|| self.plain_roots(), |(root, _)| Some([root; 2]));
        let roots = roots.filter(|_| generation.cache_prompt);
        Ok(self.add(Work::Beams(Box::new(search)), roots))
    }

    /// Says what the beams of a search may go on with. Where the job is none or
    /// has ended, nothing happens.
    pub fn allow(&mut self, id: JobId, allowed: Allowed) {
        if let Some(Work::Beams(search)) = self.jobs.get_mut(&id).map(|job| &mut job.work) {
            search.set_allowed(allowed);
        }
    }

    /// Begins the computation of logits; see [`LogitsRun::new`].
    pub fn add_logits(&mut self, input: Input, positions: Option<&[i32]>) -> Result<JobId> {
        let tokenizer = self.tokenizer.as_deref();
        let run = LogitsRun::new(self.model.as_ref(), tokenizer, input, positions)?;
        Ok(self.add(Work::Logits(run), self.plain_roots()))
    }

    /// Begins to read `tokens`; see [`Reading::new`].
    pub fn add_reading(
        &mut self,
        tokens: Vec<u32>,
        root: BlockName,
        scored_from: Option<usize>,
    ) -> Result<JobId> {
        let reading = Reading::new(self.model.as_ref(), tokens, scored_from)?;
        Ok(self.add(Work::Reading(reading), Some([root; 2])))
    }

    /// Begins to compare two texts; see [`Comparison::new`].
    pub fn add_comparison(
        &mut self,
        texts: [Vec<u32>; 2],
        roots: [BlockName; 2],
        pairs: &[(usize, usize)],
    ) -> Result<JobId> {
        let comparison = Comparison::new(self.model.as_ref(), texts, pairs)?;
        Ok(self.add(Work::Comparison(Box::new(comparison)), Some(roots)))
    }

    /// Begins to embed a text; see [`Embedding::new`]. The first one runs
    /// 545 of GPT-2's tokens more, for the mean.
    pub fn add_embedding(&mut self, input: Input, parse_special: bool) -> Result<JobId> {
        let embedding = Embedding::new(
            self.model.as_ref(),
            self.tokenizer.as_deref(),
            input,
            parse_special,
            self.mean.clone(),
        )?;
        Ok(self.add(Work::Embedding(Box::new(embedding)), self.plain_roots()))
    }

    /// Begins an analysis of as many texts as its kind needs; see
    /// [`AnalysisRequest::begin`]. Each step is told by an
    /// [`Event::AnalysisProgress`], the end by an [`Event::Analysed`].
    pub fn add_analysis(
        &mut self,
        request: AnalysisRequest,
        inputs: Vec<AnalysisInput>,
    ) -> Result<JobId> {
        let (model, tokenizer) = (self.model.as_ref(), self.tokenizer.as_deref());
        let plain = self.plain_roots().map(|[root, _]| root);
        let subjects = inputs
            .into_iter()
            .map(|input| input.resolve(model, tokenizer, plain))
            .collect::<Result<_>>()?;
        let setting = Setting {
            model,
            tokenizer: self.tokenizer.as_ref(),
            constraints: &self.constraints,
        };
        let analysis = request.begin(&setting, subjects)?;
        Ok(self.add(Work::Analysis(analysis), None))
    }

    /// Requests share blocks where that cannot change a bit of their results.
    fn plain_roots(&self) -> Option<[BlockName; 2]> {
        self.model.is_exact().then_some([self.root; 2])
    }

    /// Ends a job as its caller's abort does.
    pub fn cancel(&mut self, id: JobId) {
        self.end(id, FinishReason::Aborted);
    }

    /// Ends a job: a generation reports what it has at the next step, with
    /// `reason`; logits are dropped. Unknown jobs may have ended already and are
    /// no error.
    pub fn end(&mut self, id: JobId, reason: FinishReason) {
        match self.jobs.get_mut(&id).map(|job| &mut job.work) {
            Some(Work::Generation(generation) | Work::Continuation(generation)) => {
                let held_back = generation.abort(reason);
                self.pending
                    .extend(held_back.map(|chunk| (id, Event::Chunk(chunk))));
            }
            Some(Work::Beams(search)) => {
                let last = search.abort(&FinishReason::Aborted.into());
                self.pending
                    .extend(last.map(|step| (id, Event::BeamStep(step))));
            }
            Some(_) => {
                if let Some(job) = self.jobs.remove(&id) {
                    job.keep_known(&mut self.blocks);
                }
            }
            None => {}
        }
    }

    /// Leaves a job out of the steps to come.
    pub fn pause(&mut self, id: JobId) {
        let now = (self.clock)();
        if let Some(job) = self.jobs.get_mut(&id) {
            job.paused.get_or_insert(now);
        }
    }

    /// Has a job that is paused go on. The time in between is not its own.
    pub fn resume(&mut self, id: JobId) {
        let now = (self.clock)();
        if let Some(job) = self.jobs.get_mut(&id) {
            job.go_on(now);
        }
    }

    /// True while there is something to do: a job that is not paused, or one
    /// whose end has not been told.
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty() || self.jobs.values().any(Job::is_due)
    }

    /// Which generations read a piece of their prompts in the last step, and how
    /// far they are; it comes before the step's events.
    pub fn prompt_progress(&self) -> &[(JobId, PromptProgress)] {
        &self.prompt_progress
    }

    /// Runs one step of every job that is not paused and tells what is new, by job.
    pub fn step(&mut self) -> Vec<(JobId, Event)> {
        let mut events = std::mem::take(&mut self.pending);
        self.prompt_progress.clear();
        self.collect_finished(&mut events);
        let mut ids = Vec::new();
        let mut batch = Vec::new();
        let mut taps = Taps::default();
        for (&id, job) in self.jobs.iter_mut().filter(|(_, job)| job.is_due()) {
            taps.hidden_states |= matches!(job.work, Work::Embedding(_));
            taps.attentions = taps.attentions.union(job.work.captured_layers());
            let before = batch.len();
            job.work.rows(&mut batch);
            ids.push((id, batch.len() - before));
        }
        if batch.is_empty() {
            drop(batch);
            self.step_analyses(&mut events);
            self.collect_finished(&mut events);
            return events;
        }
        let counts: Vec<usize> = batch.iter().map(|rows| rows.tokens.len()).collect();
        let outputs = self.model.forward(&mut batch, taps);
        let now = (self.clock)();
        match outputs {
            Ok(outputs) => {
                let mut outputs = outputs.into_iter().zip(counts);
                for (id, rows) in ids {
                    let own: Vec<_> = outputs.by_ref().take(rows).collect();
                    let Some(job) = self.jobs.get_mut(&id) else {
                        continue;
                    };
                    job.capture(&own, taps, &mut self.blocks);
                    if let Some(progress) = job.work.prompt_progress() {
                        self.prompt_progress.push((id, progress));
                        if progress.done == progress.total {
                            // Now, so that what begins alike need not wait for its end.
                            job.keep_known(&mut self.blocks);
                        }
                    }
                    match job.work.accept(own, now) {
                        Ok(None) => {}
                        Ok(Some(event)) => events.push((id, event)),
                        Err(error) => {
                            self.jobs.remove(&id);
                            events.push((id, Event::Failed(error)));
                        }
                    }
                }
            }
            // What a caller may get wrong was refused when the job was added;
            // this is a fault, and it is nobody's in particular.
            Err(error) => {
                let jobs = std::mem::take(&mut self.jobs).into_keys();
                events.extend(jobs.map(|id| (id, Event::Failed(error.clone()))));
            }
        }
        self.step_analyses(&mut events);
        self.collect_finished(&mut events);
        events
    }

    /// Has every analysis run its own pass.
    fn step_analyses(&mut self, events: &mut Vec<(JobId, Event)>) {
        let mut bench = Bench {
            model: self.model.as_ref(),
            tokenizer: self.tokenizer.as_deref(),
            blocks: &mut self.blocks,
        };
        let mut failed = Vec::new();
        for (&id, job) in self.jobs.iter_mut().filter(|(_, job)| job.is_due()) {
            let Work::Analysis(analysis) = &mut job.work else {
                continue;
            };
            match analysis.step(&mut bench) {
                Ok(()) => events.push((id, Event::AnalysisProgress(analysis.progress()))),
                Err(error) => failed.push((id, error)),
            }
        }
        for (id, error) in failed {
            self.jobs.remove(&id);
            events.push((id, Event::Failed(error)));
        }
    }

    fn add(&mut self, work: Work, roots: Option<[BlockName; 2]>) -> JobId {
        let id = self.next;
        self.next += 1;
        let mut job = Job {
            work,
            roots,
            paused: None,
        };
        job.take_known(&mut self.blocks);
        self.jobs.insert(id, job);
        id
    }

    fn collect_finished(&mut self, events: &mut Vec<(JobId, Event)>) {
        let now = (self.clock)();
        let finished = self.jobs.iter().filter(|(_, job)| job.work.is_finished());
        let ids: Vec<JobId> = finished.map(|(&id, _)| id).collect();
        for id in ids {
            if let Some(mut job) = self.jobs.remove(&id) {
                job.go_on(now);
                job.keep_known(&mut self.blocks);
                if let Work::Embedding(embedding) = &job.work {
                    self.mean = embedding.mean();
                }
                events.push((id, job.work.end(now)));
            }
        }
    }
}

impl Job {
    fn is_due(&self) -> bool {
        self.paused.is_none() || self.work.is_finished()
    }

    fn go_on(&mut self, now: f64) {
        let Some(since) = self.paused.take() else {
            return;
        };
        match &mut self.work {
            Work::Generation(job) | Work::Continuation(job) => job.pass_over(now - since),
            Work::Beams(search) => search.pass_over(now - since),
            _ => {}
        }
    }

    fn take_known(&mut self, blocks: &mut BlockTable) {
        let Some(roots) = self.roots else { return };
        match &mut self.work {
            Work::Generation(job) | Work::Continuation(job) => job.take_known(blocks, roots[0]),
            Work::Beams(search) => search.take_known(blocks, roots[0]),
            Work::Logits(run) => run.take_known(blocks, roots[0]),
            Work::Reading(reading) => reading.take_known(blocks, roots[0]),
            Work::Comparison(comparison) => comparison.take_known(blocks, roots),
            // It needs the hidden states of every token.
            Work::Embedding(_) => {}
            // It does so itself.
            Work::Analysis(_) => {}
        }
    }

    /// Keeps the attention that a generation captures.
    fn capture(&mut self, own: &[(Output, usize)], taps: Taps, blocks: &mut BlockTable) {
        if let (Work::Generation(job) | Work::Continuation(job), Some([root, _])) =
            (&mut self.work, self.roots)
            && let [(output, count), ..] = own
        {
            job.capture(output, *count, taps.attentions, root, blocks.captured());
        }
    }

    fn keep_known(&self, blocks: &mut BlockTable) {
        let Some(roots) = self.roots else { return };
        match &self.work {
            Work::Generation(job) | Work::Continuation(job) => job.keep_known(blocks, roots[0]),
            Work::Beams(search) => search.keep_known(blocks, roots[0]),
            Work::Logits(run) => run.keep_known(blocks, roots[0]),
            Work::Reading(reading) => reading.keep_known(blocks, roots[0]),
            Work::Comparison(comparison) => comparison.keep_known(blocks, roots),
            Work::Embedding(embedding) => embedding.keep_known(blocks, roots[0]),
            Work::Analysis(_) => {}
        }
    }
}

impl Work {
    /// The layers whose attention it captures.
    fn captured_layers(&self) -> Layers {
        match self {
            Self::Generation(job) | Self::Continuation(job) => job.captured_layers(),
            _ => Layers::NONE,
        }
    }

    /// Puts what it wants run into the batch: the rows of one sequence or of
    /// several.
    fn rows<'b>(&'b mut self, batch: &mut Vec<Rows<'b>>) {
        batch.push(match self {
            Self::Generation(job) | Self::Continuation(job) => return job.rows(batch),
            Self::Beams(search) => return search.rows(batch),
            Self::Logits(run) => run.rows(),
            Self::Reading(reading) => reading.rows(),
            Self::Comparison(comparison) => comparison.rows(),
            Self::Embedding(embedding) => embedding.rows(),
            Self::Analysis(_) => return,
        });
    }

    /// Takes what came of its rows, each sequence's with how many were run.
    fn accept(&mut self, mut outputs: Vec<(Output, usize)>, now: f64) -> Result<Option<Event>> {
        let logits = |outputs: Vec<(Output, usize)>| {
            let logits = outputs.into_iter().map(|(output, _)| output.logits);
            logits.collect::<Vec<_>>()
        };
        match self {
            Self::Generation(job) | Self::Continuation(job) => {
                return Ok(job.accept(logits(outputs), now)?.map(Event::Chunk));
            }
            Self::Beams(search) => {
                return Ok(search.accept(logits(outputs), now)?.map(Event::BeamStep));
            }
            _ => {}
        }
        let Some((output, count)) = outputs.pop() else {
            return Ok(None);
        };
        match self {
            Self::Generation(_) | Self::Continuation(_) | Self::Beams(_) | Self::Analysis(_) => {}
            Self::Logits(run) => run.accept(&output.logits, count),
            Self::Reading(reading) => reading.accept(&output.logits, count),
            Self::Comparison(comparison) => comparison.accept(&output.logits, count),
            Self::Embedding(embedding) => embedding.accept(&output.hidden_states, count),
        }
        Ok(None)
    }

    /// How far a step has come in a generation's prompt, before what it gave is
    /// accepted; `None` where it was past it.
    fn prompt_progress(&self) -> Option<PromptProgress> {
        match self {
            Self::Generation(job) | Self::Continuation(job) => job.prompt_progress(),
            _ => None,
        }
    }

    fn is_finished(&self) -> bool {
        match self {
            Self::Generation(job) | Self::Continuation(job) => job.is_finished(),
            Self::Beams(search) => search.is_finished(),
            Self::Logits(run) => run.is_finished(),
            Self::Reading(reading) => reading.is_finished(),
            Self::Comparison(comparison) => comparison.is_finished(),
            Self::Embedding(embedding) => embedding.is_finished(),
            Self::Analysis(analysis) => analysis.is_finished(),
        }
    }

    fn end(self, now: f64) -> Event {
        match self {
            Self::Generation(job) => match job.result(now) {
                Ok(result) => Event::Done(result),
                Err(error) => Event::Failed(error),
            },
            Self::Continuation(job) => match job.continuation() {
                Ok(continuation) => match job.result(now) {
                    Ok(result) => Event::Continued(Box::new(result), continuation),
                    Err(error) => Event::Failed(error),
                },
                Err(error) => Event::Failed(error),
            },
            Self::Beams(search) => match search.result(now) {
                Ok(result) => Event::BeamDone(Box::new(result)),
                Err(error) => Event::Failed(error),
            },
            Self::Logits(run) => Event::Logits(run.result()),
            Self::Reading(reading) => Event::Read(reading.result()),
            Self::Comparison(comparison) => Event::Compared(comparison.result()),
            Self::Embedding(embedding) => Event::Embedded(embedding.result()),
            Self::Analysis(analysis) => match analysis.result() {
                Ok(result) => Event::Analysed(result),
                Err(error) => Event::Failed(error),
            },
        }
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
pub(crate) mod tests;
