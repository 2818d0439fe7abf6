//! Two texts that were made of one, brought together again.
//!
//! This is diff3 (S. Khanna, K. Kunal, B. C. Pierce, "A Formal Investigation of
//! Diff3", 2007). Each side is compared with the base. Where both sides still
//! have what the base has, that is stable; between stable parts lie chunks that
//! one side changed (its change is taken), both changed alike (taken once), or
//! both changed differently: a conflict. So changes that touch, with nothing
//! stable between them, conflict even where they do not overlap.
//!
//! With a tokenizer no chunk begins or ends within a character: two sides that
//! change different bytes of one character are in conflict, rather than making
//! a third character of it.

use super::diff::{Groups, Hunk, HunkKind, diff_groups};
use super::resolution::Resolution;
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use std::ops::Range;

/// What is merged: two sequences of tokens and the one they were made of.
#[derive(Debug, Clone, Copy)]
pub struct ThreeWay<'t> {
    pub base: &'t [u32],
    pub ours: &'t [u32],
    pub theirs: &'t [u32],
}

/// A part of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Tokens that are agreed on.
    Settled(Vec<u32>),
    Conflict(Conflict),
}

/// What both sides changed differently, as ranges of their tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub base: Range<usize>,
    pub ours: Range<usize>,
    pub theirs: Range<usize>,
}

/// Merges two sides by their base. The pieces, joined, are the result; no two
/// neighbours are both settled.
pub fn merge3(merge: ThreeWay, tokenizer: Option<&Tokenizer>) -> Vec<Piece> {
    let base = Groups::new(merge.base, tokenizer);
    let mut ours = Side::new(&base, merge.ours, tokenizer);
    let mut theirs = Side::new(&base, merge.theirs, tokenizer);
    let mut pieces = Vec::new();
    // The start of what was not looked at yet.
    let mut at = 0;
    loop {
        let starts = [ours.next_start(), theirs.next_start()];
        let start = starts.into_iter().flatten().min().unwrap_or(base.len());
        settle(&mut pieces, base.slice(&(at..start)));
        if starts == [None, None] {
            return pieces;
        }
        let (our_start, their_start) = (ours.place(start), theirs.place(start));
        // A change that touches the chunk makes it longer, and so may bring it
        // to a change of the other side.
        let mut end = start;
        while let Some(longer) = ours.take(end).or_else(|| theirs.take(end)) {
            end = end.max(longer);
        }
        let our_chunk = our_start..ours.place(end);
        let their_chunk = their_start..theirs.place(end);
        let old = base.slice(&(start..end));
        let our_new = ours.groups.slice(&our_chunk);
        let their_new = theirs.groups.slice(&their_chunk);
        if our_new == their_new || their_new == old {
            settle(&mut pieces, our_new);
        } else if our_new == old {
            settle(&mut pieces, their_new);
        } else {
            pieces.push(Piece::Conflict(Conflict {
                base: base.tokens(&(start..end)),
                ours: ours.groups.tokens(&our_chunk),
                theirs: theirs.groups.tokens(&their_chunk),
            }));
        }
        at = end;
    }
}

/// Appends tokens to what is settled.
fn settle(pieces: &mut Vec<Piece>, tokens: &[u32]) {
    if let Some(Piece::Settled(settled)) = pieces.last_mut() {
        settled.extend_from_slice(tokens);
    } else if !tokens.is_empty() {
        pieces.push(Piece::Settled(tokens.to_vec()));
    }
}

/// One side of a merge, walked over together with the base.
struct Side<'t> {
    groups: Groups<'t>,
    /// Its changes to the base that were not taken yet, the next one last.
    changes: Vec<Hunk>,
    base_len: usize,
}

impl<'t> Side<'t> {
    fn new(base: &Groups, tokens: &'t [u32], tokenizer: Option<&Tokenizer>) -> Self {
        let groups = Groups::new(tokens, tokenizer);
        let mut changes = diff_groups(base, &groups);
        changes.retain(|hunk| hunk.kind != HunkKind::Equal);
        changes.reverse();
        Self {
            groups,
            changes,
            base_len: base.len(),
        }
    }

    /// Where in the base the next change begins.
    fn next_start(&self) -> Option<usize> {
        self.changes.last().map(|change| change.a.start)
    }

    /// Takes the next change where it touches a chunk that ends at `end`, and
    /// gives the change's end in the base.
    fn take(&mut self, end: usize) -> Option<usize> {
        self.next_start().filter(|start| *start <= end)?;
        self.changes.pop().map(|change| change.a.end)
    }

    /// The place in this side of a place in the base, between the last change
    /// taken and the next: as far before the next one here as there.
    fn place(&self, base: usize) -> usize {
        match self.changes.last() {
            Some(next) => next.b.start - (next.a.start - base),
            None => self.groups.len() - (self.base_len - base),
        }
    }
}

/// Puts a resolution in the place of each conflict, which are counted from 0.
///
/// # Errors
///
/// The indices of the conflicts that `resolution` gives nothing for.
pub fn resolve(
    merge: ThreeWay,
    pieces: &[Piece],
    mut resolution: impl FnMut(usize) -> Option<Resolution>,
) -> Result<Vec<u32>, Vec<usize>> {
    let mut tokens = Vec::new();
    let mut unresolved = Vec::new();
    let mut index = 0;
    for piece in pieces {
        let conflict = match piece {
            Piece::Settled(settled) => {
                tokens.extend_from_slice(settled);
                continue;
            }
            Piece::Conflict(conflict) => conflict,
        };
        let ours = &merge.ours[conflict.ours.clone()];
        let theirs = &merge.theirs[conflict.theirs.clone()];
        match resolution(index) {
            Some(Resolution::Ours) => tokens.extend_from_slice(ours),
            Some(Resolution::Theirs) => tokens.extend_from_slice(theirs),
            Some(Resolution::Base) => tokens.extend_from_slice(&merge.base[conflict.base.clone()]),
            Some(Resolution::Both) => tokens.extend([ours, theirs].concat()),
            Some(Resolution::Tokens(instead)) => tokens.extend(instead),
            None => unresolved.push(index),
        }
        index += 1;
    }
    if unresolved.is_empty() {
        Ok(tokens)
    } else {
        Err(unresolved)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{BYTES, byte_tokens, bytes, few_tokens};
    use super::*;
    use proptest::prelude::*;

    fn three_way<'t>(base: &'t [u32], ours: &'t [u32], theirs: &'t [u32]) -> ThreeWay<'t> {
        ThreeWay { base, ours, theirs }
    }

    /// The merge of three texts, conflicts as `{base|ours|theirs}`.
    fn merged(base: &str, ours: &str, theirs: &str) -> String {
        let [base, ours, theirs] = [base, ours, theirs].map(bytes);
        let decode = |tokens: &[u32]| BYTES.decode(tokens).unwrap();
        let pieces = merge3(three_way(&base, &ours, &theirs), Some(&BYTES));
        let texts = pieces.into_iter().map(|piece| match piece {
            Piece::Settled(tokens) => decode(&tokens),
            Piece::Conflict(conflict) => format!(
                "{{{}|{}|{}}}",
                decode(&base[conflict.base]),
                decode(&ours[conflict.ours]),
                decode(&theirs[conflict.theirs]),
            ),
        });
        texts.collect()
    }

    /// What is left once all conflicts are resolved alike.
    fn resolved(merge: ThreeWay, pieces: &[Piece], with: &Resolution) -> Vec<u32> {
        resolve(merge, pieces, |_| Some(with.clone())).unwrap()
    }

    fn swapped(piece: Piece) -> Piece {
        match piece {
            Piece::Settled(_) => piece,
            Piece::Conflict(conflict) => Piece::Conflict(Conflict {
                base: conflict.base,
                ours: conflict.theirs,
                theirs: conflict.ours,
            }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_change_of_one_side_or_of_both_alike_is_taken(
            (base, other) in prop_oneof![(few_tokens(), few_tokens()), (byte_tokens(), byte_tokens())],
        ) {
            let (base, other) = (&base[..], &other[..]);
            let expected = match other {
                [] => vec![],
                _ => vec![Piece::Settled(other.to_vec())],
            };
            for tokenizer in [None, Some(&*BYTES)] {
                prop_assert_eq!(&merge3(three_way(base, other, base), tokenizer), &expected);
                prop_assert_eq!(&merge3(three_way(base, base, other), tokenizer), &expected);
                prop_assert_eq!(&merge3(three_way(base, other, other), tokenizer), &expected);
            }
        }

        #[test]
        fn with_the_sides_swapped_the_conflicts_have_their_sides_swapped(
            base in byte_tokens(),
            ours in byte_tokens(),
            theirs in byte_tokens(),
        ) {
            for tokenizer in [None, Some(&*BYTES)] {
                let one = merge3(three_way(&base, &ours, &theirs), tokenizer);
                let other = merge3(three_way(&base, &theirs, &ours), tokenizer);
                prop_assert_eq!(one, other.into_iter().map(swapped).collect::<Vec<_>>());
            }
        }

        #[test]
        fn conflicts_lie_in_order_and_differ_in_all_three(
            base in few_tokens(),
            ours in few_tokens(),
            theirs in few_tokens(),
        ) {
            let mut ends = [0; 3];
            let mut was_settled = false;
            for piece in merge3(three_way(&base, &ours, &theirs), None) {
                let is_settled = matches!(piece, Piece::Settled(_));
                prop_assert!(!(is_settled && was_settled));
                was_settled = is_settled;
                let Piece::Conflict(conflict) = piece else { continue };
                let parts = [
                    &base[conflict.base.clone()],
                    &ours[conflict.ours.clone()],
                    &theirs[conflict.theirs.clone()],
                ];
                prop_assert!(parts[0] != parts[1] && parts[1] != parts[2] && parts[0] != parts[2]);
                for (end, range) in ends.iter_mut().zip([conflict.base, conflict.ours, conflict.theirs]) {
                    prop_assert!(*end <= range.start);
                    *end = range.end;
                }
            }
        }

        #[test]
        fn with_ours_everywhere_ours_is_changed_only_where_theirs_alone_changed(
            edits in prop::collection::vec((any::<[bool; 2]>(), any::<[bool; 2]>()), 0..16),
        ) {
            // Each side inserts tokens of its own and deletes some of the
            // base's. No token comes twice, so what came from where is plain.
            let base: Vec<u32> = (0..edits.len() as u32).collect();
            let [ours, theirs] = [0, 1].map(|side| {
                let mut tokens = Vec::new();
                for (&token, (inserts, deletes)) in base.iter().zip(&edits) {
                    tokens.extend(inserts[side].then_some(token + 100 * (side as u32 + 1)));
                    tokens.extend((!deletes[side]).then_some(token));
                }
                tokens
            });
            let merge = three_way(&base, &ours, &theirs);
            let result = resolved(merge, &merge3(merge, None), &Resolution::Ours);
            for token in ours.iter().filter(|token| !result.contains(token)) {
                prop_assert!(base.contains(token) && !theirs.contains(token));
            }
            for token in result.iter().filter(|token| !ours.contains(token)) {
                prop_assert!(theirs.contains(token) && !base.contains(token));
            }
            let kept = |tokens: &[u32], others: &[u32]| {
                let kept = tokens.iter().filter(|token| others.contains(token));
                kept.copied().collect::<Vec<_>>()
            };
            prop_assert_eq!(kept(&ours, &result), kept(&result, &ours));
        }

        #[test]
        fn changes_with_something_stable_between_them_never_conflict(
            edits in prop::collection::vec((0u8..3, 0usize..3, 0usize..3), 1..8),
        ) {
            // Each edit replaces some tokens of the base by others, on one side
            // (or on none); an untouched token follows. No token comes twice.
            let (mut base, mut ours, mut theirs, mut expected) = (vec![], vec![], vec![], vec![]);
            let mut fresh = 0..;
            for (side, old, new) in edits {
                let old: Vec<u32> = fresh.by_ref().take(old).collect();
                let new: Vec<u32> = fresh.by_ref().take(new).collect();
                base.extend(&old);
                ours.extend(if side == 1 { &new } else { &old });
                theirs.extend(if side == 2 { &new } else { &old });
                expected.extend(if side == 0 { &old } else { &new });
                let stable = fresh.next().unwrap();
                for tokens in [&mut base, &mut ours, &mut theirs, &mut expected] {
                    tokens.push(stable);
                }
            }
            let pieces = merge3(three_way(&base, &ours, &theirs), None);
            prop_assert_eq!(pieces, [Piece::Settled(expected)]);
        }
    }

    #[test]
    fn changes_in_different_places_are_both_taken() {
        let base = "The cat sat on the mat.";
        assert_eq!(
            merged(base, "The cat sat on the rug.", "The dog sat on the mat."),
            "The dog sat on the rug."
        );
    }

    #[test]
    fn two_continuations_conflict_at_the_end() {
        assert_eq!(merged("One. ", "One. xy", "One. zw"), "One. {|xy|zw}");
        assert_eq!(merged("One. ", "One. xy", "One. "), "One. xy");
        assert_eq!(merged("One. ", "One. xy", "One. xy"), "One. xy");
    }

    #[test]
    fn changes_that_touch_conflict_as_one() {
        assert_eq!(merged("abcd", "aXcd", "abYd"), "a{bc|Xc|bY}d");
        assert_eq!(merged("abcde", "aXcde", "abcYe"), "aXcYe");
        assert_eq!(merged("abcd", "abXcd", "abd"), "ab{c|Xc|}d");
    }

    #[test]
    fn a_change_against_a_deletion_conflicts() {
        assert_eq!(merged("abc", "aXc", "ac"), "a{b|X|}c");
    }

    #[test]
    fn the_paper_s_example_merges_as_the_paper_says() {
        // Khanna, Kunal, Pierce, section 3. A's 4 5 before the 2 is its change alone.
        assert_eq!(merged("123456", "145236", "124536"), "1452{345|3|453}6");
    }

    #[test]
    fn two_changes_of_one_character_conflict_rather_than_make_a_third() {
        assert_eq!(
            merged("-\u{12345}-", "-\u{13345}-", "-\u{12346}-"),
            "-{\u{12345}|\u{13345}|\u{12346}}-"
        );
        let [base, ours, theirs] = ["\u{12345}", "\u{13345}", "\u{12346}"].map(bytes);
        let mixed = merge3(three_way(&base, &ours, &theirs), None);
        assert_eq!(mixed, [Piece::Settled(bytes("\u{13346}"))]);
    }

    #[test]
    fn every_resolution_puts_in_what_it_says() {
        let [base, ours, theirs] = ["abc", "aXc", "aYc"].map(bytes);
        let merge = three_way(&base, &ours, &theirs);
        let pieces = merge3(merge, None);
        let text = |with| BYTES.decode(&resolved(merge, &pieces, &with)).unwrap();
        assert_eq!(text(Resolution::Ours), "aXc");
        assert_eq!(text(Resolution::Theirs), "aYc");
        assert_eq!(text(Resolution::Base), "abc");
        assert_eq!(text(Resolution::Both), "aXYc");
        assert_eq!(text(Resolution::Tokens(bytes("Z!"))), "aZ!c");
        assert_eq!(resolve(merge, &pieces, |_| None), Err(vec![0]));
    }
}
