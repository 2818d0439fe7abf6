//! What a caller may ask of a generation, with defaults and limits.
//!
//! Names are Hugging Face's `generate()` names in JavaScript's spelling. An
//! unknown name is refused by name, never ignored: a misspelt `topK` that does
//! nothing is the worst kind of default.

use crate::error::{Error, Result};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Options of one generation. Every field has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct GenerateOptions {
    /// Most tokens to generate. Default: 128.
    pub max_tokens: usize,
    /// Divides the logits before sampling; `0` takes the most probable token
    /// (greedy), and then `topK`, `topP` and `minP` do nothing. Default: 1.
    pub temperature: f32,
    /// Keep the `topK` most probable tokens, ties of the last one included;
    /// `0` keeps all. Default: 50, as in Hugging Face.
    pub top_k: usize,
    /// Keep the smallest set of most probable tokens whose probabilities
    /// reach `topP`; `1` keeps all. Default: 1.
    pub top_p: f64,
    /// Keep tokens at least `minP` times as probable as the best; `0` keeps
    /// all. Default: 0.
    pub min_p: f32,
    /// Scores of tokens already in prompt or output are divided by this where
    /// positive and multiplied where negative (CTRL, arXiv:1909.05858); `1`
    /// does nothing. Default: 1.
    pub repetition_penalty: f32,
    /// Seed of the sampler: an integer from 0 to 2^64-1 (a `bigint` above
    /// 2^53-1). The same request with the same seed gives the same text.
    /// Default: a fresh one, reported in the result.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number | bigint"))]
    pub seed: Option<u64>,
    /// Generation ends before the first of these strings to appear in the
    /// output; one string or a list. Default: none.
    #[serde(deserialize_with = "one_or_many")]
    #[cfg_attr(target_arch = "wasm32", tsify(type = "string | string[]"))]
    pub stop: Vec<String>,
    /// Keep the stop string in the text. Default: false.
    pub include_stop: bool,
    /// Token ids that end the generation; an empty list never ends it so.
    /// Default: the model's own end-of-text token.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number[]"))]
    pub eos_token_ids: Option<Vec<u32>>,
    /// Read special tokens such as `<|endoftext|>` in the prompt's text as
    /// tokens rather than as the characters they are written with.
    /// Default: false.
    pub parse_special: bool,
    /// Speculate: drafts of at most this many tokens, taken from where the last
    /// ones stood in the text before, are checked in one pass. The output stays
    /// the same; text that repeats itself (quotes, lists, code) comes faster.
    /// Not for dtype `f32`. `0`: off. Default: 0.
    pub prompt_lookup_num_tokens: usize,
    /// Take what the KV cache has of the prompt from earlier texts that began
    /// alike. The output stays the same. With dtype `f32` only a state's own
    /// text is taken so. Default: true.
    pub cache_prompt: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: 128,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: None,
            stop: Vec::new(),
            include_stop: false,
            eos_token_ids: None,
            parse_special: false,
            prompt_lookup_num_tokens: 0,
            cache_prompt: true,
        }
    }
}

/// A string, or a list of strings.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;

    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_str<E>(self, one: &str) -> Result<Vec<String>, E> {
            Ok(vec![one.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut many = Vec::new();
            while let Some(one) = list.next_element()? {
                many.push(one);
            }
            Ok(many)
        }
    }
    deserializer.deserialize_any(OneOrMany)
}

/// Longest draft: each of its tokens needs a row of logits.
pub const MAX_DRAFT_TOKENS: usize = 32;
/// Most stop strings in one request.
pub const MAX_STOP_STRINGS: usize = 64;
/// Longest stop string, in bytes of UTF-8.
pub const MAX_STOP_BYTES: usize = 4096;

impl GenerateOptions {
    /// The options' names, as JavaScript spells them.
    pub fn names() -> Vec<String> {
        match serde_json::to_value(Self::default()) {
            Ok(serde_json::Value::Object(fields)) => fields.into_iter().map(|(k, _)| k).collect(),
            _ => Vec::new(),
        }
    }

    /// Checks every range, naming the first option that is out of its own.
    pub fn validate(&self, vocab_size: usize) -> Result<()> {
        let within = |name: &str, ok: bool, rule: &str| {
            if ok {
                Ok(())
            } else {
                Err(Error::argument(name, rule))
            }
        };
        within(
            "temperature",
            self.temperature.is_finite() && self.temperature >= 0.0,
            "must be a number of at least 0 (0 is greedy)",
        )?;
        within(
            "topP",
            self.top_p > 0.0 && self.top_p <= 1.0,
            "must be above 0 and at most 1",
        )?;
        within(
            "minP",
            (0.0..=1.0).contains(&self.min_p),
            "must be from 0 to 1",
        )?;
        within(
            "promptLookupNumTokens",
            self.prompt_lookup_num_tokens <= MAX_DRAFT_TOKENS,
            "must be from 0 to 32",
        )?;
        within(
            "repetitionPenalty",
            self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0,
            "must be a number above 0",
        )?;
        within(
            "stop",
            self.stop.len() <= MAX_STOP_STRINGS,
            "must have at most 64 strings",
        )?;
        within(
            "stop",
            self.stop.iter().all(|s| !s.is_empty()),
            "must not contain an empty string",
        )?;
        within(
            "stop",
            self.stop.iter().all(|s| s.len() <= MAX_STOP_BYTES),
            "must not contain a string of over 4096 bytes",
        )?;
        if let Some(ids) = &self.eos_token_ids {
            for (index, &id) in ids.iter().enumerate() {
                if id as usize >= vocab_size {
                    return Err(Error::InvalidToken {
                        id,
                        index,
                        vocab_size,
                    });
                }
            }
        }
        Ok(())
    }

    /// True where the most probable token is taken and no chance is involved.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut GenerateOptions)) -> Error {
        let mut options = GenerateOptions::default();
        change(&mut options);
        options.validate(100).unwrap_err()
    }

    #[test]
    fn defaults_are_valid() {
        GenerateOptions::default().validate(100).unwrap();
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        for (name, error) in [
            ("temperature", refused(|o| o.temperature = -0.1)),
            ("temperature", refused(|o| o.temperature = f32::NAN)),
            ("topP", refused(|o| o.top_p = 0.0)),
            ("topP", refused(|o| o.top_p = 1.1)),
            ("minP", refused(|o| o.min_p = -1.0)),
            ("repetitionPenalty", refused(|o| o.repetition_penalty = 0.0)),
            ("stop", refused(|o| o.stop = vec![String::new()])),
            ("stop", refused(|o| o.stop = vec!["x".repeat(5000)])),
            ("stop", refused(|o| o.stop = vec!["x".into(); 65])),
        ] {
            assert_eq!(error.code(), "invalid-argument");
            assert!(error.to_string().starts_with(name), "{error}");
        }
        let error = refused(|o| o.eos_token_ids = Some(vec![5, 100]));
        assert_eq!(error.code(), "invalid-token");
    }

    #[test]
    fn stop_is_one_string_or_many() {
        for (json, stop) in [
            (r#"{"stop":"a"}"#, vec!["a"]),
            (r#"{"stop":["a","b"]}"#, vec!["a", "b"]),
        ] {
            let options: GenerateOptions = serde_json::from_str(json).unwrap();
            assert_eq!(options.stop, stop);
        }
        serde_json::from_str::<GenerateOptions>(r#"{"stop":3}"#).unwrap_err();
    }
}
