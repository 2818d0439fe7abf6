//! The KV cache as a whole: every block that is in memory or that a state's
//! text has, and how it is used.
//!
//! The block table knows no states and the states' storage is JavaScript's, so
//! this puts the first two together, and says of a block that is not in memory
//! what it would be, for whoever knows what is stored.

use super::states::States;
use crate::model::captured::CapturedMetrics;
use crate::model::kv::BLOCK_TOKENS;
use crate::model::prefix::{BlockInfo, BlockReport, Dropped, PrefixMetrics};
use crate::model::{BlockName, BlockTable, KvFormat, Model};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KvReport {
    /// How keys and values are stored: `"f32"` or `"q8"`.
    pub dtype: &'static str,
    /// Positions of a block, and bytes of it whether it is full or not.
    pub block_tokens: usize,
    pub block_bytes: usize,
    /// How often the table has been used: what `last_use` counts.
    pub uses: u64,
    pub metrics: PrefixMetrics,
    /// Those in memory first, those used last first.
    pub blocks: Vec<KvBlock>,
    pub dropped: Dropped,
    pub captured: CapturedMetrics,
}

/// A block, and who has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KvBlock {
    #[serde(flatten)]
    pub block: BlockInfo,
    pub in_memory: bool,
    /// Ids of the states whose text has all of it.
    pub states: Vec<String>,
}

/// What is in `blocks` and in the texts of `states`.
pub fn kv_report(states: &States, model: &dyn Model, blocks: &BlockTable) -> KvReport {
    let report: BlockReport = blocks.report();
    let block_bytes = model.new_kv().block_bytes();
    let in_memory: HashSet<BlockName> = report.blocks.iter().map(|block| block.name).collect();
    let mut of_states: HashMap<BlockName, Vec<String>> = HashMap::new();
    let mut elsewhere = Vec::new();
    for state in states.iter() {
        let mut parent = states.root(state);
        for (depth, tokens) in state.tokens.chunks(BLOCK_TOKENS).enumerate() {
            let name = parent.child(tokens);
            let owners = of_states.entry(name).or_default();
            if owners.is_empty() && !in_memory.contains(&name) {
                elsewhere.push(BlockInfo {
                    name,
                    parent,
                    depth: depth as u32,
                    tokens: tokens.to_vec(),
                    bytes: block_bytes,
                    references: 0,
                    pinned: state.record.pinned,
                    last_use: 0,
                    hits: 0,
                });
            }
            owners.push(state.record.id.clone());
            parent = name;
        }
    }
    let blocks = report.blocks.into_iter().chain(elsewhere);
    KvReport {
        dtype: match model.kv_format() {
            KvFormat::F32 => "f32",
            KvFormat::Q8 => "q8",
        },
        block_tokens: BLOCK_TOKENS,
        block_bytes,
        uses: report.uses,
        metrics: report.metrics,
        blocks: blocks
            .map(|block| KvBlock {
                in_memory: in_memory.contains(&block.name),
                states: of_states.remove(&block.name).unwrap_or_default(),
                block,
            })
            .collect(),
        dropped: report.dropped,
        captured: report.captured,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::Lab;
    use super::*;
    use serde_json::json;

    fn report(lab: &mut Lab) -> KvReport {
        let (model, _, blocks) = lab.scheduler.parts();
        kv_report(&lab.states, model, blocks)
    }

    #[test]
    fn blocks_name_the_states_that_share_them() {
        let mut lab = Lab::new();
        let text = "x".repeat(BLOCK_TOKENS + 8);
        let ids = [(); 2].map(|()| lab.create(&text, json!({})));

        // Nothing has been run yet.
        let before = report(&mut lab);
        assert_eq!(before.blocks.len(), 2);
        assert!(before.blocks.iter().all(|block| !block.in_memory));
        assert_eq!(before.metrics.blocks, 0);

        lab.read(&ids[0], None);
        let after = report(&mut lab);
        assert!(after.uses > before.uses);
        assert_eq!(after.metrics.misses, text.len() as u64);
        let of_table: Vec<_> = after.blocks.iter().filter(|b| b.in_memory).collect();
        assert_eq!(of_table.len(), 2);
        let full = of_table.iter().find(|b| b.block.depth == 0).unwrap();
        assert_eq!(full.block.tokens.len(), BLOCK_TOKENS);
        assert_eq!(full.block.bytes, after.block_bytes);
        let mut states = full.states.clone();
        states.sort();
        let mut expected = ids.to_vec();
        expected.sort();
        assert_eq!(states, expected);

        let json = serde_json::to_value(&after).unwrap();
        assert_eq!(json["dtype"], "q8");
        assert_eq!(json["blocks"][0]["inMemory"], true);
        assert_eq!(json["blocks"][0]["references"], 0);
    }
}
