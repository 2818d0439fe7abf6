//! What an analysis tells: small things as JSON, large ones as typed arrays.

use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;

/// The outcome of an analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisResult {
    /// An object, with JavaScript's spelling of the names. Numbers that are not
    /// finite are `null` in it.
    pub value: Value,
    /// In JavaScript each is a property of that object, by its name.
    pub arrays: Vec<NamedArray>,
}

/// Numbers with a shape, the last axis contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedArray {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: ArrayData,
}

/// The numbers of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayData {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U32(Vec<u32>),
}

impl AnalysisResult {
    /// Of something that is an object in JSON.
    pub fn new(value: impl Serialize) -> Result<Self> {
        let value = serde_json::to_value(value).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Self {
            value,
            arrays: Vec::new(),
        })
    }

    /// Adds an array; its name is none of the object's.
    pub fn with(mut self, name: &str, shape: &[usize], data: ArrayData) -> Self {
        self.arrays.push(NamedArray {
            name: name.to_owned(),
            shape: shape.to_vec(),
            data,
        });
        self
    }

    /// The array of that name.
    pub fn array(&self, name: &str) -> Option<&NamedArray> {
        self.arrays.iter().find(|array| array.name == name)
    }
}

impl ArrayData {
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F64(data) => data.len(),
            Self::U32(data) => data.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `len` zeros, if there is memory for them. `purpose` follows "bytes are
/// needed". Error: `out-of-memory`.
pub fn zeros<T: Clone + Default>(len: usize, purpose: &str) -> Result<Vec<T>> {
    let mut data = Vec::new();
    data.try_reserve_exact(len)
        .map_err(|_| Error::OutOfMemory {
            needed: (len as u64).saturating_mul(size_of::<T>() as u64),
            purpose: purpose.to_owned(),
        })?;
    data.resize(len, T::default());
    Ok(data)
}
