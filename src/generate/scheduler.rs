//! Everything that is being computed, one batched step at a time.
//!
//! [`Scheduler::step`] runs the model once for all active jobs: a chunk of the
//! prompt for those that begin, one token for those that write. It returns
//! after that one pass, so whoever drives it can let other work in between;
//! a cancellation takes effect at the next step. Jobs do not influence each
//! other's results.

use super::GenerateOptions;
use super::generation::{Generation, GenerationChunk, GenerationResult, Input};
use super::logits::{Logits, LogitsRun};
use crate::error::{Error, Result};
use crate::model::{Model, Rows, Taps};
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
    /// The job has ended.
    Logits(Logits),
    /// The job has ended.
    Failed(Error),
}

enum Job {
    Generation(Box<Generation>),
    Logits(LogitsRun),
}

/// Milliseconds from any fixed point, never going back.
pub type Clock = fn() -> f64;

/// A model and the jobs that share it.
pub struct Scheduler {
    model: Rc<dyn Model>,
    tokenizer: Option<Rc<Tokenizer>>,
    clock: Clock,
    jobs: BTreeMap<JobId, Job>,
    /// Events for the next step to tell.
    pending: Vec<(JobId, Event)>,
    next: JobId,
}

impl Scheduler {
    pub fn new(model: Rc<dyn Model>, tokenizer: Option<Rc<Tokenizer>>, clock: Clock) -> Self {
        Self {
            model,
            tokenizer,
            clock,
            jobs: BTreeMap::new(),
            pending: Vec::new(),
            next: 1,
        }
    }

    pub fn model(&self) -> &dyn Model {
        self.model.as_ref()
    }

    /// The tokenizer, where the model has one. Error: `no-tokenizer`.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_deref().ok_or(Error::NoTokenizer)
    }

    /// Begins a generation. Nothing is computed before the next step.
    pub fn add_generation(&mut self, prompt: Input, options: &GenerateOptions) -> Result<JobId> {
        let generation = Generation::new(
            self.model.as_ref(),
            self.tokenizer.clone(),
            prompt,
            options,
            (self.clock)(),
        )?;
        Ok(self.add(Job::Generation(Box::new(generation))))
    }

    /// Begins the computation of logits; see [`LogitsRun::new`].
    pub fn add_logits(&mut self, input: Input, positions: Option<&[i32]>) -> Result<JobId> {
        let tokenizer = self.tokenizer.as_deref();
        let run = LogitsRun::new(self.model.as_ref(), tokenizer, input, positions)?;
        Ok(self.add(Job::Logits(run)))
    }

    /// Ends a job: a generation reports what it has at the next step, logits
    /// are dropped. Unknown jobs may have ended already and are no error.
    pub fn cancel(&mut self, id: JobId) {
        match self.jobs.get_mut(&id) {
            Some(Job::Generation(generation)) => {
                let held_back = generation.abort();
                self.pending
                    .extend(held_back.map(|chunk| (id, Event::Chunk(chunk))));
            }
            Some(Job::Logits(_)) => {
                self.jobs.remove(&id);
            }
            None => {}
        }
    }

    /// True while a job is left.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Runs one step of every job and tells what is new, by job.
    pub fn step(&mut self) -> Vec<(JobId, Event)> {
        let mut events = std::mem::take(&mut self.pending);
        self.collect_finished(&mut events);
        let mut ids = Vec::new();
        let mut batch = Vec::new();
        for (&id, job) in &mut self.jobs {
            ids.push(id);
            batch.push(job.rows());
        }
        if batch.is_empty() {
            return events;
        }
        let counts: Vec<usize> = batch.iter().map(|rows| rows.tokens.len()).collect();
        let outputs = self.model.forward(&mut batch, Taps::default());
        let now = (self.clock)();
        match outputs {
            Ok(outputs) => {
                for ((id, output), count) in ids.into_iter().zip(outputs).zip(counts) {
                    let Some(job) = self.jobs.get_mut(&id) else {
                        continue;
                    };
                    match job.accept(output.logits, count, now) {
                        Ok(None) => {}
                        Ok(Some(chunk)) => events.push((id, Event::Chunk(chunk))),
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
                self.jobs.clear();
                events.extend(ids.into_iter().map(|id| (id, Event::Failed(error.clone()))));
            }
        }
        self.collect_finished(&mut events);
        events
    }

    fn add(&mut self, job: Job) -> JobId {
        let id = self.next;
        self.next += 1;
        self.jobs.insert(id, job);
        id
    }

    fn collect_finished(&mut self, events: &mut Vec<(JobId, Event)>) {
        let now = (self.clock)();
        let finished = self.jobs.iter().filter(|(_, job)| job.is_finished());
        let ids: Vec<JobId> = finished.map(|(&id, _)| id).collect();
        for id in ids {
            if let Some(job) = self.jobs.remove(&id) {
                events.push((id, job.end(now)));
            }
        }
    }
}

impl Job {
    fn rows(&mut self) -> Rows<'_> {
        match self {
            Self::Generation(generation) => generation.rows(),
            Self::Logits(run) => run.rows(),
        }
    }

    fn accept(
        &mut self,
        logits: Vec<f32>,
        count: usize,
        now: f64,
    ) -> Result<Option<GenerationChunk>> {
        match self {
            Self::Generation(generation) => generation.accept(logits, now),
            Self::Logits(run) => {
                run.accept(&logits, count);
                Ok(None)
            }
        }
    }

    fn is_finished(&self) -> bool {
        match self {
            Self::Generation(generation) => generation.is_finished(),
            Self::Logits(run) => run.is_finished(),
        }
    }

    fn end(self, now: f64) -> Event {
        match self {
            Self::Generation(generation) => match generation.result(now) {
                Ok(result) => Event::Done(result),
                Err(error) => Event::Failed(error),
            },
            Self::Logits(run) => Event::Logits(run.result()),
        }
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
