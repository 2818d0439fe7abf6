//! What is known of an entry beside its value, and the limits of it.

use super::key::Key;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The last moment that JavaScript's `Date` can tell; the longest duration too.
pub const MAX_TIME: u64 = 8_640_000_000_000_000;
const MAX_TITLE_CHARS: usize = 200;
const MAX_TAGS: usize = 16;
const MAX_TAG_BYTES: usize = 64;
/// Of `model` and `source`.
const MAX_NAME_BYTES: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Generation,
    Value,
}

/// What does not change about an entry. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    pub key: Key,
    pub title: String,
    pub kind: Kind,
    /// SHA-256 of the model's weights; `None` for values of functions.
    pub model: Option<String>,
    pub created: u64,
    /// `None`: never.
    pub expires: Option<u64>,
    /// What computing it took, in milliseconds.
    pub cost_ms: f64,
    pub tokens: u32,
    pub tags: Vec<String>,
    pub source: String,
}

impl Facts {
    /// Says which limit is exceeded, if one is.
    pub fn check(&self) -> Result<(), String> {
        if self.title.chars().count() > MAX_TITLE_CHARS {
            return Err(format!(
                "its title has more than {MAX_TITLE_CHARS} characters"
            ));
        }
        if self.tags.len() > MAX_TAGS || self.tags.iter().any(|tag| tag.len() > MAX_TAG_BYTES) {
            return Err(format!(
                "up to {MAX_TAGS} tags of up to {MAX_TAG_BYTES} bytes are allowed"
            ));
        }
        let names = [Some(&self.source), self.model.as_ref()];
        if names
            .iter()
            .flatten()
            .any(|name| name.len() > MAX_NAME_BYTES)
        {
            return Err(format!(
                "its model or source has more than {MAX_NAME_BYTES} bytes"
            ));
        }
        if self.created > MAX_TIME || self.expires.is_some_and(|time| time > MAX_TIME) {
            return Err("it has a time that no clock shows".into());
        }
        if !(0.0..=MAX_TIME as f64).contains(&self.cost_ms) {
            return Err("its cost is no duration".into());
        }
        Ok(())
    }
}

/// What makes an entry findable by meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Semantic {
    /// All else of the request that a match must share.
    pub family: String,
    pub prompt: String,
}

/// An entry to be, as a caller describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewEntry {
    pub key: Key,
    /// Cut at 200 characters.
    pub title: String,
    pub kind: Kind,
    pub model: Option<String>,
    pub source: String,
    pub cost_ms: f64,
    pub tokens: u32,
    pub tags: Vec<String>,
    /// 0: never expires; `None`: the cache's own.
    pub ttl_ms: Option<f64>,
    pub semantic: Option<Semantic>,
}

impl NewEntry {
    /// Error: `invalid-argument`, beyond the limits.
    pub fn facts(&self, created: u64, expires: Option<u64>) -> Result<Facts> {
        let facts = Facts {
            key: self.key,
            title: self.title.chars().take(MAX_TITLE_CHARS).collect(),
            kind: self.kind,
            model: self.model.clone(),
            created,
            expires,
            cost_ms: self.cost_ms,
            tokens: self.tokens,
            tags: self.tags.clone(),
            source: self.source.clone(),
        };
        facts
            .check()
            .map_err(|reason| Error::argument("entry", reason))?;
        Ok(facts)
    }
}

/// When what was computed `now` expires: after `ttl`, less a random part of it
/// of up to the share `jitter`, so that entries made together do not expire
/// together. A `ttl` of 0: never. `chance` is uniform, from 0 to below 1.
pub fn expires(now: u64, ttl: u64, jitter: f64, chance: f64) -> Option<u64> {
    let lived = (ttl as f64 * (1.0 - jitter * chance)).round() as u64;
    (ttl > 0).then(|| now.saturating_add(lived).min(MAX_TIME))
}

/// How an entry was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    pub last_used: u64,
    pub hits: u64,
}

/// An entry as callers see it: `CacheEntry` in TypeScript.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryView<'a> {
    #[serde(flatten)]
    pub facts: &'a Facts,
    pub last_used: u64,
    pub hits: u64,
    /// Of its record.
    pub bytes: u64,
    /// Of its record, had the value not been compressed.
    pub raw_bytes: u64,
    pub pinned: bool,
    pub layers: &'a [&'a str],
}

/// A caller's number of milliseconds. Error: `invalid-argument`.
pub fn duration(name: &str, value: f64) -> Result<u64> {
    if !(0.0..=MAX_TIME as f64).contains(&value) {
        return Err(Error::argument(name, "it must be a number from 0 on"));
    }
    Ok(value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::new_entry;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_title_is_cut_between_characters() {
        let entry = NewEntry {
            title: "é".repeat(300),
            ..new_entry(1)
        };
        assert_eq!(entry.facts(0, None).unwrap().title, "é".repeat(200));
    }

    #[test]
    fn tags_names_and_durations_are_limited() {
        let entry = new_entry(1);
        let with_tags = |tags: Vec<String>| {
            NewEntry {
                tags,
                ..entry.clone()
            }
            .facts(0, None)
        };
        assert!(with_tags(vec!["a".repeat(64); 16]).is_ok());
        assert!(with_tags(vec!["a".into(); 17]).is_err());
        let error = with_tags(vec!["a".repeat(65)]).unwrap_err();
        assert_eq!(error.code(), "invalid-argument");
        let wrong = NewEntry {
            source: "s".repeat(201),
            ..entry.clone()
        };
        assert!(wrong.facts(0, None).is_err());
        for cost_ms in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(
                NewEntry {
                    cost_ms,
                    ..entry.clone()
                }
                .facts(0, None)
                .is_err()
            );
            assert!(duration("ttlMs", cost_ms).is_err());
        }
        assert!(entry.facts(MAX_TIME + 1, None).is_err());
        assert!(entry.facts(0, Some(MAX_TIME + 1)).is_err());
    }

    proptest! {
        #[test]
        fn jitter_takes_off_no_more_than_its_share(
            now in 0..MAX_TIME / 2,
            ttl in 1u64..1_000_000_000,
            jitter in 0.0..=1.0f64,
            chance in 0.0..1.0f64,
        ) {
            let expires = expires(now, ttl, jitter, chance).unwrap();
            prop_assert!(expires <= now + ttl);
            prop_assert!(expires as f64 >= now as f64 + ttl as f64 * (1.0 - jitter) - 1.0);
            prop_assert_eq!(super::expires(now, ttl, jitter, 0.0), Some(now + ttl));
            prop_assert_eq!(super::expires(now, ttl, 0.0, chance), Some(now + ttl));
        }
    }

    #[test]
    fn no_ttl_is_for_ever_and_no_time_is_beyond_the_last() {
        assert_eq!(expires(1_000, 0, 0.5, 0.5), None);
        assert_eq!(expires(MAX_TIME, MAX_TIME, 0.0, 0.0), Some(MAX_TIME));
    }
}
