//! 8-bit keys and values: how one head's numbers lie in a block of the cache.
//!
//! A key or value has one scale, its largest magnitude over 127. A head's part
//! of a block, for one layer:
//!
//! | part | bytes | |
//! |---|---|---|
//! | keys | 32 x width | groups of 4 positions; in each, 16 bytes for 4 dimensions |
//! | values | 32 x width | groups of 4 dimensions; in each, 16 bytes for 4 positions |
//! | key scales | 128 | f32 for each position |
//! | value scales | 128 | 〃 |
//!
//! Sixteen bytes hold two pairs for each of four sums: `[a b] x 4, [c d] x 4`,
//! where a to d are neighbours in what is summed over (dimensions for keys,
//! positions for values). Widened to i16, each half meets one splatted pair.

use super::kv::BLOCK_TOKENS;
use std::ops::Range;

/// Where a head's numbers stand in its part of a cache block.
#[derive(Debug, Clone, Copy)]
pub struct HeadLayout {
    /// Dimensions of the head.
    pub head_dim: usize,
}

impl HeadLayout {
    /// Dimensions stored: whole groups of four.
    pub fn width(&self) -> usize {
        self.head_dim.next_multiple_of(4)
    }

    /// Where codes and scales of the keys or of the values stand.
    pub fn parts(&self, values: bool) -> (Range<usize>, Range<usize>) {
        let start = if values { self.codes() } else { 0 };
        let scales = self.scale_place(values, 0);
        let scale_bytes = BLOCK_TOKENS * size_of::<f32>();
        (start..start + self.codes(), scales..scales + scale_bytes)
    }

    /// Bytes of keys, and of values.
    fn codes(&self) -> usize {
        BLOCK_TOKENS * self.width()
    }

    /// Bytes of a head's part.
    pub fn bytes(&self) -> usize {
        2 * self.codes() + 2 * BLOCK_TOKENS * size_of::<f32>()
    }

    fn key_place(&self, position: usize, dimension: usize) -> usize {
        position / 4 * 4 * self.width() + dimension / 4 * 16 + place(position % 4, dimension % 4)
    }

    fn value_place(&self, position: usize, dimension: usize) -> usize {
        self.codes()
            + dimension / 4 * 4 * BLOCK_TOKENS
            + position / 4 * 16
            + place(dimension % 4, position % 4)
    }

    fn scale_place(&self, value: bool, position: usize) -> usize {
        2 * self.codes() + (usize::from(value) * BLOCK_TOKENS + position) * size_of::<f32>()
    }

    /// Quantises key and value (`head_dim` numbers each) of the position at
    /// `slot` of a block into `part`.
    pub fn store(&self, part: &mut [u8], slot: usize, key: &[f32], value: &[f32]) {
        let scale = encode(key, |d, code| part[self.key_place(slot, d)] = code as u8);
        part[self.scale_place(false, slot)..][..4].copy_from_slice(&scale.to_le_bytes());
        let scale = encode(value, |d, code| {
            part[self.value_place(slot, d)] = code as u8
        });
        part[self.scale_place(true, slot)..][..4].copy_from_slice(&scale.to_le_bytes());
    }

    /// Key and value of the position at `slot`, as they are attended to.
    pub fn load(&self, part: &[u8], slot: usize, key: &mut [f32], value: &mut [f32]) {
        let key_scale = self.scale(part, false, slot);
        let value_scale = self.scale(part, true, slot);
        for (d, (key, value)) in key.iter_mut().zip(value).enumerate() {
            *key = f32::from(part[self.key_place(slot, d)] as i8) * key_scale;
            *value = f32::from(part[self.value_place(slot, d)] as i8) * value_scale;
        }
    }

    fn scale(&self, part: &[u8], value: bool, slot: usize) -> f32 {
        let at = self.scale_place(value, slot);
        f32::from_le_bytes([part[at], part[at + 1], part[at + 2], part[at + 3]])
    }
}

/// Where summand `c` of sum `lane` stands in its 16 bytes.
fn place(lane: usize, c: usize) -> usize {
    c / 2 * 8 + lane * 2 + c % 2
}

/// Codes from -127 to 127 with one scale for all of `x`, which is returned:
/// zero where all is below 1e-30, NaN where something is not finite.
fn encode(x: &[f32], mut set: impl FnMut(usize, i8)) -> f32 {
    let largest = largest(x);
    let inverse = if usable(largest) {
        127.0 / largest
    } else {
        0.0
    };
    for (d, x) in x.iter().enumerate() {
        set(d, (x * inverse).round_ties_even() as i8);
    }
    scale_of(largest, 127.0)
}

/// The largest magnitude, NaN above infinity.
pub fn largest(x: &[f32]) -> f32 {
    let bits = x.iter().map(|x| x.to_bits() & 0x7fff_ffff);
    f32::from_bits(bits.max().unwrap_or(0))
}

/// False where numbers of this magnitude are stored as zeros.
pub fn usable(largest: f32) -> bool {
    largest.is_finite() && largest >= 1e-30
}

/// The scale that goes with codes up to `codes`.
pub fn scale_of(largest: f32, codes: f32) -> f32 {
    if !largest.is_finite() {
        f32::NAN
    } else if largest < 1e-30 {
        0.0
    } else {
        largest / codes
    }
}
