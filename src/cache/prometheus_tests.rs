//! The text, line by line.

use super::super::core::Core;
use super::super::metrics::{Answer, Deed};
use super::super::testing::{key, put, settings};
use serde_json::json;
use std::collections::{HashMap, HashSet};

fn page() -> String {
    let mut core = Core::new(settings(json!({ "maxEntries": 2 })), 0);
    for number in 0..3 {
        put(&mut core, number, 0, 0);
    }
    core.find(&key(2), 0, 0.0, false, true);
    let metrics = &mut core.metrics;
    metrics.observe("a \"new\"\\\nlayer", Deed::Hit, 2.0);
    metrics.observe("indexeddb", Deed::Error, 1_000.0);
    metrics.answered(Answer::Exact, Some("sha"), 0.5, 1_500.0, 20);
    metrics.answered(Answer::Miss, None, 0.25, 0.0, 0);
    core.prometheus()
}

#[test]
fn figures_are_there_in_base_units() {
    let page = page();
    let lines: Vec<&str> = page.lines().collect();
    for line in [
        "# TYPE cacher_cache_requests_total counter",
        "cacher_cache_requests_total 2",
        "cacher_cache_hits_total{kind=\"exact\"} 1",
        "cacher_cache_hits_total{kind=\"stale\"} 0",
        "cacher_cache_misses_total 1",
        "cacher_cache_sets_total 3",
        "cacher_cache_evictions_total{reason=\"entries\"} 1",
        "cacher_cache_saved_seconds_total 1.5",
        "cacher_cache_saved_tokens_total 20",
        "cacher_cache_memory_entries 2",
        "cacher_cache_layer_hits_total{layer=\"memory\"} 1",
        "cacher_cache_layer_hits_total{layer=\"a \\\"new\\\"\\\\\\nlayer\"} 1",
        "cacher_cache_layer_errors_total{layer=\"indexeddb\"} 1",
        "cacher_cache_layer_get_seconds{layer=\"indexeddb\",quantile=\"0.5\"} NaN",
        "cacher_cache_layer_get_seconds_sum{layer=\"a \\\"new\\\"\\\\\\nlayer\"} 0.002",
        "# TYPE cacher_cache_lookup_seconds summary",
        "cacher_cache_lookup_seconds_count 2",
        "cacher_cache_lookup_seconds_sum 0.00075",
        "cacher_cache_lookup_seconds{quantile=\"0.99\"} 0.0005",
        "cacher_cache_model_saved_seconds_total{model=\"sha\"} 1.5",
    ] {
        assert!(lines.contains(&line), "{line}\n\n{page}");
    }
}

/// The grammar of the format, as far as it is used.
#[test]
fn every_line_is_of_a_family_that_was_declared_just_before() {
    let page = page();
    assert!(page.ends_with('\n'));
    let mut kinds = HashMap::new();
    let mut helped = HashSet::new();
    let mut series = HashSet::new();
    let mut family = "";
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(helped.insert(name) && text.ends_with('.'), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(
                helped.contains(name) && kinds.insert(name, kind).is_none(),
                "{line}"
            );
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            family = name;
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(sample), "twice: {line}");
            let name = sample.split('{').next().unwrap();
            let of_summary = [format!("{family}_sum"), format!("{family}_count")];
            let in_summary = kinds[family] == "summary" && of_summary.contains(&name.to_owned());
            assert!(name == family || in_summary, "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
