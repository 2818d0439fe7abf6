//! Which states go when there are too many of them.

use super::states::{State, States};
use crate::error::Result;
use crate::model::BlockName;
use serde::Deserialize;
use std::collections::HashMap;

/// Limits; those left out do not count. Pinned states are exempt from all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CleanUpPolicy {
    /// Most states to keep.
    pub max_states: Option<usize>,
    /// Most bytes of KV blocks in storage. A block of several states is freed
    /// by the last of them.
    pub max_bytes: Option<u64>,
    /// Longest time since a state was used, in milliseconds.
    pub max_age_ms: Option<u64>,
}

impl States {
    /// Ids of the states to delete, the longest unused first.
    /// `block_bytes` is what a stored block takes.
    pub fn to_clean_up(
        &self,
        policy: &CleanUpPolicy,
        block_bytes: u64,
        now: u64,
    ) -> Result<Vec<String>> {
        let used = |state: &State| state.record.used.max(state.record.updated);
        let mut oldest: Vec<&State> = self
            .iter()
            .filter(|s| s.persist && !s.record.pinned)
            .collect();
        oldest.sort_by(|a, b| used(a).cmp(&used(b)).then(a.record.id.cmp(&b.record.id)));
        let mut count = self.iter().filter(|state| state.persist).count();
        let mut uses: HashMap<BlockName, usize> = HashMap::new();
        // Most often all of it fits.
        let all = self.storage.blocks.len() as u64 * block_bytes;
        let max_bytes = policy.max_bytes.filter(|most| all > *most);
        if max_bytes.is_some() {
            for state in self.iter() {
                for name in self.stored_blocks_of(state)? {
                    *uses.entry(name).or_default() += 1;
                }
            }
        }
        let mut bytes = uses.len() as u64 * block_bytes;
        let mut doomed = Vec::new();
        for state in oldest {
            let too_many = policy.max_states.is_some_and(|most| count > most);
            let too_large = max_bytes.is_some_and(|most| bytes > most);
            let too_old = policy
                .max_age_ms
                .is_some_and(|most| now.saturating_sub(used(state)) > most);
            if !(too_many || too_large || too_old) {
                continue;
            }
            let own = match max_bytes {
                Some(_) => self.stored_blocks_of(state)?,
                None => Default::default(),
            };
            for name in own {
                if let Some(count) = uses.get_mut(&name) {
                    *count -= 1;
                    if *count == 0 {
                        uses.remove(&name);
                        bytes -= block_bytes;
                    }
                }
            }
            count -= 1;
            doomed.push(state.record.id.clone());
        }
        Ok(doomed)
    }
}
