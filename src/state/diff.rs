//! What differs between two texts, token by token.
//!
//! The search is Myers' ("An O(ND) Difference Algorithm and Its Variations",
//! 1986) without heuristics: its result is a shortest edit script. It has no
//! deadline either, since one by the clock would make results differ from run
//! to run. The length of a context bounds it instead: two texts of 1024 tokens
//! that are unrelated, or one the other reversed, take 10 to 15 ms natively.
//!
//! A token of byte-level BPE may hold half a character. With a tokenizer, what
//! is compared are the smallest groups of tokens that are whole characters, so
//! no hunk begins or ends within one: `漢` and `漣` share their first two
//! tokens, yet differ as a whole.

use super::text::{Span, TokenText, character_borders};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::ops::Range;

/// How two parts differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum HunkKind {
    Equal,
    /// Only in `a`.
    Delete,
    /// Only in `b`.
    Insert,
    /// Something in both, not the same.
    Replace,
}

/// A part of `a` and what stands in its place in `b`, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    pub kind: HunkKind,
    pub a: Range<usize>,
    pub b: Range<usize>,
}

/// A part of `a` and what stands in its place in `b`, with their text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct DiffHunk {
    pub kind: HunkKind,
    pub a: Span,
    pub b: Span,
}

/// How two token sequences differ.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenDiff {
    /// Length of the common beginning, in tokens; it may end within a character.
    pub shared_tokens: u32,
    /// See [`similarity`].
    pub similarity: f64,
    /// In order; they cover both texts. No two neighbours are both equal or
    /// both changed.
    pub hunks: Vec<DiffHunk>,
}

impl TokenDiff {
    /// Compares two sequences. Without a tokenizer the spans have no text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidToken`](crate::Error::InvalidToken) for an id without a
    /// token.
    pub fn new(a: &[u32], b: &[u32], tokenizer: Option<&Tokenizer>) -> Result<Self> {
        let (a_text, b_text) = (TokenText::new(tokenizer, a)?, TokenText::new(tokenizer, b)?);
        let hunks = diff(a, b, tokenizer);
        Ok(Self {
            shared_tokens: shared_prefix(a, b) as u32,
            similarity: similarity(&hunks),
            hunks: hunks
                .into_iter()
                .map(|hunk| DiffHunk {
                    kind: hunk.kind,
                    a: a_text.span(hunk.a),
                    b: b_text.span(hunk.b),
                })
                .collect(),
        })
    }
}

/// The hunks that make `b` of `a`: in order, without gaps, equal and changed
/// ones in turn. Two empty sequences have none. With a tokenizer no hunk cuts a
/// character.
pub fn diff(a: &[u32], b: &[u32], tokenizer: Option<&Tokenizer>) -> Vec<Hunk> {
    let (a, b) = (Groups::new(a, tokenizer), Groups::new(b, tokenizer));
    diff_groups(&a, &b)
        .into_iter()
        .map(|hunk| Hunk {
            kind: hunk.kind,
            a: a.tokens(&hunk.a),
            b: b.tokens(&hunk.b),
        })
        .collect()
}

/// [`diff`] with ranges of groups.
pub(super) fn diff_groups(a: &Groups, b: &Groups) -> Vec<Hunk> {
    let mut hunks = Vec::new();
    let (mut a_at, mut b_at) = (0, 0);
    let change = |a: Range<usize>, b: Range<usize>, hunks: &mut Vec<Hunk>| {
        let kind = match (a.is_empty(), b.is_empty()) {
            (true, true) => return,
            (true, false) => HunkKind::Insert,
            (false, true) => HunkKind::Delete,
            (false, false) => HunkKind::Replace,
        };
        hunks.push(Hunk { kind, a, b });
    };
    // What lies between two equal parts is one change, however it was found.
    for op in capture_diff_slices(Algorithm::RawMyers, &a.groups, &b.groups) {
        let DiffOp::Equal {
            old_index,
            new_index,
            len,
        } = op
        else {
            continue;
        };
        change(a_at..old_index, b_at..new_index, &mut hunks);
        (a_at, b_at) = (old_index + len, new_index + len);
        hunks.push(Hunk {
            kind: HunkKind::Equal,
            a: old_index..a_at,
            b: new_index..b_at,
        });
    }
    change(a_at..a.groups.len(), b_at..b.groups.len(), &mut hunks);
    hunks
}

/// The tokens that both sequences have after the first difference, as indices
/// in both; before it, what predicts a token is the same. Index 0 is left out:
/// nothing predicts a first token.
pub fn equal_after_difference(
    a: &[u32],
    b: &[u32],
    tokenizer: Option<&Tokenizer>,
) -> Vec<(usize, usize)> {
    let hunks = diff(a, b, tokenizer);
    let after = hunks.iter().skip_while(|hunk| hunk.kind == HunkKind::Equal);
    let equal = after.filter(|hunk| hunk.kind == HunkKind::Equal);
    let pairs = equal.flat_map(|hunk| hunk.a.clone().zip(hunk.b.clone()));
    pairs.filter(|&(a, b)| a > 0 && b > 0).collect()
}

/// Twice the equal tokens over the tokens of both: from 0 (nothing in common)
/// to 1 (the same, or both empty). The Sørensen-Dice coefficient.
pub fn similarity(hunks: &[Hunk]) -> f64 {
    let equal = hunks.iter().filter(|hunk| hunk.kind == HunkKind::Equal);
    let equal: usize = equal.map(|hunk| hunk.a.len()).sum();
    let all: usize = hunks.iter().map(|hunk| hunk.a.len() + hunk.b.len()).sum();
    if all == 0 {
        1.0
    } else {
        2.0 * equal as f64 / all as f64
    }
}

/// Length of the common beginning.
pub fn shared_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A sequence in the smallest groups of tokens that are whole characters.
pub(super) struct Groups<'t> {
    tokens: &'t [u32],
    /// The border of tokens before each group, and after the last.
    borders: Vec<usize>,
    groups: Vec<&'t [u32]>,
}

impl<'t> Groups<'t> {
    /// Without a tokenizer, a group for each token.
    pub fn new(tokens: &'t [u32], tokenizer: Option<&Tokenizer>) -> Self {
        let borders = character_borders(tokenizer, tokens);
        let pairs = borders.windows(2);
        Self {
            tokens,
            groups: pairs.map(|pair| &tokens[pair[0]..pair[1]]).collect(),
            borders,
        }
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// The tokens' range of a range of groups.
    pub fn tokens(&self, groups: &Range<usize>) -> Range<usize> {
        self.borders[groups.start]..self.borders[groups.end]
    }

    /// The tokens of a range of groups.
    pub fn slice(&self, groups: &Range<usize>) -> &'t [u32] {
        &self.tokens[self.tokens(groups)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{BYTES, byte_tokens, bytes, few_tokens};
    use super::*;
    use proptest::prelude::*;

    /// What the hunks make of `a`, with what they put in taken from `b`.
    fn applied(hunks: &[Hunk], a: &[u32], b: &[u32]) -> Vec<u32> {
        let part = |hunk: &Hunk| match hunk.kind {
            HunkKind::Equal => a[hunk.a.clone()].to_vec(),
            HunkKind::Delete => Vec::new(),
            HunkKind::Insert | HunkKind::Replace => b[hunk.b.clone()].to_vec(),
        };
        hunks.iter().flat_map(part).collect()
    }

    fn is_equal(hunk: &Hunk) -> bool {
        hunk.kind == HunkKind::Equal
    }

    /// Length of the longest common subsequence, by the textbook's table.
    fn lcs(a: &[u32], b: &[u32]) -> usize {
        let mut row = vec![0; b.len() + 1];
        for x in a {
            let mut diagonal = 0;
            for (j, y) in b.iter().enumerate() {
                let longest = if x == y {
                    diagonal + 1
                } else {
                    row[j].max(row[j + 1])
                };
                diagonal = std::mem::replace(&mut row[j + 1], longest);
            }
        }
        row[b.len()]
    }

    /// The diff of two texts: `-` and `+` before what is only in one.
    fn shown(a: &str, b: &str) -> Vec<String> {
        let diff = TokenDiff::new(&bytes(a), &bytes(b), Some(&BYTES)).unwrap();
        let show = |hunk: DiffHunk| match hunk.kind {
            HunkKind::Equal => hunk.a.content,
            HunkKind::Delete => format!("-{}", hunk.a.content),
            HunkKind::Insert => format!("+{}", hunk.b.content),
            HunkKind::Replace => format!("-{}+{}", hunk.a.content, hunk.b.content),
        };
        diff.hunks.into_iter().map(show).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_hunks_make_b_of_a_and_cover_both(
            (a, b) in prop_oneof![(few_tokens(), few_tokens()), (byte_tokens(), byte_tokens())],
        ) {
            for tokenizer in [None, Some(&*BYTES)] {
                let hunks = diff(&a, &b, tokenizer);
                prop_assert_eq!(&applied(&hunks, &a, &b), &b);
                let (mut a_end, mut b_end) = (0, 0);
                for hunk in &hunks {
                    prop_assert_eq!((hunk.a.start, hunk.b.start), (a_end, b_end));
                    (a_end, b_end) = (hunk.a.end, hunk.b.end);
                    let kind = match (hunk.a.is_empty(), hunk.b.is_empty()) {
                        (false, true) => HunkKind::Delete,
                        (true, false) => HunkKind::Insert,
                        _ if a[hunk.a.clone()] == b[hunk.b.clone()] => HunkKind::Equal,
                        _ => HunkKind::Replace,
                    };
                    prop_assert_eq!(hunk.kind, kind);
                    prop_assert!(!(hunk.a.is_empty() && hunk.b.is_empty()));
                }
                prop_assert_eq!((a_end, b_end), (a.len(), b.len()));
                for pair in hunks.windows(2) {
                    prop_assert!(is_equal(&pair[0]) != is_equal(&pair[1]));
                }
            }
        }

        #[test]
        fn no_more_could_be_equal(a in few_tokens(), b in few_tokens()) {
            let hunks = diff(&a, &b, None);
            let equal: usize = hunks.iter().filter(|hunk| is_equal(hunk)).map(|h| h.a.len()).sum();
            prop_assert_eq!(equal, lcs(&a, &b));
            let all = a.len() + b.len();
            let expected = if all == 0 { 1.0 } else { (2 * equal) as f64 / all as f64 };
            prop_assert_eq!(similarity(&hunks), expected);
        }

        #[test]
        fn hunks_have_the_text_of_their_tokens_and_no_half_characters(
            a in byte_tokens(),
            b in byte_tokens(),
        ) {
            let diff = TokenDiff::new(&a, &b, Some(&BYTES)).unwrap();
            for hunk in &diff.hunks {
                for (span, tokens) in [(&hunk.a, &a), (&hunk.b, &b)] {
                    let range = span.tokens.0 as usize..span.tokens.1 as usize;
                    prop_assert_eq!(&span.content, &BYTES.decode(&tokens[range]).unwrap());
                }
                if hunk.kind == HunkKind::Equal {
                    prop_assert_eq!(&hunk.a.content, &hunk.b.content);
                }
            }
        }
    }

    #[test]
    fn the_classic_example_differs_in_five_places() {
        let hunks = diff(&bytes("ABCABBA"), &bytes("CBABAC"), None);
        let equal: usize = hunks
            .iter()
            .filter(|h| is_equal(h))
            .map(|h| h.a.len())
            .sum();
        // Myers, figure 2: a shortest edit script has five edits.
        assert_eq!(7 + 6 - 2 * equal, 5);
    }

    #[test]
    fn a_text_and_its_change() {
        assert_eq!(
            shown("The cat sat.", "The dog sat."),
            ["The ", "-cat+dog", " sat."]
        );
        assert_eq!(shown("One.", "One. Two."), ["One.", "+ Two."]);
        assert_eq!(shown("One. Two.", " Two."), ["-One.", " Two."]);
        assert_eq!(shown("same", "same"), ["same"]);
        assert!(shown("", "").is_empty());
    }

    #[test]
    fn characters_that_share_bytes_differ_as_a_whole() {
        // 漢 E6 BC A2, 漣 E6 BC A3, 碢 E7 A2 A2.
        assert_eq!(shown("a漢b", "a漣b"), ["a", "-漢+漣", "b"]);
        assert_eq!(shown("a漢b", "a碢b"), ["a", "-漢+碢", "b"]);
        let diff = TokenDiff::new(&bytes("a漢"), &bytes("a漣"), Some(&BYTES)).unwrap();
        assert_eq!(diff.shared_tokens, 3);
        assert_eq!(diff.similarity, 0.25);
    }

    #[test]
    fn without_a_tokenizer_there_are_tokens_and_no_text() {
        let diff = TokenDiff::new(&[1, 2], &[1, 3], None).unwrap();
        assert_eq!(diff.hunks[1].b.tokens, (1, 2));
        assert_eq!(diff.hunks[1].b.content, "");
        assert_eq!(diff.similarity, 0.5);
    }

    #[test]
    fn a_hunk_serialises_as_javascript_has_it() {
        let diff = TokenDiff::new(&bytes("é"), &[], Some(&BYTES)).unwrap();
        assert_eq!(
            serde_json::to_value(&diff.hunks).unwrap(),
            serde_json::json!([{
                "kind": "delete",
                "a": { "tokens": [0, 2], "text": [0, 1], "content": "é" },
                "b": { "tokens": [0, 0], "text": [0, 0], "content": "" },
            }])
        );
    }

    #[test]
    fn two_whole_contexts_are_compared_whatever_they_hold() {
        let mixed = |seed: u32, of: u32| {
            let tokens = (0..1024u32)
                .map(move |i| (i.wrapping_add(seed).wrapping_mul(0x9E37_79B9) >> 16) % of);
            tokens.collect::<Vec<_>>()
        };
        for of in [1, 2, 5, 50, 50_000] {
            let (a, b) = (mixed(0, of), mixed(77_777, of));
            let hunks = diff(&a, &b, None);
            let equal: usize = hunks
                .iter()
                .filter(|h| is_equal(h))
                .map(|h| h.a.len())
                .sum();
            assert_eq!(equal, lcs(&a, &b), "{of} different tokens");
        }
    }
}
