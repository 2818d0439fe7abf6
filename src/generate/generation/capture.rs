//! Attention that is captured while a text is written.
//!
//! A row is taken from the pass that runs it anyway, and is kept by the text it
//! is of (see [`CapturedAttention`]), so it outlives the generation, and a state
//! or branch with that text has it.

use super::super::options::CaptureAttention;
use crate::analysis::selection::chosen;
use crate::error::{Error, Result};
use crate::model::captured::{CapturedAttention, CapturedRow};
use crate::model::{BlockName, Config, Layers, Output};

pub(super) struct Capture {
    layers: Vec<usize>,
    heads: Vec<usize>,
    n_head: usize,
    /// Names of the rows of the context, as far as they are known.
    names: Vec<BlockName>,
}

impl Capture {
    /// Error: `invalid-option`.
    pub(super) fn new(
        config: &Config,
        options: Option<&CaptureAttention>,
        has_guide: bool,
    ) -> Result<Option<Self>> {
        let Some(options) = options else {
            return Ok(None);
        };
        if has_guide {
            let range = "left out with guidanceScale, whose two texts it cannot tell apart";
            return Err(Error::option("captureAttention", "set", range));
        }
        let of = |name: &str, given: &Option<Vec<usize>>, count| {
            chosen(&format!("captureAttention.{name}"), given.as_deref(), count)
        };
        Ok(Some(Self {
            layers: of("layers", &options.layers, config.n_layer)?,
            heads: of("heads", &options.heads, config.n_head)?,
            n_head: config.n_head,
            names: Vec::new(),
        }))
    }

    pub(super) fn layers(&self) -> Layers {
        self.layers.iter().copied().collect()
    }

    /// The context changed from `position` on.
    pub(super) fn forget_from(&mut self, position: usize) {
        self.names.truncate(position);
    }

    /// Takes the rows of `tokens`, which came after `before` in a pass that gave
    /// the attentions of the layers `tapped`.
    pub(super) fn take(
        &mut self,
        before: &[u32],
        tokens: &[u32],
        output: &Output,
        tapped: Layers,
        root: BlockName,
        captured: &mut CapturedAttention,
    ) {
        self.names.truncate(before.len());
        for &token in before[self.names.len()..].iter().chain(tokens) {
            let last = self.names.last().copied().unwrap_or(root);
            self.names.push(CapturedAttention::name(last, token));
        }
        let positions = before.len() + tokens.len();
        for row in 0..tokens.len() {
            let keys = before.len() + row + 1;
            let mut weights = Vec::with_capacity(self.layers.len() * self.heads.len() * keys);
            for &layer in &self.layers {
                let maps = tapped
                    .index(layer)
                    .and_then(|index| output.attentions.get(index));
                let Some(maps) = maps else { return };
                debug_assert_eq!(maps.len(), self.n_head * tokens.len() * positions);
                for &head in &self.heads {
                    let at = (head * tokens.len() + row) * positions;
                    weights.extend(&maps[at..at + keys]);
                }
            }
            captured.insert(
                self.names[keys - 1],
                CapturedRow {
                    layers: self.layers.clone(),
                    heads: self.heads.clone(),
                    keys,
                    weights,
                },
            );
        }
    }
}
