//! 8-bit keys and values: how they lie in a block of the cache.
//!
//! A key or value has one scale, its largest magnitude over 127. A block holds,
//! layer by layer, the keys of all heads and then the values of all heads, so
//! that whoever attends reads long stretches. A head's part of either:
//!
//! | part | bytes | |
//! |---|---|---|
//! | codes | 32 x width | of keys: groups of 4 positions, in each 16 bytes for 4 dimensions |
//! | | | of values: groups of 4 dimensions, in each 16 bytes for 4 positions |
//! | scales | 128 | f32 for each position |
//!
//! Sixteen bytes hold two pairs for each of four sums: `[a b] x 4, [c d] x 4`,
//! where a to d are neighbours in what is summed over (dimensions for keys,
//! positions for values). Widened to i16, each half meets one splatted pair.

use super::kv::BLOCK_TOKENS;

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Keys,
    Values,
}

/// Where the heads' numbers stand.
#[derive(Debug, Clone, Copy)]
pub struct HeadLayout {
    pub n_head: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
}

impl HeadLayout {
    /// Dimensions stored: whole groups of four.
    pub fn width(&self) -> usize {
        self.head_dim.next_multiple_of(4)
    }

    /// Bytes of a part's codes.
    pub fn code_bytes(&self) -> usize {
        BLOCK_TOKENS * self.width()
    }

    /// Bytes of a head's keys, or values, of one layer in a block.
    pub fn part_bytes(&self) -> usize {
        self.code_bytes() + BLOCK_TOKENS * size_of::<f32>()
    }

    /// Bytes of a layer in a block.
    pub fn layer_bytes(&self) -> usize {
        2 * self.n_head * self.part_bytes()
    }

    /// Where in a block a part begins.
    pub fn part(&self, layer: usize, kind: Kind, head: usize) -> usize {
        let parts_before = match kind {
            Kind::Keys => head,
            Kind::Values => self.n_head + head,
        };
        layer * self.layer_bytes() + parts_before * self.part_bytes()
    }

    fn code_place(&self, kind: Kind, position: usize, dimension: usize) -> usize {
        match kind {
            Kind::Keys => {
                position / 4 * 4 * self.width()
                    + dimension / 4 * 16
                    + place(position % 4, dimension % 4)
            }
            Kind::Values => {
                dimension / 4 * 4 * BLOCK_TOKENS
                    + position / 4 * 16
                    + place(dimension % 4, position % 4)
            }
        }
    }

    fn scale_place(&self, position: usize) -> usize {
        self.code_bytes() + position * size_of::<f32>()
    }

    /// Quantises the key or value of a head (`head_dim` numbers) at the
    /// position `slot` of a block into the head's part.
    pub fn store(&self, part: &mut [u8], kind: Kind, slot: usize, numbers: &[f32]) {
        let largest = largest(numbers);
        let inverse = if usable(largest) {
            127.0 / largest
        } else {
            0.0
        };
        // The places of a position lie in a fixed pattern of steps.
        let (quads, steps) = match kind {
            Kind::Keys => (16, [0, 1, 8, 9]),
            Kind::Values => (4 * BLOCK_TOKENS, [0, 2, 4, 6]),
        };
        let first = self.code_place(kind, slot, 0);
        for (quad, numbers) in numbers.chunks(4).enumerate() {
            let codes = &mut part[first + quad * quads..];
            for (number, step) in numbers.iter().zip(steps) {
                codes[step] = (number * inverse).round_ties_even() as i8 as u8;
            }
        }
        let scale = scale_of(largest, 127.0);
        part[self.scale_place(slot)..][..4].copy_from_slice(&scale.to_le_bytes());
    }

    /// False where a block has a scale that no stored number has.
    pub fn scales_are_finite(&self, block: &[u8]) -> bool {
        block.chunks_exact(self.part_bytes()).all(|part| {
            let scales = part[self.code_bytes()..].chunks_exact(4);
            let mut scales = scales.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            scales.all(f32::is_finite)
        })
    }

    /// The key or value of a head at the position `slot`, as it is attended to.
    pub fn load(&self, part: &[u8], kind: Kind, slot: usize, numbers: &mut [f32]) {
        let at = self.scale_place(slot);
        let scale = f32::from_le_bytes([part[at], part[at + 1], part[at + 2], part[at + 3]]);
        for (d, number) in numbers.iter_mut().enumerate() {
            *number = f32::from(part[self.code_place(kind, slot, d)] as i8) * scale;
        }
    }
}

/// Where summand `c` of sum `lane` stands in its 16 bytes.
fn place(lane: usize, c: usize) -> usize {
    c / 2 * 8 + lane * 2 + c % 2
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

/// The scale that goes with codes up to `codes`: zero where all is below
/// 1e-30, NaN where something is not finite.
pub fn scale_of(largest: f32, codes: f32) -> f32 {
    if !largest.is_finite() {
        f32::NAN
    } else if largest < 1e-30 {
        0.0
    } else {
        largest / codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_where_they_were_put() {
        let layout = HeadLayout {
            n_head: 1,
            head_dim: 7,
        };
        for kind in [Kind::Keys, Kind::Values] {
            let mut part = vec![0; layout.part_bytes()];
            let number = |slot: usize, d: usize| ((slot * 7 + d) as f32 - 100.0) / 127.0;
            for slot in 0..BLOCK_TOKENS {
                let numbers: Vec<f32> = (0..7).map(|d| number(slot, d)).collect();
                layout.store(&mut part, kind, slot, &numbers);
            }
            for slot in 0..BLOCK_TOKENS {
                let mut found = [0.0; 7];
                layout.load(&part, kind, slot, &mut found);
                for (d, found) in found.into_iter().enumerate() {
                    assert!((found - number(slot, d)).abs() < 0.01);
                }
            }
        }
    }
}
