//! Text to token ids and back.
//!
//! GPT-2's tokenizer is byte-level BPE: text is split into pieces by a fixed
//! pattern (`split`), the bytes of a piece are written as characters
//! (`byte_level`), and pairs of them are merged in the order of the merge
//! list. The merging, and the matching of added tokens such as
//! `<|endoftext|>`, is the `tokenizers` crate's; around it stand a limit on
//! the input, a check that the tokens cover all of it, and readers of the three
//! forms in which a tokenizer comes (`load`, `tokenizer_json`).
//!
//! Going back, tokens are bytes and not text: one token may hold half a
//! character. [`TextStream`] makes text of them as they come.

mod added;
mod byte_level;
mod encode;
mod load;
mod split;
mod stream;
mod tokenizer_json;
mod trie;
mod utf16;

#[cfg(test)]
mod tests;

pub use encode::{Encoding, MAX_TEXT_BYTES, Tokenizer};
pub use load::{MAX_FILE_BYTES, MAX_TOKEN_BYTES, MAX_TOKENS};
pub use stream::TextStream;
pub use trie::TokenTrie;

#[cfg(test)]
pub(crate) use byte_level::to_char as byte_to_char;
