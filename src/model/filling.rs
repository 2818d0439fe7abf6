//! A tensor from its bytes, slab by slab.

use super::convert;
use super::plan::Entry;
use super::sink::Sink;
use crate::error::{Error, Result};
use candle_core::quantized::GgmlDType;

/// Elements decoded at a time; a multiple of every block size.
const SLAB_ELEMENTS: usize = 1 << 14;

/// A tensor being decoded.
pub struct Filling {
    name: String,
    dtype: GgmlDType,
    done: usize,
    /// Where this is the embedding's second copy.
    second: Option<SecondCopy>,
    /// Undecoded bytes, in a buffer aligned for every block type.
    slab: Vec<u64>,
    slab_bytes: usize,
    decoded: Vec<f32>,
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
    fn compare(&mut self, first: &[f32], second: &[f32]) {
        for (&first, &second) in first.iter().zip(second) {
            self.difference += f64::from(first - second).powi(2);
            self.norm += f64::from(first).powi(2);
        }
    }
}

impl Filling {
    /// `earlier`: bytes that the same weight took where it came before.
    pub fn new(
        entry: &Entry,
        name: &str,
        earlier: Option<u64>,
        sink: &mut dyn Sink,
    ) -> Result<Self> {
        let second = earlier.map(|bytes| SecondCopy {
            finer: entry.bytes > bytes,
            difference: 0.0,
            norm: 0.0,
        });
        if second.as_ref().is_none_or(|second| second.finer) {
            sink.begin(name, entry.transposed)?;
        }
        let slab_bytes = SLAB_ELEMENTS / entry.dtype.block_size() * entry.dtype.type_size();
        Ok(Self {
            name: name.to_owned(),
            dtype: entry.dtype,
            done: 0,
            second,
            slab: vec![0; slab_bytes.div_ceil(8)],
            slab_bytes: 0,
            decoded: vec![0.0; SLAB_ELEMENTS],
        })
    }

    /// Takes the tensor's next bytes.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut dyn Sink) -> Result<()> {
        let full = SLAB_ELEMENTS / self.dtype.block_size() * self.dtype.type_size();
        while !bytes.is_empty() {
            let count = bytes.len().min(full - self.slab_bytes);
            let slab: &mut [u8] = bytemuck::cast_slice_mut(&mut self.slab);
            slab[self.slab_bytes..self.slab_bytes + count].copy_from_slice(&bytes[..count]);
            self.slab_bytes += count;
            bytes = &bytes[count..];
            if self.slab_bytes == full {
                self.flush(sink)?;
            }
        }
        Ok(())
    }

    /// Decodes what has come, which is whole blocks.
    fn flush(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let elements = self.slab_bytes / self.dtype.type_size() * self.dtype.block_size();
        let slab: &[u8] = bytemuck::cast_slice(&self.slab);
        let decoded = &mut self.decoded[..elements];
        convert::to_f32(self.dtype, &slab[..self.slab_bytes], decoded)?;
        if let Some(second) = &mut self.second {
            let mut first = vec![0.0; elements];
            sink.read(&self.name, self.done, &mut first);
            second.compare(&first, decoded);
        }
        if self.second.as_ref().is_none_or(|second| second.finer) {
            sink.push(decoded);
        }
        self.done += elements;
        self.slab_bytes = 0;
        Ok(())
    }

    /// All of the tensor has come.
    pub fn finish(mut self, sink: &mut dyn Sink) -> Result<()> {
        self.flush(sink)?;
        if let Some(second) = self.second
            && second.difference > UNTIED * second.norm
        {
            return Err(Error::UnsupportedModel(
                "output.weight is not the embedding: the head is not tied".into(),
            ));
        }
        Ok(())
    }
}
