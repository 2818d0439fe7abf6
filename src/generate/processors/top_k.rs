//! `top_k`: keeps the k best tokens.

use super::{LogitsProcessor, select::kth_largest, select::rule_out_below};

/// Rules out every token whose score is below the k-th largest. Ties with the
/// k-th stay, so more than k may.
///
/// Source: A. Fan et al. (arXiv:1805.04833); ties as in transformers'
/// `TopKLogitsWarper`. Default 50, as there.
#[derive(Debug)]
pub struct TopK {
    k: usize,
    scratch: Vec<f32>,
}

impl TopK {
    /// Keeps `k` tokens, at least `min_tokens_to_keep` and at least 1.
    pub fn new(k: usize, min_tokens_to_keep: usize) -> Self {
        Self {
            k: k.max(min_tokens_to_keep).max(1),
            scratch: Vec::new(),
        }
    }
}

impl LogitsProcessor for TopK {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        keep_best(scores, self.k, &mut self.scratch);
    }
}

/// Rules out what is below the `k`-th largest score.
pub(super) fn keep_best(scores: &mut [f32], k: usize, scratch: &mut Vec<f32>) {
    let last_kept = kth_largest(scores, k, scratch);
    rule_out_below(scores, last_kept);
}
