//! How a packed matrix lies in memory.
//!
//! Rows (outputs) come in groups of 32, columns (inputs, `k`) in blocks of 32.
//! A block of a group is contiguous: 32 scales, then eight *row vectors* of
//! four rows each. Blocks run along `k`, groups one after another, so a
//! product with one row of activations reads a group front to back.
//!
//! Inside a row vector each 16 bytes hold four consecutive `k` of four rows:
//! a vector dot product with four splatted activations adds to four outputs,
//! and no horizontal sum is ever needed.
//!
//! Scales are bf16, because wasm has no conversion from f16. Two row vectors'
//! scales are interleaved in 16 bytes, so that a shift gives one vector's four
//! as f32 and a mask the other's.
//!
//! Groups of 32 with two of them walked together read memory at 95 % of what a
//! plain read of it reaches; of 16, at 60-90 %.

use super::kernels::quantize::BLOCK;
use half::bf16;

/// Rows of a group.
pub const GROUP: usize = 32;
/// Row vectors of a group.
pub const VECTORS: usize = GROUP / 4;
/// Bytes of a block's scales.
pub const SCALE_BYTES: usize = GROUP * 2;

/// Bytes of a row vector's fifth bits.
const FIFTHS: usize = 16;

/// How a weight's number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A byte: a signed number from -127 to 127.
    Q8,
    /// A byte: the number of `Q8` plus 128. The form that x86's dot product
    /// takes; only ever in memory, files hold `Q8`.
    Q8Offset,
    /// Five bits: a number from -16 to 15, plus 16. Four of them stand as in
    /// `Q4`, after 16 bytes with the fifth ones: bit `i` of a byte belongs to
    /// quad `i`.
    Q5,
    /// Half a byte: a number from -8 to 7, plus 8.
    Q4,
}

impl Encoding {
    /// What stands for zero.
    pub const fn zero_point(self) -> i32 {
        match self {
            Self::Q8 => 0,
            Self::Q8Offset => 128,
            Self::Q5 => 16,
            Self::Q4 => 8,
        }
    }

    /// Bytes of a row vector in a block.
    pub const fn vector_bytes(self) -> usize {
        match self {
            Self::Q8 | Self::Q8Offset => 4 * BLOCK,
            Self::Q5 => 2 * BLOCK + FIFTHS,
            Self::Q4 => 2 * BLOCK,
        }
    }

    /// Bytes of a block of a group.
    pub const fn block_bytes(self) -> usize {
        SCALE_BYTES + VECTORS * self.vector_bytes()
    }

    /// Bytes of a matrix.
    pub fn matrix_bytes(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(GROUP) * columns.div_ceil(BLOCK) * self.block_bytes()
    }
}

/// A packed matrix.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub encoding: Encoding,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    pub data: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// Panics where `data` has another length than the shape needs.
    pub fn new(encoding: Encoding, rows: usize, columns: usize, data: &'a [u8]) -> Self {
        assert_eq!(data.len(), encoding.matrix_bytes(rows, columns));
        Self {
            encoding,
            rows,
            columns,
            data,
        }
    }

    pub fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    pub fn blocks(&self) -> usize {
        self.columns.div_ceil(BLOCK)
    }

    /// Block `block` of group `group`.
    pub fn block(&self, group: usize, block: usize) -> &'a [u8] {
        let bytes = self.encoding.block_bytes();
        &self.data[(group * self.blocks() + block) * bytes..][..bytes]
    }

    /// Writes the weights of row `row` into `out`, which has
    /// `blocks() * BLOCK` numbers.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        let (group, row) = (row / GROUP, row % GROUP);
        for (index, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let block = self.block(group, index);
            let scale = scale(block, row);
            for (k, out) in out.iter_mut().enumerate() {
                *out = number(self.encoding, block, row, k) as f32 * scale;
            }
        }
    }
}

/// Where the scale of `row` stands in a block.
fn scale_offset(row: usize) -> usize {
    let (vector, lane) = (row / 4, row % 4);
    vector / 2 * 16 + lane * 4 + vector % 2 * 2
}

/// The scale of `row` in a block.
pub fn scale(block: &[u8], row: usize) -> f32 {
    let at = scale_offset(row);
    bf16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Where the code of (`row`, `k`) stands in a block.
struct CodePlace {
    /// The byte with the code, or its lower four bits.
    byte: usize,
    /// How far it is shifted there.
    shift: usize,
    /// Byte and bit of the fifth bit, where it stands apart.
    fifth: (usize, usize),
}

fn code_place(encoding: Encoding, row: usize, k: usize) -> CodePlace {
    let (vector, lane, quad) = (row / 4, row % 4, k / 4);
    let start = SCALE_BYTES + vector * encoding.vector_bytes() + lane * 4 + k % 4;
    let half = BLOCK / 8;
    // The second half of the block is in the upper halves of the bytes.
    let (low, shift) = (start + quad % half * 16, quad / half * 4);
    match encoding {
        Encoding::Q8 | Encoding::Q8Offset => CodePlace {
            byte: start + quad * 16,
            shift: 0,
            fifth: (0, 0),
        },
        Encoding::Q5 => CodePlace {
            byte: low + FIFTHS,
            shift,
            fifth: (start, quad),
        },
        Encoding::Q4 => CodePlace {
            byte: low,
            shift,
            fifth: (0, 0),
        },
    }
}

/// The number at (`row`, `k`) in a block, before scaling.
pub fn number(encoding: Encoding, block: &[u8], row: usize, k: usize) -> i32 {
    let place = code_place(encoding, row, k);
    let low = i32::from(block[place.byte] >> place.shift & 15);
    match encoding {
        Encoding::Q8 => i32::from(block[place.byte] as i8),
        Encoding::Q8Offset => i32::from(block[place.byte]) - 128,
        Encoding::Q5 => {
            let (byte, bit) = place.fifth;
            low + i32::from(block[byte] >> bit & 1) * 16 - 16
        }
        Encoding::Q4 => low - 8,
    }
}

/// Writes scale and numbers of `row` into a block.
pub fn set_row(
    encoding: Encoding,
    block: &mut [u8],
    row: usize,
    scale: bf16,
    numbers: &[i8; BLOCK],
) {
    block[scale_offset(row)..][..2].copy_from_slice(&scale.to_le_bytes());
    let (vector, lane) = (row / 4, row % 4);
    let start = SCALE_BYTES + vector * encoding.vector_bytes() + lane * 4;
    match encoding {
        Encoding::Q8 | Encoding::Q8Offset => {
            let flip = if encoding == Encoding::Q8 { 0 } else { 0x80 };
            let (quads, _) = numbers.as_chunks::<4>();
            for (quad, numbers) in quads.iter().enumerate() {
                let codes = numbers.map(|number| number as u8 ^ flip);
                block[start + quad * 16..][..4].copy_from_slice(&codes);
            }
        }
        Encoding::Q5 | Encoding::Q4 => {
            let zero = encoding.zero_point() as i8;
            for (k, &number) in numbers.iter().enumerate() {
                let code = (number + zero) as u8;
                let place = code_place(encoding, row, k);
                let byte = &mut block[place.byte];
                *byte = *byte & !(15 << place.shift) | (code & 15) << place.shift;
                if encoding == Encoding::Q5 {
                    let (byte, bit) = place.fifth;
                    block[byte] = block[byte] & !(1 << bit) | (code >> 4) << bit;
                }
            }
        }
    }
}
