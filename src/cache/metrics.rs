//! What happened, counted: by layer, by kind of answer, by model.
//!
//! The core counts what it does itself: uses of memory, entries made, what went.
//! It is told of the rest: what other layers did and how long it took, and how
//! each request ended.

use super::latency::{Latencies, Latency};
use super::memory::{Memory, Reason};
use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as Unknown, StrDeserializer};

/// Most models that are counted by themselves. A page that loads model after
/// model would otherwise make ever more series.
const MAX_MODELS: usize = 32;
/// All models after those.
const OTHER_MODELS: &str = "other";
pub const MEMORY: &str = "memory";

/// What a layer did.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    Hit,
    Miss,
    Set,
    Error,
    Rejected,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Exact,
    Stale,
    Semantic,
    Miss,
    /// By an equal request in progress.
    Shared,
    /// Computed although it was there: forced, or in the background.
    Refresh,
    Error,
}

/// One of an enum's words. Error: `invalid-argument`.
pub fn word<T: for<'de> serde::Deserialize<'de>>(what: &str) -> Result<T> {
    let word: StrDeserializer<Unknown> = what.into_deserializer();
    T::deserialize(word).map_err(|error| Error::argument("what", error.to_string()))
}

#[derive(Debug, Default)]
pub struct LayerFigures {
    pub name: String,
    pub hits: u64,
    pub misses: u64,
    pub sets: u64,
    pub errors: u64,
    pub rejected: u64,
    /// Of hits and misses.
    pub get: Latencies,
    pub set: Latencies,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelFigures {
    pub model: String,
    pub hits: u64,
    pub misses: u64,
    pub saved_ms: f64,
    pub saved_tokens: u64,
}

#[derive(Debug, Default)]
pub struct Metrics {
    since: u64,
    requests: u64,
    exact: u64,
    stale: u64,
    semantic: u64,
    misses: u64,
    shared: u64,
    refreshes: u64,
    errors: u64,
    saved_ms: f64,
    saved_tokens: u64,
    evicted_entries: u64,
    evicted_bytes: u64,
    too_large: u64,
    expirations: u64,
    pub memory: LayerFigures,
    layers: Vec<LayerFigures>,
    lookup: Latencies,
    models: Vec<ModelFigures>,
}

impl Metrics {
    pub fn new(since: u64) -> Self {
        Self {
            since,
            memory: LayerFigures {
                name: MEMORY.into(),
                ..LayerFigures::default()
            },
            ..Self::default()
        }
    }

    /// What a layer did in so many milliseconds.
    pub fn observe(&mut self, layer: &str, deed: Deed, ms: f64) {
        let figures = self.layer(layer);
        match deed {
            Deed::Hit => figures.hits += 1,
            Deed::Miss => figures.misses += 1,
            Deed::Set => figures.sets += 1,
            Deed::Error => figures.errors += 1,
            Deed::Rejected => figures.rejected += 1,
        }
        match deed {
            Deed::Hit | Deed::Miss => figures.get.record(ms),
            Deed::Set => figures.set.record(ms),
            // A timeout says nothing of how fast a layer answers.
            Deed::Error | Deed::Rejected => {}
        }
    }

    fn layer(&mut self, name: &str) -> &mut LayerFigures {
        if name == MEMORY {
            return &mut self.memory;
        }
        let index = self.layers.iter().position(|layer| layer.name == name);
        let index = index.unwrap_or_else(|| {
            let name = name.to_owned();
            self.layers.push(LayerFigures {
                name,
                ..LayerFigures::default()
            });
            self.layers.len() - 1
        });
        &mut self.layers[index]
    }

    /// How a request ended: what its lookup took, and what the answer saved.
    pub fn answered(
        &mut self,
        answer: Answer,
        model: Option<&str>,
        lookup_ms: f64,
        saved_ms: f64,
        saved_tokens: u64,
    ) {
        // A sum never recovers from one number that is none.
        let saved_ms = if saved_ms.is_finite() {
            saved_ms.max(0.0)
        } else {
            0.0
        };
        let count = match answer {
            Answer::Exact => &mut self.exact,
            Answer::Stale => &mut self.stale,
            Answer::Semantic => &mut self.semantic,
            Answer::Miss => &mut self.misses,
            Answer::Shared => &mut self.shared,
            Answer::Refresh => &mut self.refreshes,
            Answer::Error => &mut self.errors,
        };
        *count += 1;
        let hit = matches!(answer, Answer::Exact | Answer::Stale | Answer::Semantic);
        let miss = answer == Answer::Miss;
        if hit || miss {
            self.lookup.record(lookup_ms);
        }
        if !matches!(answer, Answer::Refresh | Answer::Error) {
            self.requests += 1;
        }
        self.saved_ms += saved_ms;
        self.saved_tokens += saved_tokens;
        if let Some(model) = model {
            let figures = self.model(model);
            figures.hits += u64::from(hit);
            figures.misses += u64::from(miss);
            figures.saved_ms += saved_ms;
            figures.saved_tokens += saved_tokens;
        }
    }

    fn model(&mut self, name: &str) -> &mut ModelFigures {
        let place = |models: &[ModelFigures], name| models.iter().position(|m| m.model == name);
        let known = place(&self.models, name);
        let name = match known {
            None if self.models.len() >= MAX_MODELS => OTHER_MODELS,
            _ => name,
        };
        let index = known
            .or_else(|| place(&self.models, name))
            .unwrap_or_else(|| {
                let model = name.to_owned();
                self.models.push(ModelFigures {
                    model,
                    ..ModelFigures::default()
                });
                self.models.len() - 1
            });
        &mut self.models[index]
    }

    /// An entry has gone by itself.
    pub fn departed(&mut self, reason: Reason) {
        match reason {
            Reason::Expired => self.expirations += 1,
            Reason::Entries => self.evicted_entries += 1,
            Reason::Bytes => self.evicted_bytes += 1,
            Reason::TooLarge => self.too_large += 1,
        }
    }

    /// All figures, with those of `memory`.
    pub fn stats(&self, memory: &Memory) -> Stats<'_> {
        let hits = self.exact + self.stale + self.semantic;
        let looked_up = hits + self.misses;
        let layers = std::iter::once(&self.memory).chain(&self.layers);
        Stats {
            since: self.since,
            requests: self.requests,
            hits: Hits {
                exact: self.exact,
                stale: self.stale,
                semantic: self.semantic,
                total: hits,
            },
            misses: self.misses,
            hit_rate: hits as f64 / looked_up.max(1) as f64,
            shared: self.shared,
            sets: self.memory.sets,
            refreshes: self.refreshes,
            evictions: Evictions {
                entries: self.evicted_entries,
                bytes: self.evicted_bytes,
                too_large: self.too_large,
                total: self.evicted_entries + self.evicted_bytes + self.too_large,
            },
            expirations: self.expirations,
            errors: self.errors,
            saved_ms: self.saved_ms,
            saved_tokens: self.saved_tokens,
            memory: MemoryStats {
                entries: memory.len() as u64,
                bytes: memory.bytes(),
                raw_bytes: memory.raw_bytes(),
                max_entries: memory.limits().max_entries,
                max_bytes: memory.limits().max_bytes,
                pinned: memory.pinned(),
            },
            layers: layers.map(LayerStats::new).collect(),
            lookup: self.lookup.latency(),
            models: &self.models,
        }
    }
}

/// `CacheStats` in TypeScript, its layers with the figures alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats<'a> {
    pub since: u64,
    /// All but refreshes.
    pub requests: u64,
    pub hits: Hits,
    pub misses: u64,
    /// Hits, of hits and misses.
    pub hit_rate: f64,
    pub shared: u64,
    /// Entries made, whether or not memory kept them.
    pub sets: u64,
    pub refreshes: u64,
    pub evictions: Evictions,
    pub expirations: u64,
    /// Faults of the cache. Those of layers are with the layers: they
    /// end no request.
    pub errors: u64,
    pub saved_ms: f64,
    pub saved_tokens: u64,
    pub memory: MemoryStats,
    pub layers: Vec<LayerStats<'a>>,
    pub lookup: Latency,
    pub models: &'a [ModelFigures],
}

#[derive(Debug, Serialize)]
pub struct Hits {
    pub exact: u64,
    pub stale: u64,
    pub semantic: u64,
    pub total: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evictions {
    pub entries: u64,
    pub bytes: u64,
    pub too_large: u64,
    pub total: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    pub entries: u64,
    pub bytes: u64,
    pub raw_bytes: u64,
    pub max_entries: u64,
    pub max_bytes: u64,
    pub pinned: u64,
}

#[derive(Debug, Serialize)]
pub struct LayerStats<'a> {
    pub name: &'a str,
    pub hits: u64,
    pub misses: u64,
    pub sets: u64,
    pub errors: u64,
    pub rejected: u64,
    pub get: Latency,
    pub set: Latency,
}

impl<'a> LayerStats<'a> {
    fn new(figures: &'a LayerFigures) -> Self {
        Self {
            name: &figures.name,
            hits: figures.hits,
            misses: figures.misses,
            sets: figures.sets,
            errors: figures.errors,
            rejected: figures.rejected,
            get: figures.get.latency(),
            set: figures.set.latency(),
        }
    }
}
