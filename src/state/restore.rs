//! From storage to memory: what was read.
//!
//! Each record is checked for itself: a damaged one is told by name, and the rest
//! is taken in. Another tab may have written since; what was not stored here then
//! becomes a state of its own.

use super::record::{self, Kind};
use super::revision::{Operation, Revision, RevisionId};
use super::states::{Change, StateRecord, States};
use crate::error::Result;
use crate::generate::rng::RngState;
use crate::model::kv::BLOCK_TOKENS;
use crate::model::{BlockName, BlockTable};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

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
}

/// A block to fetch from storage, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct MissingBlock {
    pub name: BlockName,
    pub parent: BlockName,
    pub depth: usize,
    pub tokens: Vec<u32>,
}
