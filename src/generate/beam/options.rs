//! What a caller may ask of a beam search, beside the options of a generation.

use crate::error::{Error, Result};
use crate::generate::GenerateOptions;
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

    /// Checks every range and every mix, naming the first option at fault.
    /// `generation` is what was asked for beside.
    pub fn validate(&self, generation: &GenerateOptions, vocab_size: usize) -> Result<()> {
        let within = |name: &str, ok: bool, rule: String| {
            if ok {
                Ok(())
            } else {
                Err(Error::argument(name, rule))
            }
        };
        let beams = self.num_beams;
        within(
            "numBeams",
            (1..=MAX_BEAMS).contains(&beams),
            format!("must be from 1 to {MAX_BEAMS}"),
        )?;
        within(
            "numReturnSequences",
            (1..=beams).contains(&self.num_return_sequences),
            format!("must be from 1 to numBeams, {beams}"),
        )?;
        within(
            "lengthPenalty",
            self.length_penalty.is_finite(),
            "must be a number".into(),
        )?;
        within(
            "numBeamGroups",
            (1..=beams).contains(&self.num_beam_groups) && beams % self.num_beam_groups == 0,
            format!("must divide numBeams, {beams}"),
        )?;
        let grouped = self.num_beam_groups > 1;
        within(
            "diversityPenalty",
            self.diversity_penalty.is_finite()
                && (self.diversity_penalty > 0.0) == grouped
                && self.diversity_penalty >= 0.0,
            if grouped {
                "must be a number above 0 where there are groups: without it they are all the same"
            } else {
                "must be 0 where there are no groups: it acts between them"
            }
            .into(),
        )?;
        within(
            "doSample",
            !(self.do_sample && grouped),
            "cannot be true with numBeamGroups above 1".into(),
        )?;
        within(
            "temperature",
            !(self.do_sample && generation.is_greedy()),
            "must be above 0 with doSample".into(),
        )?;
        within(
            "maxTokens",
            generation.max_tokens > 0,
            "must be at least 1".into(),
        )?;
        within(
            "promptLookupNumTokens",
            generation.prompt_lookup_num_tokens == 0,
            "must be 0 with beams".into(),
        )?;
        match self.pad_token_id {
            Some(id) if id as usize >= vocab_size => Err(Error::InvalidToken {
                id,
                index: 0,
                vocab_size,
            }),
            _ => Ok(()),
        }
    }
}
