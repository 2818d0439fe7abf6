//! Attention flow (S. Abnar and W. Zuidema, "Quantifying Attention Flow in
//! Transformers", arXiv:2005.00928, section 3.2): the maximum flow from a
//! position in the last layer to each input token, where positions of layers
//! are nodes and what a layer passes on, `0.5 A + 0.5 I` with the mean `A` of
//! its heads, are capacities. Unlike a rollout it does not multiply along a
//! path, so one thin edge bounds it.
//!
//! A flow is computed for each pair alone, by Dinic's algorithm (E. A. Dinic,
//! 1970): levels by breadth, then blocking flows by depth. Every augmentation
//! takes at least one capacity to exactly zero, so it ends with f64 too. Time
//! grows with the fourth power of the tokens, so there may be 64 of them, and
//! one pair is a step.

use super::super::selection::{AttentionSource, chosen};
use super::super::{
    Analysis, AnalysisProgress, AnalysisResult, ArrayData, Bench, Setting, Subject, TokenRange,
};
use super::rollout::{layers_to, with_residual};
use crate::error::{Error, Result};
use crate::generate::generation::check_text;
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use std::ops::Range;

/// Most tokens of a text whose flow is computed.
pub const MAX_FLOW_TOKENS: usize = 64;

/// Options of [`Flow`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowRequest {
    /// Up to the output of which layer; negative numbers count from the last.
    /// Default: the last.
    pub layer: Option<i64>,
    /// Heads whose mean counts. Default: all.
    pub heads: Option<Vec<usize>>,
    /// Positions to which the flow is computed. Default: the last.
    pub queries: TokenRange,
}

impl Default for FlowRequest {
    fn default() -> Self {
        Self {
            layer: None,
            heads: None,
            queries: TokenRange {
                start: -1,
                end: None,
            },
        }
    }
}

/// Attention flow. `flow` is f64 `[queries, tokens]`, tokens from 0 to the last
/// query; 0 for those after the query.
pub struct Flow {
    source: AttentionSource,
    queries: Range<usize>,
    network: Network,
    flow: Vec<f64>,
    /// Pairs that have been computed, of those with the token before or at the
    /// query.
    done: usize,
    /// The next pair.
    at: (usize, usize),
}

impl Flow {
    /// Errors: `invalid-option`, `invalid-token`; `invalid-argument` for a text
    /// of more than [`MAX_FLOW_TOKENS`] up to the last query.
    pub fn new(request: FlowRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        let config = setting.model.config();
        check_text(&subject.tokens, setting.model)?;
        let queries = request.queries.resolve("queries", subject.tokens.len())?;
        if queries.end > MAX_FLOW_TOKENS {
            let reason = format!(
                "the flow over {} tokens is asked for, the limit is {MAX_FLOW_TOKENS}; a rollout has none",
                queries.end
            );
            return Err(Error::argument("queries", reason));
        }
        let layers = layers_to(request.layer, config.n_layer)?;
        let heads = chosen("heads", request.heads.as_deref(), config.n_head)?;
        Ok(Self {
            network: Network::new(layers.len(), queries.end),
            source: AttentionSource::new(setting.model, subject, layers, heads, 0..queries.end)?,
            flow: vec![0.0; queries.len() * queries.end],
            done: 0,
            at: (queries.start, 0),
            queries,
        })
    }

    fn pairs(&self) -> usize {
        self.queries.clone().map(|query| query + 1).sum()
    }
}

impl Analysis for Flow {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        if !self.source.is_finished() {
            if let Some(chunk) = self.source.step(bench)? {
                for layer in 0..self.source.layers.len() {
                    for query in chunk.queries() {
                        let passed = with_residual(chunk.mean(layer, &self.source.heads, query));
                        for (key, &capacity) in passed.iter().enumerate() {
                            self.network.connect(layer, query, key, capacity);
                        }
                    }
                }
            }
            return Ok(());
        }
        let (query, token) = self.at;
        let place = (query - self.queries.start) * self.queries.end + token;
        self.flow[place] = self.network.max_flow(query, token);
        self.done += 1;
        self.at = if token < query {
            (query, token + 1)
        } else {
            (query + 1, 0)
        };
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        let done = self.source.position() + self.done;
        AnalysisProgress::new(done, self.queries.end + self.pairs())
    }

    fn is_finished(&self) -> bool {
        self.source.is_finished() && self.done == self.pairs()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        let shape = [self.queries.len(), self.queries.end];
        let result = AnalysisResult::new(json!({
            "layer": self.source.layers.len() - 1,
            "heads": self.source.heads,
            "queries": { "start": self.queries.start, "end": self.queries.end },
            "tokensEvaluated": self.source.evaluated(),
        }))?;
        Ok(result.with("flow", &shape, ArrayData::F64(self.flow)))
    }
}

/// Positions of layers, and what flows down between them.
struct Network {
    layers: usize,
    tokens: usize,
    /// Of each node, indices of its edges; an edge and its reverse are
    /// neighbours.
    edges_of: Vec<Vec<usize>>,
    edges: Vec<Edge>,
}

struct Edge {
    to: usize,
    capacity: f64,
    left: f64,
}

impl Network {
    fn new(layers: usize, tokens: usize) -> Self {
        Self {
            layers,
            tokens,
            edges_of: vec![Vec::new(); (layers + 1) * tokens],
            edges: Vec::new(),
        }
    }

    /// From `query` in the output of `layer` down to `key` in its input.
    fn connect(&mut self, layer: usize, query: usize, key: usize, capacity: f64) {
        let (from, to) = ((layer + 1) * self.tokens + query, layer * self.tokens + key);
        for (from, to, capacity) in [(from, to, capacity), (to, from, 0.0)] {
            self.edges_of[from].push(self.edges.len());
            self.edges.push(Edge {
                to,
                capacity,
                left: capacity,
            });
        }
    }

    fn max_flow(&mut self, query: usize, token: usize) -> f64 {
        for edge in &mut self.edges {
            edge.left = edge.capacity;
        }
        let source = self.layers * self.tokens + query;
        let mut total = 0.0;
        while let Some(levels) = self.levels(source, token) {
            let mut next = vec![0; self.edges_of.len()];
            loop {
                let pushed = self.push(source, token, f64::INFINITY, &levels, &mut next);
                if pushed <= 0.0 {
                    break;
                }
                total += pushed;
            }
        }
        total
    }

    /// Distances from the source; `None` where the sink is out of reach.
    fn levels(&self, source: usize, sink: usize) -> Option<Vec<usize>> {
        let mut levels = vec![usize::MAX; self.edges_of.len()];
        levels[source] = 0;
        let mut queue = VecDeque::from([source]);
        while let Some(node) = queue.pop_front() {
            for &edge in &self.edges_of[node] {
                let Edge { to, left, .. } = self.edges[edge];
                if left > 0.0 && levels[to] == usize::MAX {
                    levels[to] = levels[node] + 1;
                    queue.push_back(to);
                }
            }
        }
        (levels[sink] != usize::MAX).then_some(levels)
    }

    /// Sends up to `most` from `node` to the sink, level by level.
    fn push(
        &mut self,
        node: usize,
        sink: usize,
        most: f64,
        levels: &[usize],
        next: &mut [usize],
    ) -> f64 {
        if node == sink {
            return most;
        }
        while let Some(&edge) = self.edges_of[node].get(next[node]) {
            let Edge { to, left, .. } = self.edges[edge];
            if left > 0.0 && levels[to] == levels[node] + 1 {
                let pushed = self.push(to, sink, most.min(left), levels, next);
                if pushed > 0.0 {
                    self.edges[edge].left -= pushed;
                    self.edges[edge ^ 1].left += pushed;
                    return pushed;
                }
            }
            next[node] += 1;
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_is_the_smallest_cut() {
        // Two layers of two tokens; by hand.
        let mut network = Network::new(2, 2);
        network.connect(0, 0, 0, 1.0);
        network.connect(0, 1, 0, 0.3);
        network.connect(0, 1, 1, 0.7);
        network.connect(1, 0, 0, 1.0);
        network.connect(1, 1, 0, 0.4);
        network.connect(1, 1, 1, 0.6);
        // To token 1 by way of position 1 alone: min(0.6, 0.7).
        assert!((network.max_flow(1, 1) - 0.6).abs() < 1e-12);
        // To token 0: min(0.4, 1.0) by position 0, min(0.6, 0.3) by position 1.
        assert!((network.max_flow(1, 0) - 0.7).abs() < 1e-12);
        assert_eq!(network.max_flow(0, 0), 1.0);
        assert_eq!(network.max_flow(0, 1), 0.0);
    }

    #[test]
    fn it_takes_back_what_was_sent_the_wrong_way() {
        // The first path by breadth may take an edge that the best flow needs.
        let mut network = Network::new(3, 2);
        for (layer, query, key, capacity) in [
            (2, 1, 0, 0.5),
            (2, 1, 1, 0.5),
            (1, 0, 0, 0.5),
            (1, 1, 0, 0.5),
            (1, 1, 1, 0.5),
            (0, 0, 0, 0.5),
            (0, 1, 0, 0.5),
        ] {
            network.connect(layer, query, key, capacity);
        }
        assert!((network.max_flow(1, 0) - 1.0).abs() < 1e-12);
    }
}
