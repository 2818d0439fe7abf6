//! Going elsewhere in a history: forks and rollbacks.

use super::revision::{Operation, RevisionId};
use super::states::{Change, Origin, States, change};
use crate::error::{Error, Result};
use crate::generate::FinishReason;
use crate::generate::rng::RngState;
use serde::Deserialize;

/// Where a state is to go back to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum RollbackTo {
    Checkpoint(String),
    Revision(String),
    Steps(usize),
}

/// From where a fork goes on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ForkAt {
    Revision(String),
    /// A number of tokens to keep.
    Tokens(usize),
}

impl States {
    /// A second reference, to where the state stands or stood; its id. With a
    /// number of tokens, the fork goes back to those.
    pub fn fork(&mut self, id: &str, at: Option<&ForkAt>, now: u64) -> Result<String> {
        let state = self.get(id)?;
        let (head, persist) = (state.record.head.clone(), state.persist);
        let (tokens, kv) = (state.tokens.clone(), state.record.kv.clone());
        let (revision, keep) = match at {
            None => (head, tokens.len()),
            Some(ForkAt::Revision(revision)) => {
                let revision = self.own_revision(id, revision)?;
                let len = self.revisions.node(&revision)?.len;
                (revision, len)
            }
            Some(&ForkAt::Tokens(keep)) if (1..=tokens.len()).contains(&keep) => (head, keep),
            Some(ForkAt::Tokens(_)) => {
                let reason = format!("must be from 1 to the {} tokens of the state", tokens.len());
                return Err(Error::argument("at", reason));
            }
        };
        let origin = Some(Origin {
            state: id.to_owned(),
            revision: revision.clone(),
        });
        if self.revisions.node(&revision)?.len == keep {
            return self.add_state(revision, origin, kv, persist, now);
        }
        let (start, change) = self.first_tokens(&revision, &tokens[..keep])?;
        let fork = self.add_state(start, origin, kv, persist, now)?;
        if let Some(change) = change {
            self.advance(&fork, change, now)?;
        }
        Ok(fork)
    }

    /// The revision to go on from for the first tokens of `from`'s text: the
    /// youngest that has no others, and what leads from it to them. Inside a
    /// generation that is the generation as if it had been stopped there, with
    /// random numbers that go on as they did.
    fn first_tokens(
        &self,
        from: &RevisionId,
        tokens: &[u32],
    ) -> Result<(RevisionId, Option<Change>)> {
        let mut at = self.revisions.meaning(from)?;
        let mut node = self.revisions.node(&at)?;
        // How far the text at hand is that of `from`.
        let mut shared = node.len;
        loop {
            shared = shared.min(node.revision.keep as usize);
            let Some(parent) = node.revision.parents.first() else {
                break;
            };
            let child = node;
            at = self.revisions.meaning(parent)?;
            node = self.revisions.node(&at)?;
            if node.len > tokens.len() || node.len > shared {
                continue;
            }
            if node.len == tokens.len() {
                return Ok((at, None));
            }
            let rng = node.revision.rng;
            let (operation, rng) = match child.revision.operation {
                Operation::Generate { .. } => {
                    let finish_reason = FinishReason::Aborted;
                    let kept = tokens.len() - node.len;
                    let made = child.len - node.len;
                    let rng = inside(rng, child.revision.rng, kept as u64, made as u64);
                    (Operation::Generate { finish_reason }, rng)
                }
                _ => (Operation::Append, rng),
            };
            return Ok((at, Some(change(operation, tokens, rng))));
        }
        let rng = self.revisions.node(from)?.revision.rng;
        Ok((from.clone(), Some(change(Operation::Truncate, tokens, rng))))
    }

    /// A revision of the state's history, by its id.
    pub(super) fn own_revision(&self, id: &str, revision: &str) -> Result<RevisionId> {
        let wanted = RevisionId::from(revision);
        let from = self.get(id)?.record.heads().cloned();
        if self.revisions.ancestry(from).contains(&wanted) {
            return Ok(wanted);
        }
        Err(Error::RevisionNotFound {
            revision: revision.to_owned(),
        })
    }

    /// Makes all as it was: text, config, name, tags, metadata, and random
    /// numbers, so that what is generated next is what was generated then.
    pub fn rollback(&mut self, id: &str, to: &RollbackTo, now: u64) -> Result<()> {
        let state = self.get(id)?;
        let target = match to {
            RollbackTo::Checkpoint(name) => {
                let mut checkpoints = state.record.checkpoints.iter();
                let found = checkpoints.find(|checkpoint| checkpoint.name == *name);
                let missing = || Error::CheckpointNotFound { name: name.clone() };
                found.ok_or_else(missing)?.revision.clone()
            }
            RollbackTo::Revision(revision) => self.own_revision(id, revision)?,
            RollbackTo::Steps(steps) => self.revisions.back(&state.record.head, *steps)?,
        };
        let target = self.revisions.meaning(&target)?;
        if target == self.revisions.meaning(&state.record.head)? {
            return Ok(());
        }
        let node = self.revisions.node(&target)?;
        let change = Change {
            attributes: Some((*node.attributes).clone()),
            rng: node.revision.rng,
            tokens: self.revisions.tokens(&target)?,
            operation: Operation::Rollback { target },
            duration: 0.0,
        };
        self.advance(id, change, now)
    }
}

/// The random numbers after the first `kept` of the `made` tokens of a
/// generation that went from `before` to `after`, one number a token.
fn inside(before: RngState, after: RngState, kept: u64, made: u64) -> RngState {
    let begun_anew = after.seed != before.seed
        || after.position < before.position
        || (after.position > before.position
            && after.position - before.position < made
            && after.position >= made);
    let start = if begun_anew { 0 } else { before.position };
    // Greedy ones draw none; one that was cut inside a token may have drawn
    // fewer numbers than it left tokens.
    let drawn = after.position - start;
    RngState {
        seed: after.seed,
        position: start + kept.min(drawn),
    }
}
