//! A regular language as a table over bytes.
//!
//! The table is `regex-automata`'s, whole and not made as it is needed: only
//! where all of it is known can the states be taken out that lead nowhere. What
//! is left has no dead ends: every state that a byte leads to, a match can be
//! reached from. (Characters of several bytes need no care of their own: an
//! expression over characters is one over the bytes of their UTF-8.)

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::Hir;
use std::collections::HashMap;

/// The most memory for the expression's nondeterministic automaton, in bytes.
const MAX_NFA_BYTES: usize = 8 << 20;
/// The most for the table, and the most for the sets of states that it is made
/// with. Together they bound the time as well, to about a second.
const MAX_DFA_BYTES: usize = 16 << 20;

/// Why there is no automaton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It would need more memory than is granted.
    TooLarge,
    /// No text matches.
    Unmatchable,
    /// The expression looks around in a way that no table can.
    Unsupported,
}

/// A state: a number below [`Automaton::len`].
pub type State = u32;

/// In the table, where no match can be reached.
const DEAD: State = State::MAX;

/// An automaton that reads whole texts, byte by byte.
#[derive(Debug)]
pub struct Automaton {
    /// The column of each byte.
    columns: [u8; 256],
    width: usize,
    /// The states that follow each, by column.
    table: Box<[State]>,
    accepting: Box<[bool]>,
}

impl Automaton {
    /// Where every text begins.
    pub const START: State = 0;

    /// Accepts what matches `hir` from the first byte to the last and has no
    /// bytes but those of `usable`.
    pub fn new(hir: &Hir, usable: &[bool; 256]) -> Result<Self, Failure> {
        let whole = Whole::new(&dense(hir)?, usable)?;
        whole.without_dead_ends()
    }

    /// How many states there are.
    pub fn len(&self) -> usize {
        self.accepting.len()
    }

    /// The state after one more byte; `None` where no match goes on so.
    pub fn step(&self, state: State, byte: u8) -> Option<State> {
        let column = usize::from(self.columns[usize::from(byte)]);
        let next = self.table[state as usize * self.width + column];
        (next != DEAD).then_some(next)
    }

    /// Whether the text so far is a match.
    pub fn is_accepting(&self, state: State) -> bool {
        self.accepting[state as usize]
    }

    /// Whether nothing can follow: the text so far is a match and no other one
    /// begins with it.
    pub fn is_final(&self, state: State) -> bool {
        self.row(state).iter().all(|&next| next == DEAD)
    }

    /// Whether the text is a match.
    #[cfg(test)]
    pub fn accepts(&self, text: &str) -> bool {
        let mut bytes = text.bytes();
        bytes
            .try_fold(Self::START, |state, byte| self.step(state, byte))
            .is_some_and(|state| self.is_accepting(state))
    }

    fn row(&self, state: State) -> &[State] {
        &self.table[state as usize * self.width..][..self.width]
    }
}

fn dense(hir: &Hir) -> Result<dense::DFA<Vec<u32>>, Failure> {
    let nfa = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .which_captures(WhichCaptures::None)
                .nfa_size_limit(Some(MAX_NFA_BYTES)),
        )
        .build_from_hir(hir)
        .map_err(|error| match error.size_limit() {
            Some(_) => Failure::TooLarge,
            None => Failure::Unsupported,
        })?;
    dense::Builder::new()
        .configure(
            dense::Config::new()
                // All matches: the leftmost-first one would end `a|ab` at `a`.
                .match_kind(MatchKind::All)
                .start_kind(StartKind::Anchored)
                .accelerate(false)
                .dfa_size_limit(Some(MAX_DFA_BYTES))
                .determinize_size_limit(Some(MAX_DFA_BYTES)),
        )
        .build_from_nfa(&nfa)
        .map_err(|error| {
            if error.is_size_limit_exceeded() {
                Failure::TooLarge
            } else {
                Failure::Unsupported
            }
        })
}

/// All states that can be reached, those included that lead nowhere.
struct Whole(Automaton);

impl Whole {
    fn new(dfa: &dense::DFA<Vec<u32>>, usable: &[bool; 256]) -> Result<Self, Failure> {
        let (columns, bytes) = columns(dfa, usable);
        let start = dfa
            .start_state(&start::Config::new().anchored(Anchored::Yes))
            .map_err(|_| Failure::Unsupported)?;
        // Numbered in the order in which they are come upon.
        let mut numbers: HashMap<StateID, State> = HashMap::from([(start, Automaton::START)]);
        let mut found = vec![start];
        let mut table = Vec::new();
        let mut accepting = Vec::new();
        let mut at = 0;
        while let Some(&state) = found.get(at) {
            at += 1;
            // A match is told one byte late, the end of the text included.
            accepting.push(dfa.is_match_state(dfa.next_eoi_state(state)));
            for byte in &bytes {
                let next = byte.map(|byte| dfa.next_state(state, byte));
                table.push(match next {
                    Some(next) if !dfa.is_dead_state(next) && !dfa.is_quit_state(next) => {
                        *numbers.entry(next).or_insert_with(|| {
                            found.push(next);
                            found.len() as State - 1
                        })
                    }
                    _ => DEAD,
                });
            }
        }
        Ok(Self(Automaton {
            columns,
            width: bytes.len(),
            table: table.into(),
            accepting: accepting.into(),
        }))
    }

    fn without_dead_ends(self) -> Result<Automaton, Failure> {
        let live = self.live();
        let mut kept = 0;
        let numbers: Vec<State> = live
            .iter()
            .map(|&live| {
                kept += State::from(live);
                if live { kept - 1 } else { DEAD }
            })
            .collect();
        if numbers.first().is_none_or(|&start| start == DEAD) {
            return Err(Failure::Unmatchable);
        }
        let whole = self.0;
        let states = (0..whole.len()).filter(|&state| live[state]);
        let renumbered = |&next: &State| numbers.get(next as usize).copied().unwrap_or(DEAD);
        Ok(Automaton {
            columns: whole.columns,
            width: whole.width,
            table: states
                .clone()
                .flat_map(|state| whole.row(state as State).iter().map(renumbered))
                .collect(),
            accepting: states.map(|state| whole.accepting[state]).collect(),
        })
    }

    /// The states from which a match can be reached.
    fn live(&self) -> Vec<bool> {
        let whole = &self.0;
        let mut before: Vec<Vec<State>> = vec![Vec::new(); whole.len()];
        for state in 0..whole.len() as State {
            for &next in whole.row(state) {
                if let Some(before) = before.get_mut(next as usize)
                    && before.last() != Some(&state)
                {
                    before.push(state);
                }
            }
        }
        let mut live = whole.accepting.to_vec();
        let mut reached: Vec<usize> = (0..live.len()).filter(|&state| live[state]).collect();
        while let Some(state) = reached.pop() {
            for &state in &before[state] {
                let state = state as usize;
                if !std::mem::replace(&mut live[state], true) {
                    reached.push(state);
                }
            }
        }
        live
    }
}

/// Divides the bytes into columns that no state tells apart: the column of each
/// byte, and a byte of each column. Bytes that may not be used have one of their
/// own, without a byte.
fn columns(dfa: &dense::DFA<Vec<u32>>, usable: &[bool; 256]) -> ([u8; 256], Vec<Option<u8>>) {
    let classes = dfa.byte_classes();
    let mut columns = [0; 256];
    let mut bytes = Vec::new();
    let mut known: HashMap<Option<u8>, u8> = HashMap::new();
    for byte in 0..=255u8 {
        let class = usable[usize::from(byte)].then(|| classes.get(byte));
        columns[usize::from(byte)] = *known.entry(class).or_insert_with(|| {
            bytes.push(class.map(|_| byte));
            (bytes.len() - 1) as u8
        });
    }
    (columns, bytes)
}
