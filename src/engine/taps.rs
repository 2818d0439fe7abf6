//! Inner values that a pass hands out, and the buffers they are written to.

use super::pass::Sequence;
use super::shared::Shared;
use crate::model::{Config, Layers, Output, Taps};
use std::ops::Range;

/// Where the inner values of a sequence or a batch go that were asked for; each
/// list has one of the layers in its set, ascending.
pub(super) struct Tapped<'a> {
    /// `[n_layer + 2]` of `[m, n_embd]`, or empty.
    pub(super) hidden_states: Vec<Shared<'a, f32>>,
    pub(super) attentions: Layers,
    /// `[sequences][layers]` of `[n_head, rows, positions]`
    pub(super) attention_of: Vec<Vec<Shared<'a, f32>>>,
    pub(super) contexts: Layers,
    /// `[m, n_embd]`, as what follows.
    pub(super) context_of: Vec<Shared<'a, f32>>,
    pub(super) additions: Layers,
    pub(super) attention_additions: Vec<Shared<'a, f32>>,
    pub(super) mlp_additions: Vec<Shared<'a, f32>>,
}

/// Nothing was asked for.
pub(super) static NOTHING_TAPPED: Tapped<'static> = Tapped {
    hidden_states: Vec::new(),
    attentions: Layers::NONE,
    attention_of: Vec::new(),
    contexts: Layers::NONE,
    context_of: Vec::new(),
    additions: Layers::NONE,
    attention_additions: Vec::new(),
    mlp_additions: Vec::new(),
};

impl<'a> Tapped<'a> {
    pub(super) fn context(&self, layer: usize) -> Option<Shared<'a, f32>> {
        let index = self.contexts.index(layer)?;
        self.context_of.get(index).copied()
    }

    pub(super) fn attention(&self, sequence: usize, layer: usize) -> Option<Shared<'a, f32>> {
        let index = self.attentions.index(layer)?;
        self.attention_of.get(sequence)?.get(index).copied()
    }

    pub(super) fn additions(&self, layer: usize) -> Option<[Shared<'a, f32>; 2]> {
        let index = self.additions.index(layer)?;
        Some([
            *self.attention_additions.get(index)?,
            *self.mlp_additions.get(index)?,
        ])
    }
}

/// Where inner values are written that were asked for; without any, nothing.
pub(super) struct TapBuffers {
    hidden_states: Vec<Vec<f32>>,
    /// Of each sequence.
    pub(super) attentions: Vec<Vec<Vec<f32>>>,
    contexts: Vec<Vec<f32>>,
    attention_additions: Vec<Vec<f32>>,
    mlp_additions: Vec<Vec<f32>>,
}

impl TapBuffers {
    /// Room for the taps of a pass of `m` rows.
    pub(super) fn new(taps: Taps, config: &Config, sequences: &[Sequence], m: usize) -> Self {
        let rows = |layers: usize| vec![vec![0.0; m * config.n_embd]; layers];
        let count = |layers: Layers| layers.iter(config.n_layer).count();
        let layers = count(taps.attentions);
        let of_sequence = |sequence: &Sequence| {
            let numbers = config.n_head * sequence.rows * sequence.positions;
            vec![vec![0.0; numbers]; layers]
        };
        Self {
            hidden_states: rows(if taps.hidden_states {
                config.n_layer + 2
            } else {
                0
            }),
            attentions: if layers == 0 {
                Vec::new()
            } else {
                sequences.iter().map(of_sequence).collect()
            },
            contexts: rows(count(taps.contexts)),
            attention_additions: rows(count(taps.additions)),
            mlp_additions: rows(count(taps.additions)),
        }
    }

    pub(super) fn shared(&mut self, taps: Taps) -> Tapped<'_> {
        fn all(layers: &mut [Vec<f32>]) -> Vec<Shared<'_, f32>> {
            layers.iter_mut().map(|layer| Shared::new(layer)).collect()
        }
        Tapped {
            hidden_states: all(&mut self.hidden_states),
            attentions: taps.attentions,
            attention_of: self.attentions.iter_mut().map(|x| all(x)).collect(),
            contexts: taps.contexts,
            context_of: all(&mut self.contexts),
            additions: taps.additions,
            attention_additions: all(&mut self.attention_additions),
            mlp_additions: all(&mut self.mlp_additions),
        }
    }

    /// What a sequence's rows gave, which have these numbers of each buffer, with
    /// its attentions.
    pub(super) fn output(
        &self,
        numbers: Range<usize>,
        attentions: Option<Vec<Vec<f32>>>,
    ) -> Output {
        let of_rows = |layers: &[Vec<f32>]| -> Vec<Vec<f32>> {
            let own = |layer: &Vec<f32>| layer[numbers.clone()].to_vec();
            layers.iter().map(own).collect()
        };
        Output {
            logits: Vec::new(),
            hidden_states: of_rows(&self.hidden_states),
            attentions: attentions.unwrap_or_default(),
            contexts: of_rows(&self.contexts),
            attention_additions: of_rows(&self.attention_additions),
            mlp_additions: of_rows(&self.mlp_additions),
        }
    }
}
