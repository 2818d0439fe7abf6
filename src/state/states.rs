//! States: named, movable references to revisions, and what can be done with
//! them.
//!
//! Every operation makes one immutable revision and moves the reference to it;
//! nothing is ever overwritten. Forking makes a second reference and nothing
//! else, whatever the length of the text. The KV cache takes no part: what it
//! has of a text is found by the text's tokens (`model::prefix`).

use super::revision::{Attributes, ModelRef, Operation, Revision, RevisionId, check_name};
use super::revisions::{Node, Revisions};
use crate::error::{Error, Result};
use crate::generate::rng::RngState;
use crate::model::{BlockName, BlockTable};
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// Most checkpoints of a state.
pub const MAX_CHECKPOINTS: usize = 1000;

/// A name for a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub name: String,
    pub revision: RevisionId,
    /// Milliseconds since 1970.
    pub created: u64,
}

/// Where a fork came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    pub state: String,
    pub revision: RevisionId,
}

/// A copy of what the head says, for the day that a revision is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    pub tokens: Vec<u32>,
    pub attributes: Attributes,
    pub rng: RngState,
    pub model: ModelRef,
}

/// What the names of a state's KV blocks begin with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvRoot {
    /// Fingerprint of the model that they are of.
    pub model: String,
    /// Blocks that came in a file stand apart from those computed here, which a
    /// forged file could otherwise replace.
    pub root: BlockName,
}

/// A state as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateRecord {
    pub id: String,
    pub head: RevisionId,
    pub checkpoints: Vec<Checkpoint>,
    pub forked_from: Option<Origin>,
    /// Milliseconds since 1970, as the next two.
    pub created: u64,
    pub updated: u64,
    #[serde(default)]
    pub used: u64,
    /// Exempt from clean-up, its KV blocks from eviction.
    #[serde(default)]
    pub pinned: bool,
    #[serde(default)]
    pub kv: Option<KvRoot>,
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
}

impl StateRecord {
    /// The revisions that it refers to.
    pub(super) fn heads(&self) -> impl Iterator<Item = &RevisionId> {
        let checkpoints = self.checkpoints.iter().map(|c| &c.revision);
        checkpoints.chain([&self.head])
    }
}

/// A state in memory. `record.snapshot` is empty here.
#[derive(Debug, Clone)]
pub struct State {
    pub record: StateRecord,
    /// The tokens of its text.
    pub tokens: Rc<[u32]>,
    pub persist: bool,
    /// Changed since it was stored.
    pub dirty: bool,
    /// Counts the changes: one may come while another is being stored.
    pub(super) changes: u64,
    /// What storage counts its writes by; 0 where it is not there.
    pub version: u64,
    /// Who may write it: see the storage's `takeOver`.
    pub fence: u64,
}

impl State {
    fn changed(&mut self) {
        self.dirty = true;
        self.changes += 1;
    }
}

/// What a new revision is to be.
pub struct Change {
    pub operation: Operation,
    pub tokens: Vec<u32>,
    /// `None`: as before.
    pub attributes: Option<Attributes>,
    pub rng: RngState,
    /// Milliseconds that it took.
    pub duration: f64,
}

/// All states and their revisions.
pub struct States {
    pub(super) revisions: Revisions,
    pub(super) states: BTreeMap<String, State>,
    pub(super) storage: super::commit::Storage,
    model: ModelRef,
    /// Everything that a bit of the KV cache depends on.
    fingerprint: String,
    tokenizer: Option<Rc<Tokenizer>>,
}

impl States {
    /// No states yet. `fingerprint` names everything that keys and values
    /// depend on: weights, number format, version of the arithmetic.
    pub fn new(model: ModelRef, fingerprint: String, tokenizer: Option<Rc<Tokenizer>>) -> Self {
        Self {
            revisions: Revisions::default(),
            states: BTreeMap::new(),
            storage: Default::default(),
            model,
            fingerprint,
            tokenizer,
        }
    }

    /// Error: `state-not-found`.
    pub fn get(&self, id: &str) -> Result<&State> {
        let missing = || Error::StateNotFound { id: id.to_owned() };
        self.states.get(id).ok_or_else(missing)
    }

    fn get_mut(&mut self, id: &str) -> Result<&mut State> {
        let missing = || Error::StateNotFound { id: id.to_owned() };
        self.states.get_mut(id).ok_or_else(missing)
    }

    /// The revision a state stands at.
    pub fn head(&self, id: &str) -> Result<&Node> {
        self.revisions.node(&self.get(id)?.record.head)
    }

    pub fn revisions(&self) -> &Revisions {
        &self.revisions
    }

    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Hash of the vocabulary; `None` where there is no tokenizer.
    pub fn tokenizer_hash(&self) -> Option<&str> {
        self.tokenizer.as_deref().map(Tokenizer::vocabulary_hash)
    }

    /// What the names of a state's KV blocks begin with: blocks of another
    /// model are of no use to this one.
    pub fn root(&self, state: &State) -> BlockName {
        match &state.record.kv {
            Some(kv) if kv.model == self.fingerprint => kv.root,
            _ => BlockName::root(&[&self.fingerprint]),
        }
    }

    /// A new state of `tokens`; its id.
    pub fn create(
        &mut self,
        tokens: Vec<u32>,
        mut attributes: Attributes,
        persist: bool,
        now: u64,
    ) -> Result<String> {
        let seed = attributes.seed();
        attributes.config.insert("seed".into(), seed.into());
        let revision = Revision {
            parents: Vec::new(),
            operation: Operation::Create,
            keep: 0,
            appended: tokens,
            attributes: Some(attributes),
            rng: RngState { seed, position: 0 },
            model: self.model.clone(),
            created: now,
            duration_ms: 0,
        };
        let head = self.revisions.insert(revision, false)?;
        self.add_state(head, None, None, persist, now)
    }

    /// A reference to a revision that is known; its id.
    pub(super) fn add_state(
        &mut self,
        head: RevisionId,
        forked_from: Option<Origin>,
        kv: Option<KvRoot>,
        persist: bool,
        now: u64,
    ) -> Result<String> {
        let id = fresh_id()?;
        let record = StateRecord {
            id: id.clone(),
            head,
            checkpoints: Vec::new(),
            forked_from,
            created: now,
            updated: now,
            used: now,
            pinned: false,
            kv,
            snapshot: None,
        };
        self.put_state(record, persist)?;
        Ok(id)
    }

    /// Takes a state in, as new.
    pub(super) fn put_state(&mut self, record: StateRecord, persist: bool) -> Result<()> {
        let state = State {
            tokens: self.revisions.tokens(&record.head)?.into(),
            persist,
            dirty: true,
            changes: 0,
            version: 0,
            fence: 0,
            record,
        };
        self.states.insert(state.record.id.clone(), state);
        Ok(())
    }

    /// Makes a state what it was before a change that could not be stored. Its
    /// revision goes with the next garbage.
    pub fn put_back(&mut self, state: State) {
        self.states.insert(state.record.id.clone(), state);
    }

    /// Makes a revision and moves the state to it.
    pub fn advance(&mut self, id: &str, change: Change, now: u64) -> Result<()> {
        let state = self.get(id)?;
        let head = state.record.head.clone();
        let common = state.tokens.iter().zip(&change.tokens);
        let keep = common.take_while(|(a, b)| a == b).count();
        let parent = self.revisions.node(&head)?;
        let attributes = change
            .attributes
            .filter(|attributes| *attributes != *parent.attributes);
        let revision = Revision {
            parents: vec![head],
            operation: change.operation,
            keep: keep as u32,
            appended: change.tokens[keep..].to_vec(),
            attributes,
            rng: change.rng,
            model: self.model.clone(),
            created: now,
            duration_ms: change.duration.clamp(0.0, f64::from(u32::MAX)) as u32,
        };
        let head = self.revisions.insert(revision, false)?;
        let state = self.get_mut(id)?;
        state.record.head = head;
        state.tokens = change.tokens.into();
        state.record.updated = now;
        state.record.used = now;
        state.changed();
        Ok(())
    }

    /// Puts tokens after the text.
    pub fn append(&mut self, id: &str, tokens: &[u32], now: u64) -> Result<()> {
        let all = [&self.get(id)?.tokens[..], tokens].concat();
        let rng = self.head(id)?.revision.rng;
        self.advance(id, change(Operation::Append, &all, rng), now)
    }

    /// Replaces attributes; a new seed begins its random numbers anew. Where they
    /// are the same, nothing is recorded.
    pub fn update(&mut self, id: &str, attributes: Attributes, now: u64) -> Result<()> {
        let head = self.head(id)?;
        if attributes == *head.attributes {
            return Ok(());
        }
        let seed = attributes.seed();
        let rng = if seed == head.attributes.seed() {
            head.revision.rng
        } else {
            RngState { seed, position: 0 }
        };
        self.restart(id, attributes, rng, now)
    }

    /// Begins the random numbers of `seed`, also where it is the same.
    pub fn reseed(&mut self, id: &str, seed: u64, now: u64) -> Result<()> {
        let mut attributes = (*self.head(id)?.attributes).clone();
        attributes.config.insert("seed".into(), seed.into());
        self.restart(id, attributes, RngState { seed, position: 0 }, now)
    }

    fn restart(
        &mut self,
        id: &str,
        mut attributes: Attributes,
        rng: RngState,
        now: u64,
    ) -> Result<()> {
        let seed = attributes.seed();
        attributes.config.insert("seed".into(), seed.into());
        let change = Change {
            operation: Operation::Update,
            tokens: self.get(id)?.tokens.to_vec(),
            attributes: Some(attributes),
            rng,
            duration: 0.0,
        };
        self.advance(id, change, now)
    }

    /// The tokens at a revision of the state's history.
    pub fn tokens_at(&self, id: &str, revision: Option<&str>) -> Result<Vec<u32>> {
        match revision {
            None => Ok(self.get(id)?.tokens.to_vec()),
            Some(revision) => self.revisions.tokens(&self.own_revision(id, revision)?),
        }
    }

    /// Names where the state stands; a name that is taken moves.
    pub fn checkpoint(&mut self, id: &str, name: &str, now: u64) -> Result<Checkpoint> {
        check_name("name", name)?;
        let state = self.get_mut(id)?;
        let checkpoint = Checkpoint {
            name: name.to_owned(),
            revision: state.record.head.clone(),
            created: now,
        };
        let checkpoints = &mut state.record.checkpoints;
        checkpoints.retain(|checkpoint| checkpoint.name != name);
        if checkpoints.len() >= MAX_CHECKPOINTS {
            let reason = format!("a state has at most {MAX_CHECKPOINTS} checkpoints");
            return Err(Error::argument("name", reason));
        }
        checkpoints.push(checkpoint.clone());
        state.changed();
        Ok(checkpoint)
    }

    pub fn pin(&mut self, id: &str, pinned: bool) -> Result<()> {
        let state = self.get_mut(id)?;
        state.record.pinned = pinned;
        state.changed();
        Ok(())
    }

    /// Says that a state was read from.
    pub fn touch(&mut self, id: &str, now: u64) -> Result<()> {
        self.get_mut(id)?.record.used = now;
        Ok(())
    }

    /// Keeps the KV blocks of pinned states in memory.
    pub fn pin_blocks(&self, blocks: &mut BlockTable) {
        let pinned = self.states.values().filter(|state| state.record.pinned);
        let names: HashSet<BlockName> = pinned
            .flat_map(|state| self.root(state).chain(&state.tokens))
            .collect();
        blocks.set_pinned(names);
    }

    pub fn iter(&self) -> impl Iterator<Item = &State> {
        self.states.values()
    }
}

/// A change of the text alone.
pub(super) fn change(operation: Operation, tokens: &[u32], rng: RngState) -> Change {
    Change {
        operation,
        tokens: tokens.to_vec(),
        attributes: None,
        rng,
        duration: 0.0,
    }
}

/// An id for a state: 64 random bits, in hexadecimal.
pub(super) fn fresh_id() -> Result<String> {
    match getrandom::u64() {
        Ok(bits) => Ok(format!("{bits:016x}")),
        Err(error) => Err(Error::Internal(format!("no random id: {error}"))),
    }
}
