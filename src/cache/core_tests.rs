//! The core as its host drives it.

use super::super::entry::{Kind, Semantic};
use super::super::metrics::{Answer, Deed, word};
use super::super::testing::{key, new_entry, put, settings};
use super::*;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn core(changes: Json) -> Core {
    Core::new(settings(changes), 1_000)
}

fn find(core: &mut Core, number: u32, now: u64) -> Found {
    core.find(&key(number), now, 0.0, false, true)
}

fn parsed(json: &str) -> Json {
    serde_json::from_str(json).unwrap()
}

fn events(core: &mut Core) -> Json {
    parsed(&to_json(&core.take_events()).unwrap())
}

/// The record of an entry that was made at 1,000.
fn record(number: u32, ttl_ms: u64) -> Vec<u8> {
    let mut core = core(json!({}));
    put(&mut core, number, ttl_ms, 1_000);
    core.at_hand().unwrap().0.bytes().to_vec()
}

#[test]
fn an_entry_comes_back_as_it_was_made() {
    let mut core = core(json!({ "compressOver": 10 }));
    let new = NewEntry {
        model: Some("sha".into()),
        tags: vec!["a".into()],
        ttl_ms: Some(500.0),
        ..new_entry(7)
    };
    let text = "\"é\"".repeat(100);
    core.insert(new, &Value::from(&text[..]), None, 1_000, 0.0)
        .unwrap();
    assert_eq!(find(&mut core, 7, 1_200), Found::Fresh);
    let (record, used, pinned) = core.at_hand().unwrap();
    assert_eq!(record.value().unwrap(), Value::from(&text[..]));
    let raw_bytes = record.raw_bytes();
    assert!(raw_bytes > record.bytes().len() as u64);
    let expected = json!({
        "key": key(7), "title": "a title", "kind": Kind::Generation, "model": "sha",
        "created": 1_000, "expires": 1_500, "lastUsed": 1_200, "hits": 1,
        "bytes": record.bytes().len(), "rawBytes": raw_bytes, "costMs": 10.0, "tokens": 5,
        "tags": ["a"], "pinned": false, "source": "test", "layers": [],
    });
    assert_eq!(
        parsed(&to_json(&record.view(used, pinned, &[])).unwrap()),
        expected
    );
    let mut in_memory = expected.clone();
    in_memory["layers"] = json!(["memory"]);
    assert_eq!(parsed(&core.entries().unwrap()), json!([in_memory]));
    let mut unused = expected;
    unused["hits"] = json!(0);
    unused["lastUsed"] = json!(1_000);
    let inspected = inspect(core.at_hand().unwrap().0.bytes().to_vec()).unwrap();
    assert_eq!(parsed(&inspected), unused);
}

#[test]
fn nothing_is_at_hand_where_nothing_was_found() {
    let mut core = core(json!({}));
    put(&mut core, 1, 0, 0);
    assert!(core.at_hand().is_ok());
    assert_eq!(find(&mut core, 2, 0), Found::Miss);
    assert_eq!(core.at_hand().unwrap_err().code(), "internal");
}

#[test]
fn an_entry_lasts_to_the_moment_it_expires_and_stale_ones_to_the_end_of_their_window() {
    let mut core = core(json!({ "staleMs": 50 }));
    put(&mut core, 1, 100, 1_000);
    assert_eq!(find(&mut core, 1, 1_099), Found::Fresh);
    assert_eq!(find(&mut core, 1, 1_100), Found::Miss);
    assert_eq!(core.find(&key(1), 1_100, 0.0, true, true), Found::Stale);
    assert_eq!(core.find(&key(1), 1_149, 0.0, true, true), Found::Stale);
    assert_eq!(core.sweep(1_149), 0);
    assert_eq!(core.find(&key(1), 1_150, 0.0, true, false), Found::Miss);
    assert_eq!(core.stats().memory.entries, 1, "a look deletes nothing");
    assert_eq!(core.find(&key(1), 1_150, 0.0, true, true), Found::Miss);
    assert_eq!(core.stats().memory.entries, 0);
    assert_eq!(core.stats().expirations, 1);
    let expired = json!([{ "type": "expire", "key": key(1), "count": 1 }]);
    assert_eq!(events(&mut core), expired);
}

#[test]
fn an_entry_of_its_own_ttl_ignores_that_of_the_cache() {
    let mut core = core(json!({ "ttlMs": 100, "ttlJitter": 0.5 }));
    core.insert(new_entry(1), &Value::from("1"), None, 1_000, 0.5)
        .unwrap();
    assert_eq!(core.at_hand().unwrap().0.facts().expires, Some(1_075));
    put(&mut core, 2, 0, 1_000);
    assert_eq!(find(&mut core, 2, u64::MAX), Found::Fresh);
    let wrong = NewEntry {
        ttl_ms: Some(f64::NAN),
        ..new_entry(3)
    };
    let error = core
        .insert(wrong, &Value::from("1"), None, 0, 0.0)
        .unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
}

#[test]
fn a_popular_entry_is_due_before_it_expires() {
    let mut core = core(json!({ "earlyRefresh": 1 }));
    put(&mut core, 1, 100, 1_000);
    let late = 1.0 - 1e-9; // early by 20 times its cost of 10 ms
    assert_eq!(
        core.find(&key(1), 1_050, late, false, true),
        Found::Fresh,
        "first use"
    );
    assert_eq!(
        core.find(&key(1), 1_050, 0.0, false, true),
        Found::Fresh,
        "not by chance"
    );
    assert_eq!(core.find(&key(1), 1_050, late, false, true), Found::Due);
    assert_eq!(core.find(&key(1), 1_050, late, false, false), Found::Due);
    put(&mut core, 2, 0, 1_000);
    find(&mut core, 2, 1_000);
    assert_eq!(
        core.find(&key(2), 1_050, late, false, true),
        Found::Fresh,
        "for ever"
    );
    let from_a_layer = core.admit(&key(3), record(3, 100), "file", 1_050, late, false);
    assert_eq!(from_a_layer.unwrap(), Found::Due);
}

#[test]
fn a_record_of_a_layer_is_taken_where_it_is_right_and_of_use() {
    let mut core = core(json!({ "staleMs": 50 }));
    let mut admit =
        |number, bytes, now, stale| core.admit(&key(number), bytes, "indexeddb", now, 0.0, stale);
    let error = admit(2, record(1, 100), 1_000, false).unwrap_err();
    assert_eq!(error.code(), "invalid-cache-record");
    assert!(error.to_string().contains("indexeddb"));
    assert!(admit(1, record(1, 100)[1..].to_vec(), 1_000, false).is_err());
    assert_eq!(admit(1, record(1, 100), 1_100, false), Ok(Found::Miss));
    assert_eq!(admit(1, record(1, 100), 1_150, true), Ok(Found::Miss));
    assert_eq!(core.stats().memory.entries, 0);
    assert!(core.at_hand().is_err());
    let admitted = core.admit(&key(1), record(1, 100), "indexeddb", 1_100, 0.0, true);
    assert_eq!(admitted, Ok(Found::Stale));
    let (_, used, _) = core.at_hand().unwrap();
    assert_eq!((used.hits, used.last_used), (1, 1_100));
    assert_eq!(
        core.admit(&key(2), record(2, 0), "file", 0, 0.0, false),
        Ok(Found::Fresh)
    );
    assert_eq!(core.stats().memory.entries, 2);
    assert_eq!(core.stats().sets, 0);
}

#[test]
fn the_longest_unused_goes_first_and_one_too_large_is_given_out_but_not_kept() {
    let size = record(1, 0).len() as u64;
    let mut core = core(json!({ "maxEntries": 3, "maxBytes": size * 4 }));
    (1..=3).for_each(|number| put(&mut core, number, 0, 0));
    find(&mut core, 1, 5);
    core.find(&key(2), 5, 0.0, false, false);
    put(&mut core, 4, 0, 6);
    assert_eq!(find(&mut core, 2, 7), Found::Miss);
    let large = "a".repeat(size as usize * 4);
    core.insert(new_entry(5), &Value::from(&large[..]), None, 8, 0.0)
        .unwrap();
    assert_eq!(
        core.at_hand().unwrap().0.value().unwrap(),
        Value::from(&large[..])
    );
    assert_eq!(find(&mut core, 5, 9), Found::Miss);
    let half = "a".repeat(size as usize * 2);
    core.insert(new_entry(6), &Value::from(&half[..]), None, 10, 0.0)
        .unwrap();
    let evicted = |number, reason| json!({ "type": "evict", "key": key(number), "reason": reason, "count": 1 });
    let expected = json!([
        evicted(2, "entries"),
        evicted(5, "tooLarge"),
        evicted(3, "entries"),
        evicted(1, "bytes"),
    ]);
    assert_eq!(events(&mut core), expected);
    let evictions = parsed(&to_json(&core.stats().evictions).unwrap());
    assert_eq!(
        evictions,
        json!({ "entries": 2, "bytes": 1, "tooLarge": 1, "total": 4 })
    );
}

#[test]
fn where_all_is_pinned_the_pinned_stay_and_the_new_one_goes() {
    let mut core = core(json!({ "maxEntries": 2, "pinnedTags": ["keep"] }));
    let tagged = NewEntry {
        tags: vec!["keep".into()],
        ..new_entry(1)
    };
    core.insert(tagged, &Value::from("1"), None, 0, 0.0)
        .unwrap();
    put(&mut core, 2, 0, 0);
    assert!(core.set_pinned(&key(2), true));
    assert!(!core.set_pinned(&key(9), true));
    put(&mut core, 3, 0, 0);
    assert!(core.at_hand().is_ok());
    assert_eq!(find(&mut core, 3, 0), Found::Miss);
    // One of three may go: the one that is no longer pinned.
    core.configure(settings(json!({ "maxEntries": 2 })), 0);
    put(&mut core, 4, 0, 0);
    let left: Vec<Found> = (1..=4).map(|number| find(&mut core, number, 0)).collect();
    assert_eq!(left, [Found::Miss, Found::Fresh, Found::Miss, Found::Fresh]);
}

#[test]
fn a_pin_passes_to_what_replaces_an_entry_and_ends_with_it() {
    let mut core = core(json!({}));
    put(&mut core, 1, 100, 1_000);
    core.set_pinned(&key(1), true);
    put(&mut core, 1, 100, 1_050);
    assert_eq!(core.stats().memory.pinned, 1);
    assert_eq!(core.sweep(1_150), 1, "pinned ones expire");
    put(&mut core, 1, 100, 1_200);
    assert_eq!(core.stats().memory.pinned, 0);
}

#[test]
fn limits_and_pinned_tags_change_at_once() {
    let tagged = |number, tag: &str| NewEntry {
        tags: vec![tag.into()],
        ..new_entry(number)
    };
    let mut core = core(json!({ "maxEntries": 1, "pinnedTags": ["a"] }));
    core.insert(tagged(1, "a"), &Value::from("1"), None, 0, 0.0)
        .unwrap();
    core.insert(tagged(2, "a"), &Value::from("2"), None, 0, 0.0)
        .unwrap();
    core.configure(settings(json!({ "maxEntries": 2 })), 0);
    core.configure(settings(json!({ "maxEntries": 1, "pinnedTags": ["a"] })), 0);
    assert_eq!(core.stats().memory.entries, 2);
    assert_eq!(core.stats().evictions.total, 0);
}

#[test]
fn entries_are_found_by_meaning_until_they_are_deleted_or_expire() {
    let mut core = core(json!({ "maxEntries": 1 }));
    let mut insert = |number: u32, vector: [f32; 2]| {
        let prompt = format!("prompt {number}");
        let semantic = Some(Semantic {
            family: "f".into(),
            prompt,
        });
        let new = NewEntry {
            semantic,
            ttl_ms: Some(100.0),
            ..new_entry(number)
        };
        core.insert(new, &Value::from("1"), Some(vector.to_vec()), 0, 0.0)
            .unwrap();
        core.at_hand().unwrap().0.bytes().to_vec()
    };
    insert(1, [1.0, 0.0]);
    let second = insert(2, [0.0, 2.0]);
    let nearest = |core: &mut Core, now| {
        let similar = core.similar("f", "prompt", vec![3.0, 1.0], now);
        similar.map(|similar| similar.prompt)
    };
    assert_eq!(
        nearest(&mut core, 1).as_deref(),
        Some("prompt 1"),
        "evicted, not forgotten"
    );
    assert_eq!(core.similar("g", "prompt", vec![1.0, 0.0], 1), None);
    core.delete(&[key(1)]);
    assert_eq!(nearest(&mut core, 1).as_deref(), Some("prompt 2"));
    assert_eq!(nearest(&mut core, 100), None);
    core.admit(&key(2), second, "file", 1, 0.0, false).unwrap();
    core.add_vector(&key(3), "f", "prompt 3", vec![-1.0, -1.0]);
    assert_eq!(nearest(&mut core, 1).as_deref(), Some("prompt 2"));
    put(&mut core, 2, 0, 0);
    assert_eq!(
        nearest(&mut core, 1).as_deref(),
        Some("prompt 3"),
        "replaced without one"
    );
    core.clear();
    assert_eq!(nearest(&mut core, 1), None);
}

#[test]
fn figures_are_those_of_what_happened() {
    let mut core = core(json!({}));
    put(&mut core, 1, 0, 1_000);
    find(&mut core, 1, 1_000);
    find(&mut core, 2, 1_000);
    core.find(&key(1), 1_000, 0.0, false, false);
    let metrics = &mut core.metrics;
    metrics.observe("file", Deed::Hit, 2.0);
    metrics.observe("file", Deed::Miss, 4.0);
    metrics.observe("file", Deed::Set, 8.0);
    metrics.observe("file", Deed::Error, 1_000.0);
    metrics.observe("file", Deed::Rejected, 1.0);
    for (answer, saved_ms, tokens) in [
        (Answer::Exact, 100.0, 10),
        (Answer::Stale, 50.0, 5),
        (Answer::Semantic, 25.0, 2),
        (Answer::Miss, 0.0, 0),
        (Answer::Shared, 10.0, 1),
        (Answer::Refresh, 0.0, 0),
        (Answer::Error, f64::NAN, 0),
    ] {
        metrics.answered(answer, Some("m"), 1.0, saved_ms, tokens);
    }
    let mut stats = parsed(&to_json(&core.stats()).unwrap());
    let bytes = record(1, 0).len();
    let none = json!({ "count": 0, "mean": 0.0, "p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0 });
    assert_eq!(stats["layers"][1]["get"]["count"], 2);
    assert_eq!(stats["layers"][1]["get"]["mean"], 3.0);
    assert_eq!(stats["layers"][1]["set"]["max"], 8.0);
    stats["layers"][1]["get"] = json!(null);
    stats["layers"][1]["set"] = json!(null);
    let expected = json!({
        "since": 1_000,
        "requests": 5,
        "hits": { "exact": 1, "stale": 1, "semantic": 1, "total": 3 },
        "misses": 1,
        "hitRate": 0.75,
        "shared": 1,
        "sets": 1,
        "refreshes": 1,
        "evictions": { "entries": 0, "bytes": 0, "tooLarge": 0, "total": 0 },
        "expirations": 0,
        "errors": 1,
        "savedMs": 185.0,
        "savedTokens": 18,
        "memory": {
            "entries": 1, "bytes": bytes, "rawBytes": bytes, "maxEntries": 1_000_000_000,
            "maxBytes": 1_000_000_000_000u64, "pinned": 0,
        },
        "layers": [
            { "name": "memory", "hits": 1, "misses": 1, "sets": 1, "errors": 0, "rejected": 0,
              "get": none, "set": none },
            { "name": "file", "hits": 1, "misses": 1, "sets": 1, "errors": 1, "rejected": 1,
              "get": null, "set": null },
        ],
        "lookup": { "count": 4, "mean": 1.0, "p50": 1.0, "p90": 1.0, "p99": 1.0, "max": 1.0 },
        "models": [{ "model": "m", "hits": 3, "misses": 1, "savedMs": 185.0, "savedTokens": 18 }],
    });
    assert_eq!(stats, expected);
    core.reset_stats(2_000);
    let stats = core.stats();
    assert_eq!(
        (stats.since, stats.requests, stats.sets, stats.layers.len()),
        (2_000, 0, 0, 1)
    );
    assert_eq!(
        stats.memory.entries, 1,
        "figures are reset, entries are not"
    );
}

#[test]
fn models_after_the_first_thirty_two_are_counted_together() {
    let mut core = core(json!({}));
    for number in 0..100 {
        let model = format!("model {number}");
        core.metrics
            .answered(Answer::Exact, Some(&model), 0.0, 1.0, 2);
        core.metrics
            .answered(Answer::Miss, Some("model 0"), 0.0, 0.0, 0);
    }
    let models = core.stats().models;
    assert_eq!(models.len(), 33);
    assert_eq!((models[0].hits, models[0].misses), (1, 100));
    let other = &models[32];
    assert_eq!(
        (&other.model[..], other.hits, other.saved_ms),
        ("other", 68, 68.0)
    );
}

#[test]
fn words_that_nothing_is_called_are_refused() {
    assert_eq!(word("rejected"), Ok(Deed::Rejected));
    assert_eq!(word("shared"), Ok(Answer::Shared));
    assert_eq!(word::<Deed>("Hit").unwrap_err().code(), "invalid-argument");
}

#[test]
fn settings_out_of_their_ranges_are_refused_by_name() {
    let good = json!({
        "maxEntries": 10.5, "maxBytes": 0, "ttlMs": 0, "ttlJitter": 1, "staleMs": 0,
        "earlyRefresh": 0, "compressOver": 0, "pinnedTags": [], "semanticThreshold": 0,
    });
    assert_eq!(
        Settings::parse(&good.to_string())
            .unwrap()
            .limits
            .max_entries,
        10
    );
    for (name, wrong) in [
        ("maxEntries", json!(-1)),
        ("maxBytes", json!(1e300)),
        ("ttlMs", json!(-0.1)),
        ("ttlJitter", json!(1.01)),
        ("staleMs", json!(-5)),
        ("earlyRefresh", json!(-1)),
        ("compressOver", json!(-2)),
        ("semanticThreshold", json!(1.5)),
        ("pinnedTags", json!("a")),
        ("unknown", json!(1)),
    ] {
        let mut settings = good.clone();
        settings[name] = wrong;
        let error = Settings::parse(&settings.to_string()).unwrap_err();
        assert_eq!(error.code(), "invalid-argument");
        let named =
            error.to_string().starts_with(name) || error.to_string().starts_with("settings");
        assert!(named, "{error}");
    }
}

proptest! {
    /// What memory keeps can be told to another cache, which then answers alike.
    #[test]
    fn a_record_carries_all_that_another_cache_needs(value in any::<String>(), over in 0..50u64) {
        let mut first = core(json!({ "compressOver": over }));
        first.insert(new_entry(1), &Value::from(&value[..]), None, 5, 0.0).unwrap();
        let record = first.at_hand().unwrap().0.bytes().to_vec();
        let mut second = core(json!({}));
        second.admit(&key(1), record, "remote", 6, 0.0, false).unwrap();
        prop_assert_eq!(find(&mut second, 1, 7), Found::Fresh);
        let (record, _, _) = second.at_hand().unwrap();
        prop_assert_eq!(record.facts(), first.at_hand().unwrap().0.facts());
        prop_assert_eq!(record.value().unwrap(), Value::from(&value[..]));
    }
}
