//! The weights of a model as Candle tensors, by name.

use super::{Config, names};
use crate::error::{Error, Result};
use candle_core::Tensor;
use std::collections::HashMap;

/// Every weight of a model, f32, matrices as `[in, out]`.
pub struct Weights {
    tensors: HashMap<String, Tensor>,
}

impl Weights {
    /// Takes the tensors of a file. Errors where one of the model's is missing.
    pub fn new(config: &Config, tensors: HashMap<String, Tensor>) -> Result<Self> {
        for name in names::all(config) {
            if !tensors.contains_key(&name) {
                return Err(Error::InvalidModelFile(format!("{name} is missing")));
            }
        }
        Ok(Self { tensors })
    }

    /// Moves the weight `name` out.
    pub fn take(&mut self, name: &str) -> Result<Tensor> {
        self.tensors
            .remove(name)
            .ok_or_else(|| Error::Internal(format!("{name} was taken before")))
    }
}
