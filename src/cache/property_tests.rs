//! Any sequence of operations against a list that is searched from end to end.
//!
//! The list is in the order of use, the longest unused first, pinned or not.

use super::core::{Core, Found, to_json};
use super::entry::NewEntry;
use super::invalidation::Invalidation;
use super::key::Key;
use super::record::Value;
use super::testing::{key, new_entry, settings};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Op {
    Set(Setting),
    /// Of a record that was made before.
    Admit {
        key: u32,
        stale: bool,
    },
    Find {
        key: u32,
        stale: bool,
        count: bool,
    },
    Delete(Vec<u32>),
    Pin(u32, bool),
    PinTags(Vec<String>),
    Advance(u64),
    Configure(Limits, Vec<String>),
    Sweep,
    Invalidate(Json),
    Clear,
    ResetStats,
}

#[derive(Debug, Clone)]
struct Setting {
    key: u32,
    bytes: usize,
    ttl: u64,
    tags: Vec<String>,
    model: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    entries: u64,
    bytes: u64,
    stale: u64,
}

/// An entry of the list.
#[derive(Debug, Clone, PartialEq)]
struct Listed {
    key: u32,
    bytes: u64,
    created: u64,
    expires: Option<u64>,
    tags: Vec<String>,
    model: Option<String>,
    last_used: u64,
    hits: u64,
    by_itself: bool,
}

struct List {
    limits: Limits,
    pinned_tags: Vec<String>,
    entries: Vec<Listed>,
    events: Vec<Json>,
    evictions: BTreeMap<&'static str, u64>,
    expirations: u64,
    hits: u64,
    misses: u64,
}

impl List {
    fn is_pinned(&self, entry: &Listed) -> bool {
        entry.by_itself || entry.tags.iter().any(|tag| self.pinned_tags.contains(tag))
    }

    fn is_gone(&self, entry: &Listed, now: u64) -> bool {
        entry
            .expires
            .is_some_and(|expires| now >= expires + self.limits.stale)
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    fn take(&mut self, key: u32) -> Option<Listed> {
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

    fn sweep(&mut self, now: u64) -> usize {
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

    fn evict_surplus(&mut self) {
        while let Some(reason) = self.surplus() {
            let oldest = self.entries.iter().find(|entry| !self.is_pinned(entry));
            let Some(oldest) = oldest else { return };
            self.evict(oldest.key, reason);
        }
    }

    fn fit(&mut self, now: u64) {
        if self.surplus().is_some() {
            self.sweep(now);
            self.evict_surplus();
        }
    }

    fn put(&mut self, mut entry: Listed, now: u64) {
        let old = self.take(entry.key);
        entry.by_itself = old.is_some_and(|old| old.by_itself);
        if entry.bytes > self.limits.bytes {
            return self.evict(entry.key, "tooLarge");
        }
        self.entries.push(entry);
        self.fit(now);
    }

    fn find(&mut self, key: u32, now: u64, stale: bool, count: bool) -> Found {
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

    fn matching(&self, invalidation: &Json, now: u64) -> Vec<u32> {
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
    fn view(&self) -> Vec<Json> {
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

struct World {
    core: Core,
    list: List,
    now: u64,
    /// Made before, by key; entries as they were then.
    records: BTreeMap<u32, (Vec<u8>, Listed)>,
}

fn core_settings(limits: Limits, tags: &[String]) -> super::settings::Settings {
    settings(json!({
        "maxEntries": limits.entries, "maxBytes": limits.bytes, "staleMs": limits.stale,
        "pinnedTags": tags,
    }))
}

impl World {
    fn new() -> Self {
        let limits = Limits {
            entries: 4,
            bytes: 2_000,
            stale: 20,
        };
        let list = List {
            limits,
            pinned_tags: Vec::new(),
            entries: Vec::new(),
            events: Vec::new(),
            evictions: BTreeMap::new(),
            expirations: 0,
            hits: 0,
            misses: 0,
        };
        Self {
            core: Core::new(core_settings(limits, &[]), 0),
            list,
            now: 1_000,
            records: BTreeMap::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        let now = self.now;
        match op {
            Op::Set(setting) => self.set(setting),
            Op::Admit { key: number, stale } => self.admit(*number, *stale),
            Op::Find {
                key: number,
                stale,
                count,
            } => {
                let found = self.core.find(&key(*number), now, 0.0, *stale, *count);
                assert_eq!(found, self.list.find(*number, now, *stale, *count));
                assert_eq!(self.core.at_hand().is_ok(), found != Found::Miss);
            }
            Op::Delete(numbers) => {
                let keys: Vec<Key> = numbers.iter().map(|number| key(*number)).collect();
                let list = &mut self.list;
                let there = numbers
                    .iter()
                    .filter(|number| list.take(**number).is_some());
                assert_eq!(self.core.delete(&keys), there.count());
            }
            Op::Pin(number, pinned) => {
                let mut entries = self.list.entries.iter_mut();
                let entry = entries.find(|entry| entry.key == *number);
                assert_eq!(
                    self.core.set_pinned(&key(*number), *pinned),
                    entry.is_some()
                );
                if let Some(entry) = entry {
                    entry.by_itself = *pinned;
                    self.list.evict_surplus();
                }
            }
            Op::PinTags(tags) => {
                self.core.set_pinned_tags(tags.clone(), now);
                self.list.pinned_tags.clone_from(tags);
                self.list.fit(now);
            }
            Op::Advance(ms) => self.now += ms,
            Op::Configure(limits, tags) => {
                self.core.configure(core_settings(*limits, tags), now);
                self.list.limits = *limits;
                self.list.pinned_tags.clone_from(tags);
                self.list.fit(now);
            }
            Op::Sweep => assert_eq!(self.core.sweep(now), self.list.sweep(now)),
            Op::Invalidate(json) => {
                let invalidation = Invalidation::parse(&json.to_string()).unwrap();
                let keys = self.core.matching(&invalidation, now);
                let numbers = self.list.matching(json, now);
                assert_eq!(keys, numbers.iter().map(|n| key(*n)).collect::<Vec<Key>>());
                assert_eq!(self.core.delete(&keys), keys.len());
                numbers
                    .iter()
                    .for_each(|number| drop(self.list.take(*number)));
            }
            Op::Clear => {
                self.core.clear();
                self.list.entries.clear();
            }
            Op::ResetStats => {
                self.core.reset_stats(now);
                self.list.evictions.clear();
                (self.list.expirations, self.list.hits, self.list.misses) = (0, 0, 0);
            }
        }
    }

    fn set(&mut self, setting: &Setting) {
        let Setting {
            key: number,
            bytes,
            ttl,
            tags,
            model,
        } = setting;
        let new = NewEntry {
            tags: tags.clone(),
            model: model.clone(),
            ttl_ms: Some(*ttl as f64),
            ..new_entry(*number)
        };
        let value = "a".repeat(*bytes);
        self.core
            .insert(new, &Value::from(&value[..]), None, self.now, 0.0)
            .unwrap();
        let (record, ..) = self.core.at_hand().unwrap();
        assert_eq!(record.value().unwrap(), Value::from(&value[..]));
        let record = record.bytes().to_vec();
        let listed = Listed {
            key: *number,
            bytes: record.len() as u64,
            created: self.now,
            expires: (*ttl > 0).then_some(self.now + ttl),
            tags: tags.clone(),
            model: model.clone(),
            last_used: self.now,
            hits: 0,
            by_itself: false,
        };
        self.records.insert(*number, (record, listed.clone()));
        self.list.put(listed, self.now);
    }

    fn admit(&mut self, number: u32, stale: bool) {
        let Some((record, listed)) = self.records.get(&number) else {
            return;
        };
        let mut listed = listed.clone();
        let now = self.now;
        let found = self
            .core
            .admit(&key(number), record.clone(), "file", now, 0.0, stale);
        let expired = listed.expires.is_some_and(|expires| now >= expires);
        let expected = match (expired, stale && !self.list.is_gone(&listed, now)) {
            (false, _) => Found::Fresh,
            (true, true) => Found::Stale,
            (true, false) => Found::Miss,
        };
        assert_eq!(found, Ok(expected));
        if expected != Found::Miss {
            (listed.last_used, listed.hits) = (now, 1);
            self.list.put(listed, now);
        }
    }

    fn check(&mut self) {
        let list = &mut self.list;
        let entries: Vec<Json> = serde_json::from_str(&self.core.entries().unwrap()).unwrap();
        let mut view: Vec<Json> = entries
            .iter()
            .map(|entry| {
                let fields = [
                    "key", "bytes", "created", "expires", "tags", "model", "lastUsed", "hits",
                    "pinned",
                ];
                fields.iter().map(|field| entry[*field].clone()).collect()
            })
            .collect();
        view.sort_by_key(|entry| entry[0].to_string());
        assert_eq!(view, list.view());
        // Everything that went, in the order in which it went.
        let events = to_json(&self.core.take_events()).unwrap();
        let events: Vec<Json> = serde_json::from_str(&events).unwrap();
        assert_eq!(events, std::mem::take(&mut list.events));
        let stats = self.core.stats();
        let evictions = |reason| list.evictions.get(reason).copied().unwrap_or(0);
        assert_eq!(stats.evictions.entries, evictions("entries"));
        assert_eq!(stats.evictions.bytes, evictions("bytes"));
        assert_eq!(stats.evictions.too_large, evictions("tooLarge"));
        assert_eq!(stats.evictions.total, list.evictions.values().sum::<u64>());
        assert_eq!(stats.expirations, list.expirations);
        assert_eq!(
            (stats.layers[0].hits, stats.layers[0].misses),
            (list.hits, list.misses)
        );
        let memory = &stats.memory;
        assert_eq!(memory.entries, list.entries.len() as u64);
        assert_eq!(
            (memory.bytes, memory.raw_bytes),
            (list.bytes(), list.bytes())
        );
        let pinned = list.entries.iter().filter(|entry| list.is_pinned(entry));
        assert_eq!(memory.pinned, pinned.count() as u64);
        let exceeded = memory.entries > memory.max_entries || memory.bytes > memory.max_bytes;
        assert!(!exceeded || memory.pinned == memory.entries);
    }
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(vec!["a".to_owned(), "b".to_owned()], 0..=2)
}

fn model() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof![Just("m".to_owned()), Just("n".to_owned())])
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let number = || 0..8u32;
    let setting = (
        number(),
        0..900usize,
        prop_oneof![Just(0), 1..60u64],
        tags(),
        model(),
    );
    let setting = setting.prop_map(|(key, bytes, ttl, tags, model)| Setting {
        key,
        bytes,
        ttl,
        tags,
        model,
    });
    let limits = (0..8u64, 0..4_000u64, 0..40u64);
    let limits = limits.prop_map(|(entries, bytes, stale)| Limits {
        entries,
        bytes,
        stale,
    });
    let invalidation = (
        prop::option::of(tags()),
        model(),
        prop::option::of(0..60u64),
    );
    let invalidation = invalidation
        .prop_filter("at least one limit", |(tags, model, age)| {
            tags.is_some() || model.is_some() || age.is_some()
        })
        .prop_map(|(tags, model, age)| json!({ "tags": tags, "model": model, "olderThanMs": age }));
    let op = prop_oneof![
        10 => setting.prop_map(Op::Set),
        3 => (number(), any::<bool>()).prop_map(|(key, stale)| Op::Admit { key, stale }),
        10 => (number(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(key, stale, count)| Op::Find { key, stale, count }),
        2 => prop::collection::vec(number(), 0..3).prop_map(Op::Delete),
        4 => (number(), any::<bool>()).prop_map(|(key, pinned)| Op::Pin(key, pinned)),
        2 => tags().prop_map(Op::PinTags),
        6 => (0..40u64).prop_map(Op::Advance),
        2 => (limits, tags()).prop_map(|(limits, tags)| Op::Configure(limits, tags)),
        1 => Just(Op::Sweep),
        1 => invalidation.prop_map(Op::Invalidate),
        1 => Just(Op::Clear),
        1 => Just(Op::ResetStats),
    ];
    prop::collection::vec(op, 1..80)
}

proptest! {
    #[test]
    fn memory_does_what_a_list_does(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
    }
}
