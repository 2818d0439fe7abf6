//! Which tokens may come next.

use super::automaton::State;
use std::collections::VecDeque;
use std::rc::Rc;

/// A set of token ids, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask(Box<[u64]>);

impl Mask {
    /// None of `len` ids.
    pub fn none(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)].into())
    }

    /// Has an id below `len` in the set, or not.
    pub fn set(&mut self, id: u32, included: bool) {
        if let Some(word) = self.0.get_mut(id as usize / 64) {
            *word = *word & !(1 << (id % 64)) | u64::from(included) << (id % 64);
        }
    }

    /// Whether the id is in the set.
    pub fn contains(&self, id: u32) -> bool {
        let word = self.0.get(id as usize / 64).copied().unwrap_or(0);
        word >> (id % 64) & 1 == 1
    }

    /// Rules out every score whose id is not in the set.
    pub fn apply(&self, scores: &mut [f32]) {
        let mut words = self.0.iter();
        for scores in scores.chunks_mut(64) {
            let word = words.next().copied().unwrap_or(0);
            if word == 0 {
                scores.fill(f32::NEG_INFINITY);
                continue;
            }
            // From one bit to the next: a branch for every score would be wrong
            // every other time.
            let mut out = !word;
            while out != 0 {
                if let Some(score) = scores.get_mut(out.trailing_zeros() as usize) {
                    *score = f32::NEG_INFINITY;
                }
                out &= out - 1;
            }
        }
    }
}

/// The most masks that are kept: 3 MB of GPT-2's.
const MAX_MASKS: usize = 512;

/// The masks of the states last come upon.
#[derive(Debug, Default)]
pub struct Masks {
    by_state: Vec<Option<Rc<Mask>>>,
    /// Oldest first.
    kept: VecDeque<State>,
}

impl Masks {
    /// The mask of `state`, made where it is not known.
    pub fn get(&mut self, state: State, make: impl FnOnce() -> Mask) -> Rc<Mask> {
        let index = state as usize;
        if index >= self.by_state.len() {
            self.by_state.resize(index + 1, None);
        }
        if let Some(mask) = &self.by_state[index] {
            return mask.clone();
        }
        if self.kept.len() == MAX_MASKS
            && let Some(oldest) = self.kept.pop_front()
        {
            self.by_state[oldest as usize] = None;
        }
        let mask = Rc::new(make());
        self.by_state[index] = Some(mask.clone());
        self.kept.push_back(state);
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_set_is_ruled_out() {
        let mut mask = Mask::none(130);
        for id in (64..128).chain([3, 129]) {
            mask.set(id, true);
        }
        let mut scores = vec![1.0; 200];
        mask.apply(&mut scores);
        for (id, score) in (0..).zip(scores) {
            assert_eq!(score == 1.0, mask.contains(id), "{id}");
            assert_eq!(mask.contains(id), matches!(id, 3 | 64..=127 | 129));
        }
    }

    #[test]
    fn only_the_last_masks_are_kept() {
        let mut masks = Masks::default();
        let mut made = 0;
        let mut get = |state| {
            masks.get(state, || {
                made += 1;
                Mask::none(1)
            });
            made
        };
        let most = MAX_MASKS as State;
        (0..most).for_each(|state| assert_eq!(get(state), state + 1));
        assert_eq!(get(0), most);
        assert_eq!(get(most), most + 1);
        assert_eq!(get(1), most + 1);
        assert_eq!(get(0), most + 2);
    }
}
