//! What each option may be. The first that may not is told by name, with its
//! value and its range.

use super::{Bias, GenerateOptions, TemperatureSchedule, TokenName, TokenSequence};
use crate::error::{Error, Result};
use std::fmt::Debug;

/// Longest draft: each of its tokens needs a row of logits.
pub const MAX_DRAFT_TOKENS: usize = 32;
/// Most stop strings in one request.
pub const MAX_STOP_STRINGS: usize = 64;
/// Longest stop string, in bytes of UTF-8.
pub const MAX_STOP_BYTES: usize = 4096;
/// Most alternatives that are told of a token.
pub const MAX_LOGPROBS: usize = 100;
/// Most bad words, and most biased sequences and tokens.
pub const MAX_SEQUENCES: usize = 4096;

const ABOVE_ZERO: &str = "a number above 0";
const NOT_NEGATIVE: &str = "a number of at least 0";
const SHARE: &str = "from 0 to 1";
const PART: &str = "above 0 and at most 1";
const FINITE: &str = "a finite number";

impl GenerateOptions {
    /// Checks every range. Error: `invalid-option`, of the first that is out
    /// of its own.
    pub fn validate(&self, vocab_size: usize) -> Result<()> {
        self.validate_sampling()?;
        self.validate_penalties(vocab_size)?;
        self.validate_end(vocab_size)?;
        within(
            "promptLookupNumTokens",
            &self.prompt_lookup_num_tokens,
            self.prompt_lookup_num_tokens <= MAX_DRAFT_TOKENS,
            "from 0 to 32",
        )?;
        within(
            "captureAttention",
            &"set",
            self.capture_attention.is_none() || self.cache_prompt,
            "left out without cachePrompt, by which texts share what is known of them",
        )?;
        let logprobs = self.logprobs.unwrap_or(0);
        within(
            "logprobs",
            &logprobs,
            logprobs <= MAX_LOGPROBS,
            "from 0 to 100",
        )
    }

    fn validate_sampling(&self) -> Result<()> {
        let temperature = self.temperature;
        within(
            "temperature",
            &temperature,
            temperature.is_finite() && temperature >= 0.0,
            "a number of at least 0 (0 is greedy)",
        )?;
        match self.temperature_schedule {
            Some(
                TemperatureSchedule::Linear { to, tokens }
                | TemperatureSchedule::Cosine { to, tokens },
            ) => {
                above_zero("temperatureSchedule.to", to)?;
                within(
                    "temperatureSchedule.tokens",
                    &tokens,
                    tokens > 0,
                    "a whole number of at least 1",
                )?;
            }
            Some(TemperatureSchedule::Entropy { min, max, exponent }) => {
                above_zero("temperatureSchedule.min", min)?;
                within(
                    "temperatureSchedule.max",
                    &max,
                    max.is_finite() && max >= min,
                    "a number of at least min",
                )?;
                above_zero("temperatureSchedule.exponent", exponent)?;
            }
            None => {}
        }
        let top_h = self.top_h.unwrap_or(1.0);
        within("topH", &top_h, top_h > 0.0 && top_h <= 1.0, PART)?;
        within(
            "topP",
            &self.top_p,
            self.top_p > 0.0 && self.top_p <= 1.0,
            PART,
        )?;
        if let Some(range) = self.adaptive_top_k {
            let ok = range.min >= 1.0 && range.max >= range.min && range.max <= 1e6;
            let rule = "min and max with 1 <= min <= max <= 1000000";
            within("adaptiveTopK", &(range.min, range.max), ok, rule)?;
        }
        if let Some(range) = self.adaptive_top_p {
            let ok = range.min > 0.0 && range.max >= range.min && range.max <= 1.0;
            let rule = "min and max with 0 < min <= max <= 1";
            within("adaptiveTopP", &(range.min, range.max), ok, rule)?;
        }
        within(
            "minP",
            &self.min_p,
            (0.0..=1.0).contains(&self.min_p),
            SHARE,
        )?;
        within(
            "typicalP",
            &self.typical_p,
            self.typical_p > 0.0 && self.typical_p <= 1.0,
            PART,
        )?;
        for (name, cutoff) in [
            ("epsilonCutoff", self.epsilon_cutoff),
            ("etaCutoff", self.eta_cutoff),
        ] {
            let ok = (0.0..1.0).contains(&cutoff);
            within(name, &cutoff, ok, "at least 0 and below 1")?;
        }
        if let Some(mirostat) = self.mirostat {
            let ok = mirostat.tau.is_finite() && mirostat.tau > 0.0;
            within("mirostat.tau", &mirostat.tau, ok, ABOVE_ZERO)?;
            let ok = (0.0..=1.0).contains(&mirostat.eta);
            within("mirostat.eta", &mirostat.eta, ok, SHARE)?;
        }
        Ok(())
    }

    fn validate_penalties(&self, vocab_size: usize) -> Result<()> {
        above_zero("repetitionPenalty", self.repetition_penalty)?;
        for (name, number) in [
            ("frequencyPenalty", self.frequency_penalty),
            ("presencePenalty", self.presence_penalty),
            ("guidanceScale", self.guidance_scale),
        ] {
            within(name, &number, number.is_finite(), FINITE)?;
        }
        at_most("badWords", self.bad_words.len(), MAX_SEQUENCES)?;
        for (index, sequence) in self.bad_words.iter().enumerate() {
            check_sequence(&format!("badWords[{index}]"), sequence, vocab_size)?;
        }
        at_most("sequenceBias", self.sequence_bias.len(), MAX_SEQUENCES)?;
        for (index, (sequence, bias)) in self.sequence_bias.iter().enumerate() {
            check_sequence(&format!("sequenceBias[{index}]"), sequence, vocab_size)?;
            within(
                &format!("sequenceBias[{index}]"),
                bias,
                bias.is_finite(),
                FINITE,
            )?;
        }
        at_most("logitBias", self.logit_bias.len(), MAX_SEQUENCES)?;
        for (name, bias) in &self.logit_bias {
            match name {
                TokenName::Id(id) => check_ids("logitBias", &[*id], vocab_size)?,
                TokenName::Text(text) => {
                    within("logitBias", text, !text.is_empty(), "the text of a token")?;
                }
            }
            if let Bias::Add(bias) = bias {
                within("logitBias", bias, bias.is_finite(), "finite, or false")?;
            }
        }
        check_ids("suppressTokens", &self.suppress_tokens, vocab_size)?;
        check_ids(
            "beginSuppressTokens",
            &self.begin_suppress_tokens,
            vocab_size,
        )?;
        let bos = self.forced_bos_token_id.as_slice();
        check_ids("forcedBosTokenId", bos, vocab_size)?;
        check_ids("forcedEosTokenId", &self.forced_eos_token_id, vocab_size)?;
        if let Some((_, factor)) = self.exponential_decay_length_penalty {
            let ok = factor.is_finite() && factor > 0.0;
            within("exponentialDecayLengthPenalty[1]", &factor, ok, ABOVE_ZERO)?;
        }
        if let Some(prompt) = &self.negative_prompt {
            check_sequence("negativePrompt", prompt, vocab_size)?;
        }
        Ok(())
    }

    fn validate_end(&self, vocab_size: usize) -> Result<()> {
        let strings = self.stop.len();
        within(
            "stop",
            &format!("{strings} strings"),
            strings <= MAX_STOP_STRINGS,
            "at most 64 strings",
        )?;
        for stop in &self.stop {
            within("stop", stop, !stop.is_empty(), "a string of some length")?;
            within(
                "stop",
                &format!("a string of {} bytes", stop.len()),
                stop.len() <= MAX_STOP_BYTES,
                "of at most 4096 bytes",
            )?;
        }
        let ends = self.eos_token_ids.as_deref().unwrap_or_default();
        check_ids("eosTokenIds", ends, vocab_size)?;
        check_ids("stopTokenIds", &self.stop_token_ids, vocab_size)?;
        let time = self.max_time_ms.unwrap_or(0.0);
        within(
            "maxTimeMs",
            &time,
            time.is_finite() && time >= 0.0,
            NOT_NEGATIVE,
        )?;
        let least = self.stop_below_probability;
        within(
            "stopBelowProbability",
            &least,
            (0.0..=1.0).contains(&least),
            SHARE,
        )?;
        let ceiling = self.stop_above_entropy.unwrap_or(0.0);
        within("stopAboveEntropy", &ceiling, ceiling >= 0.0, NOT_NEGATIVE)?;
        if let Some(looping) = self.stop_on_loop {
            let ok = (1..=256).contains(&looping.max_period);
            within(
                "stopOnLoop.maxPeriod",
                &looping.max_period,
                ok,
                "from 1 to 256",
            )?;
            let ok = (2..=64).contains(&looping.repeats);
            within("stopOnLoop.repeats", &looping.repeats, ok, "from 2 to 64")?;
        }
        Ok(())
    }
}

fn within(option: &str, value: &impl Debug, ok: bool, range: &str) -> Result<()> {
    if ok {
        Ok(())
    } else {
        Err(Error::option(option, format!("{value:?}"), range))
    }
}

fn above_zero(option: &str, value: f32) -> Result<()> {
    within(option, &value, value.is_finite() && value > 0.0, ABOVE_ZERO)
}

fn at_most(option: &str, count: usize, most: usize) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    let value = format!("a list of {count}");
    Err(Error::option(
        option,
        value,
        format!("one of at most {most}"),
    ))
}

fn check_sequence(option: &str, sequence: &TokenSequence, vocab_size: usize) -> Result<()> {
    let is_empty = match sequence {
        TokenSequence::Text(text) => text.is_empty(),
        TokenSequence::Ids(ids) => ids.is_empty(),
    };
    within(
        option,
        sequence,
        !is_empty,
        "a text or token ids of some length",
    )?;
    match sequence {
        TokenSequence::Ids(ids) => check_ids(option, ids, vocab_size),
        TokenSequence::Text(_) => Ok(()),
    }
}

fn check_ids(option: &str, ids: &[u32], vocab_size: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        None => Ok(()),
        Some(id) => Err(Error::option(
            option,
            id,
            format!("token ids below {vocab_size}"),
        )),
    }
}
