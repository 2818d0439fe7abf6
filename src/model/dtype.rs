//! The number formats that a model can run in.

use crate::engine::matrix::Encoding;
use crate::error::{Error, Result};

/// Number format of the weights while running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// The reference: Candle, 4 bytes a weight.
    F32,
    /// 8 bits and a scale for every 32 weights.
    Q8,
    /// 5 bits and a scale for every 32 weights.
    Q5,
    /// 4 bits and a scale for every 32 weights.
    Q4,
}

impl Dtype {
    pub const ALL: [Self; 4] = [Self::F32, Self::Q8, Self::Q5, Self::Q4];

    /// `"f32"`, `"q8"`, `"q5"`, `"q4"`. Error: `invalid-argument`.
    pub fn from_name(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|dtype| dtype.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::argument("dtype", format!("\"{name}\" is not one of {names}"))
        })
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Q8 => "q8",
            Self::Q5 => "q5",
            Self::Q4 => "q4",
        }
    }

    /// Bits that a weight of a matrix takes, its share of the scale rounded up.
    pub const fn bits_per_weight(self) -> u64 {
        match self {
            Self::F32 => 32,
            Self::Q8 => 9,
            Self::Q5 => 6,
            Self::Q4 => 5,
        }
    }

    /// How the engine stores matrices; `None` in the reference.
    pub fn encoding(self) -> Option<Encoding> {
        match self {
            Self::F32 => None,
            Self::Q8 => Some(Encoding::Q8),
            Self::Q5 => Some(Encoding::Q5),
            Self::Q4 => Some(Encoding::Q4),
        }
    }
}
