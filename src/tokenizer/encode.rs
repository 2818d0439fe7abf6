//! The tokenizer itself: text to ids with offsets, ids to text.

use super::added::AddedTokens;
use super::byte_level;
use super::split::Splitter;
use super::trie::TokenTrie;
use super::utf16::Utf16Cursor;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::sync::OnceLock;
use tokenizers::Model;
use tokenizers::models::bpe::BPE;

/// The longest text that is encoded in one call, in bytes of UTF-8: 1 MiB, a
/// thick book. It bounds the memory of the worst text, one word of that
/// length.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// What [`Tokenizer::encode`] makes of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The token ids, in the order of the text.
    pub ids: Vec<u32>,
    /// For each token the start and end of its characters in the text, in
    /// UTF-16 code units. They cover the text. Tokens that share a character
    /// each carry the whole of it.
    pub offsets: Vec<(u32, u32)>,
}

/// GPT-2's tokenizer, or another byte-level BPE of its kind.
///
/// Made by [`from_tokenizer_json`](Self::from_tokenizer_json),
/// [`from_vocab_and_merges`](Self::from_vocab_and_merges) or
/// [`from_lists`](Self::from_lists). Nothing is added to a text: no
/// beginning-of-text token, no leading space.
pub struct Tokenizer {
    pub(super) bpe: BPE,
    pub(super) added: AddedTokens,
    pub(super) splitter: Splitter,
    /// The bytes of each token by id; `None` where the ids have a hole.
    pub(super) bytes: Vec<Option<Box<[u8]>>>,
    /// The ids of the added tokens, in order.
    pub(super) added_ids: Box<[u32]>,
    pub(super) end_of_text: Option<u32>,
    pub(super) vocabulary_hash: OnceLock<String>,
    pub(super) trie: OnceLock<TokenTrie>,
}

impl Tokenizer {
    /// A hash that is the same for tokenizers whose tokens are the same text:
    /// 128 bits, hexadecimal. Computed when first asked for.
    pub fn vocabulary_hash(&self) -> &str {
        self.vocabulary_hash.get_or_init(|| {
            let mut hash = Sha256::new();
            for id in 0..self.vocab_size() as u32 {
                let bytes = self.token_bytes(id).unwrap_or_default();
                hash.update((bytes.len() as u32).to_le_bytes());
                hash.update(bytes);
            }
            let hash = hash.finalize();
            hash[..16]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        })
    }

    /// The ids of a text, and where in the text each comes from. Empty text
    /// has no tokens.
    ///
    /// Special tokens such as `<|endoftext|>` are read as tokens where
    /// `parse_special` is true, else as the characters they are written with:
    /// text that a user typed should not be able to end the prompt. Added
    /// tokens that are not special are always read as tokens.
    ///
    /// # Errors
    ///
    /// [`Error::InputTooLong`] above [`MAX_TEXT_BYTES`];
    /// [`Error::TokenizerGaveUp`] where the vocabulary has no token for some
    /// byte of the text.
    pub fn encode(&self, text: &str, parse_special: bool) -> Result<Encoding> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::InputTooLong {
                bytes: text.len(),
                limit: MAX_TEXT_BYTES,
            });
        }
        let mut output = Output::new(text);
        for (range, added) in self.added.segments(text, parse_special) {
            if range.start != output.cursor.at() {
                return Err(output.gave_up());
            }
            match added {
                Some(id) => output.push(id, range.len()),
                None => self.encode_plain(&text[range], &mut output)?,
            }
        }
        if output.cursor.at() != text.len() {
            return Err(output.gave_up());
        }
        Ok(output.encoding)
    }

    /// Encodes text without added tokens.
    fn encode_plain(&self, text: &str, output: &mut Output) -> Result<()> {
        let mut rest = text;
        let mut letters = String::new();
        while let Some(piece) = self.splitter.first(rest) {
            letters.clear();
            letters.extend(piece.bytes().map(byte_level::to_char));
            let tokens = self
                .bpe
                .tokenize(&letters)
                .map_err(|e| Error::Internal(e.to_string()))?;
            // The crate leaves out bytes that the vocabulary has no token for.
            let length = |id| self.token_bytes(id).map_or(0, <[u8]>::len);
            if tokens.iter().map(|token| length(token.id)).sum::<usize>() != piece.len() {
                return Err(output.gave_up());
            }
            for token in &tokens {
                output.push(token.id, length(token.id));
            }
            rest = &rest[piece.len()..];
        }
        Ok(())
    }

    /// The text of the ids, special tokens included. Bytes that are no UTF-8
    /// become U+FFFD, as in [`String::from_utf8_lossy`]; for ids that come one
    /// by one use [`token_bytes`](Self::token_bytes) and a
    /// [`TextStream`](super::TextStream), which give the same text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidToken`] for an id without a token.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut bytes = Vec::new();
        for (index, &id) in ids.iter().enumerate() {
            bytes.extend_from_slice(self.token_bytes(id).ok_or(Error::InvalidToken {
                id,
                index,
                vocab_size: self.vocab_size(),
            })?);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The bytes that a token stands for, which need not be whole characters;
    /// `None` for an id without a token.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(id).ok()?)?.as_deref()
    }

    /// The highest id plus one. Ids below it may lack a token.
    pub fn vocab_size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the token was added to the vocabulary, special or not.
    pub fn is_added(&self, id: u32) -> bool {
        self.added_ids.binary_search(&id).is_ok()
    }

    /// The ordinary tokens by their bytes. Built when first asked for.
    pub fn trie(&self) -> &TokenTrie {
        self.trie.get_or_init(|| TokenTrie::new(self))
    }

    /// The id of `<|endoftext|>`, GPT-2's only special token, if there is one.
    pub fn end_of_text(&self) -> Option<u32> {
        self.end_of_text
    }
}

/// An encoding in the making, and how far in the text it is.
struct Output<'t> {
    text: &'t str,
    cursor: Utf16Cursor<'t>,
    encoding: Encoding,
}

impl<'t> Output<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            cursor: Utf16Cursor::new(text),
            encoding: Encoding::default(),
        }
    }

    /// Adds a token for the next `bytes` bytes of the text.
    fn push(&mut self, id: u32, bytes: usize) {
        self.encoding.ids.push(id);
        self.encoding.offsets.push(self.cursor.advance(bytes));
    }

    /// The error for text that the tokens so far do not go on with.
    fn gave_up(&self) -> Error {
        Error::TokenizerGaveUp {
            at: self.cursor.at(),
            bytes: self.text.len(),
        }
    }
}
