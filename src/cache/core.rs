//! The cache as its host uses it: one call, one answer, no waiting.
//!
//! What a call has found or made stays at hand until the next one that looks, so
//! that a host that only wants the value does not pay for the rest.
//!
//! An entry leaves the index of prompts when it is deleted or has expired, not
//! when memory had no room for it: another layer may still have it.

use super::clean_up;
use super::entry::{self, Facts, NewEntry, Use};
use super::events::{Event, Events};
use super::invalidation::Invalidation;
use super::key::Key;
use super::memory::{Freshness, Held, Memory, Reason, freshness};
use super::metrics::{MEMORY, Metrics, Stats};
use super::prometheus;
use super::record::{Record, Value};
use super::refresh::is_due;
use super::semantic::{SemanticIndex, Similar};
use super::settings::Settings;
use crate::error::{Error, Result};

/// What a look into the cache has come to; numbers as in TypeScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Miss = 0,
    Fresh = 1,
    /// Good, but to be computed anew in the background.
    Due = 2,
    /// Expired, and may be given while it is computed anew.
    Stale = 3,
}

#[derive(Debug)]
pub struct Core {
    settings: Settings,
    memory: Memory,
    index: SemanticIndex,
    pub metrics: Metrics,
    events: Events,
    at_hand: Option<Held>,
}

impl Core {
    pub fn new(settings: Settings, now: u64) -> Self {
        Self {
            memory: Memory::new(settings.limits, settings.pinned_tags.clone()),
            index: SemanticIndex::new(settings.semantic_threshold),
            metrics: Metrics::new(now),
            events: Events::default(),
            at_hand: None,
            settings,
        }
    }

    pub fn configure(&mut self, settings: Settings, now: u64) {
        self.settings = settings;
        let Settings {
            limits,
            semantic_threshold,
            pinned_tags,
            ..
        } = &self.settings;
        self.index.set_threshold(*semantic_threshold);
        self.memory.configure(*limits, pinned_tags.clone(), now);
        self.note_departures();
    }

    /// Looks into memory. `stale`: an expired entry within its time counts.
    /// `count`: as a use, and in the figures.
    pub fn find(&mut self, key: &Key, now: u64, chance: f64, stale: bool, count: bool) -> Found {
        let beta = self.settings.early_refresh;
        self.at_hand = None;
        let mut found = Found::Miss;
        if let Some((held, freshness)) = self.memory.find(key, now, stale, count) {
            let hits = held.used.hits - u64::from(count);
            found = state(held.record.facts(), freshness, hits, now, beta, chance);
            self.at_hand = Some(held);
        }
        if count {
            match found {
                Found::Miss => self.metrics.memory.misses += 1,
                _ => self.metrics.memory.hits += 1,
            }
            self.note_departures();
        }
        found
    }

    /// The record at hand, its use, and whether it is pinned.
    pub fn at_hand(&self) -> Result<(&Record, Use, bool)> {
        let held = self.at_hand.as_ref();
        let held = held.ok_or_else(|| Error::Internal("no entry was found".into()))?;
        Ok((&held.record, held.used, held.pinned))
    }

    /// Makes an entry, in place of what has its key, and has it at hand, be it
    /// kept in memory or not. `vector` is that of its prompt, for `semantic`.
    ///
    /// Error: `invalid-argument`.
    pub fn insert(
        &mut self,
        new: NewEntry,
        value: &Value,
        vector: Option<Vec<f32>>,
        now: u64,
        chance: f64,
    ) -> Result<()> {
        self.at_hand = None;
        let ttl = match new.ttl_ms {
            Some(ttl) => entry::duration("cacheTtl", ttl)?,
            None => self.settings.ttl_ms,
        };
        let expires = entry::expires(now, ttl, self.settings.ttl_jitter, chance);
        let facts = new.facts(now, expires)?;
        let semantic = new.semantic.zip(vector.as_deref());
        let record = Record::seal(facts, value, semantic, self.settings.compress_over)?;
        self.metrics.memory.sets += 1;
        self.put(record, 0, now);
        Ok(())
    }

    /// Takes a record that `layer` had under `key`, as a use of it. One that is
    /// expired beyond what `stale` allows is a miss and is not taken.
    ///
    /// Errors: `invalid-cache-record`; `out-of-memory`.
    pub fn admit(
        &mut self,
        key: &Key,
        bytes: Vec<u8>,
        layer: &str,
        now: u64,
        chance: f64,
        stale: bool,
    ) -> Result<Found> {
        self.at_hand = None;
        let refused = |reason: String| Error::InvalidCacheRecord(format!("{layer}: {reason}"));
        let record = Record::open(bytes).map_err(|error| match error {
            Error::InvalidCacheRecord(reason) => refused(reason),
            other => other,
        })?;
        if record.key() != *key {
            return Err(refused(format!("it is that of {}", record.key())));
        }
        let freshness = freshness(record.facts().expires, now, self.settings.limits.stale_ms);
        match freshness {
            Freshness::Fresh => {}
            Freshness::Stale if stale => {}
            Freshness::Stale | Freshness::Expired => return Ok(Found::Miss),
        }
        // Somebody made it, and it is asked for again: that it was not used in
        // between is not known here, and with many readers is unlikely.
        let hits = 1;
        let beta = self.settings.early_refresh;
        let found = state(record.facts(), freshness, hits, now, beta, chance);
        self.put(record, hits, now);
        Ok(found)
    }

    fn put(&mut self, record: Record, hits: u64, now: u64) {
        let key = record.key();
        match record.semantic() {
            Some((semantic, vector)) => {
                let (family, prompt) = (&semantic.family, &semantic.prompt);
                self.index.insert(key.0, family, prompt, vector);
            }
            None => self.index.remove(&key.0),
        }
        let used = Use {
            last_used: now,
            hits,
        };
        self.at_hand = Some(self.memory.put(record, used, now));
        self.note_departures();
    }

    /// How many there were.
    pub fn delete(&mut self, keys: &[Key]) -> usize {
        let removed = keys.iter().filter(|key| {
            self.index.remove(&key.0);
            self.memory.remove(key).is_some()
        });
        removed.count()
    }

    pub fn clear(&mut self) {
        self.memory.clear();
        self.index.clear();
        self.at_hand = None;
    }

    /// Deletes what is expired beyond use; how many.
    pub fn sweep(&mut self, now: u64) -> usize {
        let swept = self.memory.sweep(now);
        self.note_departures();
        swept
    }

    /// Keys of the entries in memory that an invalidation names, in order.
    pub fn matching(&self, invalidation: &Invalidation, now: u64) -> Vec<Key> {
        let facts = self.memory.iter().map(|held| held.record.facts());
        let fitting = facts.filter(|facts| invalidation.fits(facts, now));
        let mut keys: Vec<Key> = fitting.map(|facts| facts.key).collect();
        keys.sort();
        keys
    }

    /// False where there is no such entry. A pin lasts as long as the entry, and
    /// passes to what replaces it.
    pub fn set_pinned(&mut self, key: &Key, pinned: bool) -> bool {
        let there = self.memory.set_pinned(key, pinned);
        self.note_departures();
        there
    }

    /// The entries in memory as `CacheEntry`s in JSON.
    pub fn entries(&self) -> Result<String> {
        let layers = [MEMORY];
        let views: Vec<_> = self
            .memory
            .iter()
            .map(|held| held.record.view(held.used, held.pinned, &layers))
            .collect();
        to_json(&views)
    }

    /// What went by itself since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.take()
    }

    /// The nearest prompt of a family, see [`SemanticIndex::similar`].
    pub fn similar(
        &mut self,
        family: &str,
        prompt: &str,
        vector: Vec<f32>,
        now: u64,
    ) -> Option<Similar> {
        self.sweep(now);
        self.index.similar(family, prompt, vector)
    }

    /// Makes an entry of another layer findable by meaning.
    pub fn add_vector(&mut self, key: &Key, family: &str, prompt: &str, vector: Vec<f32>) {
        self.index.insert(key.0, family, prompt, vector);
    }

    pub fn stats(&self) -> Stats<'_> {
        self.metrics.stats(&self.memory)
    }

    pub fn reset_stats(&mut self, now: u64) {
        self.metrics = Metrics::new(now);
    }

    pub fn prometheus(&self) -> String {
        prometheus::text(&self.stats())
    }

    fn note_departures(&mut self) {
        for departure in self.memory.departures() {
            if departure.reason == Reason::Expired {
                self.index.remove(&departure.key.0);
            }
            self.metrics.departed(departure.reason);
            self.events.push(departure);
        }
    }
}

fn state(
    facts: &Facts,
    freshness: Freshness,
    hits: u64,
    now: u64,
    beta: f64,
    chance: f64,
) -> Found {
    match (freshness, facts.expires) {
        (Freshness::Fresh, Some(expires))
            if is_due(expires, now, facts.cost_ms, hits, beta, chance) =>
        {
            Found::Due
        }
        (Freshness::Fresh, _) => Found::Fresh,
        (Freshness::Stale | Freshness::Expired, _) => Found::Stale,
    }
}

/// The `CacheEntry` of any record, unused, in JSON. Error: `invalid-cache-record`.
pub fn inspect(bytes: Vec<u8>) -> Result<String> {
    let record = Record::open(bytes)?;
    let used = Use {
        last_used: record.facts().created,
        hits: 0,
    };
    to_json(&record.view(used, false, &[]))
}

/// A layer's plan in JSON, see [`clean_up::clean_up`].
pub fn plan(request: &str) -> Result<String> {
    to_json(&clean_up::clean_up(request)?)
}

pub fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.to_string()))
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
