//! The ways to make one text of several.
//!
//! Most strategies choose one of the texts, or join them. `edit` is the one
//! that merges: the sides are taken one after another, each merged with what
//! was made of those before it, always by the same base.

use super::diff::shared_prefix;
use super::merge::{Conflict, Piece, ThreeWay, merge3, resolve};
use super::resolution::{OnConflict, Resolution};
use super::text::{Span, TokenText, character_borders};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How the text of a merge comes about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum MergeStrategy {
    /// The first.
    Ours,
    /// The last.
    Theirs,
    /// What all have in common at the beginning, then the rest of each.
    Concat,
    /// The one with the highest score; of equals the first.
    Best,
    /// The one with the most tokens; of equals the first.
    Longest,
    /// A three-way merge by the common ancestor.
    #[default]
    Edit,
}

/// A merge to be made.
#[derive(Clone, Copy)]
pub struct MergeRequest<'m> {
    /// The tokens of the common ancestor; none where there is no ancestor.
    pub base: &'m [u32],
    /// What is merged, two or more.
    pub sides: &'m [&'m [u32]],
    pub strategy: MergeStrategy,
    pub on_conflict: OnConflict,
    /// For `edit`: resolutions by step and by index in the step. Step 0 merges
    /// the first two sides, step 1 the result and the third, and so on. They
    /// go before `on_conflict`.
    pub resolutions: &'m BTreeMap<(usize, usize), Resolution>,
    /// For `best`: a score for each side. A missing one and NaN are the lowest.
    pub scores: &'m [f64],
    /// Keeps characters whole.
    pub tokenizer: Option<&'m Tokenizer>,
}

/// A merge that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    pub tokens: Vec<u32>,
    /// The side whose tokens they are, where the strategy chooses one.
    pub chosen: Option<usize>,
}

/// The conflicts of a step that have no resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeConflicts {
    /// See [`MergeRequest::resolutions`].
    pub step: usize,
    /// What was made of the sides before this step: "ours" of its conflicts.
    /// "Theirs" is the side `step + 1`.
    pub ours: Vec<u32>,
    /// Each with its index in the step.
    pub conflicts: Vec<(usize, Conflict)>,
}

/// A conflict with its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct MergeConflict {
    /// Its index in its step.
    pub index: u32,
    pub base: Span,
    pub ours: Span,
    pub theirs: Span,
}

impl MergeConflicts {
    /// The conflicts with their text, for the merge that met them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidToken`](crate::Error::InvalidToken) for an id without a
    /// token.
    pub fn with_text(&self, request: &MergeRequest) -> Result<Vec<MergeConflict>> {
        let theirs = request.sides.get(self.step + 1).copied();
        let base = TokenText::new(request.tokenizer, request.base)?;
        let ours = TokenText::new(request.tokenizer, &self.ours)?;
        let theirs = TokenText::new(request.tokenizer, theirs.unwrap_or_default())?;
        let conflicts = self
            .conflicts
            .iter()
            .map(|(index, conflict)| MergeConflict {
                index: *index as u32,
                base: base.span(conflict.base.clone()),
                ours: ours.span(conflict.ours.clone()),
                theirs: theirs.span(conflict.theirs.clone()),
            });
        Ok(conflicts.collect())
    }
}

/// Makes one sequence of several. Of no sides, the result is the base. It may be
/// longer than each of them, and so than the model's context.
///
/// # Errors
///
/// With `edit` and [`OnConflict::Error`]: the conflicts without a resolution,
/// of the first step that has any. Resolve them and try again; the steps before
/// give the same as they did.
pub fn merge_tokens(request: &MergeRequest) -> Result<Merged, MergeConflicts> {
    let sides = request.sides;
    if sides.is_empty() {
        return Ok(Merged {
            tokens: request.base.to_vec(),
            chosen: None,
        });
    }
    let chosen = match request.strategy {
        MergeStrategy::Ours => Some(0),
        MergeStrategy::Theirs => Some(sides.len() - 1),
        MergeStrategy::Best => Some(highest(sides.len(), |side| {
            let score = request.scores.get(side).copied();
            score
                .filter(|score| !score.is_nan())
                .unwrap_or(f64::NEG_INFINITY)
        })),
        MergeStrategy::Longest => Some(highest(sides.len(), |side| sides[side].len())),
        MergeStrategy::Concat | MergeStrategy::Edit => None,
    };
    let tokens = match chosen {
        Some(side) => sides[side].to_vec(),
        None if request.strategy == MergeStrategy::Concat => concat(sides, request.tokenizer),
        None => edit(request)?,
    };
    Ok(Merged { tokens, chosen })
}

/// The index, below `count`, with the highest score; of equals the first.
fn highest<S: PartialOrd>(count: usize, score: impl Fn(usize) -> S) -> usize {
    (1..count).fold(0, |best, next| {
        if score(next) > score(best) {
            next
        } else {
            best
        }
    })
}

/// The longest common beginning that ends with a character in all sides, then
/// what each has after it.
fn concat(sides: &[&[u32]], tokenizer: Option<&Tokenizer>) -> Vec<u32> {
    let Some((first, others)) = sides.split_first() else {
        return Vec::new();
    };
    let shared = others.iter().map(|side| shared_prefix(first, side)).min();
    let borders = sides.iter().map(|side| {
        let borders = character_borders(tokenizer, side);
        borders.into_iter().collect::<BTreeSet<_>>()
    });
    let common = borders.reduce(|a, b| &a & &b).unwrap_or_default();
    let end = shared.and_then(|shared| common.range(..=shared).next_back().copied());
    let end = end.unwrap_or(0);
    let mut tokens = first[..end].to_vec();
    for side in sides {
        tokens.extend_from_slice(&side[end..]);
    }
    tokens
}

/// Merges the sides one after another.
fn edit(request: &MergeRequest) -> Result<Vec<u32>, MergeConflicts> {
    let mut sides = request.sides.iter();
    let mut merged = sides.next().map_or_else(Vec::new, |side| side.to_vec());
    for (step, theirs) in sides.enumerate() {
        let merge = ThreeWay {
            base: request.base,
            ours: &merged,
            theirs,
        };
        let pieces = merge3(merge, request.tokenizer);
        let resolved = resolve(merge, &pieces, |index| {
            let given = request.resolutions.get(&(step, index)).cloned();
            given.or_else(|| request.on_conflict.resolution())
        });
        merged = match resolved {
            Ok(tokens) => tokens,
            Err(unresolved) => {
                let conflicts = pieces.into_iter().filter_map(|piece| match piece {
                    Piece::Settled(_) => None,
                    Piece::Conflict(conflict) => Some(conflict),
                });
                let mut conflicts: Vec<_> = conflicts.enumerate().collect();
                conflicts.retain(|(index, _)| unresolved.contains(index));
                return Err(MergeConflicts {
                    step,
                    ours: merged,
                    conflicts,
                });
            }
        };
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{BYTES, byte_tokens, bytes};
    use super::*;
    use proptest::prelude::*;

    const NO_RESOLUTIONS: &BTreeMap<(usize, usize), Resolution> = &BTreeMap::new();

    /// A request for an `edit` that lists its conflicts.
    fn request<'m>(base: &'m [u32], sides: &'m [&'m [u32]]) -> MergeRequest<'m> {
        MergeRequest {
            base,
            sides,
            strategy: MergeStrategy::Edit,
            on_conflict: OnConflict::Error,
            resolutions: NO_RESOLUTIONS,
            scores: &[],
            tokenizer: Some(&BYTES),
        }
    }

    /// Merges texts, with what `change` makes of the request.
    fn merged(
        base: &str,
        sides: &[&str],
        change: impl Fn(&mut MergeRequest),
    ) -> (String, Option<usize>) {
        let base = bytes(base);
        let sides: Vec<_> = sides.iter().map(|side| bytes(side)).collect();
        let sides: Vec<&[u32]> = sides.iter().map(Vec::as_slice).collect();
        let mut request = request(&base, &sides);
        change(&mut request);
        let merged = merge_tokens(&request).unwrap();
        (BYTES.decode(&merged.tokens).unwrap(), merged.chosen)
    }

    /// Merges texts by a strategy.
    fn by(strategy: MergeStrategy, base: &str, sides: &[&str]) -> (String, Option<usize>) {
        merged(base, sides, |request| request.strategy = strategy)
    }

    proptest! {
        #[test]
        fn every_strategy_leaves_states_that_are_the_same_as_they_are(
            base in byte_tokens(),
            side in byte_tokens(),
        ) {
            for strategy in [
                MergeStrategy::Ours,
                MergeStrategy::Theirs,
                MergeStrategy::Concat,
                MergeStrategy::Best,
                MergeStrategy::Longest,
                MergeStrategy::Edit,
            ] {
                let sides = [&side[..]; 3];
                let request = MergeRequest { strategy, ..request(&base, &sides) };
                prop_assert_eq!(&merge_tokens(&request).unwrap().tokens, &side);
            }
        }

        #[test]
        fn conflicts_that_are_resolved_step_by_step_end_as_those_resolved_at_once(
            base in byte_tokens(),
            sides in prop::collection::vec(byte_tokens(), 0..5),
        ) {
            let sides: Vec<&[u32]> = sides.iter().map(Vec::as_slice).collect();
            let at_once = MergeRequest {
                on_conflict: OnConflict::Theirs,
                ..request(&base, &sides)
            };
            let mut resolutions = BTreeMap::new();
            let tokens = loop {
                let request = MergeRequest {
                    resolutions: &resolutions,
                    ..request(&base, &sides)
                };
                match merge_tokens(&request) {
                    Ok(merged) => break merged.tokens,
                    Err(found) => {
                        prop_assert_eq!(found.with_text(&request).unwrap().len(), found.conflicts.len());
                        // One at a time, the last first.
                        let (index, _) = found.conflicts[found.conflicts.len() - 1];
                        let before = resolutions.insert((found.step, index), Resolution::Theirs);
                        prop_assert_eq!(before, None);
                    }
                }
            };
            prop_assert_eq!(tokens, merge_tokens(&at_once).unwrap().tokens);
        }
    }

    #[test]
    fn ours_is_the_first_and_theirs_the_last() {
        let sides = ["ax", "ay", "az"];
        assert_eq!(by(MergeStrategy::Ours, "a", &sides), ("ax".into(), Some(0)));
        assert_eq!(
            by(MergeStrategy::Theirs, "a", &sides),
            ("az".into(), Some(2))
        );
    }

    #[test]
    fn longest_has_the_most_tokens_and_of_equals_is_the_first() {
        let longest = |sides: &[&str]| by(MergeStrategy::Longest, "a", sides);
        assert_eq!(longest(&["a", "abc", "ab"]), ("abc".into(), Some(1)));
        assert_eq!(longest(&["a", "ab", "ac"]), ("ab".into(), Some(1)));
    }

    #[test]
    fn best_has_the_highest_score_and_of_equals_is_the_first() {
        let best = |scores: &'static [f64]| {
            let chosen = merged("a", &["ax", "ay", "az"], |request| {
                request.strategy = MergeStrategy::Best;
                request.scores = scores;
            });
            chosen.1
        };
        assert_eq!(best(&[-2.0, -1.0, -3.0]), Some(1));
        assert_eq!(best(&[-2.0, -1.0, -1.0]), Some(1));
        assert_eq!(best(&[f64::NAN, -9.0, f64::NEG_INFINITY]), Some(1));
        assert_eq!(best(&[]), Some(0));
    }

    #[test]
    fn concat_takes_the_common_beginning_once() {
        let concat = |base, sides: &[&str]| by(MergeStrategy::Concat, base, sides).0;
        assert_eq!(
            concat("Once ", &["Once a.", "Once b.", "Once "]),
            "Once a.b."
        );
        // What the sides share beyond the base comes once as well.
        assert_eq!(concat("O", &["One x", "One y"]), "One xy");
        assert_eq!(concat("", &["abc", "xyz"]), "abcxyz");
        assert_eq!(concat("abc", &["ab", "abc"]), "abc");
        // 漢 and 漣 share their first two bytes.
        assert_eq!(concat("a", &["a漢", "a漣"]), "a漢漣");
    }

    #[test]
    fn edit_merges_the_sides_one_after_another() {
        let edit = by(MergeStrategy::Edit, "a-b-c", &["A-b-c", "a-B-c", "a-b-C"]);
        assert_eq!(edit, ("A-B-C".into(), None));
    }

    #[test]
    fn conflicts_are_decided_as_told() {
        let told = |on_conflict| {
            merged("a", &["ax", "ay", "az"], |request| {
                request.on_conflict = on_conflict
            })
            .0
        };
        assert_eq!(told(OnConflict::Ours), "ax");
        assert_eq!(told(OnConflict::Theirs), "az");
        // The second step merges "a" again.
        assert_eq!(told(OnConflict::Base), "az");
        assert_eq!(told(OnConflict::Both), "axyz");
    }

    #[test]
    fn conflicts_are_listed_with_their_text_by_step() {
        let [base, first, second, third] = ["a-b-", "ax-b-é", "ay-b-漢", "a-B-!"].map(bytes);
        let sides = [&first[..], &second, &third];
        let mut resolutions = BTreeMap::from([((0, 0), Resolution::Both)]);
        let found = merge_tokens(&MergeRequest {
            resolutions: &resolutions,
            ..request(&base, &sides)
        });
        let found = found.unwrap_err();
        assert_eq!((found.step, found.conflicts.len()), (0, 1));
        let conflicts = found.with_text(&request(&base, &sides)).unwrap();
        assert_eq!(
            serde_json::to_value(&conflicts).unwrap(),
            serde_json::json!([{
                "index": 1,
                "base": { "tokens": [4, 4], "text": [4, 4], "content": "" },
                "ours": { "tokens": [5, 7], "text": [5, 6], "content": "é" },
                "theirs": { "tokens": [5, 8], "text": [5, 6], "content": "漢" },
            }])
        );
        resolutions.insert((0, 1), Resolution::Tokens(bytes("?")));
        let found = merge_tokens(&MergeRequest {
            resolutions: &resolutions,
            ..request(&base, &sides)
        });
        let found = found.unwrap_err();
        assert_eq!(found.step, 1);
        assert_eq!(found.ours, bytes("axy-b-?"));
        let conflicts = found.with_text(&request(&base, &sides)).unwrap();
        assert_eq!(conflicts[0].ours.content, "?");
        assert_eq!(conflicts[0].theirs.content, "!");
    }

    #[test]
    fn of_no_sides_the_base_is_left() {
        assert_eq!(by(MergeStrategy::Best, "abc", &[]), ("abc".into(), None));
    }

    #[test]
    fn the_defaults_are_an_edit_that_lists_its_conflicts() {
        assert_eq!(MergeStrategy::default(), MergeStrategy::Edit);
        assert_eq!(OnConflict::default(), OnConflict::Error);
        let read: MergeStrategy = serde_json::from_str(r#""longest""#).unwrap();
        assert_eq!(read, MergeStrategy::Longest);
    }
}
