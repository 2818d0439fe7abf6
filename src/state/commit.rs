//! From memory to storage and back, as data: what to write, what was read.
//!
//! Nothing here waits for a storage. A [`Commit`] says what one transaction has
//! to write, and under which conditions; whoever holds the storage carries it
//! out and tells the outcome. So the core needs no asynchronous code, and a test
//! can fail any write at any place.
//!
//! A state is written together with the revisions and KV blocks that it needs
//! and that storage lacks; a block is written once, under its name. What is read
//! back is checked record by record: a damaged one is told by name, and the rest
//! is taken in.

use super::record::{self, Kind};
use super::revision::{Operation, Revision, RevisionId};
use super::states::{Change, KvRoot, Snapshot, State, StateRecord, States};
use crate::error::Result;
use crate::generate::rng::RngState;
use crate::model::kv::BLOCK_TOKENS;
use crate::model::{BlockName, BlockTable};
use serde::{Deserialize, Serialize};
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
    waiting: HashMap<RevisionId, Revision>,
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

/// A generation that is going on: what would be lost with the tab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// The revision it goes on from.
    pub head: RevisionId,
    pub tokens: Vec<u32>,
    pub rng: RngState,
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

    fn add_deletions(&self, commit: &mut Commit) -> Result<()> {
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
    fn stored_root(&self, state: &State) -> BlockName {
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

    /// Takes in what storage has: its blocks' names, in place of those known,
    pub fn set_blocks_stored(&mut self, names: impl IntoIterator<Item = BlockName>) {
        self.storage.blocks = names.into_iter().collect();
    }

    /// and a revision's record. Those whose parents are yet to come wait for
    /// [`connect`](Self::connect).
    ///
    /// Errors: those of [`record::unseal`]; `checksum-mismatch` where the
    /// content is not that of the id.
    pub fn read_revision(&mut self, id: &str, sealed: &[u8]) -> Result<()> {
        let content = record::unseal(Kind::Revision, sealed)?;
        let revision: Revision = record::from_json("a revision", content)?;
        let id = RevisionId::from(id);
        if RevisionId::of(content) != id || RevisionId::of(&revision.to_json()?) != id {
            return Err(crate::Error::ChecksumMismatch(format!("revision {id}")));
        }
        if self.revisions.get(&id).is_some() {
            self.revisions.set_stored(&id);
        } else {
            self.storage.waiting.insert(id, revision);
        }
        Ok(())
    }

    /// Revisions that those read need and that were not read.
    pub fn wanted(&self) -> Vec<String> {
        let waiting = &self.storage.waiting;
        let mut wanted = BTreeSet::new();
        for revision in waiting.values() {
            for source in revision.sources() {
                if self.revisions.get(source).is_none() && !waiting.contains_key(source) {
                    wanted.insert(source.to_string());
                }
            }
        }
        wanted.into_iter().collect()
    }

    /// Revisions that a state's record names and that are not here. Errors:
    /// those of [`record::unseal`].
    pub fn revisions_of(&self, sealed: &[u8]) -> Result<Vec<String>> {
        let record: StateRecord = record::unseal_json(Kind::State, sealed)?;
        let missing = record.heads().filter(|id| self.revisions.get(id).is_none());
        Ok(missing.map(RevisionId::to_string).collect())
    }

    /// Puts the revisions read into their places, parents first. Those that
    /// miss a parent stay out; how many.
    pub fn connect(&mut self) -> usize {
        let mut children: HashMap<RevisionId, Vec<RevisionId>> = HashMap::new();
        let mut missing: HashMap<RevisionId, usize> = HashMap::new();
        let mut ready = Vec::new();
        for (id, revision) in &self.storage.waiting {
            let mut sources: Vec<RevisionId> = revision.sources().cloned().collect();
            sources.retain(|source| self.revisions.get(source).is_none());
            sources.sort();
            sources.dedup();
            missing.insert(id.clone(), sources.len());
            if sources.is_empty() {
                ready.push(id.clone());
            }
            for source in sources {
                children.entry(source).or_default().push(id.clone());
            }
        }
        while let Some(id) = ready.pop() {
            let Some(revision) = self.storage.waiting.remove(&id) else {
                continue;
            };
            if self.revisions.insert(revision, true).is_err() {
                continue;
            }
            for child in children.remove(&id).unwrap_or_default() {
                if let Some(count) = missing.get_mut(&child) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(child);
                    }
                }
            }
        }
        std::mem::take(&mut self.storage.waiting).len()
    }

    /// Takes a state's record in, after its revisions. Where its head did not
    /// come, the text is taken from the copy in the record, without its history:
    /// then the state is to be written again. One that is to be deleted as it
    /// stands there is not taken in.
    ///
    /// Errors: those of [`record::unseal`]; `invalid-state-file`.
    pub fn read_state(&mut self, id: &str, version: u64, fence: u64, sealed: &[u8]) -> Result<()> {
        let mut record: StateRecord = record::unseal_json(Kind::State, sealed)?;
        let deleted = &mut self.storage.deleted;
        if deleted
            .iter()
            .any(|d| *d == (id.to_owned(), version, fence))
        {
            return Ok(());
        }
        // Another tab has written it after it was deleted here: it stays.
        deleted.retain(|(deleted, ..)| deleted != id);
        if record.id != id {
            let what = format!("the record of state {id} is that of {}", record.id);
            return Err(crate::Error::InvalidStateFile(what));
        }
        let snapshot = record.snapshot.take();
        let complete = record.checkpoints.len();
        let known = |revision: &RevisionId| self.revisions.get(revision).is_some();
        record.checkpoints.retain(|c| known(&c.revision));
        let mut is_whole = record.checkpoints.len() == complete;
        if self.revisions.get(&record.head).is_none() {
            is_whole = false;
            let lost = || {
                let what = format!("state {id} has lost its text");
                crate::Error::InvalidStateFile(what)
            };
            let snapshot = snapshot.ok_or_else(lost)?;
            record.head = self.revisions.insert(
                Revision {
                    parents: Vec::new(),
                    operation: Operation::Import,
                    keep: 0,
                    appended: snapshot.tokens,
                    attributes: Some(snapshot.attributes),
                    rng: snapshot.rng,
                    model: snapshot.model,
                    created: record.updated,
                    duration_ms: 0,
                },
                false,
            )?;
        }
        self.put_state(record, true)?;
        if let Some(state) = self.states.get_mut(id) {
            state.dirty = !is_whole;
            state.version = version;
            state.fence = fence;
        }
        Ok(())
    }

    /// A state that another tab has deleted, or written anew: what was not
    /// stored of it here becomes a state of its own; its id.
    pub fn lose(&mut self, id: &str, now: u64) -> Result<Option<String>> {
        // To delete it is no longer in our hands.
        self.storage.deleted.retain(|(deleted, ..)| deleted != id);
        let Some(state) = self.states.remove(id) else {
            return Ok(None);
        };
        if !state.dirty || !state.persist {
            return Ok(None);
        }
        let copy = super::states::fresh_id()?;
        let record = StateRecord {
            id: copy.clone(),
            created: now,
            ..state.record
        };
        self.put_state(record, true)?;
        Ok(Some(copy))
    }

    /// The draft of a generation that has come to `tokens`.
    pub fn draft(&self, id: &str, tokens: Vec<u32>, rng: Option<RngState>) -> Result<Vec<u8>> {
        let head = self.head(id)?;
        let draft = Draft {
            head: self.get(id)?.record.head.clone(),
            tokens,
            rng: rng.unwrap_or(head.revision.rng),
        };
        record::seal_json(Kind::Draft, &draft)
    }

    /// Takes up a draft that a tab has left; false where its state has moved on
    /// since.
    pub fn recover(&mut self, id: &str, sealed: &[u8], now: u64) -> Result<bool> {
        let draft: Draft = record::unseal_json(Kind::Draft, sealed)?;
        if self.get(id)?.record.head != draft.head {
            return Ok(false);
        }
        let change = Change {
            operation: Operation::Recover,
            tokens: draft.tokens,
            attributes: None,
            rng: draft.rng,
            duration: 0.0,
        };
        self.advance(id, change, now)?;
        Ok(true)
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

    /// The stored blocks that `id`'s text begins with and memory lacks: their
    /// names, parents, and tokens, in order.
    pub fn missing_blocks(&self, id: &str, blocks: &BlockTable) -> Result<Vec<MissingBlock>> {
        let state = self.get(id)?;
        let mut parent = self.root(state);
        let mut missing = Vec::new();
        for (depth, tokens) in state.tokens.chunks_exact(BLOCK_TOKENS).enumerate() {
            let name = parent.child(tokens);
            if blocks.get(&name).is_none() {
                if !self.storage.blocks.contains(&name) {
                    break;
                }
                missing.push(MissingBlock {
                    name,
                    parent,
                    depth,
                    tokens: tokens.to_vec(),
                });
            }
            parent = name;
        }
        Ok(missing)
    }

    /// A stored block turned out to be unusable.
    pub fn block_lost(&mut self, name: &BlockName) {
        self.storage.blocks.remove(name);
    }

    /// How many states could not be stored yet.
    pub fn unsaved(&self) -> usize {
        let unsaved = |state: &&State| state.persist && state.dirty;
        self.states.values().filter(unsaved).count()
    }
}

/// A block to fetch from storage, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct MissingBlock {
    pub name: BlockName,
    pub parent: BlockName,
    pub depth: usize,
    pub tokens: Vec<u32>,
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
