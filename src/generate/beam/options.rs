//! What a caller may ask of a beam search, beside the options of a generation.

use crate::error::{Error, Result};
use crate::generate::GenerateOptions;
use crate::generate::options::ContextPolicy;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Most beams: each needs a row of logits and its own keys and values.
pub const MAX_BEAMS: usize = 64;

/// Options of a beam search that a generation does not have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct BeamOptions {
    /// Sequences that are followed at once, from 1 to 64; 1 is a greedy (or
    /// sampled) generation. Default: 4.
    pub num_beams: usize,
    /// How many of the best sequences to return, from 1 to `numBeams`.
    /// Default: 1.
    pub num_return_sequences: usize,
    /// A sequence's score is the sum of its log-probabilities divided by its
    /// length to this power: above 0 favours long ones, below 0 short ones.
    /// Default: 1, the mean.
    pub length_penalty: f64,
    /// When enough is enough, once `numBeams` sequences have ended. `true`: at
    /// once; `false`: when the best open beam scores no better than the worst of
    /// them; `"never"`: when it could not, even at full length. Default: false.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "boolean | \"never\""))]
    pub early_stopping: EarlyStopping,
    /// Divides the beams into so many groups that are made to differ; a divisor
    /// of `numBeams`. Default: 1.
    pub num_beam_groups: usize,
    /// What a token costs a group for every time that earlier groups pick it at
    /// the same step, in nats; above 0 with groups. Default: 0.
    pub diversity_penalty: f32,
    /// The token that a group which is done counts as picking. Default: the
    /// first end-of-text token.
    pub pad_token_id: Option<u32>,
    /// Draw the candidates by chance, with `temperature`, `topK` and the other
    /// options of sampling, instead of taking the best. Default: false.
    pub do_sample: bool,
}

impl Default for BeamOptions {
    fn default() -> Self {
        Self {
            num_beams: 4,
            num_return_sequences: 1,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::default(),
            num_beam_groups: 1,
            diversity_penalty: 0.0,
            pad_token_id: None,
            do_sample: false,
        }
    }
}

/// When a search ends that has kept as many sequences as it has beams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// `true`
    AtOnce,
    /// `false`
    #[default]
    Likely,
    /// `"never"`
    Never,
}

impl Serialize for EarlyStopping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtOnce => serializer.serialize_bool(true),
            Self::Likely => serializer.serialize_bool(false),
            Self::Never => serializer.serialize_str("never"),
        }
    }
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl Visitor<'_> for Forms {
            type Value = EarlyStopping;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("true, false or \"never\"")
            }

            fn visit_bool<E>(self, at_once: bool) -> Result<EarlyStopping, E> {
                Ok(if at_once {
                    EarlyStopping::AtOnce
                } else {
                    EarlyStopping::Likely
                })
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<EarlyStopping, E> {
                match text {
                    "never" => Ok(EarlyStopping::Never),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl BeamOptions {
    /// The options' names, as JavaScript spells them.
    pub fn names() -> Vec<String> {
        match serde_json::to_value(Self::default()) {
            Ok(serde_json::Value::Object(fields)) => fields.into_iter().map(|(k, _)| k).collect(),
            _ => Vec::new(),
        }
    }

    /// Checks every range and every mix. `generation` is what was asked for
    /// beside.
    ///
    /// Error: `invalid-option`, of the first that may not be.
    pub fn validate(&self, generation: &GenerateOptions, vocab_size: usize) -> Result<()> {
        let (beams, groups) = (self.num_beams, self.num_beam_groups);
        let (grouped, penalty) = (groups > 1, self.diversity_penalty);
        within(
            "numBeams",
            beams,
            (1..=MAX_BEAMS).contains(&beams),
            format!("from 1 to {MAX_BEAMS}"),
        )?;
        within(
            "numReturnSequences",
            self.num_return_sequences,
            (1..=beams).contains(&self.num_return_sequences),
            format!("from 1 to numBeams, {beams}"),
        )?;
        within(
            "lengthPenalty",
            self.length_penalty,
            self.length_penalty.is_finite(),
            "a finite number",
        )?;
        within(
            "numBeamGroups",
            groups,
            (1..=beams).contains(&groups) && beams.is_multiple_of(groups),
            format!("a divisor of numBeams, {beams}"),
        )?;
        within(
            "diversityPenalty",
            penalty,
            !grouped || (penalty.is_finite() && penalty > 0.0),
            "a number above 0 with numBeamGroups above 1: without it the groups are all the same",
        )?;
        within(
            "diversityPenalty",
            penalty,
            grouped || penalty == 0.0,
            "0 with one group: it acts between groups",
        )?;
        within(
            "doSample",
            self.do_sample,
            !(self.do_sample && grouped),
            "false with numBeamGroups above 1",
        )?;
        if let Some(id) = self.pad_token_id {
            let range = format!("below the vocabulary's size, {vocab_size}");
            within("padTokenId", id, (id as usize) < vocab_size, range)?;
        }
        self.validate_mix(generation)
    }

    /// What a generation can do and a beam search cannot.
    fn validate_mix(&self, o: &GenerateOptions) -> Result<()> {
        within(
            "temperature",
            o.temperature,
            !(self.do_sample && o.is_greedy()),
            "above 0 with doSample",
        )?;
        within(
            "maxTokens",
            o.max_tokens,
            o.max_tokens > 0,
            "at least 1 with beams",
        )?;
        within(
            "guidanceScale",
            o.guidance_scale,
            o.guidance_scale == 1.0,
            "1 with beams",
        )?;
        within(
            "promptLookupNumTokens",
            o.prompt_lookup_num_tokens,
            o.prompt_lookup_num_tokens == 0,
            "0 with beams",
        )?;
        within(
            "stopBelowProbability",
            o.stop_below_probability,
            o.stop_below_probability == 0.0,
            "0 with beams",
        )?;
        for (name, is_set) in [
            ("mirostat", o.mirostat.is_some()),
            ("stopAt", o.stop_at.is_some()),
            ("stopAboveEntropy", o.stop_above_entropy.is_some()),
            ("stopOnLoop", o.stop_on_loop.is_some()),
            ("logprobs", o.logprobs.is_some()),
            ("captureAttention", o.capture_attention.is_some()),
        ] {
            within(name, "set", !is_set, "left out with beams")?;
        }
        within(
            "contextPolicy",
            "another",
            o.context_policy == ContextPolicy::Error,
            "\"error\" with beams",
        )
    }
}

fn within(
    option: &str,
    value: impl fmt::Display,
    ok: bool,
    range: impl Into<String>,
) -> Result<()> {
    if ok {
        Ok(())
    } else {
        Err(Error::option(option, value, range))
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
