//! Any sequence of operations, carried out by the core and on a [`List`].

use super::core::{Core, Found, to_json};
use super::entry::NewEntry;
use super::invalidation::Invalidation;
use super::key::Key;
use super::list::{Limits, List, Listed};
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
        Self {
            core: Core::new(core_settings(limits, &[]), 0),
            list: List::new(limits),
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
                self.core
                    .configure(core_settings(self.list.limits, tags), now);
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
