//! Bad words and biases that were given as texts, as sequences of tokens.

use crate::error::{Error, Result};
use crate::generate::options::{TokenName, TokenSequence};
use crate::tokenizer::Tokenizer;

/// Reads the texts among options.
pub(super) struct Phrases<'a> {
    pub tokenizer: Option<&'a Tokenizer>,
    pub vocab_size: usize,
}

impl Phrases<'_> {
    /// The sequences that `sequence` stands for: the ids as they are; of a text
    /// the tokens it has as it stands, and those it has after a space, since
    /// GPT-2 writes a word inside a sentence with tokens of their own. (A text
    /// that begins with white space is taken as it stands alone.) Special tokens
    /// such as `<|endoftext|>` are read as tokens.
    ///
    /// Errors: `no-tokenizer`; `invalid-option`, naming `option`, for a text
    /// that the tokenizer or the model has no tokens for.
    pub fn sequences(&self, option: &str, sequence: &TokenSequence) -> Result<Vec<Vec<u32>>> {
        let text = match sequence {
            TokenSequence::Ids(ids) => return Ok(vec![ids.clone()]),
            TokenSequence::Text(text) => text,
        };
        let mut all = vec![self.encode(option, text)?];
        if !text.starts_with(char::is_whitespace) {
            all.push(self.encode(option, &format!(" {text}"))?);
        }
        Ok(all)
    }

    /// The token that `name` is: the id, or the one token of the text as it
    /// stands.
    ///
    /// Errors: as for [`sequences`](Self::sequences); `invalid-option` too for a
    /// text of several tokens.
    pub fn token(&self, option: &str, name: &TokenName) -> Result<u32> {
        let text = match name {
            TokenName::Id(id) => return Ok(*id),
            TokenName::Text(text) => text,
        };
        match self.encode(option, text)?[..] {
            [id] => Ok(id),
            ref ids => Err(Error::option(
                option,
                format!("{text:?}, which is {} tokens", ids.len()),
                "the text of one token (for several, use sequenceBias)",
            )),
        }
    }

    fn encode(&self, option: &str, text: &str) -> Result<Vec<u32>> {
        let tokenizer = self.tokenizer.ok_or(Error::NoTokenizer)?;
        let wrong = |range: &str| Error::option(option, format!("{text:?}"), range);
        let ids = match tokenizer.encode(text, true) {
            Ok(encoding) => encoding.ids,
            Err(Error::TokenizerGaveUp { .. }) => {
                return Err(wrong("a text that the tokenizer has tokens for"));
            }
            Err(error) => return Err(error),
        };
        if ids.is_empty() {
            return Err(wrong("a text of some length"));
        }
        if ids.iter().any(|&id| id as usize >= self.vocab_size) {
            return Err(wrong("a text whose tokens the model's vocabulary has"));
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let path = "tests/fixtures/mini-a/tokenizer.json";
        let file = std::fs::read(path).unwrap();
        Tokenizer::from_tokenizer_json(&file).unwrap()
    }

    fn with<T>(vocab_size: usize, run: impl FnOnce(Phrases) -> T) -> T {
        let tokenizer = tokenizer();
        run(Phrases {
            tokenizer: Some(&tokenizer),
            vocab_size,
        })
    }

    fn text(text: &str) -> TokenSequence {
        TokenSequence::Text(text.into())
    }

    #[test]
    fn a_text_is_its_tokens_as_it_stands_and_after_a_space() {
        with(512, |phrases| {
            let ids = |text: &str| tokenizer().encode(text, true).unwrap().ids;
            let found = phrases.sequences("badWords[0]", &text("the")).unwrap();
            assert_eq!(found, [ids("the"), ids(" the")]);
            let found = phrases.sequences("badWords[0]", &text(" the")).unwrap();
            assert_eq!(found, [ids(" the")]);
            let as_ids = TokenSequence::Ids(vec![3, 4]);
            assert_eq!(phrases.sequences("badWords[0]", &as_ids).unwrap(), [[3, 4]]);
        });
    }

    #[test]
    fn a_token_is_named_by_its_text_special_ones_too() {
        with(512, |phrases| {
            let named = |text: &str| phrases.token("logitBias", &TokenName::Text(text.into()));
            assert_eq!(named("<|endoftext|>").unwrap(), 511);
            assert_eq!(named("!").unwrap(), 0);
            assert_eq!(phrases.token("logitBias", &TokenName::Id(9)).unwrap(), 9);
            let error = named("!!!!?").unwrap_err();
            assert_eq!(error.code(), "invalid-option");
            assert!(error.to_string().contains("logitBias"), "{error}");
            assert!(error.to_string().contains("the text of one token"));
        });
    }

    #[test]
    fn what_the_model_has_no_token_for_is_refused_by_name() {
        with(100, |phrases| {
            let error = phrases
                .sequences("badWords[2]", &text("<|endoftext|>"))
                .unwrap_err();
            assert_eq!(error.details()["option"], "badWords[2]");
        });
        let without = Phrases {
            tokenizer: None,
            vocab_size: 512,
        };
        let error = without.sequences("badWords[0]", &text("a")).unwrap_err();
        assert_eq!(error.code(), "no-tokenizer");
        let ids = TokenSequence::Ids(vec![3]);
        assert_eq!(without.sequences("badWords[0]", &ids).unwrap(), [[3]]);
    }
}
