//! Prompts by meaning: which of an entry's family is nearest to a vector, and
//! whether its answer may be given.
//!
//! Exact search by cosine over all vectors: a cache has thousands of entries,
//! not millions, and an approximate index could miss. Vectors are those of
//! [`crate::generate::embedding`], or any others that go with each other.

use super::guards;
use std::collections::HashMap;

/// Least score of a match, where nothing else is said: chosen on one half of
/// the pairs in `tests/fixtures/cache/pairs.json`, see `docs/semantic.md`.
pub const DEFAULT_THRESHOLD: f32 = 0.6;

/// Most bytes of a prompt that is found by meaning: longer ones are documents,
/// in which a word of a thousand may matter.
pub const MAX_PROMPT_BYTES: usize = 8192;

/// Most numbers of a vector.
pub const MAX_LENGTH: usize = 16_384;

/// The nearest entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Similar {
    pub key: [u8; 32],
    /// Cosine, -1 to 1.
    pub score: f32,
    pub prompt: String,
    /// Why it must not be taken all the same.
    pub guard: Option<String>,
}

#[derive(Debug)]
struct Placed {
    family: String,
    prompt: String,
    /// Of length 1.
    vector: Vec<f32>,
}

#[derive(Debug)]
pub struct SemanticIndex {
    threshold: f32,
    placed: HashMap<[u8; 32], Placed>,
}

impl SemanticIndex {
    /// `score >= threshold` is a match.
    pub fn new(threshold: f32) -> Self {
        Self {
            threshold,
            placed: HashMap::new(),
        }
    }

    pub fn set_threshold(&mut self, threshold: f32) {
        self.threshold = threshold;
    }

    /// Makes an entry findable, in place of what `key` had. A `family` is what
    /// requests must share to be compared: all but their prompts. What cannot
    /// be compared is not findable: a prompt over [`MAX_PROMPT_BYTES`]; a vector
    /// over [`MAX_LENGTH`], not finite, or zero.
    pub fn insert(&mut self, key: [u8; 32], family: &str, prompt: &str, vector: Vec<f32>) {
        self.placed.remove(&key);
        let Some(vector) = comparable(prompt, vector) else {
            return;
        };
        let placed = Placed {
            family: family.into(),
            prompt: prompt.into(),
            vector,
        };
        self.placed.insert(key, placed);
    }

    pub fn remove(&mut self, key: &[u8; 32]) {
        self.placed.remove(key);
    }

    pub fn clear(&mut self) {
        self.placed.clear();
    }

    pub fn len(&self) -> usize {
        self.placed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.placed.is_empty()
    }

    /// The nearest of a family that has the threshold and that no guard refuses;
    /// where there is none, the nearest of all, whatever its score, with its
    /// guard. Of equals the one with the lowest key.
    pub fn similar(&self, family: &str, prompt: &str, vector: Vec<f32>) -> Option<Similar> {
        let vector = comparable(prompt, vector)?;
        let mut near: Vec<(f32, &[u8; 32], &Placed)> = self
            .placed
            .iter()
            .filter(|(_, placed)| placed.family == family && placed.vector.len() == vector.len())
            .map(|(key, placed)| (dot(&placed.vector, &vector) as f32, key, placed))
            .collect();
        near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let mut nearest = None;
        for (score, key, placed) in near {
            if score < self.threshold && nearest.is_some() {
                break;
            }
            let similar = Similar {
                key: *key,
                score,
                prompt: placed.prompt.clone(),
                guard: guards::refusal(prompt, &placed.prompt),
            };
            if score >= self.threshold && similar.guard.is_none() {
                return Some(similar);
            }
            nearest.get_or_insert(similar);
        }
        nearest
    }
}

/// The vector with length 1, where it and the prompt can be compared.
fn comparable(prompt: &str, mut vector: Vec<f32>) -> Option<Vec<f32>> {
    if prompt.len() > MAX_PROMPT_BYTES || vector.len() > MAX_LENGTH {
        return None;
    }
    let length = dot(&vector, &vector).sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    for float in &mut vector {
        *float = (f64::from(*float) / length) as f32;
    }
    Some(vector)
}

/// In f64: no overflow, and equal vectors come to 1 but for the last bit.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

#[cfg(test)]
#[path = "semantic_tests.rs"]
mod tests;
