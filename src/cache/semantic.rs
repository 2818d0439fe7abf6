//! Prompts by meaning: which of an entry's family is nearest to a vector.
//!
//! Exact search by cosine over all vectors of a family. Guards, which say why a
//! near prompt still asks for something else, follow; the threshold is for them:
//! a guarded prompt must not hide another that is near enough.

use std::collections::HashMap;

/// The nearest entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Similar {
    pub key: [u8; 32],
    /// Cosine, up to 1.
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
    pub fn new(threshold: f32) -> Self {
        Self {
            threshold,
            placed: HashMap::new(),
        }
    }

    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    pub fn set_threshold(&mut self, threshold: f32) {
        self.threshold = threshold;
    }

    pub fn insert(&mut self, key: [u8; 32], family: &str, prompt: &str, vector: Vec<f32>) {
        let placed = Placed {
            family: family.into(),
            prompt: prompt.into(),
            vector: unit(vector),
        };
        self.placed.insert(key, placed);
    }

    pub fn remove(&mut self, key: &[u8; 32]) {
        self.placed.remove(key);
    }

    pub fn clear(&mut self) {
        self.placed.clear();
    }

    /// The nearest of a family, whatever its score; the lowest key of equals.
    pub fn similar(&self, family: &str, _prompt: &str, vector: Vec<f32>) -> Option<Similar> {
        let vector = unit(vector);
        self.placed
            .iter()
            .filter(|(_, placed)| placed.family == family && placed.vector.len() == vector.len())
            .map(|(key, placed)| (dot(&placed.vector, &vector), key, placed))
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
            .map(|(score, key, placed)| Similar {
                key: *key,
                score,
                prompt: placed.prompt.clone(),
                guard: None,
            })
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|float| *float /= length);
    vector
}
