//! What went by itself, for listeners: each entry while they are few, else how
//! many.

use super::key::Key;
use super::memory::{Departure, Reason};
use serde::Serialize;

/// Most events that name an entry, so that a log that nobody reads stays small.
const MAX_NAMED: usize = 256;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    #[serde(rename = "type")]
    kind: &'static str,
    /// `None`: several.
    key: Option<Key>,
    /// Of an eviction.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    count: u64,
}

impl Event {
    fn new(departure: Departure) -> Self {
        let (kind, reason) = match departure.reason {
            Reason::Expired => ("expire", None),
            Reason::Entries => ("evict", Some("entries")),
            Reason::Bytes => ("evict", Some("bytes")),
            Reason::TooLarge => ("evict", Some("tooLarge")),
        };
        Self {
            kind,
            key: Some(departure.key),
            reason,
            count: 1,
        }
    }
}

#[derive(Debug, Default)]
pub struct Events {
    events: Vec<Event>,
}

impl Events {
    pub fn push(&mut self, departure: Departure) {
        let event = Event::new(departure);
        if self.events.len() < MAX_NAMED {
            self.events.push(event);
            return;
        }
        let mut summed = self.events[MAX_NAMED..].iter_mut();
        match summed.find(|sum| (sum.kind, sum.reason) == (event.kind, event.reason)) {
            Some(sum) => sum.count += 1,
            None => self.events.push(Event { key: None, ..event }),
        }
    }

    /// All since the last call.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::new_entry;
    use super::*;

    #[test]
    fn a_log_that_nobody_reads_ends_in_sums() {
        let mut events = Events::default();
        for index in 0..1_000 {
            let reason = if index % 2 == 0 {
                Reason::Expired
            } else {
                Reason::Bytes
            };
            let key = new_entry(index).key;
            events.push(Departure { key, reason });
        }
        let taken = events.take();
        assert_eq!(taken.len(), MAX_NAMED + 2);
        assert_eq!(taken.iter().map(|event| event.count).sum::<u64>(), 1_000);
        let json = serde_json::to_string(&taken[MAX_NAMED..]).unwrap();
        let sums = r#"[{"type":"expire","key":null,"count":372},{"type":"evict","key":null,"reason":"bytes","count":372}]"#;
        assert_eq!(json, sums);
        assert_eq!(events.take(), []);
    }
}
