//! A cache as simple as can be, to compare the real one with: a list that is
//! searched from end to end, in the order of use, the longest unused first,
//! pinned or not.

use super::core::Found;
use super::testing::key;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    pub entries: u64,
    pub bytes: u64,
    pub stale: u64,
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub key: u32,
    pub bytes: u64,
    pub created: u64,
    pub expires: Option<u64>,
    pub tags: Vec<String>,
    pub model: Option<String>,
    pub last_used: u64,
    pub hits: u64,
    pub by_itself: bool,
}

#[derive(Default)]
pub struct List {
    pub limits: Limits,
    pub pinned_tags: Vec<String>,
    pub entries: Vec<Listed>,
    pub events: Vec<Json>,
    pub evictions: BTreeMap<&'static str, u64>,
    pub expirations: u64,
    pub hits: u64,
    pub misses: u64,
}

impl List {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    pub fn is_pinned(&self, entry: &Listed) -> bool {
        entry.by_itself || entry.tags.iter().any(|tag| self.pinned_tags.contains(tag))
    }

    pub fn is_gone(&self, entry: &Listed, now: u64) -> bool {
        entry
            .expires
            .is_some_and(|expires| now >= expires + self.limits.stale)
    }

    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    pub fn take(&mut self, key: u32) -> Option<Listed> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    fn expire(&mut self, number: u32) {
        self.take(number);
        self.expirations += 1;
        self.events
            .push(json!({ "type": "expire", "key": key(number), "count": 1 }));
    }

    fn evict(&mut self, number: u32, reason: &'static str) {
        self.take(number);
        *self.evictions.entry(reason).or_default() += 1;
        let event = json!({ "type": "evict", "key": key(number), "reason": reason, "count": 1 });
        self.events.push(event);
    }

    pub fn sweep(&mut self, now: u64) -> usize {
        let mut gone: Vec<Listed> = self.entries.clone();
        gone.retain(|entry| self.is_gone(entry, now));
        gone.sort_by_key(|entry| (entry.expires, entry.key));
        gone.iter().for_each(|entry| self.expire(entry.key));
        gone.len()
    }

    fn surplus(&self) -> Option<&'static str> {
        if self.entries.len() as u64 > self.limits.entries {
            return Some("entries");
        }
        (self.bytes() > self.limits.bytes).then_some("bytes")
    }

    pub fn evict_surplus(&mut self) {
        while let Some(reason) = self.surplus() {
            let oldest = self.entries.iter().find(|entry| !self.is_pinned(entry));
            let Some(oldest) = oldest else { return };
            self.evict(oldest.key, reason);
        }
    }

    pub fn fit(&mut self, now: u64) {
        if self.surplus().is_some() {
            self.sweep(now);
            self.evict_surplus();
        }
    }

    pub fn put(&mut self, mut entry: Listed, now: u64) {
        let old = self.take(entry.key);
        entry.by_itself = old.is_some_and(|old| old.by_itself);
        if entry.bytes > self.limits.bytes {
            return self.evict(entry.key, "tooLarge");
        }
        self.entries.push(entry);
        self.fit(now);
    }

    pub fn find(&mut self, key: u32, now: u64, stale: bool, count: bool) -> Found {
        let entry = self.entries.iter().find(|entry| entry.key == key).cloned();
        let found = match &entry {
            Some(entry) if entry.expires.is_none_or(|expires| now < expires) => Found::Fresh,
            Some(entry) if stale && !self.is_gone(entry, now) => Found::Stale,
            _ => Found::Miss,
        };
        if !count {
            return found;
        }
        match (found, entry) {
            (Found::Miss, entry) => {
                self.misses += 1;
                if entry.is_some_and(|entry| self.is_gone(&entry, now)) {
                    self.expire(key);
                }
            }
            (_, Some(mut entry)) => {
                self.hits += 1;
                entry.hits += 1;
                entry.last_used = now;
                self.take(key);
                self.entries.push(entry);
            }
            (_, None) => {}
        }
        found
    }

    pub fn matching(&self, invalidation: &Json, now: u64) -> Vec<u32> {
        let fits = |entry: &&Listed| {
            let tag = |tag: &Json| entry.tags.iter().any(|own| *tag == json!(own));
            let tags = invalidation["tags"].as_array();
            let older_than = invalidation["olderThanMs"].as_u64();
            tags.is_none_or(|tags| tags.iter().any(tag))
                && (invalidation["model"].is_null() || invalidation["model"] == json!(entry.model))
                && older_than.is_none_or(|limit| now - entry.created > limit)
        };
        let mut keys: Vec<u32> = self
            .entries
            .iter()
            .filter(fits)
            .map(|entry| entry.key)
            .collect();
        keys.sort();
        keys
    }

    /// As `Core::entries` tells it, in order of keys.
    pub fn view(&self) -> Vec<Json> {
        let mut entries = self.entries.clone();
        entries.sort_by_key(|entry| entry.key);
        let view = |entry: &Listed| {
            json!([
                key(entry.key),
                entry.bytes,
                entry.created,
                entry.expires,
                entry.tags,
                entry.model,
                entry.last_used,
                entry.hits,
                self.is_pinned(entry),
            ])
        };
        entries.iter().map(view).collect()
    }
}
