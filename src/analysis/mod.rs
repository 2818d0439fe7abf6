//! Looking inside: what the model expects of a text, and how it comes to it.
//!
//! An analysis runs its own forward passes, beside the batch that all other
//! jobs share. That loses nothing, because a row's result does not depend on
//! the batch it is in, and taps (attention, hidden states) are then paid for by
//! who asks for them alone. Between two steps anything else may happen: an
//! abort, a progress event, a step of other jobs.
//!
//! Large things are computed a position at a time: a row of GPT-2's logits is
//! 200 kB, so the rows of a whole context would be 200 MB. What a request may
//! take is bounded, and a request over a bound is refused with the number
//! before anything runs.

pub mod ablation;
pub mod attention;
pub mod attribution;
pub mod compare;
pub mod correlation;
pub mod distribution;
pub mod heads;
pub mod kv;
pub mod leave_one_out;
pub mod lens;
pub mod ngrams;
pub mod perplexity;
mod processing;
pub mod range;
pub mod reader;
pub mod request;
pub mod result;
pub mod scores;
pub mod selection;
pub mod tokens;

pub use range::TokenRange;
pub use reader::{Chunk, Reader};
pub use request::AnalysisRequest;
pub use result::{AnalysisResult, ArrayData, NamedArray};

use crate::error::{Error, Result};
use crate::generate::Input;
use crate::generate::recent_constraints::RecentConstraints;
use crate::model::{BlockName, BlockTable, Model};
use crate::tokenizer::Tokenizer;
use serde::Serialize;
use std::rc::Rc;

/// An analysis in work.
pub trait Analysis {
    /// Runs the model at most once, with at most
    /// [`PREFILL_CHUNK`](crate::generate::generation::PREFILL_CHUNK) rows (or a
    /// bounded batch): what an abort has to wait for.
    fn step(&mut self, bench: &mut Bench) -> Result<()>;

    fn progress(&self) -> AnalysisProgress;

    /// True where nothing is left to run; it may be from the start.
    fn is_finished(&self) -> bool;

    /// What there is to tell, once finished.
    fn result(self: Box<Self>) -> Result<AnalysisResult>;
}

/// What an analysis works with.
pub struct Bench<'a> {
    pub model: &'a dyn Model,
    pub tokenizer: Option<&'a Tokenizer>,
    /// KV blocks that are known, by their tokens; see [`Reader`].
    pub blocks: &'a mut BlockTable,
}

/// What an analysis is checked against before it begins.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub model: &'a dyn Model,
    pub tokenizer: Option<&'a Rc<Tokenizer>>,
    /// For sampling options with a constraint.
    pub constraints: &'a RecentConstraints,
}

/// How far an analysis is, in rows (a row is a token in one pass of the model,
/// or work of about that size).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisProgress {
    /// Rows that have been run, those from the KV cache included.
    pub done: u32,
    pub total: u32,
}

impl AnalysisProgress {
    pub fn new(done: usize, total: usize) -> Self {
        Self {
            done: done as u32,
            total: total as u32,
        }
    }
}

/// A text to analyse.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    pub tokens: Vec<u32>,
    /// What the chain of its KV blocks begins with; `None` where no block may be
    /// shared, since a pass of the model is not exact.
    pub root: Option<BlockName>,
}

/// What a caller names as a text.
#[derive(Debug, Clone, PartialEq)]
pub enum AnalysisInput {
    /// Text or token ids.
    Plain(Input),
    /// A state's tokens, and what its KV blocks are named after.
    State { tokens: Vec<u32>, root: BlockName },
}

impl AnalysisInput {
    /// The tokens, of any number; the end-of-text token where there are none.
    /// `plain` is what the KV blocks of plain requests are named after.
    ///
    /// Errors: `no-tokenizer`, `invalid-token`, `invalid-argument`.
    pub fn resolve(
        self,
        model: &dyn Model,
        tokenizer: Option<&Tokenizer>,
        plain: Option<BlockName>,
    ) -> Result<Subject> {
        let (input, root) = match self {
            Self::Plain(input) => (input, plain),
            Self::State { tokens, root } => (Input::Tokens(tokens), Some(root)),
        };
        Ok(Subject {
            tokens: input.into_tokens(model, tokenizer, false)?,
            root,
        })
    }
}

/// Exactly `N` texts, of what was given. Error: `invalid-argument`.
pub fn exactly<const N: usize>(subjects: Vec<Subject>) -> Result<[Subject; N]> {
    let given = subjects.len();
    subjects.try_into().map_err(|_| {
        let reason = format!("{given} texts were given, {N} are needed");
        Error::argument("inputs", reason)
    })
}

#[cfg(test)]
pub(crate) mod planted;
#[cfg(test)]
pub(crate) mod testing;
