//! What the tests of this folder share.

use super::core::Core;
use super::entry::{Kind, NewEntry};
use super::key::Key;
use super::record::Value;
use super::settings::Settings;
use serde_json::json;

/// A key for each number.
pub fn key(number: u32) -> Key {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Key(bytes)
}

/// An entry for each number.
pub fn new_entry(number: u32) -> NewEntry {
    NewEntry {
        key: key(number),
        title: "a title".into(),
        kind: Kind::Generation,
        model: None,
        source: "test".into(),
        cost_ms: 10.0,
        tokens: 5,
        tags: Vec::new(),
        ttl_ms: None,
        semantic: None,
    }
}

/// Settings in which nothing limits anything, with some of them changed.
pub fn settings(changes: serde_json::Value) -> Settings {
    let mut settings = json!({
        "maxEntries": 1e9, "maxBytes": 1e12, "ttlMs": 0, "ttlJitter": 0, "staleMs": 0,
        "earlyRefresh": 0, "compressOver": 0, "pinnedTags": [], "semanticThreshold": 0.9,
    });
    let changes = changes.as_object().unwrap().clone();
    settings.as_object_mut().unwrap().extend(changes);
    Settings::parse(&settings.to_string()).unwrap()
}

/// Puts a small entry with a TTL in.
pub fn put(core: &mut Core, number: u32, ttl_ms: u64, now: u64) {
    let new = NewEntry {
        ttl_ms: Some(ttl_ms as f64),
        ..new_entry(number)
    };
    core.insert(new, &Value::from("\"value\""), None, now, 0.0)
        .unwrap();
}
