//! What no state needs any more: revisions, and KV blocks.

use super::commit::{Commit, StateWrite};
use super::revision::RevisionId;
use super::states::States;
use crate::error::Result;
use crate::model::{BlockName, BlockTable};
use std::collections::{HashMap, HashSet};

impl States {
    pub(super) fn add_deletions(&self, commit: &mut Commit) -> Result<()> {
        let storage = &self.storage;
        for (id, version, fence) in &storage.deleted {
            commit.states.push(StateWrite {
                id: id.clone(),
                version: *version,
                fence: *fence,
                record: None,
                changes: 0,
            });
        }
        let (revisions, blocks) = self.dead()?;
        let deletes_parts = !revisions.is_empty() || !blocks.is_empty();
        commit
            .revisions
            .extend(revisions.into_iter().map(|id| (id, None)));
        commit.dead_blocks = blocks;
        if deletes_parts {
            let kept = self.states.values().filter(|state| state.version > 0);
            let mut known: Vec<_> = kept
                .map(|state| (state.record.id.clone(), state.version))
                .collect();
            let deleted = storage.deleted.iter();
            known.extend(deleted.map(|(id, version, _)| (id.clone(), *version)));
            commit.expects = Some(known);
        }
        Ok(())
    }

    /// What is to be deleted from storage: what died with its state, unless a
    /// state that came since then has it too.
    fn dead(&self) -> Result<(Vec<RevisionId>, Vec<BlockName>)> {
        let storage = &self.storage;
        if storage.dead_revisions.is_empty() && storage.dead_blocks.is_empty() {
            return Ok(Default::default());
        }
        let mut revisions = storage.dead_revisions.clone();
        if !revisions.is_empty() {
            let live = self.live_revisions();
            revisions.retain(|id| !live.contains(id));
        }
        let mut blocks = storage.dead_blocks.clone();
        if !blocks.is_empty() {
            let live = self.live_blocks()?;
            blocks.retain(|name| !live.contains(name));
        }
        Ok((
            revisions.into_iter().collect(),
            blocks.into_iter().collect(),
        ))
    }

    /// The revisions that states have.
    fn live_revisions(&self) -> HashSet<RevisionId> {
        let heads = self.states.values().flat_map(|state| state.record.heads());
        self.revisions.ancestry(heads.cloned())
    }

    /// The full blocks that states have.
    fn live_blocks(&self) -> Result<HashSet<BlockName>> {
        let mut heads: HashMap<BlockName, Vec<RevisionId>> = HashMap::new();
        for state in self.states.values() {
            let heads = heads.entry(self.stored_root(state)).or_default();
            heads.extend(state.record.heads().cloned());
        }
        let mut blocks = HashSet::new();
        for (root, heads) in heads {
            blocks.extend(self.full_blocks(root, &self.revisions.ancestry(heads))?);
        }
        Ok(blocks)
    }

    /// Deletes states. What no other state needs goes with them: revisions, and
    /// KV blocks in storage and memory.
    pub fn delete(&mut self, ids: &[String], blocks: &mut BlockTable) -> Result<()> {
        for id in ids {
            self.get(id)?;
        }
        for id in ids {
            // One that was never stored may be on its way there.
            if let Some(state) = self.states.remove(id)
                && state.persist
            {
                let entry = (id.clone(), state.version, state.fence);
                self.storage.deleted.push(entry);
            }
        }
        self.collect_garbage(blocks)
    }

    /// Forgets the revisions that no state needs, and the blocks in storage that
    /// are of no state's text.
    pub fn collect_garbage(&mut self, blocks: &mut BlockTable) -> Result<()> {
        let kept = self.live_revisions();
        let live_blocks = match self.storage.blocks.is_empty() {
            true => HashSet::new(),
            false => self.live_blocks()?,
        };
        let dead_blocks: HashSet<BlockName> = self
            .storage
            .blocks
            .difference(&live_blocks)
            .copied()
            .collect();
        self.storage.dead_revisions.retain(|id| !kept.contains(id));
        let dead = &mut self.storage.dead_blocks;
        dead.retain(|name| !live_blocks.contains(name));
        for (id, node) in self.revisions.retain(&kept) {
            if node.stored {
                self.storage.dead_revisions.insert(id);
            }
        }
        for name in &dead_blocks {
            blocks.forget(*name);
        }
        self.storage.dead_blocks.extend(dead_blocks);
        Ok(())
    }
}
