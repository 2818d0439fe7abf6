//! The figures in Prometheus' text format (version 0.0.4).
//!
//! Names begin with `cacher_cache_` and follow Prometheus' rules: base units
//! (seconds, bytes), counters end in `_total`. Latencies are summaries, since a
//! tab's percentiles are not summed over tabs.

use super::latency::Latency;
use super::metrics::{LayerStats, ModelFigures, Stats};
use std::fmt::{Display, Write};

/// All of it.
pub fn text(stats: &Stats) -> String {
    let mut page = Page::default();
    answers(&mut page, stats);
    memory(&mut page, stats);
    layers(&mut page, &stats.layers);
    models(&mut page, stats.models);
    page.text
}

fn answers(page: &mut Page, stats: &Stats) {
    page.counter("requests", "Requests for an answer.", stats.requests);
    page.family("hits_total", "counter", "Requests answered from the cache.");
    for (kind, count) in [
        ("exact", stats.hits.exact),
        ("stale", stats.hits.stale),
        ("semantic", stats.hits.semantic),
    ] {
        page.sample("hits_total", &[("kind", kind)], count);
    }
    page.counter("misses", "Requests that had to be computed.", stats.misses);
    page.counter(
        "shared",
        "Requests that joined an equal one in progress.",
        stats.shared,
    );
    page.counter("sets", "Entries made.", stats.sets);
    page.counter(
        "refreshes",
        "Answers computed anew although they were there.",
        stats.refreshes,
    );
    page.counter(
        "errors",
        "Faults of the cache; those of layers are with the layers.",
        stats.errors,
    );
    page.counter(
        "expirations",
        "Entries deleted from memory after their time.",
        stats.expirations,
    );
    page.family(
        "evictions_total",
        "counter",
        "Entries that memory had no room for.",
    );
    for (reason, count) in [
        ("entries", stats.evictions.entries),
        ("bytes", stats.evictions.bytes),
        ("too_large", stats.evictions.too_large),
    ] {
        page.sample("evictions_total", &[("reason", reason)], count);
    }
    page.counter(
        "saved_seconds",
        "Computing time that hits have saved.",
        stats.saved_ms / 1e3,
    );
    page.counter(
        "saved_tokens",
        "Tokens that hits have saved.",
        stats.saved_tokens,
    );
    page.family(
        "lookup_seconds",
        "summary",
        "Time of lookups, whatever they found.",
    );
    page.summary("lookup_seconds", None, &stats.lookup);
}

fn memory(page: &mut Page, stats: &Stats) {
    let memory = &stats.memory;
    page.gauge("memory_entries", "Entries in memory.", memory.entries);
    page.gauge(
        "memory_bytes",
        "Bytes of them as they are kept.",
        memory.bytes,
    );
    page.gauge(
        "memory_raw_bytes",
        "Bytes of them before compression.",
        memory.raw_bytes,
    );
    page.gauge(
        "memory_max_entries",
        "Most entries in memory.",
        memory.max_entries,
    );
    page.gauge(
        "memory_max_bytes",
        "Most bytes in memory.",
        memory.max_bytes,
    );
    page.gauge(
        "memory_pinned_entries",
        "Entries exempt from eviction.",
        memory.pinned,
    );
}

fn layers(page: &mut Page, layers: &[LayerStats]) {
    type Figure = fn(&LayerStats) -> u64;
    let figures: [(&str, &str, Figure); 5] = [
        (
            "layer_hits_total",
            "Lookups in a layer that found.",
            |layer| layer.hits,
        ),
        (
            "layer_misses_total",
            "Lookups in a layer that did not.",
            |layer| layer.misses,
        ),
        ("layer_sets_total", "Records put into a layer.", |layer| {
            layer.sets
        }),
        (
            "layer_errors_total",
            "Faults of a layer, timeouts among them.",
            |layer| layer.errors,
        ),
        (
            "layer_rejected_total",
            "Records of a layer that were refused.",
            |layer| layer.rejected,
        ),
    ];
    for (name, help, figure) in figures {
        page.family(name, "counter", help);
        for layer in layers {
            page.sample(name, &[("layer", layer.name)], figure(layer));
        }
    }
    page.family(
        "layer_get_seconds",
        "summary",
        "Time of lookups in a layer.",
    );
    for layer in layers {
        page.summary("layer_get_seconds", Some(layer.name), &layer.get);
    }
    page.family("layer_set_seconds", "summary", "Time of writes to a layer.");
    for layer in layers {
        page.summary("layer_set_seconds", Some(layer.name), &layer.set);
    }
}

fn models(page: &mut Page, models: &[ModelFigures]) {
    type Figure = fn(&ModelFigures) -> f64;
    let figures: [(&str, &str, Figure); 4] = [
        ("model_hits_total", "Hits, by model.", |model| {
            model.hits as f64
        }),
        ("model_misses_total", "Misses, by model.", |model| {
            model.misses as f64
        }),
        (
            "model_saved_seconds_total",
            "Time saved, by model.",
            |model| model.saved_ms / 1e3,
        ),
        (
            "model_saved_tokens_total",
            "Tokens saved, by model.",
            |model| model.saved_tokens as f64,
        ),
    ];
    for (name, help, figure) in figures {
        page.family(name, "counter", help);
        for model in models {
            page.sample(name, &[("model", &model.model)], figure(model));
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: std::fmt::Arguments) {
        // To a string: it cannot fail.
        let _ = writeln!(self.text, "cacher_cache_{line}");
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.text.push_str("# HELP ");
        self.line(format_args!("{name} {help}"));
        self.text.push_str("# TYPE ");
        self.line(format_args!("{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        self.line(format_args!("{name}{labels} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        let name = format!("{name}_total");
        self.family(&name, "counter", help);
        self.sample(&name, &[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn summary(&mut self, name: &str, layer: Option<&str>, latency: &Latency) {
        let layer = layer.map(|layer| ("layer", layer));
        let quantiles = [
            ("0.5", latency.p50),
            ("0.9", latency.p90),
            ("0.99", latency.p99),
        ];
        for (quantile, ms) in quantiles {
            let labels: Vec<_> = layer.into_iter().chain([("quantile", quantile)]).collect();
            // Of nothing there is no percentile.
            let seconds = if latency.count == 0 {
                f64::NAN
            } else {
                ms / 1e3
            };
            self.sample(name, &labels, seconds);
        }
        self.sample(&format!("{name}_sum"), layer.as_slice(), latency.sum / 1e3);
        self.sample(&format!("{name}_count"), layer.as_slice(), latency.count);
    }
}

/// A label's value, as the format wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
