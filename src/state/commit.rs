//! From memory to storage, as data: what to write.
//!
//! Nothing here waits for a storage. A [`Commit`] says what one transaction has
//! to write, and under which conditions; whoever holds the storage carries it
//! out and tells the outcome. So the core needs no asynchronous code, and a test
//! can fail any write at any place.
//!
//! A state is written together with the revisions and KV blocks that it needs
//! and that storage lacks; a block is written once, under its name.

use super::record::{self, Kind};
use super::revision::{Revision, RevisionId};
use super::states::{KvRoot, Snapshot, State, StateRecord, States};
use crate::error::Result;
use crate::model::{BlockName, BlockTable};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What is known of the storage.
#[derive(Debug, Default)]
pub struct Storage {
    /// KV blocks that are there.
    pub(super) blocks: HashSet<BlockName>,
    /// States that were deleted here, with their versions there.
    pub(super) deleted: Vec<(String, u64, u64)>,
    pub(super) dead_revisions: BTreeSet<RevisionId>,
    pub(super) dead_blocks: BTreeSet<BlockName>,
    /// Read, but with parents that were not.
    pub(super) waiting: HashMap<RevisionId, Revision>,
}

/// One transaction's writes. `None` as content is a deletion.
#[derive(Debug, Default, PartialEq)]
pub struct Commit {
    pub states: Vec<StateWrite>,
    pub revisions: Vec<(RevisionId, Option<Vec<u8>>)>,
    /// Revisions that must be in storage after the commit.
    pub requires: Vec<RevisionId>,
    /// The content of those to write is in the table.
    pub new_blocks: Vec<BlockName>,
    pub dead_blocks: Vec<BlockName>,
    /// Where something is deleted: every state known, with its version. If
    /// storage has others, one of those may need what is to be deleted.
    pub expects: Option<Vec<(String, u64)>>,
}

/// A state to write, if it is still what it was when last seen.
#[derive(Debug, PartialEq)]
pub struct StateWrite {
    pub id: String,
    /// The version in storage; 0: none.
    pub version: u64,
    pub fence: u64,
    pub record: Option<Vec<u8>>,
    /// How often the state had been changed.
    pub(super) changes: u64,
}

impl States {
    /// What to write for the states named, of those that changed and are to be
    /// kept, and all deletions; `None` where there is nothing.
    pub fn commit(&self, ids: &[String], blocks: &BlockTable) -> Result<Option<Commit>> {
        let mut commit = Commit::default();
        let mut revisions = BTreeSet::new();
        let mut requires = BTreeSet::new();
        let mut new_blocks = BTreeSet::new();
        let mut by_root: HashMap<BlockName, HashSet<RevisionId>> = HashMap::new();
        for id in ids {
            let Some(state) = self.states.get(id) else {
                continue;
            };
            if !state.persist || !state.dirty {
                continue;
            }
            self.add_unstored(&state.record.head, &mut revisions, &mut requires);
            for checkpoint in &state.record.checkpoints {
                self.add_unstored(&checkpoint.revision, &mut revisions, &mut requires);
            }
            by_root
                .entry(self.root(state))
                .or_default()
                .insert(state.record.head.clone());
            commit.states.push(StateWrite {
                id: id.clone(),
                version: state.version,
                fence: state.fence,
                record: Some(record::seal_json(Kind::State, &self.with_snapshot(id)?)?),
                changes: state.changes,
            });
        }
        for (root, mut history) in by_root {
            history.extend(revisions.iter().cloned());
            let mut names = self.full_blocks(root, &history)?;
            names.retain(|name| !self.storage.blocks.contains(name) && blocks.get(name).is_some());
            new_blocks.extend(names);
        }
        for id in revisions {
            let json = self.revisions.node(&id)?.revision.to_json()?;
            let sealed = record::seal(Kind::Revision, &json);
            commit.revisions.push((id, Some(sealed)));
        }
        commit.requires = requires.into_iter().collect();
        commit.new_blocks = new_blocks.into_iter().collect();
        self.add_deletions(&mut commit)?;
        Ok((commit != Commit::default()).then_some(commit))
    }

    /// The record to store: with the copy of what the head says.
    pub(super) fn with_snapshot(&self, id: &str) -> Result<StateRecord> {
        let state = self.get(id)?;
        let node = self.revisions.node(&state.record.head)?;
        Ok(StateRecord {
            kv: Some(KvRoot {
                model: self.fingerprint().to_owned(),
                root: self.root(state),
            }),
            snapshot: Some(Snapshot {
                tokens: state.tokens.to_vec(),
                attributes: (*node.attributes).clone(),
                rng: node.revision.rng,
                model: node.revision.model.clone(),
            }),
            ..state.record.clone()
        })
    }

    /// Adds the revisions that `id` needs and storage lacks, and the stored ones
    /// that they rest on.
    fn add_unstored(
        &self,
        id: &RevisionId,
        unstored: &mut BTreeSet<RevisionId>,
        requires: &mut BTreeSet<RevisionId>,
    ) {
        let mut left = vec![id.clone()];
        while let Some(id) = left.pop() {
            match self.revisions.get(&id) {
                Some(node) if node.stored => {
                    requires.insert(id);
                }
                Some(_) if !unstored.contains(&id) => {
                    left.extend(self.revisions.sources(&id));
                    unstored.insert(id);
                }
                _ => {}
            }
        }
    }

    /// Names of the full blocks of revisions' texts.
    pub(super) fn full_blocks(
        &self,
        root: BlockName,
        revisions: &HashSet<RevisionId>,
    ) -> Result<HashSet<BlockName>> {
        let blocks = self.revisions.full_blocks(root, revisions)?;
        Ok(blocks.into_iter().map(|block| block.name).collect())
    }

    /// All that a state's history has.
    pub(super) fn history_of(&self, state: &State) -> HashSet<RevisionId> {
        self.revisions.ancestry(state.record.heads().cloned())
    }

    /// What the names of a state's blocks in storage begin with.
    pub(super) fn stored_root(&self, state: &State) -> BlockName {
        let kv = state.record.kv.as_ref();
        kv.map_or_else(|| self.root(state), |kv| kv.root)
    }

    /// Names of the stored blocks that a state's history has.
    pub(super) fn stored_blocks_of(&self, state: &State) -> Result<HashSet<BlockName>> {
        let mut names = self.full_blocks(self.stored_root(state), &self.history_of(state))?;
        names.retain(|name| self.storage.blocks.contains(name));
        Ok(names)
    }

    /// Says that a commit was carried out.
    pub fn committed(&mut self, commit: &Commit) {
        let fingerprint = self.fingerprint().to_owned();
        let plain = KvRoot {
            root: BlockName::root(&[&fingerprint]),
            model: fingerprint.clone(),
        };
        for write in &commit.states {
            let deleted = &mut self.storage.deleted;
            if write.record.is_none() {
                deleted.retain(|(id, ..)| *id != write.id);
            } else if let Some(entry) = deleted.iter_mut().find(|(id, ..)| *id == write.id) {
                // Deleted while it was being written.
                entry.1 = write.version + 1;
            } else if let Some(state) = self.states.get_mut(&write.id) {
                state.version = write.version + 1;
                state.dirty = state.changes != write.changes;
                let kv = state.record.kv.take().filter(|kv| kv.model == fingerprint);
                state.record.kv = Some(kv.unwrap_or_else(|| plain.clone()));
            }
        }
        for (id, content) in &commit.revisions {
            match content {
                Some(_) if self.revisions.get(id).is_some() => self.revisions.set_stored(id),
                Some(_) => {
                    self.storage.dead_revisions.insert(id.clone());
                }
                None => {
                    self.storage.dead_revisions.remove(id);
                }
            }
        }
        self.storage.blocks.extend(&commit.new_blocks);
        if !self.storage.deleted.is_empty() {
            // Whether a state that is left needs them is seen at the next commit.
            self.storage.dead_blocks.extend(&commit.new_blocks);
        }
        for name in &commit.dead_blocks {
            self.storage.dead_blocks.remove(name);
            self.storage.blocks.remove(name);
        }
    }

    /// Says that storage lacks revisions that were thought to be there.
    pub fn revisions_missing(&mut self, ids: &[RevisionId]) {
        for id in ids {
            self.revisions.set_unstored(id);
        }
    }

    /// How many states could not be stored yet.
    pub fn unsaved(&self) -> usize {
        let unsaved = |state: &&State| state.persist && state.dirty;
        self.states.values().filter(unsaved).count()
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
