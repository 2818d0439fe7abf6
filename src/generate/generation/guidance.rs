//! Classifier-free guidance: away from what the model would write without the
//! prompt, towards what it writes with it.
//!
//! A second text runs along: another prompt, or the last token of the prompt
//! alone, and then the same output. Of both distributions, as log-probabilities,
//!
//! ```text
//! score = without + scale * (with - without)
//! ```
//!
//! as in transformers' `UnbatchedClassifierFreeGuidanceLogitsProcessor`
//! (G. Sanchez et al., "Stay on topic with Classifier-Free Guidance",
//! arXiv:2306.17806). Both are rows of one pass, so a token costs less than two.

use super::window::Window;
use super::{PREFILL_CHUNK, prompt_tokens};
use crate::error::{Error, Result};
use crate::generate::GenerateOptions;
use crate::generate::generation::Input;
use crate::generate::log_prob::log_sum_exp;
use crate::generate::options::TokenSequence;
use crate::model::{KvCache, LogitRows, Model, Rows};
use crate::tokenizer::Tokenizer;

/// The text that runs along, and the logits of both until the other's are there.
pub(super) struct Guide {
    scale: f32,
    kv: KvCache,
    context: Vec<u32>,
    window: Window,
    with_prompt: Option<Vec<f32>>,
    without: Option<Vec<f32>>,
}

impl Guide {
    /// What `options` ask for; `None` without guidance.
    ///
    /// Errors: those of a prompt; `invalid-option` with speculation, whose drafts
    /// it cannot check.
    pub fn new(
        model: &dyn Model,
        tokenizer: Option<&Tokenizer>,
        prompt: &[u32],
        options: &GenerateOptions,
    ) -> Result<Option<Self>> {
        if options.guidance_scale == 1.0 {
            return Ok(None);
        }
        if options.prompt_lookup_num_tokens > 0 {
            return Err(Error::option(
                "promptLookupNumTokens",
                options.prompt_lookup_num_tokens,
                "0 with guidanceScale",
            ));
        }
        let negative = match &options.negative_prompt {
            Some(TokenSequence::Text(text)) => Input::Text(text.clone()),
            Some(TokenSequence::Ids(ids)) => Input::Tokens(ids.clone()),
            None => Input::Tokens(prompt[prompt.len() - 1..].to_vec()),
        };
        let mut kv = model.new_kv();
        kv.ablate(options.ablation(model.config())?);
        let mut guide = Self {
            scale: options.guidance_scale,
            kv,
            context: prompt_tokens(negative, model, tokenizer, options)?,
            window: Window::new(options, model.config().n_positions)?,
            with_prompt: None,
            without: None,
        };
        guide.fit(options.max_tokens)?;
        Ok(Some(guide))
    }

    /// Tokens of it.
    pub fn len(&self) -> usize {
        self.context.len()
    }

    /// True where the text itself has been run and waits for this one.
    pub fn is_waited_for(&self) -> bool {
        self.with_prompt.is_some()
    }

    /// The next rows to run; `None` where this one waits for the text itself.
    pub fn rows(&mut self) -> Option<Rows<'_>> {
        if self.without.is_some() {
            return None;
        }
        let start = self.kv.len();
        let end = self.context.len().min(start + PREFILL_CHUNK);
        Some(Rows {
            kv: &mut self.kv,
            tokens: &self.context[start..end],
            logits: if end == self.context.len() {
                LogitRows::Last
            } else {
                LogitRows::None
            },
        })
    }

    /// Takes the logits of the rows last asked for, in order: the text's own and
    /// this one's, of those that did not wait.
    pub fn accept(&mut self, logits: Vec<Vec<f32>>) {
        let mut logits = logits.into_iter();
        let waiting = [self.with_prompt.is_none(), self.without.is_none()];
        for (waits, place) in waiting
            .into_iter()
            .zip([&mut self.with_prompt, &mut self.without])
        {
            if waits {
                *place = logits.next().filter(|row| !row.is_empty());
            }
        }
    }

    /// The text's own logits and the guided scores, once both are there.
    pub fn guided(&mut self) -> Option<(Vec<f32>, Vec<f32>)> {
        if self.with_prompt.is_none() || self.without.is_none() {
            return None;
        }
        let (with, without) = (self.with_prompt.take()?, self.without.take()?);
        let (sum_with, sum_without) = (log_sum_exp(&with), log_sum_exp(&without));
        let scores = with.iter().zip(&without).map(|(&with, &without)| {
            let with = (f64::from(with) - sum_with) as f32;
            let without = (f64::from(without) - sum_without) as f32;
            self.scale * (with - without) + without
        });
        let scores = scores.collect();
        Some((with, scores))
    }

    /// Goes on with the token that was chosen; `to_come` more may be.
    pub fn take(&mut self, token: u32, to_come: usize) -> Result<()> {
        self.context.push(token);
        self.fit(to_come)
    }

    fn fit(&mut self, to_come: usize) -> Result<()> {
        if let Some(range) = self.window.to_drop(self.context.len(), to_come)? {
            self.kv.truncate(range.start);
            self.context.drain(range);
        }
        Ok(())
    }
}
