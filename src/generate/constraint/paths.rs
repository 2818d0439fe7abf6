//! The states after the outputs last asked about, so that one that goes on from
//! another costs no more than its new bytes.

use super::automaton::State;

/// As many beams or samples can take turns.
const MAX_PATHS: usize = 32;

/// An output and its state; `None` where no match begins so.
#[derive(Debug)]
struct Path {
    output: Vec<u32>,
    state: Option<State>,
}

#[derive(Debug, Default)]
pub struct Paths {
    paths: Vec<Path>,
    /// The next to be replaced.
    oldest: usize,
}

impl Paths {
    /// The state after `output`; without tokens it is `start`, and `step` has
    /// the one after one more.
    pub fn state(
        &mut self,
        output: &[u32],
        start: State,
        step: impl Fn(State, u32) -> Option<State>,
    ) -> Option<State> {
        let known = self
            .paths
            .iter()
            .filter(|path| output.starts_with(&path.output))
            .max_by_key(|path| path.output.len());
        let (length, mut state) =
            known.map_or((0, Some(start)), |path| (path.output.len(), path.state));
        if length == output.len() {
            return state;
        }
        for &token in &output[length..] {
            state = state.and_then(|state| step(state, token));
        }
        self.keep(output, state);
        state
    }

    fn keep(&mut self, output: &[u32], state: Option<State>) {
        if self.paths.len() < MAX_PATHS {
            self.paths.push(Path {
                output: output.to_vec(),
                state,
            });
            return;
        }
        let path = &mut self.paths[self.oldest];
        path.output.clear();
        path.output.extend_from_slice(output);
        path.state = state;
        self.oldest = (self.oldest + 1) % MAX_PATHS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    /// Any function of state and token, sometimes dead.
    fn step(state: State, token: u32) -> Option<State> {
        let next = state * 7 + token + 1;
        (!next.is_multiple_of(11)).then_some(next % 1000)
    }

    proptest! {
        #[test]
        fn states_are_those_of_the_output_alone(
            outputs in prop::collection::vec(prop::collection::vec(0u32..3, 0..6), 0..200),
        ) {
            let mut paths = Paths::default();
            for output in outputs {
                let expected = output.iter().try_fold(5, |state, &token| step(state, token));
                prop_assert_eq!(paths.state(&output, 5, step), expected);
            }
        }
    }

    #[test]
    fn outputs_that_grow_in_turns_cost_one_step_each() {
        let mut paths = Paths::default();
        let steps = Cell::new(0);
        let mut beams: Vec<Vec<u32>> = (0..8).map(|beam| vec![beam]).collect();
        for round in 0..50 {
            for beam in &mut beams {
                beam.push(round);
                paths.state(beam, 0, |state, _| {
                    steps.set(steps.get() + 1);
                    Some(state)
                });
            }
        }
        // The first round has two tokens each.
        assert_eq!(steps.get(), 8 * 51);
    }
}
