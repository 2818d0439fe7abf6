//! Runs of tokens in a text: which come often, how much it repeats itself, and
//! how much of it the prompt has not said before. The model is not run.
//!
//! | number | formula | source |
//! |---|---|---|
//! | `repetition` (seq-rep-n) | `1 - distinct / total` | S. Welleck et al., "Neural Text Generation with Unlikelihood Training", 2019 |
//! | `distinctRatio` (distinct-n) | `distinct / tokens` | J. Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models", 2016 |
//! | `novelty` | `novel / total` | R. T. McCoy et al., "How much do language models copy from their training data?", 2021, with the prompt in place of the training data |

use super::{
    Analysis, AnalysisProgress, AnalysisResult, Bench, Setting, Subject, TokenRange, exactly,
};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Longest runs that are counted.
const MAX_N: usize = 16;
/// Most runs that are told of a length.
const MAX_TOLD: usize = 1000;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct NgramsRequest {
    /// Which tokens. Default: all, or all after the prompt.
    pub range: TokenRange,
    /// The first tokens of the text that are its prompt: they are not counted,
    /// and novelty is against them. Not together with a second text, which is
    /// the prompt otherwise. Default: none.
    pub prompt_tokens: Option<usize>,
    /// Runs of 1 to so many tokens, 1 to 16. Default: 4.
    pub max_n: usize,
    /// How many of the most frequent to tell of each length, 0 to 1000.
    /// Default: 10.
    pub top: usize,
}

impl Default for NgramsRequest {
    fn default() -> Self {
        Self {
            range: TokenRange::default(),
            prompt_tokens: None,
            max_n: 4,
            top: 10,
        }
    }
}

/// The runs of one length.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ngrams {
    n: usize,
    /// How many there are, and how many different ones.
    total: usize,
    distinct: usize,
    /// distinct-n: `distinct` over the number of tokens; from 0 to 1.
    distinct_ratio: f64,
    /// seq-rep-n: from 0 (none comes twice) to just below 1.
    repetition: f64,
    /// Of `total`, those that the prompt does not have; `null` without one.
    novel: Option<usize>,
    novelty: Option<f64>,
    /// Most frequent first; of equal ones, the one that comes first.
    top: Vec<Frequent>,
}

#[derive(Debug, Serialize)]
struct Frequent {
    ids: Vec<u32>,
    text: String,
    count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    /// Tokens that were looked at,
    tokens: usize,
    /// and tokens of the prompt.
    prompt_tokens: usize,
    ngrams: Vec<Ngrams>,
}

/// Runs being counted, a length a step.
pub struct NgramCounts {
    tokens: Vec<u32>,
    prompt: Option<Vec<u32>>,
    max_n: usize,
    top: usize,
    tokenizer: Option<Rc<Tokenizer>>,
    counted: Vec<Ngrams>,
}

impl NgramCounts {
    /// Of a text, or of a text and its prompt.
    ///
    /// Errors: `invalid-option`, `invalid-argument`.
    pub fn new(
        request: NgramsRequest,
        setting: &Setting,
        mut subjects: Vec<Subject>,
    ) -> Result<Self> {
        let within = |name: &str, value: usize, least: usize, most: usize| {
            let range = || format!("from {least} to {most}");
            let ok = (least..=most).contains(&value);
            ok.then_some(())
                .ok_or_else(|| Error::option(name, value, range()))
        };
        within("maxN", request.max_n, 1, MAX_N)?;
        within("top", request.top, 0, MAX_TOLD)?;
        let mut prompt = match subjects.len() {
            2 => subjects.pop().map(|subject| subject.tokens),
            _ => None,
        };
        let [Subject { mut tokens, .. }] = exactly(subjects)?;
        if let Some(count) = request.prompt_tokens {
            if prompt.is_some() {
                let range = "absent where the prompt is a text of its own";
                return Err(Error::option("promptTokens", count, range));
            }
            within("promptTokens", count, 0, tokens.len() - 1)?;
            let rest = tokens.split_off(count);
            prompt = Some(std::mem::replace(&mut tokens, rest));
        }
        let range = request.range.resolve("range", tokens.len())?;
        tokens.truncate(range.end);
        tokens.drain(..range.start);
        Ok(Self {
            tokens,
            prompt,
            max_n: request.max_n,
            top: request.top,
            tokenizer: setting.tokenizer.cloned(),
            counted: Vec::new(),
        })
    }

    fn count(&self, n: usize) -> Ngrams {
        let runs = || self.tokens.windows(n);
        // How often each comes, and where first.
        let mut counts: HashMap<&[u32], (usize, usize)> = HashMap::new();
        for (place, run) in runs().enumerate() {
            counts.entry(run).or_insert((0, place)).0 += 1;
        }
        let total = runs().len();
        let novel = self.prompt.as_ref().map(|prompt| {
            let known: HashSet<&[u32]> = prompt.windows(n).collect();
            runs().filter(|run| !known.contains(run)).count()
        });
        let share = |part: usize, whole: usize| match whole {
            0 => 0.0,
            _ => part as f64 / whole as f64,
        };
        let mut frequent: Vec<_> = counts.iter().collect();
        frequent.sort_unstable_by_key(|&(_, &(count, place))| (Reverse(count), place));
        Ngrams {
            n,
            total,
            distinct: counts.len(),
            distinct_ratio: share(counts.len(), self.tokens.len()),
            repetition: share(total - counts.len(), total),
            novel,
            novelty: novel.map(|novel| share(novel, total)),
            top: frequent
                .into_iter()
                .take(self.top)
                .map(|(ids, &(count, _))| Frequent {
                    ids: ids.to_vec(),
                    text: self.text(ids),
                    count,
                })
                .collect(),
        }
    }

    fn text(&self, ids: &[u32]) -> String {
        let text = self.tokenizer.as_ref().map(|t| t.decode(ids));
        text.and_then(Result::ok).unwrap_or_default()
    }
}

impl Analysis for NgramCounts {
    fn step(&mut self, _: &mut Bench) -> Result<()> {
        let counted = self.count(self.counted.len() + 1);
        self.counted.push(counted);
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        let rows = self.tokens.len();
        AnalysisProgress::new(self.counted.len() * rows, self.max_n * rows)
    }

    fn is_finished(&self) -> bool {
        self.counted.len() == self.max_n
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        AnalysisResult::new(Value {
            tokens: self.tokens.len(),
            prompt_tokens: self.prompt.as_ref().map_or(0, Vec::len),
            ngrams: self.counted,
        })
    }
}

#[cfg(test)]
#[path = "ngrams_tests.rs"]
mod tests;
