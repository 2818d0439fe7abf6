//! Which KV blocks a history has.
//!
//! A revision has most of its blocks from the one it was made of. Each is hashed
//! once, at the first revision that has it, so this takes time in proportion to
//! what was written rather than to the number of revisions times their length.

use super::revision::RevisionId;
use super::revisions::{Node, Revisions};
use crate::error::Result;
use crate::model::BlockName;
use crate::model::kv::BLOCK_TOKENS;
use std::collections::{HashMap, HashSet};

/// A full block of a text, and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct TextBlock {
    pub name: BlockName,
    pub parent: BlockName,
    /// How many blocks come before it.
    pub depth: usize,
    pub tokens: Vec<u32>,
}

/// Of a revision: the index of the first block that it does not have from its
/// base, and the names from there on.
type Own = (usize, Vec<BlockName>);

impl Revisions {
    /// The full blocks of revisions' texts, named from `root` on: always in the
    /// same order, some of them perhaps more than once.
    pub fn full_blocks(
        &self,
        root: BlockName,
        revisions: &HashSet<RevisionId>,
    ) -> Result<Vec<TextBlock>> {
        let mut blocks = Vec::new();
        let mut known: HashMap<&RevisionId, Own> = HashMap::new();
        for id in self.parents_first(revisions) {
            let node = self.node(id)?;
            let shared = node.revision.keep as usize / BLOCK_TOKENS;
            let last_shared = shared
                .checked_sub(1)
                .and_then(|index| self.block_of_base(node, index, &known));
            let (first, mut parent) = match last_shared {
                Some(name) => (shared, name),
                None => (0, root),
            };
            let tokens = self.tokens_of(node, first * BLOCK_TOKENS)?;
            let mut own = Vec::new();
            for (index, tokens) in tokens.chunks_exact(BLOCK_TOKENS).enumerate() {
                let name = parent.child(tokens);
                blocks.push(TextBlock {
                    name,
                    parent,
                    depth: first + index,
                    tokens: tokens.to_vec(),
                });
                own.push(name);
                parent = name;
            }
            known.insert(id, (first, own));
        }
        Ok(blocks)
    }

    /// The name of a block that a node has from its base, if that is known.
    fn block_of_base(
        &self,
        node: &Node,
        index: usize,
        known: &HashMap<&RevisionId, Own>,
    ) -> Option<BlockName> {
        let mut base = node.base.as_ref()?;
        loop {
            let (first, names) = known.get(base)?;
            if let Some(at) = index.checked_sub(*first) {
                return names.get(at).copied();
            }
            base = self.get(base)?.base.as_ref()?;
        }
    }
}
