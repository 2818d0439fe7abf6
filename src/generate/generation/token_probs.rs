//! How likely a token was, and what else might have come.
//!
//! Both distributions are told: the model's own, and what the options made of
//! it, from which the token was drawn. They answer different questions, and
//! every one of llama.cpp's and OpenAI's interfaces that tells only one is asked
//! for the other.

use crate::generate::processors::select::kth_largest;
use crate::generate::processors::softmax::Softmax;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// How likely a token was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
#[cfg_attr(target_arch = "wasm32", tsify(missing_as_null))]
pub struct TokenLogprob {
    pub id: u32,
    /// Bytes that are no whole character are U+FFFD. Empty without a tokenizer.
    pub text: String,
    /// Natural logarithm of its probability under the model.
    pub logprob: f64,
    /// The same after all processors, as it was drawn from; `null` where they
    /// rule it out.
    pub processed_logprob: Option<f64>,
}

/// A token that was chosen, and what else might have been.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
#[cfg_attr(target_arch = "wasm32", tsify(missing_as_null))]
pub struct TokenLogprobs {
    pub id: u32,
    /// Bytes that are no whole character are U+FFFD. Empty without a tokenizer.
    pub text: String,
    /// Natural logarithm of its probability under the model.
    pub logprob: f64,
    /// The same after all processors, as it was drawn from.
    pub processed_logprob: Option<f64>,
    /// Its place among the model's scores: 1 is the likeliest.
    pub rank: u32,
    /// Entropy of the model's distribution, in nats.
    pub entropy: f64,
    /// The model's likeliest tokens, as many as were asked for, best first; of
    /// equal ones the lower id.
    pub top: Vec<TokenLogprob>,
}

/// A distribution of the next token.
pub(crate) struct Distribution {
    /// What to subtract from a score for its log-probability.
    pub log_sum: f64,
    /// In nats.
    pub entropy: f64,
}

impl Distribution {
    /// Of scores, of which those at `-inf` are ruled out; `None` where there is
    /// nothing to choose from, which the sampler reports.
    pub fn new(scores: &[f32], softmax: &mut Softmax) -> Option<Self> {
        softmax.fill(scores).then(|| Self {
            log_sum: softmax.log_sum(),
            entropy: softmax.entropy(),
        })
    }

    pub fn log_prob(&self, logits: &[f32], token: u32) -> f64 {
        let logit = logits.get(token as usize).copied().unwrap_or(f32::NAN);
        f64::from(logit) - self.log_sum
    }
}

/// What is told of `token`, with the model's `count` likeliest.
pub(super) fn token_logprobs(
    token: u32,
    count: usize,
    logits: &[f32],
    distribution: &Distribution,
    processed: (&[f32], &Distribution),
    tokenizer: Option<&Tokenizer>,
) -> TokenLogprobs {
    let (processed, processed_distribution) = processed;
    let of = |id: u32| TokenLogprob {
        id,
        text: tokenizer.map_or_else(String::new, |tokenizer| {
            let bytes = tokenizer.token_bytes(id).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        }),
        logprob: distribution.log_prob(logits, id),
        processed_logprob: Some(processed_distribution.log_prob(processed, id))
            .filter(|logprob| logprob.is_finite()),
    };
    let chosen = of(token);
    TokenLogprobs {
        id: token,
        text: chosen.text,
        logprob: chosen.logprob,
        processed_logprob: chosen.processed_logprob,
        rank: crate::generate::log_prob::rank(logits, token),
        entropy: distribution.entropy,
        top: likeliest(logits, count).into_iter().map(of).collect(),
    }
}

/// The ids of the `count` largest, best first; of equal ones the lower id.
pub(crate) fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    if count == 0 {
        return Vec::new();
    }
    let bar = kth_largest(logits, count, &mut Vec::new());
    let ids = (0u32..).zip(logits);
    let mut best: Vec<(u32, f32)> = ids
        .filter(|&(_, &logit)| logit >= bar && logit > f32::NEG_INFINITY)
        .map(|(id, &logit)| (id, logit))
        .collect();
    best.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0)));
    best.truncate(count);
    best.into_iter().map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_zero_of_a_certainty_and_ln_n_of_n_equal_ones() {
        let out = f32::NEG_INFINITY;
        let entropy = |scores: &[f32]| {
            let distribution = Distribution::new(scores, &mut Softmax::default());
            distribution.map(|distribution| distribution.entropy)
        };
        assert!(entropy(&[5.0, out, -90.0]).unwrap() < 1e-9);
        assert_eq!(entropy(&[out, out]), None);
        let even = entropy(&[3.5; 8]).unwrap();
        assert!((even - 8f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn both_distributions_are_told_and_the_likeliest_come_first() {
        let logits = [1.0, 3.0, 3.0, 2.0];
        let processed = [f32::NEG_INFINITY, 1.5, f32::NEG_INFINITY, 1.5];
        let of = |scores: &[f32]| Distribution::new(scores, &mut Softmax::default()).unwrap();
        let (model, drawn) = (of(&logits), of(&processed));
        let told = |count| token_logprobs(3, count, &logits, &model, (&processed, &drawn), None);
        let all = told(4);
        let told = told(3);
        assert_eq!((told.id, told.rank), (3, 3));
        assert!((told.processed_logprob.unwrap() - 0.5f64.ln()).abs() < 1e-12);
        let ids: Vec<u32> = told.top.iter().map(|token| token.id).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(told.top[1].processed_logprob, None);
        let sum: f64 = all.top.iter().map(|token| token.logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
