//! Where tokens lie in their text.
//!
//! A token of byte-level BPE is bytes and may hold half a character, so a
//! border between two tokens need not be a place in the text. Such a border is
//! put at the start of the character that it lies in: all of the character
//! belongs to what follows, and the texts of neighbouring spans, joined, are
//! the text of both. Bytes that are no UTF-8 count as the U+FFFD that decoding
//! makes of them.
//!
//! Offsets are in UTF-16 code units, which is what JavaScript strings are
//! indexed by.

use crate::error::Result;
use crate::tokenizer::Tokenizer;
use serde::Serialize;
use std::ops::Range;

/// A part of a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct Span {
    /// Its first token and the one after its last.
    pub tokens: (u32, u32),
    /// Where it starts and ends in the text, in UTF-16 code units.
    pub text: (u32, u32),
    /// That part of the text.
    pub content: String,
}

/// The text of some tokens, and where in it each token lies.
#[derive(Debug, Clone)]
pub struct TokenText {
    text: String,
    /// Of each border: before the first token, between two, after the last.
    borders: Vec<Border>,
}

impl TokenText {
    /// Decodes the tokens. Without a tokenizer the text is empty.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidToken`](crate::Error::InvalidToken) for an id without a
    /// token.
    pub fn new(tokenizer: Option<&Tokenizer>, tokens: &[u32]) -> Result<Self> {
        let Some(tokenizer) = tokenizer else {
            return Ok(Self {
                text: String::new(),
                borders: vec![Border::default(); tokens.len() + 1],
            });
        };
        Ok(Self {
            text: tokenizer.decode(tokens)?,
            borders: borders(tokenizer, tokens),
        })
    }

    /// The whole text, as [`Tokenizer::decode`] gives it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// For each token the start and end of its characters, as in
    /// [`Encoding::offsets`](crate::tokenizer::Encoding::offsets).
    pub fn offsets(&self) -> Vec<(u32, u32)> {
        let pairs = self.borders.windows(2);
        pairs.map(|pair| (pair[0].start, pair[1].end)).collect()
    }

    /// The span of the tokens in `range`, which is cut to the tokens there are.
    pub fn span(&self, range: Range<usize>) -> Span {
        let last = self.borders.len() - 1;
        let (start, end) = (range.start.min(last), range.end.min(last));
        let (from, to) = (self.borders[start], self.borders[end]);
        Span {
            tokens: (start as u32, end as u32),
            text: (from.start, to.start),
            content: self.text.get(from.byte..to.byte).unwrap_or("").to_owned(),
        }
    }
}

/// The text of the tokens, exactly as [`Tokenizer::decode`] gives it, and for
/// each token the start and end of its characters in it, in UTF-16 code units.
///
/// They cover the text. Tokens that share a character each carry the whole of
/// it, as in [`Encoding::offsets`](crate::tokenizer::Encoding::offsets): for
/// the ids of an encoding both are the same. The start of a token is the
/// border that [`TokenText::span`] cuts at.
///
/// # Errors
///
/// [`Error::InvalidToken`](crate::Error::InvalidToken) for an id without a
/// token.
pub fn token_offsets(tokenizer: &Tokenizer, tokens: &[u32]) -> Result<(String, Vec<(u32, u32)>)> {
    let text = TokenText::new(Some(tokenizer), tokens)?;
    let offsets = text.offsets();
    Ok((text.text, offsets))
}

/// The borders of tokens, ascending, that lie between characters: where a
/// sequence can be cut without breaking one. The first and the last border
/// always do. Without a tokenizer, all borders; an id without a token counts
/// as empty.
pub fn character_borders(tokenizer: Option<&Tokenizer>, tokens: &[u32]) -> Vec<usize> {
    match tokenizer {
        None => (0..=tokens.len()).collect(),
        Some(tokenizer) => (0..)
            .zip(borders(tokenizer, tokens))
            .filter_map(|(index, border)| (border.start == border.end).then_some(index))
            .collect(),
    }
}

/// A border of a token.
#[derive(Debug, Clone, Copy, Default)]
struct Border {
    /// The last place between characters at or before it, in UTF-16 code
    /// units ...
    start: u32,
    /// ... and in bytes of the text.
    byte: usize,
    /// The first place between characters at or after it, in UTF-16 code
    /// units.
    end: u32,
}

fn borders(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<Border> {
    let mut bytes = Vec::new();
    let mut ends = vec![0];
    for &token in tokens {
        bytes.extend_from_slice(tokenizer.token_bytes(token).unwrap_or_default());
        ends.push(bytes.len());
    }
    let mut characters = characters(&bytes).peekable();
    // Bytes walked over, and where in the text that is.
    let mut walked = 0;
    let mut place = Border::default();
    let walk = ends.into_iter().map(|at| {
        while let Some((length, character)) =
            characters.next_if(|(length, _)| walked + length <= at)
        {
            walked += length;
            place.start += character.len_utf16() as u32;
            place.byte += character.len_utf8();
        }
        let touched = characters.peek().filter(|_| walked < at);
        let units = touched.map_or(0, |(_, character)| character.len_utf16() as u32);
        Border {
            end: place.start + units,
            ..place
        }
    });
    walk.collect()
}

/// The characters of [`String::from_utf8_lossy`], each with the number of
/// bytes that it was made from.
fn characters(bytes: &[u8]) -> impl Iterator<Item = (usize, char)> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(|c| (c.len_utf8(), c));
        let invalid = chunk.invalid().len();
        valid.chain((invalid > 0).then_some((invalid, char::REPLACEMENT_CHARACTER)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{BYTES, GPT2, byte_tokens, bytes};
    use super::*;
    use proptest::prelude::*;

    fn spans(tokens: &[u32], cuts: &[usize]) -> Vec<Span> {
        let text = TokenText::new(Some(&BYTES), tokens).unwrap();
        let pairs = cuts.windows(2);
        pairs.map(|cut| text.span(cut[0]..cut[1])).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn offsets_are_those_of_the_encoding(text in "[a-z é漢😀']{0,24}") {
            for tokenizer in [&*BYTES, &*GPT2] {
                let encoding = tokenizer.encode(&text, false).unwrap();
                let (decoded, offsets) = token_offsets(tokenizer, &encoding.ids).unwrap();
                prop_assert_eq!(&decoded, &text);
                prop_assert_eq!(offsets, encoding.offsets);
            }
        }

        #[test]
        fn offsets_of_any_tokens_cover_the_decoded_text_in_order(tokens in byte_tokens()) {
            let (text, offsets) = token_offsets(&BYTES, &tokens).unwrap();
            prop_assert_eq!(&text, &BYTES.decode(&tokens).unwrap());
            let mut covered = 0;
            let mut last = (0, 0);
            for (start, end) in offsets {
                prop_assert!(start < end && start <= covered);
                prop_assert!(last.0 <= start && last.1 <= end);
                covered = end;
                last = (start, end);
            }
            prop_assert_eq!(covered as usize, text.encode_utf16().count());
        }

        #[test]
        fn spans_join_to_the_text_wherever_they_are_cut(
            tokens in byte_tokens(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(tokens.len() + 1)).collect();
            cuts.extend([0, tokens.len()]);
            cuts.sort_unstable();
            let spans = spans(&tokens, &cuts);
            let text: String = spans.iter().map(|span| &*span.content).collect();
            prop_assert_eq!(&text, &BYTES.decode(&tokens).unwrap());
            let mut end = 0;
            for span in spans {
                prop_assert_eq!(span.text.0, end);
                end = span.text.1;
                let units = span.content.encode_utf16().count();
                prop_assert_eq!((span.text.1 - span.text.0) as usize, units);
            }
        }

        #[test]
        fn between_borders_of_characters_a_span_is_what_its_tokens_decode_to(
            tokens in byte_tokens(),
        ) {
            let borders = character_borders(Some(&BYTES), &tokens);
            prop_assert_eq!(borders.first(), Some(&0));
            prop_assert_eq!(borders.last(), Some(&tokens.len()));
            for (span, cut) in spans(&tokens, &borders).iter().zip(borders.windows(2)) {
                prop_assert_eq!(&span.content, &BYTES.decode(&tokens[cut[0]..cut[1]]).unwrap());
                prop_assert_eq!(span.content.chars().count(), 1);
            }
        }
    }

    #[test]
    fn a_border_within_a_character_is_put_at_its_start() {
        let spans = spans(&bytes("a😀b"), &[0, 2, 4, 6]);
        let contents: Vec<_> = spans.iter().map(|span| &*span.content).collect();
        assert_eq!(contents, ["a", "", "😀b"]);
        assert_eq!(spans[2].text, (1, 4));
        assert_eq!(spans[2].tokens, (4, 6));
    }

    #[test]
    fn bytes_that_are_no_text_are_replacement_characters() {
        let (text, offsets) = token_offsets(&BYTES, &[0xE6, 0xBC, 0x61, 0xFF]).unwrap();
        assert_eq!(text, "\u{FFFD}a\u{FFFD}");
        assert_eq!(offsets, [(0, 1), (0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn an_id_without_a_token_is_refused() {
        let error = token_offsets(&BYTES, &[97, 256]).unwrap_err();
        assert_eq!(error.code(), "invalid-token");
    }

    #[test]
    fn without_a_tokenizer_there_is_no_text() {
        let text = TokenText::new(None, &[1, 2, 3]).unwrap();
        let span = text.span(1..3);
        assert_eq!(
            (span.tokens, span.text, &*span.content),
            ((1, 3), (0, 0), "")
        );
        assert_eq!(character_borders(None, &[1, 2]), [0, 1, 2]);
    }

    #[test]
    fn a_span_serialises_as_javascript_has_it() {
        let json = serde_json::to_value(&spans(&bytes("né"), &[1, 3])[0]).unwrap();
        let expected = serde_json::json!({ "tokens": [1, 3], "text": [1, 2], "content": "é" });
        assert_eq!(json, expected);
    }
}
