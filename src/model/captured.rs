//! Attention rows that were captured in passes made for something else, by the
//! text they are of.
//!
//! A row depends on nothing but the model and the tokens up to it, as a KV
//! block does, so it has a name of the same kind, and whoever analyses that text
//! later, in whatever state or branch, takes it instead of running the model
//! again. What was captured first is dropped first, to keep to a budget.

use super::prefix::BlockName;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Bytes of rows that are kept: 32 MiB. A row of GPT-2's smallest model with all
/// layers and heads takes 576 bytes for each position that it sees.
pub const CAPTURED_BUDGET: usize = 32 << 20;

/// What one position looks at, in some layers and heads.
#[derive(Debug, Clone, PartialEq)]
pub struct CapturedRow {
    /// Both ascending.
    pub layers: Vec<usize>,
    pub heads: Vec<usize>,
    /// Keys: the position and all before it.
    pub keys: usize,
    /// `[layers, heads, keys]`
    pub weights: Vec<f32>,
}

impl CapturedRow {
    /// The weights of a head; `None` where it was not captured.
    pub fn row(&self, layer: usize, head: usize) -> Option<&[f32]> {
        let layer = self.layers.binary_search(&layer).ok()?;
        let head = self.heads.binary_search(&head).ok()?;
        let at = (layer * self.heads.len() + head) * self.keys;
        self.weights.get(at..at + self.keys)
    }

    /// True where all of these were captured.
    pub fn covers(&self, layers: &[usize], heads: &[usize]) -> bool {
        let has = |all: &[usize], wanted: &[usize]| {
            wanted.iter().all(|index| all.binary_search(index).is_ok())
        };
        has(&self.layers, layers) && has(&self.heads, heads)
    }

    fn bytes(&self) -> usize {
        let numbers = self.layers.len() + self.heads.len();
        self.weights.len() * size_of::<f32>() + numbers * size_of::<usize>()
    }
}

/// What is kept, and what was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapturedMetrics {
    pub rows: u64,
    pub bytes: u64,
    pub budget: u64,
    /// Rows dropped to keep to the budget.
    pub dropped: u64,
    /// Rows that an analysis took.
    pub hits: u64,
}

/// Captured rows, by name.
#[derive(Debug, Default)]
pub struct CapturedAttention {
    rows: HashMap<BlockName, Arc<CapturedRow>>,
    /// In the order of capture.
    order: VecDeque<BlockName>,
    bytes: usize,
    dropped: u64,
    hits: u64,
}

impl CapturedAttention {
    /// The name of the row of the token that follows the one named `before`, the
    /// root where there is none.
    pub fn name(before: BlockName, token: u32) -> BlockName {
        before.child(&[token])
    }

    /// Keeps a row, in place of an earlier one with less in it.
    pub fn insert(&mut self, name: BlockName, row: CapturedRow) {
        if let Some(known) = self.rows.get(&name) {
            if known.covers(&row.layers, &row.heads) {
                return;
            }
            self.forget(name);
            self.order.retain(|&other| other != name);
        }
        if row.bytes() > CAPTURED_BUDGET {
            self.dropped += 1;
            return;
        }
        self.bytes += row.bytes();
        self.rows.insert(name, Arc::new(row));
        self.order.push_back(name);
        while self.bytes > CAPTURED_BUDGET
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
            self.dropped += 1;
        }
    }

    fn forget(&mut self, name: BlockName) {
        if let Some(row) = self.rows.remove(&name) {
            self.bytes -= row.bytes();
        }
    }

    /// The row of that name, if all of these layers and heads are in it.
    pub fn get(
        &mut self,
        name: BlockName,
        layers: &[usize],
        heads: &[usize],
    ) -> Option<Arc<CapturedRow>> {
        let row = self.rows.get(&name)?;
        row.covers(layers, heads).then(|| {
            self.hits += 1;
            Arc::clone(row)
        })
    }

    pub fn metrics(&self) -> CapturedMetrics {
        CapturedMetrics {
            rows: self.rows.len() as u64,
            bytes: self.bytes as u64,
            budget: CAPTURED_BUDGET as u64,
            dropped: self.dropped,
            hits: self.hits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(layers: &[usize], keys: usize) -> CapturedRow {
        CapturedRow {
            layers: layers.to_vec(),
            heads: vec![1, 4],
            keys,
            weights: (0..layers.len() * 2 * keys).map(|i| i as f32).collect(),
        }
    }

    fn name(index: u32) -> BlockName {
        CapturedAttention::name(BlockName::root(&["model"]), index)
    }

    #[test]
    fn a_row_is_found_for_what_is_in_it() {
        let mut captured = CapturedAttention::default();
        captured.insert(name(1), row(&[0, 2], 3));
        let found = captured.get(name(1), &[2], &[4]).unwrap();
        assert_eq!(found.row(2, 4), Some(&[9.0, 10.0, 11.0][..]));
        assert_eq!(found.row(2, 3), None);
        assert!(captured.get(name(1), &[1], &[4]).is_none());
        assert!(captured.get(name(2), &[2], &[4]).is_none());
    }

    #[test]
    fn more_takes_the_place_of_less_and_less_of_nothing() {
        let mut captured = CapturedAttention::default();
        captured.insert(name(1), row(&[0], 3));
        captured.insert(name(1), row(&[0, 1], 3));
        captured.insert(name(1), row(&[1], 3));
        assert!(captured.get(name(1), &[0, 1], &[1]).is_some());
        assert_eq!(captured.metrics().rows, 1);
    }

    #[test]
    fn the_oldest_go_where_the_budget_ends() {
        let mut captured = CapturedAttention::default();
        // Three fit.
        let keys = CAPTURED_BUDGET / 2 / 4 / 3 - 64;
        for index in 0..5 {
            captured.insert(name(index), row(&[0], keys));
        }
        let metrics = captured.metrics();
        assert_eq!((metrics.rows, metrics.dropped), (3, 2));
        assert!(metrics.bytes <= metrics.budget);
        assert!(captured.get(name(1), &[0], &[1]).is_none());
        assert!(captured.get(name(2), &[0], &[1]).is_some());
        captured.insert(name(9), row(&[0], CAPTURED_BUDGET));
        assert_eq!(captured.metrics().rows, 3);
    }
}
