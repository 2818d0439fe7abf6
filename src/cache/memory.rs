//! The entries in memory: what is there, and what goes when there is too much.
//!
//! Order is exact: each use has a number, and the lowest number goes first. A use
//! only writes down its number; an entry is moved to its place in the order when
//! it comes up for eviction under an older one. So a hit costs no search in the
//! order, and an entry that is used often is moved once for many uses.
//!
//! An entry that is pinned, by itself or by a tag, keeps its number but is not in
//! the order; unpinned, it is back where its last use puts it. Pinned entries
//! count like any others, so where they fill the limits nothing else stays: the
//! limits are kept, and what was pinned is kept, and a new entry that is neither
//! is given out once and evicted. Only pinned entries alone may exceed the limits.
//!
//! An entry that is expired beyond use goes before one that is not, pinned or
//! not. What went is noted as a [`Departure`], for the figures and for listeners.

use super::entry::Use;
use super::key::Key;
use super::record::Record;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub max_entries: u64,
    pub max_bytes: u64,
    /// How long an entry is of use after it has expired.
    pub stale_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    Fresh,
    /// Expired, and still of use to who takes it so.
    Stale,
    Expired,
}

/// Of an entry that expires at `expires`, its last moment being the one before.
pub fn freshness(expires: Option<u64>, now: u64, stale_ms: u64) -> Freshness {
    match expires {
        Some(expires) if expires.saturating_add(stale_ms) <= now => Freshness::Expired,
        Some(expires) if expires <= now => Freshness::Stale,
        _ => Freshness::Fresh,
    }
}

/// Why an entry is gone without anybody having deleted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Expired,
    /// Too many entries.
    Entries,
    /// Too many bytes.
    Bytes,
    /// It alone has more bytes than are allowed, so it was not let in.
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    pub key: Key,
    pub reason: Reason,
}

/// An entry in memory.
#[derive(Debug, Clone)]
pub struct Held {
    pub record: Rc<Record>,
    pub used: Use,
    /// By itself or by a tag.
    pub pinned: bool,
    by_itself: bool,
    /// Number of its last use.
    turn: u64,
    /// Number under which it is in the order: of this use or an earlier one.
    placed: u64,
}

#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    pinned_tags: HashSet<String>,
    entries: HashMap<Key, Held>,
    /// Those that may be evicted, by `placed`.
    order: BTreeMap<u64, Key>,
    /// All that expire.
    expiry: BTreeSet<(u64, Key)>,
    next_turn: u64,
    bytes: u64,
    raw_bytes: u64,
    pinned: u64,
    departures: Vec<Departure>,
}

impl Memory {
    pub fn new(limits: Limits, pinned_tags: Vec<String>) -> Self {
        Self {
            limits,
            pinned_tags: pinned_tags.into_iter().collect(),
            entries: HashMap::new(),
            order: BTreeMap::new(),
            expiry: BTreeSet::new(),
            next_turn: 0,
            bytes: 0,
            raw_bytes: 0,
            pinned: 0,
            departures: Vec::new(),
        }
    }

    /// An entry of use at `now`; with `stale`, also an expired one. `count`: this
    /// is a use, and the entry is deleted where it is beyond use.
    pub fn find(
        &mut self,
        key: &Key,
        now: u64,
        stale: bool,
        count: bool,
    ) -> Option<(Held, Freshness)> {
        let held = self.entries.get_mut(key)?;
        let freshness = freshness(held.record.facts().expires, now, self.limits.stale_ms);
        let served = match freshness {
            Freshness::Fresh => true,
            Freshness::Stale => stale,
            Freshness::Expired => false,
        };
        if served {
            if count {
                held.used.last_used = now;
                held.used.hits += 1;
                held.turn = self.next_turn;
                self.next_turn += 1;
            }
            return Some((held.clone(), freshness));
        }
        if freshness == Freshness::Expired && count {
            self.depart(key, Reason::Expired);
        }
        None
    }

    /// Puts an entry in place of what has its key, whose pin it inherits, and
    /// evicts what no longer fits; it as it then is, be it kept or not.
    pub fn put(&mut self, record: Record, used: Use, now: u64) -> Held {
        let key = record.key();
        let by_itself = self.remove(&key).is_some_and(|old| old.by_itself);
        let held = Held {
            pinned: by_itself || self.has_pinned_tag(&record),
            record: Rc::new(record),
            used,
            by_itself,
            turn: self.next_turn,
            placed: self.next_turn,
        };
        if bytes_of(&held) > self.limits.max_bytes {
            let reason = Reason::TooLarge;
            self.departures.push(Departure { key, reason });
            return held;
        }
        self.next_turn += 1;
        self.bytes += bytes_of(&held);
        self.raw_bytes += held.record.raw_bytes();
        if let Some(expires) = held.record.facts().expires {
            self.expiry.insert((expires, key));
        }
        if held.pinned {
            self.pinned += 1;
        } else {
            self.order.insert(held.placed, key);
        }
        self.entries.insert(key, held.clone());
        self.fit(now);
        held
    }

    pub fn remove(&mut self, key: &Key) -> Option<Held> {
        let held = self.entries.remove(key)?;
        self.bytes -= bytes_of(&held);
        self.raw_bytes -= held.record.raw_bytes();
        if let Some(expires) = held.record.facts().expires {
            self.expiry.remove(&(expires, *key));
        }
        if held.pinned {
            self.pinned -= 1;
        } else {
            self.order.remove(&held.placed);
        }
        Some(held)
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.expiry.clear();
        (self.bytes, self.raw_bytes, self.pinned) = (0, 0, 0);
    }

    /// Deletes what is expired beyond use; how many.
    pub fn sweep(&mut self, now: u64) -> usize {
        let mut swept = 0;
        while let Some(&(expires, key)) = self.expiry.first()
            && freshness(Some(expires), now, self.limits.stale_ms) == Freshness::Expired
        {
            self.depart(&key, Reason::Expired);
            swept += 1;
        }
        swept
    }

    /// Sets limits and tags at once, so that nothing goes for what is only so in
    /// between.
    pub fn configure(&mut self, limits: Limits, pinned_tags: Vec<String>, now: u64) {
        self.limits = limits;
        self.pinned_tags = pinned_tags.into_iter().collect();
        let keys: Vec<Key> = self.entries.keys().copied().collect();
        for key in keys {
            self.place(key);
        }
        self.fit(now);
    }

    /// False where there is no such entry.
    pub fn set_pinned(&mut self, key: &Key, pinned: bool) -> bool {
        let Some(held) = self.entries.get_mut(key) else {
            return false;
        };
        held.by_itself = pinned;
        self.place(*key);
        self.evict();
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.entries.values()
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// How many are pinned.
    pub fn pinned(&self) -> u64 {
        self.pinned
    }

    /// What has gone since the last call, in order.
    pub fn departures(&mut self) -> std::vec::Drain<'_, Departure> {
        self.departures.drain(..)
    }

    fn has_pinned_tag(&self, record: &Record) -> bool {
        let mut tags = record.facts().tags.iter();
        tags.any(|tag| self.pinned_tags.contains(tag))
    }

    /// Puts an entry into the order or takes it out, as its pins now say.
    fn place(&mut self, key: Key) {
        let Some(held) = self.entries.get(&key) else {
            return;
        };
        let pinned = held.by_itself || self.has_pinned_tag(&held.record);
        if let Some(held) = self.entries.get_mut(&key)
            && held.pinned != pinned
        {
            held.pinned = pinned;
            if pinned {
                self.order.remove(&held.placed);
                self.pinned += 1;
            } else {
                held.placed = held.turn;
                self.order.insert(held.placed, key);
                self.pinned -= 1;
            }
        }
    }

    /// What is wrong with how much there is.
    fn surplus(&self) -> Option<Reason> {
        if self.entries.len() as u64 > self.limits.max_entries {
            Some(Reason::Entries)
        } else {
            (self.bytes > self.limits.max_bytes).then_some(Reason::Bytes)
        }
    }

    fn fit(&mut self, now: u64) {
        if self.surplus().is_some() {
            self.sweep(now);
            self.evict();
        }
    }

    fn evict(&mut self) {
        while let Some(reason) = self.surplus()
            && let Some(key) = self.longest_unused()
        {
            self.depart(&key, reason);
        }
    }

    /// Of those in the order. What was used since it was placed is placed anew:
    /// the first that was not has the lowest number of all, since none is placed
    /// above its last use.
    fn longest_unused(&mut self) -> Option<Key> {
        while let Some((&placed, &key)) = self.order.first_key_value() {
            let held = self.entries.get_mut(&key)?;
            if held.turn == placed {
                return Some(key);
            }
            self.order.remove(&placed);
            held.placed = held.turn;
            self.order.insert(held.placed, key);
        }
        None
    }

    fn depart(&mut self, key: &Key, reason: Reason) {
        if self.remove(key).is_some() {
            self.departures.push(Departure { key: *key, reason });
        }
    }
}

fn bytes_of(held: &Held) -> u64 {
    held.record.bytes().len() as u64
}
