//! What is in the table, block by block, and what has gone from it.

use super::{BlockName, BlockTable, Entry, PrefixMetrics};
use crate::model::captured::CapturedMetrics;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many of the blocks dropped last are told.
pub const DROPPED_TOLD: usize = 64;

/// A block of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockInfo {
    pub name: BlockName,
    /// What comes before it: a block, or the root of its text.
    pub parent: BlockName,
    /// How many blocks come before it.
    pub depth: u32,
    /// Up to 32; fewer in the last block of a text.
    pub tokens: Vec<u32>,
    pub bytes: usize,
    /// Sequences that are in work with it.
    pub references: usize,
    /// It is not dropped: a state has it.
    pub pinned: bool,
    /// When it was last used, as the number of that use of the table.
    pub last_use: u64,
    /// How often a text began with it.
    pub hits: u64,
}

/// Why a block has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DropReason {
    /// It had not been used for longest, and the budget was full.
    Budget,
    /// A longer version of it came.
    Extended,
    /// Whoever kept it gave it up.
    Forgotten,
}

/// A block that has gone.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedBlock {
    pub name: BlockName,
    pub depth: u32,
    pub tokens: usize,
    pub bytes: usize,
    pub last_use: u64,
    /// As the number of the use of the table.
    pub dropped_at: u64,
    pub reason: DropReason,
}

/// How many blocks have gone, by reason, and the last of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    pub budget: u64,
    pub extended: u64,
    pub forgotten: u64,
    /// The last 64, oldest first.
    pub last: VecDeque<DroppedBlock>,
}

impl Dropped {
    pub(super) fn add(&mut self, name: BlockName, entry: &Entry, now: u64, reason: DropReason) {
        match reason {
            DropReason::Budget => self.budget += 1,
            DropReason::Extended => self.extended += 1,
            DropReason::Forgotten => self.forgotten += 1,
        }
        if self.last.len() == DROPPED_TOLD {
            self.last.pop_front();
        }
        self.last.push_back(DroppedBlock {
            name,
            depth: entry.depth,
            tokens: entry.tokens.len(),
            bytes: entry.block.len(),
            last_use: entry.used,
            dropped_at: now,
            reason,
        });
    }
}

/// All there is to tell of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockReport {
    /// How often the table has been used: what `last_use` counts.
    pub uses: u64,
    pub metrics: PrefixMetrics,
    pub blocks: Vec<BlockInfo>,
    pub dropped: Dropped,
    /// Attention that was captured while writing.
    pub captured: CapturedMetrics,
}

impl BlockTable {
    /// Blocks, hits and misses, what was dropped and why, captured attention.
    pub fn report(&self) -> BlockReport {
        BlockReport {
            uses: self.clock,
            metrics: self.metrics(),
            blocks: self.list(),
            dropped: self.dropped().clone(),
            captured: self.captured.metrics(),
        }
    }

    /// All blocks, those used last first.
    pub fn list(&self) -> Vec<BlockInfo> {
        let of_name = |&(_, _, name): &(u64, _, BlockName)| {
            let entry = self.entries.get(&name)?;
            Some(BlockInfo {
                name,
                parent: entry.parent,
                depth: entry.depth,
                tokens: entry.tokens.to_vec(),
                bytes: entry.block.len(),
                references: Arc::strong_count(&entry.block) - 1,
                pinned: self.pinned.contains(&name),
                last_use: entry.used,
                hits: entry.hits,
            })
        };
        self.order.iter().rev().filter_map(of_name).collect()
    }

    /// What has gone from it.
    pub fn dropped(&self) -> &Dropped {
        &self.dropped
    }
}
