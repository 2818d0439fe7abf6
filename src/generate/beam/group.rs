//! One group of beams: which candidates it goes on with, which it keeps, and
//! when it is done. Plain beam search is one group by transformers 5's rules;
//! diverse search, several by transformers 4.46's.
//!
//! What differs:
//!
//! | | plain | diverse |
//! |---|---|---|
//! | at the length limit | a candidate is finished | open beams are added at the end |
//! | a kept sequence gives way | to any better one | to any better than the worst, the worst first |
//! | compared with the worst kept | the best beam that goes on | the best candidate, ended or not |
//! | once that has failed | nothing is kept any more | the group is done |

use super::candidates::Candidate;
use super::options::EarlyStopping;
use super::trail::Trail;
use super::tree::NodeId;
use crate::generate::Ending;

/// Whose rules count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// `_beam_search` of transformers 5.
    Plain,
    /// `_group_beam_search` and `BeamSearchScorer` of transformers 4.46.
    Diverse,
}

/// What decides in a group.
#[derive(Debug, Clone)]
pub struct Terms {
    pub rules: Rules,
    /// Beams in the group.
    pub size: usize,
    pub length_penalty: f64,
    pub early_stopping: EarlyStopping,
    /// Most tokens of a sequence.
    pub limit: usize,
}

impl Terms {
    /// `sum / length ^ length_penalty`: what sequences are compared by.
    pub fn score(&self, sum: f64, length: usize) -> f64 {
        sum / libm::pow(length as f64, self.length_penalty)
    }

    /// The most that a beam of `sum` is held to be able to score yet, with
    /// `generated` tokens so far.
    fn attainable(&self, sum: f64, generated: usize) -> f64 {
        let to_the_limit = self.early_stopping == EarlyStopping::Never && self.length_penalty > 0.0;
        self.score(sum, if to_the_limit { self.limit } else { generated })
    }
}

/// A sequence that goes on.
#[derive(Debug, Clone)]
pub struct Beam {
    pub node: NodeId,
    /// Prompt and output.
    pub history: Vec<u32>,
    pub prompt_len: usize,
    pub sum: f64,
    pub transition_scores: Vec<f32>,
    pub beam_indices: Vec<u32>,
    pub trail: Trail,
}

impl Beam {
    /// What has been generated.
    pub fn output(&self) -> &[u32] {
        &self.history[self.prompt_len..]
    }
}

/// A sequence that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    pub node: NodeId,
    /// Without the prompt.
    pub tokens: Vec<u32>,
    pub score: f64,
    pub transition_scores: Vec<f32>,
    /// Of each token: which beam it came after.
    pub beam_indices: Vec<u32>,
    pub ending: Ending,
    pub group: usize,
}

/// A group and what it has kept.
#[derive(Debug)]
pub struct Group {
    pub running: Vec<Beam>,
    /// Plain: best first. Diverse: in the order of coming.
    pub kept: Vec<Hypothesis>,
    pub is_done: bool,
    /// Diverse: score of the worst that is kept.
    worst: f64,
    /// Plain: the beams could still beat what is kept.
    can_improve: bool,
}

/// What becomes of candidates, by their indices.
#[derive(Debug, Default, PartialEq)]
pub struct Sorted {
    /// To go on with, in their order.
    pub continuing: Vec<usize>,
    /// Ended, and good enough to be looked at.
    pub ending: Vec<usize>,
}

impl Group {
    /// Begins with one beam: any more would be the same.
    pub fn new(beam: Beam) -> Self {
        Self {
            running: vec![beam],
            kept: Vec::new(),
            is_done: false,
            worst: 1e9,
            can_improve: true,
        }
    }

    fn is_full(&self, terms: &Terms) -> bool {
        self.kept.len() == terms.size
    }

    /// Divides candidates, which come in the order of rank, given which of them
    /// have ended. An ended one counts only among the first `size`.
    pub fn sort(&self, terms: &Terms, candidates: &[Candidate], ended: &[bool]) -> Sorted {
        let mut sorted = Sorted::default();
        let accepts = match terms.rules {
            Rules::Plain => {
                let enough = terms.early_stopping == EarlyStopping::AtOnce && self.is_full(terms);
                self.can_improve && !enough
            }
            Rules::Diverse => true,
        };
        for (index, &ended) in ended.iter().enumerate() {
            if !ended {
                sorted.continuing.push(index);
            } else if accepts && index < terms.size {
                sorted.ending.push(index);
            }
        }
        // Candidates that were drawn are in the order drawn; the best go on.
        sorted
            .continuing
            .sort_by(|&a, &b| candidates[b].sum.total_cmp(&candidates[a].sum));
        sorted.continuing.truncate(terms.size);
        sorted
    }

    /// Keeps a sequence if it is good enough; the node of the one given up for
    /// that, which may be its own.
    pub fn keep(&mut self, terms: &Terms, hypothesis: Hypothesis) -> Option<NodeId> {
        match terms.rules {
            Rules::Plain => {
                let score = hypothesis.score;
                let place = self.kept.partition_point(|kept| kept.score >= score);
                self.kept.insert(place, hypothesis);
                let excess = self.kept.len() > terms.size;
                excess.then(|| self.kept.pop()).flatten()
            }
            Rules::Diverse => self.keep_diverse(terms, hypothesis),
        }
        .map(|given_up| given_up.node)
    }

    /// `BeamHypotheses.add`.
    fn keep_diverse(&mut self, terms: &Terms, hypothesis: Hypothesis) -> Option<Hypothesis> {
        if self.is_full(terms) && hypothesis.score <= self.worst {
            return Some(hypothesis);
        }
        self.worst = self.worst.min(hypothesis.score);
        self.kept.push(hypothesis);
        if self.kept.len() <= terms.size {
            return None;
        }
        let scores = self.kept.iter().map(|kept| kept.score).enumerate();
        let lowest = scores.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i);
        let given_up = lowest.map(|index| self.kept.remove(index));
        let scores = self.kept.iter().map(|kept| kept.score);
        self.worst = scores.fold(f64::INFINITY, f64::min);
        given_up
    }

    /// Decides whether the group is done, after a step that made sequences of
    /// `generated` tokens. `best` is the largest sum among its candidates.
    pub fn judge(&mut self, terms: &Terms, best: f64, generated: usize) {
        if self.is_full(terms) {
            let at_once = terms.early_stopping == EarlyStopping::AtOnce;
            match terms.rules {
                Rules::Plain => {
                    let worst = self
                        .kept
                        .last()
                        .map_or(f64::NEG_INFINITY, |kept| kept.score);
                    let best = self.running.first().map_or(f64::NEG_INFINITY, |b| b.sum);
                    self.can_improve &= terms.attainable(best, generated) > worst;
                    self.is_done |= at_once || !self.can_improve;
                }
                Rules::Diverse => {
                    let hopeless = self.worst >= terms.attainable(best, generated);
                    self.is_done |= at_once || hopeless;
                }
            }
        }
        self.is_done |= self.running.is_empty();
    }
}
