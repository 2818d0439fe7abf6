//! The numbers that a pass works with.

use super::kernels::quantize::BLOCK;

/// Numbers of a pass; kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub x: Vec<f32>,
    pub wide: Vec<f32>,
    pub context: Vec<f32>,
    pub sums: Vec<f32>,
    pub codes: Vec<i8>,
    pub scales: Vec<f32>,
    pub neg_sums: Vec<i32>,
}

impl Buffers {
    /// Bytes that it has room for.
    pub fn bytes(&self) -> usize {
        let numbers = [&self.x, &self.wide, &self.context, &self.sums, &self.scales];
        let floats: usize = numbers.iter().map(|numbers| numbers.capacity()).sum();
        size_of::<f32>() * floats
            + self.codes.capacity()
            + size_of::<i32>() * self.neg_sums.capacity()
    }

    /// Room for `m` rows. Nothing is given back; the largest pass is a chunk of
    /// a prompt.
    pub fn grow(&mut self, m: usize, d: usize, widest: usize) {
        fn grow<T: Default + Clone>(buffer: &mut Vec<T>, len: usize) {
            if buffer.len() < len {
                buffer.resize(len, T::default());
            }
        }
        grow(&mut self.x, m * d);
        grow(&mut self.wide, m * widest);
        // What stands past a row's end has to be zero.
        self.context.clear();
        self.context.resize(m * d, 0.0);
        grow(&mut self.sums, m * d);
        grow(&mut self.codes, m * widest);
        grow(&mut self.scales, m * widest / BLOCK);
        grow(&mut self.neg_sums, m * widest / BLOCK);
    }
}
