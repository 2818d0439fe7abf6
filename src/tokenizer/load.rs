//! A tokenizer from its lists of tokens and merges, as they come in GPT-2's own
//! `vocab.json` with `merges.txt`, or in a GGUF file, or in a
//! `tokenizer.json`. All are hostile until checked here.

use super::added::AddedTokens;
use super::byte_level;
use super::encode::Tokenizer;
use super::split::Splitter;
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::OnceLock;
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, Merges, Vocab};

/// The largest tokenizer file that is read, in bytes: 32 MiB. GPT-2's
/// `tokenizer.json` has under 4.
pub const MAX_FILE_BYTES: usize = 32 << 20;

/// The most tokens, and the most merges, that a tokenizer may have. Ids are
/// below it.
pub const MAX_TOKENS: usize = 1_000_000;

/// The longest token, in bytes as it is written in the vocabulary. GPT-2's has
/// 256.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// GPT-2's only special token.
const END_OF_TEXT: &str = "<|endoftext|>";

impl Tokenizer {
    /// Reads GPT-2's `vocab.json` (token to id) and `merges.txt` (a pair a
    /// line, best first). `<|endoftext|>` is special.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTokenizer`] where they are not valid, contradict each
    /// other or are over a limit ([`MAX_FILE_BYTES`], [`MAX_TOKENS`],
    /// [`MAX_TOKEN_BYTES`]).
    pub fn from_vocab_and_merges(vocab_json: &[u8], merges_txt: &[u8]) -> Result<Self> {
        let vocab: HashMap<String, u32> = parse("vocab.json", vocab_json)?;
        check_file_size("merges.txt", merges_txt)?;
        let lines = std::str::from_utf8(merges_txt)
            .map_err(|e| invalid(format_args!("merges.txt: {e}")))?
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("#version"));
        let end_of_text = vocab.get(END_OF_TEXT).copied();
        build(Source {
            merges: lines
                .enumerate()
                .map(|(index, line)| split_merge(index, line))
                .collect::<Result<_>>()?,
            tokens: vocab.into_iter().collect(),
            added: special_tokens(end_of_text.map(|id| (END_OF_TEXT.to_owned(), id))),
            ignore_merges: false,
        })
    }

    /// Takes the lists of a GGUF file's metadata: tokens by id, merges as two
    /// tokens with a space between, and the ids of the special (GGUF:
    /// "control") tokens. Where a token is listed twice, text becomes the
    /// first.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTokenizer`] where the lists contradict each other or are
    /// over [`MAX_TOKENS`] or [`MAX_TOKEN_BYTES`].
    pub fn from_lists(tokens: Vec<String>, merges: Vec<String>, special: &[u32]) -> Result<Self> {
        let special = special.iter().map(|&id| {
            let token = usize::try_from(id).ok().and_then(|index| tokens.get(index));
            token
                .map(|token| (token.clone(), id))
                .ok_or_else(|| invalid(format_args!("special token {id} is not in the list")))
        });
        let added = special_tokens(special.collect::<Result<Vec<_>>>()?);
        build(Source {
            tokens: tokens.into_iter().zip(0..).collect(),
            merges: merges
                .iter()
                .enumerate()
                .map(|(index, line)| split_merge(index, line))
                .collect::<Result<_>>()?,
            added,
            ignore_merges: false,
        })
    }
}

/// What every form comes down to.
pub(super) struct Source {
    /// Tokens as they are written in the vocabulary, with their ids.
    pub tokens: Vec<(String, u32)>,
    /// Best first.
    pub merges: Merges,
    /// Added tokens, in the vocabulary or not, with their ids.
    pub added: Vec<(AddedToken, u32)>,
    /// Whether a piece that is a token is taken whole, merges or not.
    pub ignore_merges: bool,
}

pub(super) fn build(mut source: Source) -> Result<Tokenizer> {
    for (count, what) in [
        (source.tokens.len(), "tokens"),
        (source.added.len(), "added tokens"),
        (source.merges.len(), "merges"),
    ] {
        if count > MAX_TOKENS {
            return Err(invalid(format_args!(
                "{count} {what}, the limit is {MAX_TOKENS}"
            )));
        }
    }
    source.added.retain(|(token, _)| !token.content.is_empty());
    let mut table = TokenTable::default();
    let mut vocab = Vocab::default();
    for (token, id) in source.tokens {
        table.insert(id, &token, byte_level::token_bytes(&token))?;
        vocab.entry(token).or_insert(id);
    }
    let mut added_ids: HashMap<&str, u32> = HashMap::new();
    for (AddedToken { content, .. }, id) in &source.added {
        let known = vocab.get(content).or_else(|| added_ids.get(&**content));
        match known {
            Some(known) if known == id => {}
            Some(known) => {
                return Err(invalid(format_args!(
                    "the added token {content:?} has the ids {known} and {id}"
                )));
            }
            None => table.insert(*id, content, content.as_bytes().to_vec())?,
        }
        added_ids.insert(content, *id);
    }
    let mut sorted_ids: Vec<u32> = added_ids.values().copied().collect();
    sorted_ids.sort_unstable();
    let end_of_text = added_ids.get(END_OF_TEXT).or(vocab.get(END_OF_TEXT));
    Ok(Tokenizer {
        end_of_text: end_of_text.copied(),
        vocabulary_hash: OnceLock::new(),
        trie: OnceLock::new(),
        added_ids: sorted_ids.into(),
        added: AddedTokens::new(&source.added)?,
        bpe: BPE::builder()
            .vocab_and_merges(vocab, source.merges)
            .ignore_merges(source.ignore_merges)
            .build()
            .map_err(invalid)?,
        splitter: Splitter::new()?,
        bytes: table.0,
    })
}

/// The bytes of each token by id.
#[derive(Default)]
struct TokenTable(Vec<Option<Box<[u8]>>>);

impl TokenTable {
    fn insert(&mut self, id: u32, token: &str, bytes: Vec<u8>) -> Result<()> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid(format_args!(
                "token {id} has {} bytes, the limit is {MAX_TOKEN_BYTES}",
                token.len()
            )));
        }
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        if index >= MAX_TOKENS {
            return Err(invalid(format_args!(
                "token {token:?} has the id {id}, ids must be below {MAX_TOKENS}"
            )));
        }
        if index >= self.0.len() {
            self.0.resize(index + 1, None);
        }
        match &mut self.0[index] {
            Some(_) => Err(invalid(format_args!(
                "token {token:?} has the id {id}, which another token has too"
            ))),
            free => {
                *free = Some(bytes.into());
                Ok(())
            }
        }
    }
}

/// Plain special tokens, as GPT-2's are.
fn special_tokens(tokens: impl IntoIterator<Item = (String, u32)>) -> Vec<(AddedToken, u32)> {
    tokens
        .into_iter()
        .map(|(content, id)| (AddedToken::from(content, true), id))
        .collect()
}

/// The two tokens of a merge, which are written with a space between. (In a
/// token a space is written `Ġ`.)
pub(super) fn split_merge(index: usize, line: &str) -> Result<(String, String)> {
    match line.split_once(' ') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
            Ok((left.to_owned(), right.to_owned()))
        }
        _ => Err(invalid(format_args!(
            "merge {index} is not two tokens with a space between: {line:?}"
        ))),
    }
}

/// Reads JSON of a size within [`MAX_FILE_BYTES`].
pub(super) fn parse<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T> {
    check_file_size(file, bytes)?;
    serde_json::from_slice(bytes).map_err(|e| invalid(format_args!("{file}: {e}")))
}

fn check_file_size(file: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(invalid(format_args!(
            "{file} has {} bytes, the limit is {MAX_FILE_BYTES}",
            bytes.len()
        )));
    }
    Ok(())
}

/// [`Error::InvalidTokenizer`] with a message of bounded length: it may quote
/// the file.
pub(super) fn invalid(message: impl Display) -> Error {
    Error::InvalidTokenizer(message.to_string().chars().take(300).collect())
}
