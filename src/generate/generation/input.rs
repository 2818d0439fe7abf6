//! What a text begins with: characters or tokens.

use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::forward::check_tokens;
use crate::tokenizer::Tokenizer;

/// Text or token ids.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Text(String),
    Tokens(Vec<u32>),
}

impl Input {
    /// The ids that the model runs: those of the text, or the end-of-text
    /// token where there are none, since GPT-2 needs one token to start from.
    ///
    /// Errors: `no-tokenizer`, `invalid-token`, `context-overflow`,
    /// `invalid-argument` (nothing given, and no end-of-text token).
    pub fn resolve(
        self,
        model: &dyn Model,
        tokenizer: Option<&Tokenizer>,
        parse_special: bool,
    ) -> Result<Vec<u32>> {
        let tokens = self.into_tokens(model, tokenizer, parse_special)?;
        check_text(&tokens, model)?;
        Ok(tokens)
    }

    /// The same of any length.
    pub(crate) fn into_tokens(
        self,
        model: &dyn Model,
        tokenizer: Option<&Tokenizer>,
        parse_special: bool,
    ) -> Result<Vec<u32>> {
        let config = model.config();
        let mut tokens = match self {
            Self::Tokens(tokens) => tokens,
            Self::Text(text) => {
                let tokenizer = tokenizer.ok_or(Error::NoTokenizer)?;
                tokenizer.encode(&text, parse_special)?.ids
            }
        };
        if tokens.is_empty() {
            tokens.push(*config.eos_token_ids.first().ok_or_else(|| {
                Error::argument("prompt", "is empty, and the model has no end-of-text token")
            })?);
        }
        check_tokens(&tokens, config.vocab_size)?;
        Ok(tokens)
    }
}

/// Refuses what `model` cannot run. Errors: `invalid-token`, `context-overflow`.
pub fn check_text(tokens: &[u32], model: &dyn Model) -> Result<()> {
    let config = model.config();
    check_tokens(tokens, config.vocab_size)?;
    if tokens.len() > config.n_positions {
        return Err(Error::ContextOverflow {
            needed: tokens.len(),
            available: config.n_positions,
        });
    }
    Ok(())
}
