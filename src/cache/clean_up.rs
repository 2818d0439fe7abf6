//! Which rows of a layer are to be deleted.

use super::entry::duration;
use super::memory::{Freshness, freshness};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What a layer knows of its entries, and what it may keep.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    rows: Vec<Row>,
    max_entries: f64,
    max_bytes: f64,
    stale_ms: f64,
    now: f64,
}

/// Read from storage: numbers may be any, and there may be more beside them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub key: String,
    pub bytes: f64,
    pub last_used: f64,
    /// `None`: never.
    pub expires: Option<f64>,
    pub pinned: bool,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Beyond use, pinned or not.
    pub expired: Vec<String>,
    /// Not pinned, the least recently used first, equals by key.
    pub evicted: Vec<String>,
}

/// Plans for a request in JSON. Error: `invalid-argument`.
pub fn clean_up(request: &str) -> Result<Plan> {
    let request: Request = serde_json::from_str(request)
        .map_err(|error| Error::argument("request", error.to_string()))?;
    let stale = duration("staleMs", request.stale_ms)?;
    let now = duration("now", request.now)?;
    let is_expired = |row: &Row| {
        let expires = row.expires.map(|time| time as u64);
        freshness(expires, now, stale) == Freshness::Expired
    };
    let (expired, left): (Vec<Row>, Vec<Row>) = request.rows.into_iter().partition(is_expired);
    let mut entries = left.len() as f64;
    let mut bytes: f64 = left.iter().map(bytes_of).sum();
    let mut order: Vec<Row> = left.into_iter().filter(|row| !row.pinned).collect();
    order.sort_by(|a, b| {
        a.last_used
            .total_cmp(&b.last_used)
            .then_with(|| a.key.cmp(&b.key))
    });
    let mut evicted = Vec::new();
    for row in order {
        if entries <= request.max_entries && bytes <= request.max_bytes {
            break;
        }
        entries -= 1.0;
        bytes -= bytes_of(&row);
        evicted.push(row.key);
    }
    Ok(Plan {
        expired: expired.into_iter().map(|row| row.key).collect(),
        evicted,
    })
}

fn bytes_of(row: &Row) -> f64 {
    row.bytes.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn plan(rows: &serde_json::Value, max_entries: u64, max_bytes: u64) -> Plan {
        let request = json!({
            "rows": rows, "maxEntries": max_entries, "maxBytes": max_bytes,
            "staleMs": 10, "now": 1_000,
        });
        clean_up(&request.to_string()).unwrap()
    }

    #[test]
    fn the_expired_go_first_then_the_longest_unused_and_pinned_ones_stay() {
        let row = |key: &str, last_used: u64, expires: Option<u64>, pinned: bool| json!({ "key": key, "bytes": 10, "lastUsed": last_used, "expires": expires, "pinned": pinned });
        let rows = json!([
            row("d", 7, None, false),
            row("c", 5, None, false),
            row("b", 5, Some(991), false),
            row("pinned", 1, None, true),
            row("gone", 9, Some(990), false),
            row("pinned and gone", 9, Some(1), true),
        ]);
        let Plan { expired, evicted } = plan(&rows, 2, 100);
        assert_eq!(expired, ["gone", "pinned and gone"]);
        assert_eq!(evicted, ["b", "c"]);
        assert_eq!(plan(&rows, 100, 39).evicted, ["b"]);
        assert_eq!(plan(&rows, 100, 40).evicted, [""; 0]);
        assert_eq!(plan(&rows, 0, 0).evicted, ["b", "c", "d"]);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(clean_up("{}").unwrap_err().code(), "invalid-argument");
    }

    proptest! {
        /// One eviction at a time, each time looking at all.
        #[test]
        fn it_is_what_deleting_one_by_one_leads_to(
            rows in prop::collection::vec((0..20u32, 0..6u32, any::<bool>()), 0..30),
            max_entries in 0..30usize,
            max_bytes in 0..300u32,
        ) {
            let mut left: Vec<(u32, usize, u32, bool)> = rows
                .iter()
                .enumerate()
                .map(|(index, &(bytes, used, pinned))| (used, index + 100, bytes, pinned))
                .collect();
            let rows: Vec<_> = left.iter().map(|(used, key, bytes, pinned)| json!({
                "key": key.to_string(), "bytes": bytes, "lastUsed": used, "expires": null,
                "pinned": pinned,
            })).collect();
            let mut evicted = Vec::new();
            while left.len() > max_entries
                || left.iter().map(|(_, _, bytes, _)| bytes).sum::<u32>() > max_bytes
            {
                let Some(oldest) = left.iter().filter(|row| !row.3).min().copied() else { break };
                left.retain(|row| *row != oldest);
                evicted.push(oldest.1.to_string());
            }
            let plan = plan(&json!(rows), max_entries as u64, u64::from(max_bytes));
            prop_assert_eq!(plan.evicted, evicted);
        }
    }
}
