//! Inner values that a pass hands out beside the logits, chosen by layer.
//!
//! A pass that is asked for nothing does nothing more. What is asked for is
//! taken in the pass itself, so it is what the model computed with, to the bit,
//! and one chunk of rows bounds its memory.

/// Most layers of a model; see [`super::Config::validate`].
const MOST: usize = 256;

/// A set of layers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Layers([u64; MOST / 64]);

impl Layers {
    pub const NONE: Self = Self([0; MOST / 64]);
    pub const ALL: Self = Self([u64::MAX; MOST / 64]);

    /// One layer alone.
    pub fn one(layer: usize) -> Self {
        Self::from_iter([layer])
    }

    pub fn contains(&self, layer: usize) -> bool {
        layer < MOST && self.0[layer / 64] >> (layer % 64) & 1 == 1
    }

    /// True where no layer is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The layers of either.
    pub fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// The layers below `n_layer`, ascending.
    pub fn iter(self, n_layer: usize) -> impl Iterator<Item = usize> {
        (0..n_layer).filter(move |&layer| self.contains(layer))
    }

    /// Where the values of `layer` stand in a list of those asked for.
    pub fn index(&self, layer: usize) -> Option<usize> {
        self.contains(layer)
            .then(|| (0..layer).filter(|&before| self.contains(before)).count())
    }
}

impl FromIterator<usize> for Layers {
    /// Layers past those that a model may have are left out.
    fn from_iter<I: IntoIterator<Item = usize>>(layers: I) -> Self {
        let mut set = Self::NONE;
        for layer in layers.into_iter().filter(|&layer| layer < MOST) {
            set.0[layer / 64] |= 1 << (layer % 64);
        }
        set
    }
}

impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_set().entries(self.iter(MOST)).finish()
    }
}

/// Inner values to hand out beside the logits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Taps {
    pub hidden_states: bool,
    /// Attention probabilities of these layers.
    pub attentions: Layers,
    /// The heads' outputs of these layers, before `c_proj`.
    pub contexts: Layers,
    /// What attention and MLP of these layers add to the residual stream.
    pub additions: Layers,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_layers_it_was_made_of_in_order() {
        let set = Layers::from_iter([200, 3, 64, 3]);
        assert_eq!(set.iter(256).collect::<Vec<_>>(), [3, 64, 200]);
        assert_eq!(set.iter(64).collect::<Vec<_>>(), [3]);
        assert_eq!(set.index(200), Some(2));
        assert_eq!(set.index(4), None);
        let both = Layers::one(3).union(Layers::from_iter([64, 200]));
        assert_eq!(both, set);
        assert!(Layers::NONE.is_empty() && !set.is_empty());
        assert_eq!(Layers::ALL.iter(5).count(), 5);
        assert!(!Layers::ALL.contains(256));
    }
}
