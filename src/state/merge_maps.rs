//! Options, metadata and tags of a merge, key by key.

use super::changes::{JsonMap, keys};
use super::resolution::OnConflict;
use crate::error::Result;
use serde_json::Value;

/// Merges JSON objects by the one they were made of.
///
/// A key that no side changed keeps its value; one that a side changed, or
/// several did alike, takes the new value, and is left out where it was removed.
/// A key that sides changed differently takes the value of the side `chosen`
/// ([`Merged::chosen`](super::merge_tokens::Merged::chosen)); without one,
/// `on_conflict` decides: the first side that changed it, the last that did, or
/// the base. [`OnConflict::Both`] cannot be had of a value: it is an error as
/// [`OnConflict::Error`] is. Values are compared and taken whole.
///
/// # Errors
///
/// The keys in conflict, in ascending order.
pub fn merge_maps(
    base: &JsonMap,
    sides: &[&JsonMap],
    chosen: Option<usize>,
    on_conflict: OnConflict,
) -> Result<JsonMap, Vec<String>> {
    let chosen = chosen.and_then(|side| sides.get(side));
    let mut merged = JsonMap::new();
    let mut conflicts = Vec::new();
    for key in keys(sides.iter().copied().chain([base])) {
        let old = base.get(key);
        let values = sides.iter().map(|side| side.get(key));
        let changed: Vec<Option<&Value>> = values.filter(|value| *value != old).collect();
        let value = match (&changed[..], chosen, on_conflict) {
            ([], ..) => old,
            ([first, others @ ..], ..) if others.iter().all(|other| other == first) => *first,
            (_, Some(chosen), _) => chosen.get(key),
            ([first, ..], None, OnConflict::Ours) => *first,
            ([.., last], None, OnConflict::Theirs) => *last,
            (_, None, OnConflict::Base) => old,
            _ => {
                conflicts.push(key.to_owned());
                None
            }
        };
        if let Some(value) = value {
            merged.insert(key.to_owned(), value.clone());
        }
    }
    if conflicts.is_empty() {
        Ok(merged)
    } else {
        Err(conflicts)
    }
}

/// The tags of all sides, without those that a side removed. First those of the
/// base in its order, then the new ones as the sides have them; each once.
pub fn merge_tags(base: &[String], sides: &[&[String]]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    let added = sides.iter().copied().flatten();
    let added = added.filter(|tag| !base.contains(tag));
    let kept = base.iter();
    let kept = kept.filter(|tag| sides.iter().all(|side| side.contains(tag)));
    for tag in kept.chain(added) {
        if !merged.contains(tag) {
            merged.push(tag.clone());
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn map(value: Value) -> JsonMap {
        match value {
            Value::Object(map) => map,
            _ => panic!("not an object"),
        }
    }

    fn merged(
        base: Value,
        sides: &[Value],
        chosen: Option<usize>,
        on_conflict: OnConflict,
    ) -> Result<Value, Vec<String>> {
        let sides: Vec<JsonMap> = sides.iter().cloned().map(map).collect();
        let sides: Vec<&JsonMap> = sides.iter().collect();
        merge_maps(&map(base), &sides, chosen, on_conflict).map(Value::Object)
    }

    fn tags(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn merged_tags(base: &str, sides: &[&str]) -> String {
        let sides: Vec<_> = sides.iter().map(|side| tags(side)).collect();
        let sides: Vec<&[String]> = sides.iter().map(Vec::as_slice).collect();
        merge_tags(&tags(base), &sides).join(" ")
    }

    fn any_map() -> impl Strategy<Value = JsonMap> {
        prop::collection::btree_map(
            "[a-d]",
            prop_oneof![Just(json!(null)), Just(json!(1))],
            0..4,
        )
        .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_change_of_one_side_or_of_all_alike_is_taken(base in any_map(), other in any_map()) {
            for sides in [[&other, &base, &base], [&base, &base, &other], [&other; 3]] {
                let merged = merge_maps(&base, &sides, None, OnConflict::Error);
                prop_assert_eq!(merged.as_ref(), Ok(&other));
            }
        }
    }

    #[test]
    fn changes_of_different_keys_are_all_taken() {
        let base = json!({ "seed": 1, "topK": 5, "stop": ["a"] });
        let sides = [
            json!({ "seed": 2, "topK": 5, "stop": ["a"] }),
            json!({ "seed": 1, "stop": ["a"] }),
            json!({ "seed": 1, "topK": 5, "stop": ["a"], "topP": 0.5 }),
        ];
        assert_eq!(
            merged(base, &sides, None, OnConflict::Error),
            Ok(json!({ "seed": 2, "stop": ["a"], "topP": 0.5 }))
        );
    }

    #[test]
    fn keys_that_were_changed_differently_are_listed() {
        let sides = [
            json!({ "b": 1, "a": 1 }),
            json!({ "b": 2 }),
            json!({ "b": 2, "a": 2 }),
        ];
        for on_conflict in [OnConflict::Error, OnConflict::Both] {
            assert_eq!(
                merged(json!({ "a": 0 }), &sides, None, on_conflict),
                Err(vec!["a".to_owned(), "b".to_owned()])
            );
        }
    }

    #[test]
    fn conflicts_are_decided_as_told_among_those_that_changed_the_key() {
        let sides = [
            json!({ "a": 0 }),
            json!({ "a": 1 }),
            json!({}),
            json!({ "a": 0 }),
        ];
        let told = |on_conflict| merged(json!({ "a": 0 }), &sides, None, on_conflict);
        assert_eq!(told(OnConflict::Ours), Ok(json!({ "a": 1 })));
        assert_eq!(told(OnConflict::Theirs), Ok(json!({})));
        assert_eq!(told(OnConflict::Base), Ok(json!({ "a": 0 })));
    }

    #[test]
    fn the_side_whose_text_is_taken_decides_conflicts() {
        let sides = [json!({ "a": 1 }), json!({ "a": 2, "b": 1 })];
        let chosen = |side| merged(json!({}), &sides, Some(side), OnConflict::Error);
        assert_eq!(chosen(0), Ok(json!({ "a": 1, "b": 1 })));
        assert_eq!(chosen(1), Ok(json!({ "a": 2, "b": 1 })));
    }

    #[test]
    fn tags_of_all_are_kept_but_those_that_one_removed() {
        assert_eq!(merged_tags("a b c", &["a b c x", "c y a x"]), "a c x y");
        assert_eq!(merged_tags("", &["b a", "a"]), "b a");
        assert_eq!(merged_tags("a", &[]), "a");
    }
}
