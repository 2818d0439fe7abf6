//! Tokens that are matched in the text itself, before it is split and merged:
//! `<|endoftext|>` above all. The matching, with its rules for white space and
//! whole words around a token, is the `tokenizers` crate's.

use crate::error::{Error, Result};
use std::ops::Range;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, AddedVocabulary, NormalizerWrapper, OffsetReferential, OffsetType};

/// A stretch of the text: an added token's, or one with none in it.
pub type Segment = (Range<usize>, Option<u32>);

/// The added tokens of a tokenizer.
pub struct AddedTokens {
    /// Matches all added tokens; `None` where there are none.
    all: Option<AddedVocabulary>,
    /// Matches those that are not special, which count as text like any other
    /// to whoever writes it; `None` where there are none.
    ordinary: Option<AddedVocabulary>,
}

impl AddedTokens {
    /// Contents must not be empty, nor one content have two ids.
    pub fn new(tokens: &[(AddedToken, u32)]) -> Result<Self> {
        // The crate asks a model for the ids, else it would invent them.
        let ids: Vocab = tokens
            .iter()
            .map(|(token, id)| (token.content.clone(), *id))
            .collect();
        let ids = BPE::builder()
            .vocab_and_merges(ids, Vec::new())
            .build()
            .map_err(|e| Error::Internal(e.to_string()))?;
        let tokens: Vec<AddedToken> = tokens.iter().map(|(token, _)| token.clone()).collect();
        let mut all = AddedVocabulary::new();
        all.add_tokens(&tokens, &ids, None::<&NormalizerWrapper>);
        let ordinary = tokens.iter().any(|token| !token.special).then(|| {
            let mut ordinary = all.clone();
            ordinary.set_encode_special_tokens(true);
            ordinary
        });
        Ok(Self {
            all: (!tokens.is_empty()).then_some(all),
            ordinary,
        })
    }

    /// Divides the text, in bytes, at its added tokens; special ones only
    /// where they are to be parsed.
    pub fn segments(&self, text: &str, parse_special: bool) -> Vec<Segment> {
        let vocabulary = if parse_special {
            &self.all
        } else {
            &self.ordinary
        };
        let Some(vocabulary) = vocabulary else {
            return vec![(0..text.len(), None)];
        };
        vocabulary
            .extract_and_normalize(None::<&NormalizerWrapper>, text)
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(_, (start, end), tokens)| {
                let id = tokens.as_ref().and_then(|tokens| tokens.first());
                (start..end, id.map(|token| token.id))
            })
            .collect()
    }
}
