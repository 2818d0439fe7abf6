//! GPT-2's splitting of text into the pieces that are merged separately.
//!
//! The published pattern is
//!
//! ```text
//! 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//! ```
//!
//! Its one lookahead needs a backtracking engine, which gives up on long runs
//! of white space, and the `tokenizers` crate takes that for the end of the
//! text. Here the lookahead is a rule after the match instead, and what is
//! left is a regular expression in the strict sense: linear in the text, with
//! no limit to run into.

use crate::error::{Error, Result};
use tokenizers::utils::SysRegex;

/// Anchored, because a search starts where the last piece ended, and every
/// character begins a piece.
const PIECE: &str = r"^(?:'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+)";

/// Splits text as GPT-2 does.
pub struct Splitter {
    piece: SysRegex,
}

impl Splitter {
    pub fn new() -> Result<Self> {
        let piece = SysRegex::new(PIECE).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Self { piece })
    }

    /// The first piece of the text: never empty, and `None` for empty text
    /// only.
    pub fn first<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (_, end) = self.piece.find_iter(text).next()?;
        let piece = &text[..end];
        // `\s+(?!\S)` before `\s+`: white space that something follows leaves
        // its last character to what follows, unless it has only that one.
        // (A piece that ends in white space is all white space.)
        match piece.char_indices().next_back() {
            Some((last, c)) if last > 0 && end < text.len() && c.is_whitespace() => {
                Some(&piece[..last])
            }
            _ => Some(piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    fn pieces(text: &str) -> Vec<(usize, usize)> {
        let splitter = Splitter::new().unwrap();
        let mut start = 0;
        std::iter::from_fn(|| {
            let piece = splitter.first(&text[start..])?;
            start += piece.len();
            Some((start - piece.len(), start))
        })
        .collect()
    }

    /// What the published pattern gives.
    fn expected(text: &str) -> Vec<(usize, usize)> {
        let mut split = PreTokenizedString::from(text);
        ByteLevel::new(false, false, true)
            .pre_tokenize(&mut split)
            .unwrap();
        split
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(_, offsets, _)| offsets)
            .filter(|(start, end)| start < end)
            .collect()
    }

    /// Everything that the pattern tells apart, often.
    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            8 => prop::sample::select(vec![
                " ", "  ", "\n", "\t", "\r\n", "\u{a0}", "\u{3000}", "\u{85}", "\u{2028}",
                "\u{200b}", "\u{feff}", "'", "'s", "'re", "'S", "ll", "a", "Z", "é", "ß", "漢",
                "ⓐ", "Ⅷ", "1", "२", "½", "²", "_", "-", "!", "\u{301}", "\u{200d}", "😀",
                "\u{0}", "\u{7f}", "\u{fffd}",
            ]).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn pieces_are_those_of_the_published_pattern(text in text()) {
            prop_assert_eq!(pieces(&text), expected(&text));
        }
    }

    #[test]
    fn every_character_is_classed_as_by_the_published_pattern() {
        // Many at a time, because a call of the crate costs more than a match.
        let characters: Vec<char> = ('\0'..=char::MAX).collect();
        for some in characters.chunks(1024) {
            let text: String = some.iter().map(|c| format!("a{c}1 {c}{c}'s")).collect();
            assert!(pieces(&text) == expected(&text), "near {:?}", some[0]);
        }
    }

    #[test]
    fn white_space_leaves_its_last_character_to_what_follows() {
        let split = |text: &'static str| -> Vec<&str> {
            pieces(text).into_iter().map(|(a, b)| &text[a..b]).collect()
        };
        assert_eq!(split("a   b"), ["a", "  ", " b"]);
        assert_eq!(split("a \n b"), ["a", " \n", " b"]);
        assert_eq!(split("a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(split("a   "), ["a", "   "]);
        assert_eq!(split("  's"), [" ", " '", "s"]);
    }
}
