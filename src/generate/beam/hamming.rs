//! `diversity_penalty`: a later group of beams is made to say something else
//! than the groups before it.

use crate::generate::processors::LogitsProcessor;
use std::cell::RefCell;
use std::rc::Rc;

/// Tokens with which the groups before continue at this step.
pub type Picks = Rc<RefCell<Vec<u32>>>;

/// `score = score - penalty * n`, with `n` how often the groups before picked
/// that token at this step.
///
/// Source: A. Vijayakumar et al., "Diverse Beam Search" (arXiv:1610.02424),
/// with the Hamming distance; `HammingDiversityLogitsProcessor` of transformers
/// 4.46, where it comes after the sequence biases and before the repetition
/// penalty.
#[derive(Debug)]
pub struct Hamming {
    penalty: f32,
    picks: Picks,
}

impl Hamming {
    /// `penalty` is a number above 0.
    pub fn new(penalty: f32, picks: Picks) -> Self {
        Self { penalty, picks }
    }
}

impl LogitsProcessor for Hamming {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        let mut picks = self.picks.borrow().clone();
        picks.sort_unstable();
        for same in picks.chunk_by(|a, b| a == b) {
            if let Some(score) = scores.get_mut(same[0] as usize) {
                *score -= self.penalty * same.len() as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pick_costs_its_token_once() {
        let picks = Picks::default();
        let mut hamming = Hamming::new(0.5, picks.clone());
        let mut scores = [1.0, 1.0, f32::NEG_INFINITY, 1.0];
        hamming.process(&[0, 0], &mut scores);
        assert_eq!(scores, [1.0, 1.0, f32::NEG_INFINITY, 1.0]);
        *picks.borrow_mut() = vec![3, 1, 2, 3, 77];
        hamming.process(&[0, 0], &mut scores);
        assert_eq!(scores, [1.0, 0.5, f32::NEG_INFINITY, 0.0]);
    }
}
