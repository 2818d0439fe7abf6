//! What rows of logits say of tokens, in the words of results.

use crate::error::{Error, Result};
use crate::generate::generation::{Distribution, likeliest};
use crate::generate::log_prob::rank;
use crate::generate::processors::softmax::Softmax;
use crate::state::text::TokenText;
use crate::tokenizer::Tokenizer;
use serde::Serialize;
use std::f64::consts::LN_2;

/// Most alternatives that are told of a token.
pub const MAX_TOP: usize = 100;

/// A token that might come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    pub id: u32,
    /// Bytes that are no whole character are U+FFFD. Empty without a tokenizer.
    pub piece: String,
    /// In nats.
    pub logprob: f64,
}

/// How a token was expected.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// Natural logarithm of the token's probability.
    pub logprob: f64,
    /// `-logprob`: how surprising it was, in nats,
    pub surprisal: f64,
    /// and in bits.
    pub surprisal_bits: f64,
    /// 1 is the likeliest; of equal ones the lower id is first.
    pub rank: u32,
    /// Of the distribution that the token was one of, in nats.
    pub entropy: f64,
    /// The likeliest tokens, best first.
    pub top: Vec<Alternative>,
}

/// Reads rows of logits; keeps what it needs for that between rows.
#[derive(Default)]
pub struct Scorer(Softmax);

impl Scorer {
    /// The softmax of a row. Error: `no-next-token` where it has none.
    pub(super) fn distribution(&mut self, logits: &[f32]) -> Result<Distribution> {
        // The softmax leaves NaN out, as it does what is ruled out. A fold without
        // an early end, so that it is vectorised.
        if logits.iter().fold(false, |any, logit| any | logit.is_nan()) {
            return Err(Error::NoNextToken("the model's scores hold NaN".into()));
        }
        Distribution::new(logits, &mut self.0)
            .ok_or_else(|| Error::NoNextToken("every token is ruled out".into()))
    }

    /// The log-probability of `token` in nats.
    pub fn logprob(&mut self, logits: &[f32], token: u32) -> Result<f64> {
        Ok(self.distribution(logits)?.log_prob(logits, token))
    }

    /// All about `token`, with the `top` likeliest in its place.
    pub fn expectation(
        &mut self,
        logits: &[f32],
        token: u32,
        top: usize,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Expectation> {
        let distribution = self.distribution(logits)?;
        let logprob = distribution.log_prob(logits, token);
        let alternatives = likeliest(logits, top);
        Ok(Expectation {
            logprob,
            surprisal: -logprob,
            surprisal_bits: -logprob / LN_2,
            rank: rank(logits, token),
            entropy: distribution.entropy,
            top: alternatives
                .into_iter()
                .map(|id| Alternative {
                    id,
                    piece: piece(tokenizer, id),
                    logprob: distribution.log_prob(logits, id),
                })
                .collect(),
        })
    }
}

/// What a token reads by itself; empty without a tokenizer.
pub fn piece(tokenizer: Option<&Tokenizer>, id: u32) -> String {
    let bytes = tokenizer.and_then(|tokenizer| tokenizer.token_bytes(id));
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// The start and end of each token in the decoded text, in UTF-16 code units;
/// `None` without a tokenizer, or where an id has no text.
pub fn offsets(tokenizer: Option<&Tokenizer>, tokens: &[u32]) -> Option<Vec<(u32, u32)>> {
    let text = TokenText::new(Some(tokenizer?), tokens).ok()?;
    Some(text.offsets())
}

/// How many alternatives are asked for. Error: `invalid-option`.
pub fn check_top(top: usize) -> Result<()> {
    if top <= MAX_TOP {
        return Ok(());
    }
    Err(Error::option("top", top, format!("from 0 to {MAX_TOP}")))
}
