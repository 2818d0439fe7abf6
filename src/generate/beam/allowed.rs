//! Which tokens a beam may go on with, by what it has written: a text that has to
//! stay within a list of names, say, or a grammar.

use super::tree::NodeId;
use crate::error::{Error, Result};
use crate::generate::processors::LogitsProcessor;
use std::collections::BTreeMap;

/// Given the output so far, without the prompt: the ids that may come next;
/// `None` allows all, an empty list ends the beam without keeping it.
pub type AllowedTokens = Box<dyn FnMut(&[u32]) -> Option<Vec<u32>>>;

/// Where a search learns what is allowed.
///
/// The same as `prefix_allowed_tokens_fn` of transformers, which however makes
/// an empty list an error.
#[derive(Default)]
pub enum Allowed {
    #[default]
    All,
    /// It asks.
    By(AllowedTokens),
    /// It is told before each step, by the nodes of the beams: for callers that
    /// cannot be asked in the middle of a step.
    Told(BTreeMap<NodeId, Option<Vec<u32>>>),
}

impl Allowed {
    /// Rules out what may not come after `output`.
    ///
    /// Errors: `invalid-token` for an id outside the vocabulary; `internal`
    /// where nothing was told of the beam.
    pub fn apply(&mut self, node: NodeId, output: &[u32], scores: &mut [f32]) -> Result<()> {
        let allowed = match self {
            Self::All => None,
            Self::By(ask) => ask(output),
            Self::Told(told) => match told.get(&node) {
                Some(allowed) => allowed.clone(),
                None => {
                    let reason = "it was not told what a beam may go on with".into();
                    return Err(Error::Internal(reason));
                }
            },
        };
        if let Some(ids) = allowed {
            crate::model::forward::check_tokens(&ids, scores.len())?;
            Only(&ids).process(&[], scores);
        }
        Ok(())
    }
}

/// Rules out all other tokens.
struct Only<'i>(&'i [u32]);

impl LogitsProcessor for Only<'_> {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        let mut ids = self.0.to_vec();
        ids.sort_unstable();
        let mut ids = ids.into_iter().peekable();
        for (id, score) in (0u32..).zip(scores) {
            if ids.peek() == Some(&id) {
                while ids.next_if_eq(&id).is_some() {}
            } else {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn applied(allowed: &mut Allowed, node: NodeId, output: &[u32]) -> Result<Vec<f32>> {
        let mut scores = vec![1.0, 2.0, OUT, 4.0];
        allowed.apply(node, output, &mut scores)?;
        Ok(scores)
    }

    #[test]
    fn what_is_not_allowed_is_ruled_out() {
        let ask = |output: &[u32]| (output == [5]).then(|| vec![3, 0, 3, 2]);
        let mut by = Allowed::By(Box::new(ask));
        assert_eq!(applied(&mut by, 0, &[5]).unwrap(), [1.0, OUT, OUT, 4.0]);
        assert_eq!(applied(&mut by, 0, &[6]).unwrap(), [1.0, 2.0, OUT, 4.0]);
        let mut told = Allowed::Told([(7, Some(Vec::new())), (8, None)].into());
        assert_eq!(applied(&mut told, 7, &[]).unwrap(), [OUT; 4]);
        assert_eq!(applied(&mut told, 8, &[]).unwrap(), [1.0, 2.0, OUT, 4.0]);
        let all = applied(&mut Allowed::All, 0, &[]).unwrap();
        assert_eq!(all, [1.0, 2.0, OUT, 4.0]);
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let mut told = Allowed::Told([(7, Some(vec![4]))].into());
        assert_eq!(
            applied(&mut told, 7, &[]).unwrap_err().code(),
            "invalid-token"
        );
        assert_eq!(applied(&mut told, 9, &[]).unwrap_err().code(), "internal");
    }
}
