//! Beam search as a state machine: rows of logits in, and out comes which beam
//! each next row continues, with which token.
//!
//! A step, for each group in turn: log-probabilities of every beam; the
//! processors; the beam's sum added; the best `max(2, 1 + ends) * beams`
//! candidates (or so many drawn), `ends` being the number of tokens that end a
//! sequence. A candidate has ended by such a token, by completing a stop string
//! or what a constraint asks for, or by its length. So many are looked at because then enough are left to go
//! on with, whatever ends.
//!
//! One beam is what transformers makes of it: greedy search, or sampling. The
//! processors then see logits and not log-probabilities.

use super::allowed::Allowed;
use super::candidates::{Candidate, Row, best, draw};
use super::group::{Beam, Group, Hypothesis, Rules, Terms};
use super::hamming::Picks;
use super::options::BeamOptions;
use super::trail::{Texts, Trail};
use super::tree::{BeamNode, BeamNodeState, BeamStep, NodeId, ROOT, Tree};
use crate::error::{Error, Result};
use crate::generate::constraint::Constraint;
use crate::generate::generation::{Ending, FinishReason, Matched};
use crate::generate::processors::LogitsProcessor;
use crate::generate::processors::select::largest;
use crate::generate::processors::softmax::Softmax;
use crate::generate::rng::Rng;
use crate::generate::sampler::argmax;
use std::rc::Rc;

/// What ends a sequence.
#[derive(Clone)]
pub struct Ends {
    pub eos_token_ids: Vec<u32>,
    /// More tokens that end one.
    pub stop_token_ids: Vec<u32>,
    /// What a sequence has to be: it ends where nothing may follow.
    pub constraint: Option<Rc<Constraint>>,
    /// Most tokens of a sequence, at least 1, and why there are no more.
    pub limit: usize,
    pub at_limit: FinishReason,
}

impl Ends {
    /// How many tokens end a sequence.
    fn count(&self) -> usize {
        self.eos_token_ids.len() + self.stop_token_ids.len()
    }

    /// Whether nothing may follow `token` after a beam.
    fn is_complete(&self, beam: &Beam, token: u32) -> bool {
        self.constraint.as_ref().is_some_and(|constraint| {
            let output = [beam.output(), &[token]].concat();
            constraint.is_complete(&output)
        })
    }
}

/// A beam search, apart from the model.
pub struct Search {
    terms: Terms,
    ends: Ends,
    texts: Texts,
    /// Before the other processors.
    allowed: Allowed,
    processors: Box<dyn LogitsProcessor>,
    /// What the processor of diversity reads.
    picks: Picks,
    pad_token_id: Option<u32>,
    /// For its buffers.
    softmax: Softmax,
    /// `None` where the best are taken.
    chance: Option<Rng>,
    groups: Vec<Group>,
    tree: Tree,
    generated: usize,
    is_done: bool,
}

/// What a step decided.
#[derive(Debug, Default, PartialEq)]
pub struct Decision {
    /// Of each row of the next step, the row of this one that it goes on from.
    pub from: Vec<usize>,
    /// Sequences that ended and are kept, by their nodes, each with the row it
    /// went on from.
    pub ended: Vec<(NodeId, usize)>,
}

/// A candidate with what its token does to the text.
struct Looked {
    candidate: Candidate,
    text: String,
    trail: Trail,
    ending: Option<Ending>,
}

impl Search {
    /// `options` are valid, `ends` leave room for a token. The processor of
    /// diversity, where there is one, reads `picks`.
    pub fn new(
        prompt: Vec<u32>,
        options: &BeamOptions,
        ends: Ends,
        texts: Texts,
        processors: Box<dyn LogitsProcessor>,
        picks: Picks,
        rng: Rng,
    ) -> Self {
        let one = options.num_beams == 1;
        let rules = if options.num_beam_groups > 1 {
            Rules::Diverse
        } else {
            Rules::Plain
        };
        let beam = Beam {
            node: ROOT,
            sum: 0.0,
            transition_scores: Vec::new(),
            beam_indices: Vec::new(),
            trail: texts.begin(),
            prompt_len: prompt.len(),
            history: prompt,
        };
        let group = || Group::new(beam.clone());
        Self {
            terms: Terms {
                rules,
                size: options.num_beams / options.num_beam_groups,
                length_penalty: if one { 0.0 } else { options.length_penalty },
                early_stopping: options.early_stopping,
                limit: ends.limit,
            },
            pad_token_id: options.pad_token_id.or(ends.eos_token_ids.first().copied()),
            ends,
            texts,
            allowed: Allowed::All,
            processors,
            picks,
            softmax: Softmax::default(),
            chance: options.do_sample.then_some(rng),
            groups: std::iter::repeat_with(group)
                .take(options.num_beam_groups)
                .collect(),
            tree: Tree::default(),
            generated: 0,
            is_done: false,
        }
    }

    /// Sets what beams may go on with, or where that is learnt.
    pub fn set_allowed(&mut self, allowed: Allowed) {
        self.allowed = allowed;
    }

    /// The beams that the next step needs logits of, in the order of its rows.
    pub fn running(&self) -> impl Iterator<Item = &Beam> {
        let groups = self.groups.iter().filter(|group| !group.is_done);
        groups.flat_map(|group| &group.running)
    }

    /// True where there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Tokens of the longest sequence.
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// Goes one step further with the logits of the [`running`](Self::running)
    /// beams.
    ///
    /// Error: `no-next-token` where a score is NaN or `+inf`, or where every
    /// token is ruled out before any sequence has ended.
    pub fn step(&mut self, logits: Vec<Vec<f32>>) -> Result<Decision> {
        let mut decision = Decision::default();
        let mut logits = logits.into_iter();
        let mut first_row = 0;
        self.picks.borrow_mut().clear();
        self.generated += 1;
        let before: Vec<NodeId> = self.running().map(|beam| beam.node).collect();
        for index in 0..self.groups.len() {
            if self.groups[index].is_done {
                // transformers goes on with the padding, and counts it.
                let pads = std::iter::repeat_n(self.pad_token_id, self.terms.size);
                self.picks.borrow_mut().extend(pads.flatten());
                continue;
            }
            let count = self.groups[index].running.len();
            let rows = logits.by_ref().take(count).collect();
            self.step_group(index, rows, first_row, &mut decision)?;
            first_row += count;
        }
        if self.groups.iter().all(|group| group.is_done) || self.generated >= self.ends.limit {
            self.end(
                &self.ends.at_limit.into(),
                self.terms.rules == Rules::Diverse,
            );
        } else {
            self.drop_done_groups(&mut decision);
        }
        for node in before {
            self.tree.prune(node);
        }
        if self.is_done && self.kept() == 0 {
            return Err(Error::NoNextToken("every token is ruled out".into()));
        }
        Ok(decision)
    }

    fn step_group(
        &mut self,
        index: usize,
        rows: Vec<Vec<f32>>,
        first_row: usize,
        decision: &mut Decision,
    ) -> Result<()> {
        let candidates = self.candidates(index, rows)?;
        let looked = self.look_at(index, candidates);
        let ended: Vec<bool> = looked.iter().map(|look| look.ending.is_some()).collect();
        let candidates: Vec<Candidate> = looked.iter().map(|look| look.candidate).collect();
        let sorted = self.groups[index].sort(&self.terms, &candidates, &ended);

        // Nodes in the order of rank, so that the tree reads from best to worst.
        let mut nodes = Vec::with_capacity(looked.len());
        for (rank, look) in looked.iter().enumerate() {
            let state = if sorted.continuing.contains(&rank) {
                BeamNodeState::Running
            } else if sorted.ending.contains(&rank) {
                BeamNodeState::Finished
            } else {
                BeamNodeState::Pruned
            };
            nodes.push(self.add_node(index, look, state));
        }

        let size = self.terms.size;
        for &rank in &sorted.ending {
            let look = &looked[rank];
            let beam = self.grow(index, look, nodes[rank]);
            let row = first_row + look.candidate.beam;
            let ending = look.ending.clone();
            self.keep(index, beam, ending.unwrap_or(self.ends.at_limit.into()));
            decision.ended.push((nodes[rank], row));
        }
        let running = sorted.continuing.iter();
        let running = running.map(|&rank| self.grow(index, &looked[rank], nodes[rank]));
        let running: Vec<Beam> = running.collect();
        for &rank in &sorted.continuing {
            let candidate = looked[rank].candidate;
            decision.from.push(first_row + candidate.beam);
            self.picks.borrow_mut().push(candidate.token);
        }
        debug_assert!(running.len() <= size);
        let group = &mut self.groups[index];
        group.running = running;
        let best = candidates
            .iter()
            .map(|c| c.sum)
            .fold(f64::NEG_INFINITY, f64::max);
        group.judge(&self.terms, best, self.generated);
        Ok(())
    }

    /// What is looked at, given the logits of a group's beams.
    fn candidates(&mut self, index: usize, mut rows: Vec<Vec<f32>>) -> Result<Vec<Candidate>> {
        let running = &self.groups[index].running;
        if self.terms.size == 1 && self.groups.len() == 1 {
            return self.only_candidate(rows);
        }
        for (beam, scores) in running.iter().zip(&mut rows) {
            if let Some(log_sum) = log_sum(&mut self.softmax, scores) {
                for score in scores.iter_mut() {
                    *score = (f64::from(*score) - log_sum) as f32;
                }
            }
            self.allowed.apply(beam.node, beam.output(), scores)?;
            self.processors.process(&beam.history, scores);
        }
        let rows: Vec<Row> = running
            .iter()
            .zip(&rows)
            .map(|(beam, scores)| Row {
                sum: beam.sum,
                scores,
            })
            .collect();
        let count = 2.max(1 + self.ends.count()) * self.terms.size;
        match &mut self.chance {
            Some(rng) => draw(&rows, count, rng),
            None => best(&rows, count),
        }
    }

    /// Greedy search, or sampling.
    fn only_candidate(&mut self, mut rows: Vec<Vec<f32>>) -> Result<Vec<Candidate>> {
        let Some((beam, scores)) = self.groups[0].running.first().zip(rows.first_mut()) else {
            return Ok(Vec::new());
        };
        self.allowed.apply(beam.node, beam.output(), scores)?;
        self.processors.process(&beam.history, scores);
        let token = match &mut self.chance {
            Some(rng) => {
                let row = Row { sum: 0.0, scores };
                draw(&[row], 1, rng)?.first().map(|drawn| drawn.token)
            }
            None => Some(argmax(scores)?),
        };
        let log_sum = log_sum(&mut self.softmax, scores).unwrap_or(0.0);
        let candidate = |token: u32| {
            let score = f64::from(scores[token as usize]) - log_sum;
            Candidate {
                beam: 0,
                token,
                score: score as f32,
                sum: beam.sum + score,
            }
        };
        Ok(token.map(candidate).into_iter().collect())
    }

    /// What each candidate adds to its text, and whether it ends it.
    fn look_at(&self, index: usize, candidates: Vec<Candidate>) -> Vec<Looked> {
        let running = &self.groups[index].running;
        let at_limit = self.terms.rules == Rules::Plain && self.generated >= self.ends.limit;
        let look = |candidate: Candidate| {
            let token = candidate.token;
            let mut trail = running[candidate.beam].trail.clone();
            let number = |reason| Some(Ending::number(reason, token));
            let (text, ending) = if self.ends.eos_token_ids.contains(&token) {
                (String::new(), number(FinishReason::Eos))
            } else {
                let (text, stop) = self.texts.push(&mut trail, token);
                let stopped = stop.map(|stop| Ending {
                    reason: FinishReason::Stop,
                    matched: Some(Matched::Text(stop)),
                });
                let ending = if self.ends.stop_token_ids.contains(&token) {
                    number(FinishReason::StopToken)
                } else if stopped.is_some() {
                    stopped
                } else if self.ends.is_complete(&running[candidate.beam], token) {
                    Some(FinishReason::Complete.into())
                } else {
                    at_limit.then(|| self.ends.at_limit.into())
                };
                (text, ending)
            };
            Looked {
                candidate,
                text,
                trail,
                ending,
            }
        };
        candidates.into_iter().map(look).collect()
    }

    fn add_node(&mut self, index: usize, look: &Looked, state: BeamNodeState) -> NodeId {
        let candidate = look.candidate;
        self.tree.add(BeamNode {
            id: 0,
            parent: self.groups[index].running[candidate.beam].node,
            token: candidate.token,
            text: look.text.clone(),
            log_prob: f64::from(candidate.score),
            score: self.terms.score(candidate.sum, self.generated),
            state,
            group: index as u32,
        })
    }

    /// The beam of a candidate, with its token.
    fn grow(&self, index: usize, look: &Looked, node: NodeId) -> Beam {
        let candidate = look.candidate;
        let mut beam = self.groups[index].running[candidate.beam].clone();
        beam.node = node;
        beam.history.push(candidate.token);
        beam.sum = candidate.sum;
        beam.transition_scores.push(candidate.score);
        let of_group = (index * self.terms.size) as u32;
        beam.beam_indices.push(of_group + candidate.beam as u32);
        beam.trail = look.trail.clone();
        beam
    }

    /// Keeps a sequence that has ended, if it is good enough.
    fn keep(&mut self, index: usize, beam: Beam, ending: Ending) {
        let tokens = beam.output().to_vec();
        let hypothesis = Hypothesis {
            node: beam.node,
            score: self.terms.score(beam.sum, tokens.len()),
            tokens,
            transition_scores: beam.transition_scores,
            beam_indices: beam.beam_indices,
            ending,
            group: index,
        };
        if let Some(given_up) = self.groups[index].keep(&self.terms, hypothesis) {
            self.tree.prune(given_up);
        }
    }

    /// Ends the search: open beams are kept where `keep_open`, as far as they
    /// are good enough, and given up where not.
    fn end(&mut self, ending: &Ending, keep_open: bool) {
        self.is_done = true;
        for index in 0..self.groups.len() {
            let keep_open = keep_open && !self.groups[index].is_done;
            for beam in std::mem::take(&mut self.groups[index].running) {
                // Before the first token there is nothing to keep.
                if keep_open && beam.node != ROOT {
                    self.tree.finish(beam.node);
                    self.keep(index, beam, ending.clone());
                } else {
                    self.tree.prune(beam.node);
                }
            }
        }
    }

    /// Gives up the open beams of groups that are done.
    fn drop_done_groups(&mut self, decision: &mut Decision) {
        let mut from = std::mem::take(&mut decision.from).into_iter();
        for group in &mut self.groups {
            let own = from.by_ref().take(group.running.len());
            if group.is_done {
                own.for_each(drop);
                for beam in std::mem::take(&mut group.running) {
                    self.tree.prune(beam.node);
                }
            } else {
                decision.from.extend(own);
            }
        }
    }

    /// Ends it here: the open beams count as sequences.
    pub fn abort(&mut self, ending: &Ending) {
        if !self.is_done {
            self.end(ending, true);
        }
    }

    /// What is new in the tree since this was called last.
    pub fn take_tree(&mut self) -> BeamStep {
        self.tree.take_step(self.generated)
    }

    fn kept(&self) -> usize {
        self.groups.iter().map(|group| group.kept.len()).sum()
    }

    /// Everything that is kept, best first.
    pub fn best(&self) -> Vec<&Hypothesis> {
        let mut all: Vec<&Hypothesis> = self.groups.iter().flat_map(|group| &group.kept).collect();
        match self.terms.rules {
            Rules::Plain => {}
            // An ascending stable sort read backwards, as transformers has it.
            Rules::Diverse => {
                all.sort_by(|a, b| a.score.total_cmp(&b.score));
                all.reverse();
            }
        }
        all
    }

    /// The text of a sequence, cut as stop strings are, and its tokens.
    pub fn text(&self, hypothesis: &Hypothesis) -> Result<(String, Vec<u32>)> {
        let is_text = match hypothesis.ending.reason {
            FinishReason::Eos => false,
            FinishReason::StopToken => self.texts.include_stop,
            _ => true,
        };
        let without_end = match hypothesis.tokens.split_last() {
            Some((_, rest)) if !is_text => rest,
            _ => &hypothesis.tokens,
        };
        self.texts.whole(without_end)
    }
}

/// What to subtract from a score for its log-probability; `None` where there is
/// nothing to choose from. (A vectorised pass: this is most of the time that a
/// beam takes beside the model.)
fn log_sum(softmax: &mut Softmax, scores: &[f32]) -> Option<f64> {
    let has_softmax = softmax.fill(scores);
    has_softmax.then(|| f64::from(largest(scores)) + libm::log(softmax.total))
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
