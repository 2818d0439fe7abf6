//! Which analysis, and with what options: how JavaScript asks for one.

use super::attention::flow::{Flow, FlowRequest};
use super::attention::rollout::{Rollout, RolloutRequest};
use super::attention::segments::{SegmentAttention, SegmentsRequest};
use super::attention::{AttentionMaps, AttentionRequest};
use super::attribution::{Attribution, AttributionRequest};
use super::compare::{self, CompareRequest};
use super::correlation::{Correlation, CorrelationRequest};
use super::distribution::{DistributionRequest, NextDistribution};
use super::heads::importance::{Importance, ImportanceRequest};
use super::heads::{Heads, HeadsRequest};
use super::kv::{KvInspection, KvRequest};
use super::leave_one_out::{LeaveOneOut, LeaveOneOutRequest};
use super::lens::{Lens, LensRequest};
use super::ngrams::{NgramCounts, NgramsRequest};
use super::perplexity::{Perplexity, PerplexityRequest};
use super::processing::within;
use super::tokens::{Tokens, TokensRequest};
use super::{Analysis, Setting, Subject, exactly};
use crate::error::{Error, Result};
use crate::generate::options::unreadable_option;
use crate::state::commands::with_seed;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// An analysis that is asked for. In JSON it is an object of its options, in
/// which `kind` names it.
#[derive(Debug, Clone, PartialEq)]
pub enum AnalysisRequest {
    Tokens(TokensRequest),
    Distribution(Box<DistributionRequest>),
    Perplexity(PerplexityRequest),
    Ngrams(NgramsRequest),
    Correlation(CorrelationRequest),
    LeaveOneOut(LeaveOneOutRequest),
    Compare(Box<CompareRequest>),
    Attention(AttentionRequest),
    Rollout(RolloutRequest),
    Flow(FlowRequest),
    Segments(SegmentsRequest),
    Heads(HeadsRequest),
    Importance(ImportanceRequest),
    Lens(LensRequest),
    Attribution(AttributionRequest),
    Kv(KvRequest),
}

/// What `kind` may be.
const KINDS: &str = "one of tokens, distribution, perplexity, ngrams, correlation, leaveOneOut, compare, \
     attention, rollout, flow, segments, heads, importance, lens, attribution, kv";

impl AnalysisRequest {
    /// Reads a request. Unknown options are refused, as everywhere.
    ///
    /// Errors: `invalid-argument`, `invalid-option`.
    pub fn from_json(text: &str) -> Result<Self> {
        let mut options: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| Error::argument("request", error.to_string()))?;
        let kind = options.remove("kind").unwrap_or_default();
        if let Some(sampling) = options.get_mut("options") {
            seeds_as_numbers("options", sampling)?;
        }
        let options = Value::Object(options);
        // Not serde's tagged enum: it would not say which option is wrong.
        Ok(match kind.as_str() {
            Some("tokens") => Self::Tokens(read(options)?),
            Some("distribution") => Self::Distribution(read(options)?),
            Some("perplexity") => Self::Perplexity(read(options)?),
            Some("ngrams") => Self::Ngrams(read(options)?),
            Some("correlation") => Self::Correlation(read(options)?),
            Some("leaveOneOut") => Self::LeaveOneOut(read(options)?),
            Some("compare") => Self::Compare(read(options)?),
            Some("attention") => Self::Attention(read(options)?),
            Some("rollout") => Self::Rollout(read(options)?),
            Some("flow") => Self::Flow(read(options)?),
            Some("segments") => Self::Segments(read(options)?),
            Some("heads") => Self::Heads(read(options)?),
            Some("importance") => Self::Importance(read(options)?),
            Some("lens") => Self::Lens(read(options)?),
            Some("attribution") => Self::Attribution(read(options)?),
            Some("kv") => Self::Kv(read(options)?),
            _ => return Err(Error::option("kind", kind, KINDS)),
        })
    }

    /// Checks everything that can be wrong, before the model runs.
    ///
    /// Errors: `invalid-option`, `invalid-argument`, `context-overflow`,
    /// `invalid-token`, `no-tokenizer`, `out-of-memory`.
    pub fn begin(self, setting: &Setting, subjects: Vec<Subject>) -> Result<Box<dyn Analysis>> {
        let one = |subjects| exactly::<1>(subjects).map(|[subject]| subject);
        Ok(match self {
            Self::Tokens(request) => Box::new(Tokens::new(request, setting, subjects)?),
            Self::Distribution(request) => {
                Box::new(NextDistribution::new(*request, setting, subjects)?)
            }
            Self::Perplexity(request) => Box::new(Perplexity::new(request, setting, subjects)?),
            Self::Ngrams(request) => Box::new(NgramCounts::new(request, setting, subjects)?),
            Self::Correlation(request) => Box::new(Correlation::new(request, setting, subjects)?),
            Self::LeaveOneOut(request) => Box::new(LeaveOneOut::new(request, setting, subjects)?),
            Self::Compare(request) => compare::begin(*request, setting, subjects)?,
            Self::Attention(request) => {
                Box::new(AttentionMaps::new(request, setting, one(subjects)?)?)
            }
            Self::Rollout(request) => Box::new(Rollout::new(request, setting, one(subjects)?)?),
            Self::Flow(request) => Box::new(Flow::new(request, setting, one(subjects)?)?),
            Self::Segments(request) => {
                Box::new(SegmentAttention::new(request, setting, one(subjects)?)?)
            }
            Self::Heads(request) => Box::new(Heads::new(request, setting, one(subjects)?)?),
            Self::Importance(request) => {
                Box::new(Importance::new(request, setting, one(subjects)?)?)
            }
            Self::Lens(request) => Box::new(Lens::new(request, setting, one(subjects)?)?),
            Self::Attribution(request) => {
                Box::new(Attribution::new(request, setting, one(subjects)?)?)
            }
            Self::Kv(request) => Box::new(KvInspection::new(request, setting, one(subjects)?)?),
        })
    }
}

/// The options of one kind of analysis.
fn read<T: DeserializeOwned>(options: Value) -> Result<T> {
    serde_path_to_error::deserialize(options).map_err(|error| {
        let (name, complaint) = (error.path().to_string(), error.inner().to_string());
        match complaint.strip_prefix("unknown field ") {
            Some(unknown) => unknown_option(&name, unknown),
            None => unreadable_option(name, &complaint),
        }
    })
}

/// Of one set of sampling options, or of a list of them: JavaScript's large
/// seeds come as strings. They do nothing here, but a state's config has one.
fn seeds_as_numbers(name: &str, options: &mut Value) -> Result<()> {
    match options {
        Value::Array(list) => (0..)
            .zip(list)
            .try_for_each(|(index, options): (usize, _)| {
                seeds_as_numbers(&format!("{name}[{index}]"), options)
            }),
        Value::Object(fields) => {
            *fields = with_seed(std::mem::take(fields)).map_err(|error| within(name, error))?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// From serde's "`name`, expected one of `a`, `b`".
fn unknown_option(path: &str, unknown: &str) -> Error {
    let (name, known) = unknown.split_once(", expected ").unwrap_or((unknown, ""));
    let name = name.replace('`', "");
    // The path ends in the name or in what it should be in.
    let path = match path.strip_suffix(&name) {
        Some(before) => before.trim_end_matches('.'),
        None => path,
    };
    let option = match path {
        "" | "." => name,
        path => format!("{path}.{name}"),
    };
    Error::option(option, "no option", known.replace('`', ""))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
