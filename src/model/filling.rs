//! A tensor from its bytes, slab by slab.

use super::convert;
use super::plan::Entry;
use crate::error::{Error, Result};
use candle_core::quantized::GgmlDType;

/// Elements decoded at a time; a multiple of every block size.
const SLAB_ELEMENTS: usize = 1 << 14;

/// A tensor that has arrived.
pub struct Decoded {
    pub values: Vec<f32>,
    /// Bytes it took in the file: how fine its format is.
    bytes: u64,
}

/// A tensor being decoded.
pub struct Filling {
    values: Vec<f32>,
    done: usize,
    /// Where `values` hold the embedding already and its second copy arrives.
    second: Option<SecondCopy>,
    /// Undecoded bytes, in a buffer aligned for every block type.
    slab: Vec<u64>,
    slab_bytes: usize,
}

/// The tied head, which some converters write as a tensor of its own, often in
/// another format than the embedding. One tensor serves as both, the finer of
/// the two; were they not the same weights, that would be another model.
struct SecondCopy {
    finer: bool,
    /// Sums over all numbers so far, of the squared difference and of the
    /// first copy's squares.
    difference: f64,
    norm: f64,
}

/// Largest relative squared difference of two copies of the embedding: above
/// what 2-bit formats do to it (0.1), far below unrelated weights (2).
const UNTIED: f64 = 0.25;

impl SecondCopy {
    fn compare(&mut self, first: &mut [f32], second: &[f32]) {
        for (first, &second) in first.iter_mut().zip(second) {
            self.difference += f64::from(*first - second).powi(2);
            self.norm += f64::from(*first).powi(2);
            if self.finer {
                *first = second;
            }
        }
    }
}

impl Filling {
    /// `earlier` is what arrived under this name before.
    pub fn new(entry: &Entry, earlier: Option<Decoded>) -> Result<Self> {
        let slab_bytes = SLAB_ELEMENTS / entry.dtype.block_size() * entry.dtype.type_size();
        let slab = vec![0; slab_bytes.div_ceil(8)];
        if let Some(first) = earlier {
            return Ok(Self {
                values: first.values,
                done: 0,
                second: Some(SecondCopy {
                    finer: entry.bytes > first.bytes,
                    difference: 0.0,
                    norm: 0.0,
                }),
                slab,
                slab_bytes: 0,
            });
        }
        let elements = entry.shape.iter().product();
        let mut values = Vec::new();
        values
            .try_reserve_exact(elements)
            .map_err(|_| Error::OutOfMemory {
                needed: elements as u64 * 4,
                purpose: format!("for {}", entry.name),
            })?;
        values.resize(elements, 0.0);
        Ok(Self {
            values,
            done: 0,
            second: None,
            slab,
            slab_bytes: 0,
        })
    }

    /// Takes the tensor's next bytes.
    pub fn push(&mut self, dtype: GgmlDType, mut bytes: &[u8]) -> Result<()> {
        let full = SLAB_ELEMENTS / dtype.block_size() * dtype.type_size();
        while !bytes.is_empty() {
            let count = bytes.len().min(full - self.slab_bytes);
            let slab: &mut [u8] = bytemuck::cast_slice_mut(&mut self.slab);
            slab[self.slab_bytes..self.slab_bytes + count].copy_from_slice(&bytes[..count]);
            self.slab_bytes += count;
            bytes = &bytes[count..];
            if self.slab_bytes == full {
                self.flush(dtype)?;
            }
        }
        Ok(())
    }

    /// Decodes what has come, which is whole blocks.
    pub fn flush(&mut self, dtype: GgmlDType) -> Result<()> {
        let elements = self.slab_bytes / dtype.type_size() * dtype.block_size();
        let slab: &[u8] = bytemuck::cast_slice(&self.slab);
        let out = &mut self.values[self.done..self.done + elements];
        match &mut self.second {
            None => convert::to_f32(dtype, &slab[..self.slab_bytes], out)?,
            Some(second) => {
                let mut decoded = vec![0.0; elements];
                convert::to_f32(dtype, &slab[..self.slab_bytes], &mut decoded)?;
                second.compare(out, &decoded);
            }
        }
        self.done += elements;
        self.slab_bytes = 0;
        Ok(())
    }

    /// What has arrived, all of it.
    pub fn finish(self, entry: &Entry) -> Result<Decoded> {
        if let Some(second) = self.second
            && second.difference > UNTIED * second.norm
        {
            return Err(Error::UnsupportedModel(
                "output.weight is not the embedding: the head is not tied".into(),
            ));
        }
        Ok(Decoded {
            values: self.values,
            bytes: entry.bytes,
        })
    }
}
