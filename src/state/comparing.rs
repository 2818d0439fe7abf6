//! Two states side by side.

use super::ancestor::common_ancestor;
use super::changes::changes;
use super::diff::{TokenDiff, equal_after_difference};
use super::revision::RevisionId;
use super::state_diff::{
    Ancestor, DiffSide, Distributions, NextDivergence, NextToken, PositionDivergence, StateDiff,
};
use super::states::States;
use crate::error::Result;
use crate::generate::ComparisonResult;
use crate::model::BlockName;
use crate::tokenizer::Tokenizer;

/// What to run the model on to compare two states; see
/// [`Comparison::new`](crate::generate::Comparison::new).
#[derive(Debug, Clone, PartialEq)]
pub struct ToCompare {
    pub texts: [Vec<u32>; 2],
    pub roots: [BlockName; 2],
    pub pairs: Vec<(usize, usize)>,
}

impl States {
    /// The youngest revision that all of these come from.
    pub fn ancestor(&self, heads: &[RevisionId]) -> Option<RevisionId> {
        let parents = |id: &RevisionId| {
            let node = self.revisions.get(id);
            node.map_or(&[][..], |node| &node.revision.parents)
        };
        let created = |id: &RevisionId| {
            let node = self.revisions.get(id);
            node.map_or(0.0, |node| node.revision.created as f64)
        };
        common_ancestor(heads, parents, created).cloned()
    }

    /// How two states differ, without what the model makes of it.
    pub fn diff(&self, a: &str, b: &str, tokenizer: Option<&Tokenizer>) -> Result<StateDiff> {
        let heads = [self.get(a)?, self.get(b)?].map(|state| state.record.head.clone());
        let (head_a, head_b) = (self.head(a)?, self.head(b)?);
        let tokens = TokenDiff::new(&self.get(a)?.tokens, &self.get(b)?.tokens, tokenizer)?;
        let side = |id: &str, head: &RevisionId, len: usize| DiffSide {
            state: id.to_owned(),
            revision: head.to_string(),
            tokens: len as u32,
        };
        let ancestor = self.ancestor(&heads);
        Ok(StateDiff {
            a: side(a, &heads[0], head_a.len),
            b: side(b, &heads[1], head_b.len),
            ancestor: ancestor.map(|id| Ancestor {
                tokens: self.revisions.get(&id).map_or(0, |node| node.len as u32),
                revision: id.to_string(),
            }),
            shared_tokens: tokens.shared_tokens,
            similarity: tokens.similarity,
            hunks: tokens.hunks,
            config: changes(&head_a.attributes.config, &head_b.attributes.config),
            metadata: changes(&head_a.attributes.metadata, &head_b.attributes.metadata),
            distributions: None,
        })
    }

    /// What to run for the distributions of a diff: at the tokens that both
    /// have after the first difference (before it they cannot differ), as far as
    /// the model's context of `n_positions` goes.
    pub fn to_compare(
        &self,
        ids: [&str; 2],
        n_positions: usize,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<ToCompare> {
        let mut texts = [Vec::new(), Vec::new()];
        let mut roots = Vec::new();
        for (id, text) in ids.into_iter().zip(&mut texts) {
            let state = self.get(id)?;
            *text = state.tokens.to_vec();
            text.truncate(n_positions);
            roots.push(self.root(state));
        }
        let pairs = equal_after_difference(&texts[0], &texts[1], tokenizer);
        Ok(ToCompare {
            texts,
            roots: [roots[0], roots[1]],
            pairs,
        })
    }
}

impl Distributions {
    /// From what the model said; the texts of tokens by `tokenizer`.
    pub fn new(result: ComparisonResult, tokenizer: Option<&Tokenizer>) -> Self {
        let text = |token: u32| {
            let text = tokenizer.and_then(|tokenizer| tokenizer.decode(&[token]).ok());
            text.unwrap_or_default()
        };
        let positions = result.positions.iter();
        let top = result.next_top.iter();
        Self {
            positions: positions
                .map(|place| PositionDivergence {
                    a: place.a,
                    b: place.b,
                    kl: place.kl,
                    rank_a: place.rank_a,
                    rank_b: place.rank_b,
                })
                .collect(),
            next: NextDivergence {
                kl: result.next_kl.unwrap_or(0.0),
                top: top
                    .map(|next| NextToken {
                        token: next.token,
                        text: text(next.token),
                        a: next.a,
                        b: next.b,
                    })
                    .collect(),
            },
        }
    }
}
