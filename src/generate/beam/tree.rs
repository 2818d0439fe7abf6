//! The tree of what a search tries, as it grows: for drawing.
//!
//! A node is a token after its parent's; the root, 0, is the prompt. Every
//! candidate that was looked at is a node, also those that came to nothing at
//! once, so the tree shows what was given up for what.

use serde::Serialize;
use std::collections::BTreeMap;

/// Names a node; never used twice in a search.
pub type NodeId = u32;
/// The prompt.
pub const ROOT: NodeId = 0;

/// How things stand with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum BeamNodeState {
    /// The search goes on from here, or from nodes that come from here.
    Running,
    /// A sequence ends here, and is among the best so far.
    Finished,
    /// Nothing comes from here any more.
    Pruned,
}

/// A token that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct BeamNode {
    pub id: u32,
    /// The node that it comes after; 0 is the prompt.
    pub parent: u32,
    pub token: u32,
    /// The text that is complete with this token. Joined along a path, the
    /// text of the path.
    pub text: String,
    /// Log-probability of the token after the processors, in nats.
    pub log_prob: f64,
    /// Score of the sequence if it ended here; see `BeamSequence`.
    pub score: f64,
    pub state: BeamNodeState,
    /// Which group of beams it is of; 0 where there are no groups.
    pub group: u32,
}

/// What one step added to the tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct BeamStep {
    /// Tokens that the new nodes are away from the prompt.
    pub step: u32,
    /// The new nodes, in the order of their ids.
    pub nodes: Vec<BeamNode>,
    /// Nodes of earlier steps that are now pruned.
    pub pruned: Vec<u32>,
    /// Nodes of earlier steps that are now finished: open beams, where the
    /// search ended.
    pub finished: Vec<u32>,
}

#[derive(Debug)]
struct Living {
    parent: NodeId,
    /// Children that are not pruned.
    children: usize,
}

/// The nodes that are not pruned, and what is new.
#[derive(Debug)]
pub struct Tree {
    living: BTreeMap<NodeId, Living>,
    next: NodeId,
    new: BeamStep,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            living: BTreeMap::new(),
            next: ROOT + 1,
            new: BeamStep::default(),
        }
    }
}

impl Tree {
    /// Adds a node, whose id this gives it.
    pub fn add(&mut self, mut node: BeamNode) -> NodeId {
        let id = self.next;
        self.next += 1;
        node.id = id;
        if node.state != BeamNodeState::Pruned {
            let parent = node.parent;
            let living = Living {
                parent,
                children: 0,
            };
            self.living.insert(id, living);
            if let Some(parent) = self.living.get_mut(&parent) {
                parent.children += 1;
            }
        }
        self.new.nodes.push(node);
        id
    }

    /// True where nothing that lives comes after the node.
    pub fn is_leaf(&self, id: NodeId) -> bool {
        self.living.get(&id).is_some_and(|node| node.children == 0)
    }

    /// Gives a leaf up, and all before it that led to nothing else.
    pub fn prune(&mut self, mut id: NodeId) {
        while self.is_leaf(id)
            && let Some(node) = self.living.remove(&id)
        {
            self.new.finished.retain(|&finished| finished != id);
            match self.new_node(id) {
                Some(new) => new.state = BeamNodeState::Pruned,
                None => self.new.pruned.push(id),
            }
            id = node.parent;
            if let Some(parent) = self.living.get_mut(&id) {
                parent.children -= 1;
            }
        }
    }

    /// Says that a sequence ends with an open beam.
    pub fn finish(&mut self, id: NodeId) {
        match self.new_node(id) {
            Some(new) => new.state = BeamNodeState::Finished,
            None => self.new.finished.push(id),
        }
    }

    fn new_node(&mut self, id: NodeId) -> Option<&mut BeamNode> {
        let first = self.new.nodes.first()?.id;
        let index = id.checked_sub(first)?;
        self.new.nodes.get_mut(index as usize)
    }

    /// What is new since this was called last.
    pub fn take_step(&mut self, step: usize) -> BeamStep {
        BeamStep {
            step: step as u32,
            ..std::mem::take(&mut self.new)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BeamNodeState::{Finished, Pruned, Running};

    fn node(parent: NodeId, state: BeamNodeState) -> BeamNode {
        BeamNode {
            id: 0,
            parent,
            token: 0,
            text: String::new(),
            log_prob: 0.0,
            score: 0.0,
            state,
            group: 0,
        }
    }

    #[test]
    fn what_leads_to_nothing_goes_with_all_that_led_only_to_it() {
        let mut tree = Tree::default();
        let a = tree.add(node(ROOT, Running));
        let b = tree.add(node(a, Running));
        let c = tree.add(node(a, Running));
        assert_eq!(tree.take_step(1).nodes.len(), 3);
        let d = tree.add(node(b, Running));
        let lost = tree.add(node(c, Pruned));
        tree.prune(c);
        let step = tree.take_step(2);
        assert_eq!(step.pruned, [c]);
        let states: Vec<_> = step.nodes.iter().map(|n| (n.id, n.state)).collect();
        assert_eq!(states, [(d, Running), (lost, Pruned)]);
        tree.prune(d);
        assert_eq!(tree.take_step(3).pruned, [d, b, a]);
    }

    #[test]
    fn a_node_of_this_step_is_told_as_it_ends_up() {
        let mut tree = Tree::default();
        let a = tree.add(node(ROOT, Running));
        let b = tree.add(node(ROOT, Running));
        tree.finish(a);
        tree.prune(b);
        let step = tree.take_step(1);
        let states: Vec<_> = step.nodes.iter().map(|n| n.state).collect();
        assert_eq!(states, [Finished, Pruned]);
        assert!(step.finished.is_empty() && step.pruned.is_empty());
        tree.prune(a);
        assert_eq!(tree.take_step(2).pruned, [a]);
    }
}
