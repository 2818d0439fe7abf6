//! What sampling options make of the model's distribution, apart from any
//! generation.

use super::Setting;
use crate::error::{Error, Result};
use crate::generate::GenerateOptions;
use crate::generate::processors::{LogitsProcessor, Pipeline, PipelineContext, Place, pipeline};

/// The processors of some options.
pub(super) struct Processing(Pipeline);

impl Processing {
    /// `name` is that of the options in errors; the first `prompt_len` tokens of
    /// a history count as its prompt. What depends on more than the text is
    /// refused: mirostat on what was drawn, guidance on a second text; and heads
    /// that are taken out, which are the model's matter.
    ///
    /// Errors: `invalid-option`, `no-tokenizer`.
    pub fn new(
        setting: &Setting,
        name: &str,
        options: &GenerateOptions,
        prompt_len: usize,
    ) -> Result<Self> {
        let config = setting.model.config();
        Self::made(setting, options, prompt_len, config.vocab_size)
            .map_err(|error| within(name, error))
    }

    fn made(
        setting: &Setting,
        options: &GenerateOptions,
        prompt_len: usize,
        vocab_size: usize,
    ) -> Result<Self> {
        options.validate(vocab_size)?;
        if options.mirostat.is_some() {
            let range = "absent: what it does depends on what was drawn before";
            return Err(Error::option("mirostat", "given", range));
        }
        if options.guidance_scale != 1.0 {
            let range = "1: guidance needs a second text";
            return Err(Error::option(
                "guidanceScale",
                options.guidance_scale,
                range,
            ));
        }
        if !options.ablate_heads.is_empty() {
            let range = "absent: it changes the model, not what is made of its distribution";
            return Err(Error::option("ablateHeads", "given", range));
        }
        let eos = match &options.eos_token_ids {
            Some(ids) => ids,
            None => &setting.model.config().eos_token_ids,
        };
        let mut pipeline = pipeline(
            options,
            &PipelineContext {
                prompt_len,
                vocab_size,
                eos_token_ids: eos,
                min_tokens_to_keep: 1,
                max_length: prompt_len.saturating_add(options.max_tokens),
                tokenizer: setting.tokenizer.map(AsRef::as_ref),
            },
        )?;
        let constraint = setting.constraints.get(options, setting.tokenizer, eos)?;
        if let Some(constraint) = constraint {
            let processor = constraint.processor(prompt_len);
            pipeline.insert(Place::BeforeWarpers, Box::new(processor));
        }
        Ok(Self(pipeline))
    }

    /// The scores after `history`, from the model's logits.
    pub fn process(&mut self, history: &[u32], logits: &[f32]) -> Vec<f32> {
        let mut scores = logits.to_vec();
        self.0.process(history, &mut scores);
        scores
    }
}

/// The error of an option among those called `name`.
pub(super) fn within(name: &str, error: Error) -> Error {
    match error {
        Error::InvalidOption {
            option,
            value,
            range,
        } => Error::option(format!("{name}.{option}"), value, range),
        other => other,
    }
}

/// How many tokens of a text are its prompt; `most` of them can be, and are
/// where nothing is said. Error: `invalid-option`.
pub(super) fn prompt_tokens(asked: Option<usize>, most: usize) -> Result<usize> {
    let count = asked.unwrap_or(most);
    if count <= most {
        return Ok(count);
    }
    Err(Error::option(
        "promptTokens",
        count,
        format!("from 0 to {most}, the tokens before the first that is predicted"),
    ))
}
