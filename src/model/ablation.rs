//! Heads that are taken out of a model: their output is replaced before
//! `c_proj`, by zero or by a fixed vector, usually its mean over some text
//! (P. Michel, O. Levy and G. Neubig, "Are Sixteen Heads Really Better than
//! One?", arXiv:1905.10650; K. Wang et al., "Interpretability in the Wild",
//! arXiv:2211.00593, for the mean).
//!
//! It belongs to the KV cache of a sequence and not to the pass: keys and
//! values of later layers depend on it, so a cache that was made under one
//! ablation is of no use without it, and every fork of a sequence has it too.

use super::Config;
use super::prefix::BlockName;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};

/// What a head's output is replaced by.
#[derive(Debug, Clone, PartialEq)]
pub enum Replacement {
    Zero,
    /// `head_dim` numbers, the same at every position.
    Mean(Vec<f32>),
}

/// The heads of a model that are taken out. At least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Ablation {
    n_layer: usize,
    n_head: usize,
    head_dim: usize,
    /// `[n_layer][n_head]`; empty for a layer that keeps all its heads.
    layers: Vec<Vec<Option<Replacement>>>,
}

impl Ablation {
    /// `None` where no head is named. A head that is named twice has what was
    /// said last.
    ///
    /// Error: `invalid-option` for a layer or head that the model does not have,
    /// or a vector that is not `head_dim` finite numbers.
    pub fn new(
        config: &Config,
        heads: impl IntoIterator<Item = (usize, usize, Replacement)>,
    ) -> Result<Option<Self>> {
        let (n_layer, n_head, head_dim) = (config.n_layer, config.n_head, config.head_dim());
        let mut layers = vec![Vec::new(); n_layer];
        let mut any = false;
        for (index, (layer, head, replacement)) in heads.into_iter().enumerate() {
            let option = |part: &str| format!("ablateHeads[{index}].{part}");
            if layer >= n_layer {
                let range = format!("a layer from 0 to {}", n_layer - 1);
                return Err(Error::option(option("layer"), layer, range));
            }
            if head >= n_head {
                let range = format!("a head from 0 to {}", n_head - 1);
                return Err(Error::option(option("head"), head, range));
            }
            if let Replacement::Mean(mean) = &replacement {
                let range = format!("{head_dim} finite numbers");
                if mean.len() != head_dim {
                    let given = format!("{} numbers", mean.len());
                    return Err(Error::option(option("mean"), given, range));
                }
                if let Some(wrong) = mean.iter().find(|x| !x.is_finite()) {
                    return Err(Error::option(option("mean"), wrong, range));
                }
            }
            let heads: &mut Vec<Option<Replacement>> = &mut layers[layer];
            heads.resize(n_head, None);
            heads[head] = Some(replacement);
            any = true;
        }
        let ablation = Self {
            n_layer,
            n_head,
            head_dim,
            layers,
        };
        Ok(any.then_some(ablation))
    }

    /// True where it was made for models of this shape.
    pub fn fits(&self, config: &Config) -> bool {
        (self.n_layer, self.n_head, self.head_dim)
            == (config.n_layer, config.n_head, config.head_dim())
    }

    /// What replaces the output of a head; `None` where it keeps its own.
    pub fn get(&self, layer: usize, head: usize) -> Option<&Replacement> {
        self.layers.get(layer)?.get(head)?.as_ref()
    }

    /// Replaces `context`, the output of a head, where it is taken out.
    // Out of line: the attention of whoever takes out nothing goes past it.
    #[cold]
    #[inline(never)]
    pub fn apply(&self, layer: usize, head: usize, context: &mut [f32]) {
        match self.get(layer, head) {
            None => {}
            Some(Replacement::Zero) => context.fill(0.0),
            Some(Replacement::Mean(mean)) => context.copy_from_slice(mean),
        }
    }

    /// What the chains of KV blocks made under it begin with, where they would
    /// begin with `root` without it.
    pub fn root(&self, root: BlockName) -> BlockName {
        let mut hash = Sha256::new();
        for (layer, heads) in self.layers.iter().enumerate() {
            for (head, replacement) in heads.iter().enumerate() {
                let Some(replacement) = replacement else {
                    continue;
                };
                hash.update((layer as u32).to_le_bytes());
                hash.update((head as u32).to_le_bytes());
                match replacement {
                    Replacement::Zero => hash.update([0]),
                    Replacement::Mean(mean) => {
                        hash.update([1]);
                        for number in mean {
                            hash.update(number.to_le_bytes());
                        }
                    }
                }
            }
        }
        let heads = BlockName::from_slice(&hash.finalize()[..16]);
        BlockName::root(&["ablation", &root.to_string(), &heads.to_string()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let json = br#"{"model_type":"gpt2","n_layer":2,"n_head":2,"n_embd":8,"vocab_size":9}"#;
        Config::from_json(json).unwrap()
    }

    fn ablation(heads: Vec<(usize, usize, Replacement)>) -> Option<Ablation> {
        Ablation::new(&config(), heads).unwrap()
    }

    #[test]
    fn only_the_heads_that_are_named_are_replaced() {
        let mean = Replacement::Mean(vec![1.0, 2.0, 3.0, 4.0]);
        let ablation = ablation(vec![(0, 1, Replacement::Zero), (1, 0, mean)]).unwrap();
        let output = |layer, head| {
            let mut context = [9.0; 4];
            ablation.apply(layer, head, &mut context);
            context
        };
        assert_eq!(output(0, 0), [9.0; 4]);
        assert_eq!(output(0, 1), [0.0; 4]);
        assert_eq!(output(1, 0), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(output(1, 1), [9.0; 4]);
    }

    #[test]
    fn no_heads_are_no_ablation() {
        assert_eq!(ablation(vec![]), None);
    }

    #[test]
    fn what_the_model_does_not_have_is_refused_by_name() {
        for (layer, head, replacement, option) in [
            (2, 0, Replacement::Zero, "ablateHeads[0].layer: is 2"),
            (0, 2, Replacement::Zero, "ablateHeads[0].head: is 2"),
            (0, 0, Replacement::Mean(vec![0.0; 3]), "ablateHeads[0].mean"),
            (
                0,
                0,
                Replacement::Mean(vec![f32::NAN; 4]),
                "ablateHeads[0].mean: is NaN",
            ),
        ] {
            let error = Ablation::new(&config(), [(layer, head, replacement)]).unwrap_err();
            assert_eq!(error.code(), "invalid-option");
            assert!(error.to_string().starts_with(option), "{error}");
        }
    }

    #[test]
    fn blocks_are_shared_by_the_same_ablation_only() {
        let root = BlockName::root(&["model"]);
        let one = ablation(vec![(0, 1, Replacement::Zero), (1, 1, Replacement::Zero)]).unwrap();
        let same = ablation(vec![(1, 1, Replacement::Zero), (0, 1, Replacement::Zero)]).unwrap();
        let other = ablation(vec![(0, 1, Replacement::Zero)]).unwrap();
        let mean = Replacement::Mean(vec![0.0; 4]);
        let mean = ablation(vec![(0, 1, mean)]).unwrap();
        assert_eq!(one.root(root), same.root(root));
        let roots = [root, one.root(root), other.root(root), mean.root(root)];
        for (index, root) in roots.iter().enumerate() {
            assert!(!roots[..index].contains(root));
        }
    }
}
