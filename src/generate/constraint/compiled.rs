//! A constraint ready to use: the automaton of the output and the tokens of one
//! vocabulary.

use super::automaton::{Automaton, State};
use super::mask::{Mask, Masks};
use super::paths::Paths;
use super::spec::ConstraintSpec;
use super::{choices, regex, schema};
use crate::error::Result;
use crate::generate::processors::LogitsProcessor;
use crate::tokenizer::{MAX_TOKENS, Tokenizer};
use std::cell::RefCell;
use std::rc::Rc;

/// Knows of any output whether it may go on, end, or must end.
///
/// An output here is the tokens generated so far, without the prompt and without
/// a token that ends the generation. Everything depends on the output alone;
/// what is kept between calls only makes it faster. One constraint can serve
/// many beams and samples.
pub struct Constraint {
    automaton: Automaton,
    tokenizer: Rc<Tokenizer>,
    /// In order.
    eos_token_ids: Box<[u32]>,
    masks: RefCell<Masks>,
    paths: RefCell<Paths>,
}

impl Constraint {
    /// Compiles `spec` for the tokens of `tokenizer`. `eos_token_ids` end a
    /// generation, and so are no part of its text: they may come where the
    /// output is a match, and no other added token may ever come.
    ///
    /// Bytes that no token stands for by itself are not used, so that there is
    /// always a next token. GPT-2 has one for every byte.
    ///
    /// # Errors
    ///
    /// `invalid-option`, naming `constraint.regex`, `constraint.choices` or the
    /// place in `constraint.jsonSchema`: not valid, not supported, over a limit,
    /// or with nothing that matches.
    pub fn new(
        spec: &ConstraintSpec,
        tokenizer: &Rc<Tokenizer>,
        eos_token_ids: &[u32],
    ) -> Result<Self> {
        // No model has ids beyond; a mask of them would be without bounds.
        let has_bit = |id: &u32| (*id as usize) < MAX_TOKENS;
        let mut eos_token_ids: Vec<u32> = eos_token_ids.iter().copied().filter(has_bit).collect();
        eos_token_ids.sort_unstable();
        let (option, value, hir) = match spec {
            ConstraintSpec::Regex(pattern) => {
                let option = "constraint.regex";
                (option, pattern.clone(), regex::parse(option, pattern)?)
            }
            ConstraintSpec::Choices(texts) => {
                let value = format!("{} texts", texts.len());
                (choices::OPTION, value, choices::compile(texts)?)
            }
            ConstraintSpec::JsonSchema(schema) => {
                (schema::OPTION, schema.to_string(), schema::compile(schema)?)
            }
        };
        let usable = usable_bytes(tokenizer, &eos_token_ids);
        let automaton = Automaton::new(&hir, &usable)
            .map_err(|failure| regex::failed(option, &value, failure))?;
        Ok(Self {
            automaton,
            tokenizer: tokenizer.clone(),
            eos_token_ids: eos_token_ids.into(),
            masks: RefCell::default(),
            paths: RefCell::default(),
        })
    }

    /// Whether the output can become a match, or is one.
    pub fn is_possible(&self, output: &[u32]) -> bool {
        self.state(output).is_some()
    }

    /// Whether the output is a match, so that a token that ends the generation
    /// may come.
    pub fn may_end(&self, output: &[u32]) -> bool {
        self.state(output)
            .is_some_and(|state| self.automaton.is_accepting(state))
    }

    /// Whether the output is a match that nothing can follow: a generation ends
    /// here of itself. True of no token at all, where only the empty text
    /// matches.
    pub fn is_complete(&self, output: &[u32]) -> bool {
        self.state(output)
            .is_some_and(|state| self.automaton.is_final(state))
    }

    /// Whether `token` may come after the output.
    pub fn allows(&self, output: &[u32], token: u32) -> bool {
        self.state(output)
            .is_some_and(|state| self.mask(state).contains(token))
    }

    /// Rules out every token after which no match can be reached, and, before a
    /// match, those that end the generation. `scores` are one a token of the
    /// vocabulary.
    pub fn apply(&self, output: &[u32], scores: &mut [f32]) {
        match self.state(output) {
            Some(state) => self.mask(state).apply(scores),
            None => scores.fill(f32::NEG_INFINITY),
        }
    }

    /// The constraint as one of the processors of a pipeline, whose histories
    /// begin with `prompt_len` tokens of prompt.
    pub fn processor(self: &Rc<Self>, prompt_len: usize) -> ConstraintProcessor {
        ConstraintProcessor {
            constraint: self.clone(),
            prompt_len,
        }
    }

    fn state(&self, output: &[u32]) -> Option<State> {
        let step = |state, token| self.step(state, token);
        self.paths
            .borrow_mut()
            .state(output, Automaton::START, step)
    }

    fn step(&self, state: State, token: u32) -> Option<State> {
        if self.eos_token_ids.binary_search(&token).is_ok() || self.tokenizer.is_added(token) {
            return None;
        }
        self.tokenizer
            .token_bytes(token)?
            .iter()
            .try_fold(state, |state, &byte| self.automaton.step(state, byte))
    }

    fn mask(&self, state: State) -> Rc<Mask> {
        self.masks.borrow_mut().get(state, || self.make_mask(state))
    }

    fn make_mask(&self, state: State) -> Mask {
        let last_eos = self.eos_token_ids.last().map_or(0, |&id| id as usize + 1);
        let mut mask = Mask::none(self.tokenizer.vocab_size().max(last_eos));
        self.tokenizer.trie().walk(
            state,
            |state, byte| self.automaton.step(state, byte),
            |token| mask.set(token, true),
        );
        let may_end = self.automaton.is_accepting(state);
        for &id in &self.eos_token_ids {
            mask.set(id, may_end);
        }
        mask
    }
}

/// The bytes that a token of their own stands for.
fn usable_bytes(tokenizer: &Tokenizer, eos_token_ids: &[u32]) -> [bool; 256] {
    let mut usable = [false; 256];
    let only_one = |before: bool, _| (!before).then_some(true);
    tokenizer.trie().walk(false, only_one, |token| {
        if let (Err(_), Some([byte])) = (
            eos_token_ids.binary_search(&token),
            tokenizer.token_bytes(token),
        ) {
            usable[usize::from(*byte)] = true;
        }
    });
    usable
}

/// Rules out what a [`Constraint`] does not allow.
pub struct ConstraintProcessor {
    constraint: Rc<Constraint>,
    prompt_len: usize,
}

impl LogitsProcessor for ConstraintProcessor {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        let output = history.get(self.prompt_len..).unwrap_or_default();
        self.constraint.apply(output, scores);
    }
}

#[cfg(test)]
#[path = "compiled_tests.rs"]
mod tests;
