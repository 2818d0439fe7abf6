//! Entries named by what they have in common.

use super::entry::{Facts, duration};
use super::key::Key;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::HashSet;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Limits {
    keys: Option<HashSet<Key>>,
    tags: Option<Vec<String>>,
    model: Option<String>,
    older_than_ms: Option<f64>,
}

/// Entries that all of the given limits fit.
#[derive(Debug)]
pub struct Invalidation {
    keys: Option<HashSet<Key>>,
    tags: Option<Vec<String>>,
    model: Option<String>,
    older_than: Option<u64>,
}

impl Invalidation {
    /// From JSON, see `Invalidation` in TypeScript. Error: `invalid-argument`,
    /// where it has no limit among others: to delete everything is `clear`.
    pub fn parse(json: &str) -> Result<Self> {
        let refused = |reason: String| Error::argument("invalidation", reason);
        let limits: Limits =
            serde_json::from_str(json).map_err(|error| refused(error.to_string()))?;
        let older_than = limits.older_than_ms;
        let invalidation = Self {
            keys: limits.keys,
            tags: limits.tags,
            model: limits.model,
            older_than: older_than
                .map(|ms| duration("olderThanMs", ms))
                .transpose()?,
        };
        let Self {
            keys: None,
            tags: None,
            model: None,
            older_than: None,
        } = invalidation
        else {
            return Ok(invalidation);
        };
        Err(refused("it names no limit".into()))
    }

    pub fn fits(&self, facts: &Facts, now: u64) -> bool {
        let key = self
            .keys
            .as_ref()
            .is_none_or(|keys| keys.contains(&facts.key));
        let tag = self
            .tags
            .as_ref()
            .is_none_or(|tags| tags.iter().any(|tag| facts.tags.contains(tag)));
        let model = self.model.is_none() || self.model == facts.model;
        let age = now.saturating_sub(facts.created);
        key && tag && model && self.older_than.is_none_or(|limit| age > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::NewEntry;
    use super::super::testing::new_entry;
    use super::*;
    use serde_json::{Value, json};

    fn fits(invalidation: &Value) -> bool {
        let entry = NewEntry {
            tags: vec!["a".into(), "b".into()],
            model: Some("m".into()),
            ..new_entry(1)
        };
        let facts = entry.facts(1_000, None).unwrap();
        Invalidation::parse(&invalidation.to_string())
            .unwrap()
            .fits(&facts, 1_500)
    }

    #[test]
    fn all_limits_must_fit_and_one_tag_or_key_of_several_does() {
        let (key, other) = (new_entry(1).key, new_entry(2).key);
        for fitting in [
            json!({ "keys": [other, key] }),
            json!({ "tags": ["x", "b"] }),
            json!({ "model": "m" }),
            json!({ "olderThanMs": 499 }),
            json!({ "keys": [key], "tags": ["a"], "model": "m", "olderThanMs": 0 }),
        ] {
            assert!(fits(&fitting), "{fitting}");
        }
        for other in [
            json!({ "keys": [other] }),
            json!({ "keys": [] }),
            json!({ "tags": ["x"] }),
            json!({ "model": "n" }),
            json!({ "olderThanMs": 500 }),
            json!({ "keys": [key], "tags": ["a"], "model": "m", "olderThanMs": 500 }),
        ] {
            assert!(!fits(&other), "{other}");
        }
    }

    #[test]
    fn what_names_no_limit_or_an_unknown_one_is_refused() {
        for wrong in [
            "{}",
            "[]",
            "{\"tag\":\"a\"}",
            "{\"keys\":[\"1\"]}",
            "{\"olderThanMs\":-1}",
        ] {
            let error = Invalidation::parse(wrong).unwrap_err();
            assert_eq!(error.code(), "invalid-argument", "{wrong}");
        }
    }
}
