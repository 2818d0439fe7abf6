//! `temperature`: flattens or sharpens the distribution.

use super::LogitsProcessor;

/// `score = score / temperature`.
///
/// Source: `TemperatureLogitsWarper` of transformers. Default 1: nothing.
/// Temperature 0 is not this processor's: it means greedy, without warpers.
/// A temperature so small that a score overflows to `+inf` makes the sampler
/// report an error.
#[derive(Debug)]
pub struct Temperature(f32);

impl Temperature {
    /// `temperature` is a number above 0.
    pub fn new(temperature: f32) -> Self {
        Self(temperature)
    }
}

impl LogitsProcessor for Temperature {
    fn process(&mut self, _history: &[u32], scores: &mut [f32]) {
        // Division, not multiplication by the inverse: that rounds twice.
        for score in scores {
            *score /= self.0;
        }
    }
}
