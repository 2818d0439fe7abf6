//! What can be set of a cache, checked.

use super::entry::duration;
use super::memory::Limits;
use crate::error::{Error, Result};
use serde::Deserialize;

/// `CoreSettings` in TypeScript; the numbers are what JavaScript makes of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    max_entries: f64,
    max_bytes: f64,
    ttl_ms: f64,
    ttl_jitter: f64,
    stale_ms: f64,
    early_refresh: f64,
    compress_over: f64,
    pinned_tags: Vec<String>,
    semantic_threshold: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub limits: Limits,
    /// 0: entries never expire.
    pub ttl_ms: u64,
    /// From 0 to 1.
    pub ttl_jitter: f64,
    /// XFetch's beta; 0: off.
    pub early_refresh: f64,
    /// 0: nothing is compressed.
    pub compress_over: u64,
    pub pinned_tags: Vec<String>,
    pub semantic_threshold: f32,
}

impl Settings {
    /// From JSON. Error: `invalid-argument`.
    pub fn parse(json: &str) -> Result<Self> {
        let given: Given = serde_json::from_str(json)
            .map_err(|error| Error::argument("settings", error.to_string()))?;
        Ok(Self {
            limits: Limits {
                max_entries: duration("maxEntries", given.max_entries.floor())?,
                max_bytes: duration("maxBytes", given.max_bytes.floor())?,
                stale_ms: duration("staleMs", given.stale_ms)?,
            },
            ttl_ms: duration("ttlMs", given.ttl_ms)?,
            ttl_jitter: share("ttlJitter", given.ttl_jitter)?,
            early_refresh: early(given.early_refresh)?,
            compress_over: duration("compressOver", given.compress_over.ceil())?,
            pinned_tags: given.pinned_tags,
            semantic_threshold: share("semanticThreshold", given.semantic_threshold)? as f32,
        })
    }
}

fn share(name: &str, value: f64) -> Result<f64> {
    let right = (0.0..=1.0).contains(&value);
    right
        .then_some(value)
        .ok_or_else(|| Error::argument(name, "it must be from 0 to 1"))
}

fn early(beta: f64) -> Result<f64> {
    let right = (0.0..=1e6).contains(&beta);
    right
        .then_some(beta)
        .ok_or_else(|| Error::argument("earlyRefresh", "it must be from 0 to 1,000,000"))
}
