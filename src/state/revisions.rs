//! All revisions that are known, as the graph they form.
//!
//! Everything else about a text is derived by walking it: tokens, attributes,
//! histories. Walks go on lists, not on the call stack: a history may have ten
//! thousand revisions.

use super::revision::{Attributes, MAX_PARENTS, Operation, Revision, RevisionId};
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Most tokens a revision may have: far above any context, far below what would
/// fill the memory.
pub const MAX_TOKENS: usize = 1 << 16;

/// A revision in its place.
#[derive(Debug)]
pub struct Node {
    pub revision: Revision,
    /// Its own, or those it has from its first parent.
    pub attributes: Rc<Attributes>,
    /// Tokens of its text.
    pub len: usize,
    /// Where the tokens that it keeps come from: an ancestor that keeps fewer
    /// and begins as this does. So a walk along these takes no more steps than
    /// the text has tokens, however long the history is.
    pub base: Option<RevisionId>,
    /// Longest way from a beginning: parents have smaller ones.
    pub generation: u32,
    /// In storage.
    pub stored: bool,
}

/// Revisions by id.
#[derive(Debug, Default)]
pub struct Revisions {
    nodes: HashMap<RevisionId, Node>,
}

impl Revisions {
    /// Adds a revision whose parents are known. Error: `invalid-state-file`
    /// where it contradicts them or itself.
    pub fn insert(&mut self, revision: Revision, stored: bool) -> Result<RevisionId> {
        let id = RevisionId::of(&revision.to_json()?);
        if let Some(known) = self.nodes.get_mut(&id) {
            known.stored |= stored;
            return Ok(id);
        }
        let wrong = |what: &str| Error::InvalidStateFile(format!("revision {id} {what}"));
        if revision.parents.len() > MAX_PARENTS {
            return Err(wrong("has too many parents"));
        }
        let mut generation = 0;
        for parent in &revision.parents {
            let parent = self
                .nodes
                .get(parent)
                .ok_or_else(|| wrong("has no parent"))?;
            generation = generation.max(parent.generation + 1);
        }
        if let Operation::Rollback { target } = &revision.operation {
            let target = self
                .nodes
                .get(target)
                .ok_or_else(|| wrong("has no target"))?;
            generation = generation.max(target.generation + 1);
        }
        let first = revision.parents.first().and_then(|id| self.nodes.get(id));
        let keep = revision.keep as usize;
        if keep > first.map_or(0, |parent| parent.len) {
            return Err(wrong("keeps more tokens than its parent has"));
        }
        let len = keep + revision.appended.len();
        if len > MAX_TOKENS {
            return Err(wrong("has too many tokens"));
        }
        let attributes = match (&revision.attributes, first) {
            (Some(own), _) => Rc::new(own.clone()),
            (None, Some(parent)) => parent.attributes.clone(),
            (None, None) => return Err(wrong("has no attributes")),
        };
        let base = self.base(&revision);
        let node = Node {
            revision,
            attributes,
            len,
            base,
            generation,
            stored,
        };
        if !self.goes_back(&node)? {
            return Err(wrong("is not what it says that it goes back to"));
        }
        self.nodes.insert(id.clone(), node);
        Ok(id)
    }

    /// See [`Node::base`].
    fn base(&self, revision: &Revision) -> Option<RevisionId> {
        let mut base = revision.parents.first().filter(|_| revision.keep > 0)?;
        while let Some(node) = self.nodes.get(base) {
            if node.revision.keep < revision.keep {
                break;
            }
            base = node.base.as_ref()?;
        }
        Some(base.clone())
    }

    /// False where a going back differs from its target. Whoever walks the
    /// history takes one for the other.
    fn goes_back(&self, node: &Node) -> Result<bool> {
        let Operation::Rollback { target } = &node.revision.operation else {
            return Ok(true);
        };
        let target_node = self.node(target)?;
        let same = target_node.len == node.len
            && target_node.attributes == node.attributes
            && target_node.revision.rng == node.revision.rng;
        Ok(same && self.tokens(target)? == self.tokens_of(node, 0)?)
    }

    pub fn get(&self, id: &RevisionId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Error: `revision-not-found`.
    pub fn node(&self, id: &RevisionId) -> Result<&Node> {
        let revision = || id.to_string();
        self.nodes.get(id).ok_or_else(|| Error::RevisionNotFound {
            revision: revision(),
        })
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Says that a revision is in storage.
    pub fn set_stored(&mut self, id: &RevisionId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.stored = true;
        }
    }

    /// Says that a revision is not in storage. Then those that it comes from may
    /// not be there either.
    pub fn set_unstored(&mut self, id: &RevisionId) {
        for id in self.ancestry([id.clone()]) {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.stored = false;
            }
        }
    }

    /// The tokens of a revision's text.
    pub fn tokens(&self, id: &RevisionId) -> Result<Vec<u32>> {
        self.tokens_of(self.node(id)?, 0)
    }

    /// The tokens of a node's text from the index `from` on, which is not behind
    /// its end.
    pub(super) fn tokens_of<'n>(&'n self, mut node: &'n Node, from: usize) -> Result<Vec<u32>> {
        let mut left = node.len;
        let mut tokens = vec![0; left - from];
        while left > from {
            let keep = node.revision.keep as usize;
            if left > keep {
                let start = keep.max(from);
                let part = &node.revision.appended[start - keep..left - keep];
                tokens[start - from..left - from].copy_from_slice(part);
                left = start;
            }
            if left > from {
                let base = node.base.as_ref();
                let base = base.ok_or_else(|| Error::Internal("a text without a base".into()))?;
                node = self.node(base)?;
            }
        }
        Ok(tokens)
    }

    /// What a revision is made of: its parents, and the target it went back to.
    pub fn sources(&self, id: &RevisionId) -> Vec<RevisionId> {
        let node = self.nodes.get(id);
        let sources = node.into_iter().flat_map(|node| node.revision.sources());
        sources.cloned().collect()
    }

    /// Everything that `from` comes from, itself included.
    pub fn ancestry(&self, from: impl IntoIterator<Item = RevisionId>) -> HashSet<RevisionId> {
        let mut seen = HashSet::new();
        let mut left: Vec<RevisionId> = from.into_iter().collect();
        while let Some(id) = left.pop() {
            if self.nodes.contains_key(&id) && !seen.contains(&id) {
                left.extend(self.sources(&id));
                seen.insert(id);
            }
        }
        seen
    }

    /// The revision that `id` stands for: going back makes a revision that
    /// stands for the one gone back to.
    pub fn meaning(&self, id: &RevisionId) -> Result<RevisionId> {
        let mut id = id.clone();
        while let Operation::Rollback { target } = &self.node(&id)?.revision.operation {
            id = target.clone();
        }
        Ok(id)
    }

    /// The revision `steps` operations before `id`, which does not count
    /// goings-back and what they undid.
    pub fn back(&self, id: &RevisionId, steps: usize) -> Result<RevisionId> {
        let mut at = self.meaning(id)?;
        for step in 0..steps {
            let node = self.node(&at)?;
            let Some(parent) = node.revision.parents.first() else {
                let reason = format!("{steps} steps back are asked for, the history has {step}");
                return Err(Error::argument("steps", reason));
            };
            at = self.meaning(parent)?;
        }
        Ok(at)
    }

    /// Forgets every revision that is not among `kept`; the forgotten.
    pub fn retain(&mut self, kept: &HashSet<RevisionId>) -> Vec<(RevisionId, Node)> {
        let gone = |(id, _): &(&RevisionId, &mut Node)| !kept.contains(*id);
        let gone: Vec<RevisionId> = {
            let all = self.nodes.iter_mut();
            all.filter(gone).map(|(id, _)| id.clone()).collect()
        };
        let removed = gone.into_iter();
        removed
            .filter_map(|id| self.nodes.remove(&id).map(|node| (id, node)))
            .collect()
    }

    /// Ids, parents before children; of equal age the lower id first.
    pub fn in_order(&self, ids: &HashSet<RevisionId>) -> Vec<RevisionId> {
        self.parents_first(ids).into_iter().cloned().collect()
    }

    /// As [`in_order`](Self::in_order).
    pub(super) fn parents_first<'i>(&self, ids: &'i HashSet<RevisionId>) -> Vec<&'i RevisionId> {
        let mut ids: Vec<&RevisionId> = ids.iter().collect();
        let key = |id: &RevisionId| {
            let node = self.nodes.get(id);
            node.map_or((0, 0), |node| (node.generation, node.revision.created))
        };
        ids.sort_by(|a, b| key(a).cmp(&key(b)).then(a.cmp(b)));
        ids
    }

    pub fn iter(&self) -> impl Iterator<Item = (&RevisionId, &Node)> {
        self.nodes.iter()
    }
}
