//! What the model sees of a text that is longer than its context.
//!
//! GPT-2's positions are absolute, so nothing can be shifted in the KV cache:
//! what follows a gap is run again. Room is therefore made for many tokens at
//! once: for all that are still to come, but at most for a quarter of the
//! context.

use crate::error::{Error, Result};
use crate::generate::options::{ContextPolicy, GenerateOptions};
use std::ops::Range;

/// How a text is made to fit.
#[derive(Debug, Clone)]
pub(super) struct Window {
    policy: ContextPolicy,
    keep_prefix: usize,
    n_positions: usize,
}

impl Window {
    /// Error: `invalid-option`, where the prefix to keep leaves no room.
    pub fn new(options: &GenerateOptions, n_positions: usize) -> Result<Self> {
        let window = Self {
            policy: options.context_policy,
            keep_prefix: options.keep_prefix_tokens,
            n_positions,
        };
        let most = window.least_kept() - 1;
        let keep = options.keep_prefix_tokens;
        if options.context_policy == ContextPolicy::KeepPrefix && keep > most {
            return Err(Error::option(
                "keepPrefixTokens",
                keep,
                format!("at most {most} with this model's {n_positions} positions"),
            ));
        }
        Ok(window)
    }

    /// Whether a text that reaches the end of the context goes on.
    pub fn slides(&self) -> bool {
        self.policy != ContextPolicy::Error
    }

    /// What to drop of a text of `len` tokens with `to_come` more, so that it
    /// fits; `None` where it does.
    ///
    /// Error: `context-overflow`, where nothing may be dropped.
    pub fn to_drop(&self, len: usize, to_come: usize) -> Result<Option<Range<usize>>> {
        if len <= self.n_positions {
            return Ok(None);
        }
        // The last token of all is never run.
        let room = to_come.saturating_sub(1);
        let kept = (self.n_positions - room.min(self.n_positions)).max(self.least_kept());
        let dropped = len - kept;
        let start = match self.policy {
            ContextPolicy::Error => {
                return Err(Error::ContextOverflow {
                    needed: len,
                    available: self.n_positions,
                });
            }
            ContextPolicy::TruncateStart => 0,
            ContextPolicy::TruncateMiddle => kept / 2,
            ContextPolicy::KeepPrefix => self.keep_prefix,
        };
        Ok(Some(start..start + dropped))
    }

    fn least_kept(&self) -> usize {
        (self.n_positions - self.n_positions / 4).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(context_policy: ContextPolicy, keep_prefix_tokens: usize) -> Window {
        let options = GenerateOptions {
            context_policy,
            keep_prefix_tokens,
            ..GenerateOptions::default()
        };
        Window::new(&options, 100).unwrap()
    }

    #[test]
    fn what_fits_stays_whole() {
        for policy in [ContextPolicy::Error, ContextPolicy::TruncateStart] {
            assert_eq!(window(policy, 0).to_drop(100, 50).unwrap(), None);
        }
    }

    #[test]
    fn without_a_policy_too_much_is_an_error_with_the_numbers() {
        let error = window(ContextPolicy::Error, 0).to_drop(130, 5).unwrap_err();
        assert_eq!(
            error.to_string(),
            "130 positions are needed, the model has 100"
        );
    }

    #[test]
    fn each_policy_drops_from_its_own_place_and_leaves_room() {
        let dropped = |policy, keep, to_come| {
            let range = window(policy, keep).to_drop(130, to_come).unwrap();
            range.map(|range| (range.start, range.end))
        };
        // 75 stay where much is to come, 96 where only 5 tokens are.
        assert_eq!(dropped(ContextPolicy::TruncateStart, 0, 500), Some((0, 55)));
        assert_eq!(dropped(ContextPolicy::TruncateStart, 0, 5), Some((0, 34)));
        assert_eq!(dropped(ContextPolicy::TruncateStart, 0, 1), Some((0, 30)));
        assert_eq!(
            dropped(ContextPolicy::TruncateMiddle, 0, 500),
            Some((37, 92))
        );
        assert_eq!(dropped(ContextPolicy::KeepPrefix, 10, 500), Some((10, 65)));
    }

    #[test]
    fn a_prefix_that_leaves_no_room_is_refused() {
        let options = GenerateOptions {
            context_policy: ContextPolicy::KeepPrefix,
            keep_prefix_tokens: 75,
            ..GenerateOptions::default()
        };
        let error = Window::new(&options, 100).unwrap_err();
        assert_eq!(error.code(), "invalid-option");
        assert!(error.to_string().contains("at most 74"), "{error}");
    }
}
