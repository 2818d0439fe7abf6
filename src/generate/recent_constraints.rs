//! Constraints that were compiled lately, so that many texts with one of them
//! compile it once, and share what it has found out about the vocabulary.

use super::constraint::{Constraint, ConstraintSpec};
use super::options::GenerateOptions;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// How many are kept.
const KEPT: usize = 8;

/// The constraints of one vocabulary, last used first.
#[derive(Default)]
pub struct RecentConstraints(RefCell<VecDeque<Recent>>);

struct Recent {
    spec: ConstraintSpec,
    eos_token_ids: Vec<u32>,
    constraint: Rc<Constraint>,
}

impl RecentConstraints {
    /// What `options` ask for, compiled; `None` where they ask for nothing.
    ///
    /// Errors: `no-tokenizer`, and those of [`Constraint::new`].
    pub fn get(
        &self,
        options: &GenerateOptions,
        tokenizer: Option<&Rc<Tokenizer>>,
        eos_token_ids: &[u32],
    ) -> Result<Option<Rc<Constraint>>> {
        let Some(spec) = &options.constraint else {
            return Ok(None);
        };
        let tokenizer = tokenizer.ok_or(Error::NoTokenizer)?;
        let mut recent = self.0.borrow_mut();
        let known = recent
            .iter()
            .position(|known| known.spec == *spec && known.eos_token_ids == eos_token_ids)
            .and_then(|place| recent.remove(place));
        let known = match known {
            Some(known) => known,
            None => Recent {
                spec: spec.clone(),
                eos_token_ids: eos_token_ids.to_vec(),
                constraint: Rc::new(Constraint::new(spec, tokenizer, eos_token_ids)?),
            },
        };
        let constraint = Rc::clone(&known.constraint);
        recent.push_front(known);
        recent.truncate(KEPT);
        Ok(Some(constraint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::scheduler::tests::tokenizer;

    fn options(pattern: &str) -> GenerateOptions {
        GenerateOptions {
            constraint: Some(ConstraintSpec::Regex(pattern.into())),
            ..GenerateOptions::default()
        }
    }

    #[test]
    fn what_was_compiled_lately_is_not_compiled_again() {
        let (recent, tokenizer) = (RecentConstraints::default(), tokenizer());
        let get = |pattern: &str, eos: &[u32]| {
            let constraint = recent.get(&options(pattern), Some(&tokenizer), eos);
            constraint.unwrap().unwrap()
        };
        let first = get("a+", &[299]);
        assert!(Rc::ptr_eq(&first, &get("a+", &[299])));
        assert!(!Rc::ptr_eq(&first, &get("a+", &[298])));
        assert!(!Rc::ptr_eq(&first, &get("b+", &[299])));
        for count in 0..KEPT {
            get(&format!("c{{{}}}", count + 1), &[299]);
        }
        assert!(!Rc::ptr_eq(&first, &get("a+", &[299])));
    }

    #[test]
    fn a_constraint_needs_a_tokenizer() {
        let recent = RecentConstraints::default();
        let error = recent.get(&options("a"), None, &[]).err();
        assert_eq!(error, Some(Error::NoTokenizer));
        let nothing = recent.get(&GenerateOptions::default(), None, &[]).unwrap();
        assert!(nothing.is_none());
    }
}
