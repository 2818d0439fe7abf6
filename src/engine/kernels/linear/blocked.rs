//! The walk over blocks of weights that both SIMD forms of the product share.
//!
//! One row alone walks several groups at once where memory is its limit, each a
//! stream of its own for the hardware's prefetching; more rows take one group at a time, so that its
//! weights are read from memory once and stay in the nearest cache while all
//! rows meet them.

use super::{BLOCK, Job};
use crate::engine::matrix::{Encoding, SCALE_BYTES, VECTORS};
use core::arch::wasm32::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Quads of half a block: 4-bit weights hold the other half in the same bytes.
const HALF: usize = BLOCK / 8;
/// Quads of a block.
const QUADS: usize = 2 * HALF;

/// A dot product of sixteen weights (four rows, four `k`) with four
/// activations.
pub trait Dot {
    /// An activation as it is multiplied: what many rows are brought to first,
    /// once for all weights that they meet.
    type Code: Copy;
    /// Sixteen weights, ready to be multiplied.
    type Weights: Copy;
    /// Unfinished sums of four rows.
    type Sums: Copy;
    /// Registers that the sums of a row vector take.
    const SUMS_REGISTERS: usize;
    /// Puts the activations at `codes` into `room`, where they have to be
    /// brought to another form.
    unsafe fn codes(codes: *const i8, count: usize, room: &mut Room) -> *const Self::Code;
    /// Four activations, for every row vector once.
    unsafe fn splat(from: *const Self::Code) -> v128;
    /// The same of activations as they stand.
    unsafe fn splat_narrow(from: *const i8) -> v128;
    /// The sixteen weights at `from`, a byte each.
    unsafe fn load(from: *const u8) -> Self::Weights;
    /// Sixteen weights that are in a register already.
    fn take(weights: v128) -> Self::Weights;
    fn zero() -> Self::Sums;
    fn add(x: v128, weights: Self::Weights, sums: Self::Sums) -> Self::Sums;
    /// The four rows' sums plus `start`.
    fn finish(sums: Self::Sums, start: v128) -> v128;
}

/// How a row vector's 32 `k` are read.
pub trait Codes {
    const ENCODING: Encoding;
    /// What stands for zero in what `low` and `high` give.
    const ZERO_POINT: i32 = Self::ENCODING.zero_point();
    /// Bytes of a row vector.
    const VECTOR_BYTES: usize = Self::ENCODING.vector_bytes();
    /// From so many rows on it pays to unpack weights first.
    const UNPACK_FROM: usize;
    /// Quad `quad`, of the first half, of the row vector at `vector`.
    unsafe fn low(vector: *const u8, quad: usize) -> v128;
    /// The quad half a block after it.
    unsafe fn high(vector: *const u8, quad: usize) -> v128;
    /// [`low`](Self::low) as `D` multiplies it.
    #[inline(always)]
    unsafe fn low_weights<D: Dot>(vector: *const u8, quad: usize) -> D::Weights {
        D::take(unsafe { Self::low(vector, quad) })
    }
    /// [`high`](Self::high) as `D` multiplies it.
    #[inline(always)]
    unsafe fn high_weights<D: Dot>(vector: *const u8, quad: usize) -> D::Weights {
        D::take(unsafe { Self::high(vector, quad) })
    }
}

/// Bytes as they are.
pub struct Bytes<const OFFSET: bool>;

impl<const OFFSET: bool> Codes for Bytes<OFFSET> {
    const ENCODING: Encoding = if OFFSET {
        Encoding::Q8Offset
    } else {
        Encoding::Q8
    };
    const UNPACK_FROM: usize = usize::MAX;
    #[inline(always)]
    unsafe fn low(vector: *const u8, quad: usize) -> v128 {
        unsafe { load(vector.add(quad * 16)) }
    }
    #[inline(always)]
    unsafe fn high(vector: *const u8, quad: usize) -> v128 {
        unsafe { load(vector.add((HALF + quad) * 16)) }
    }
    #[inline(always)]
    unsafe fn low_weights<D: Dot>(vector: *const u8, quad: usize) -> D::Weights {
        unsafe { D::load(vector.add(quad * 16)) }
    }
    #[inline(always)]
    unsafe fn high_weights<D: Dot>(vector: *const u8, quad: usize) -> D::Weights {
        unsafe { D::load(vector.add((HALF + quad) * 16)) }
    }
}

/// Bytes stored plus 128, as signed numbers.
pub struct SignedBytes;

impl Codes for SignedBytes {
    const ENCODING: Encoding = Encoding::Q8Offset;
    const UNPACK_FROM: usize = usize::MAX;
    const ZERO_POINT: i32 = 0;
    #[inline(always)]
    unsafe fn low(vector: *const u8, quad: usize) -> v128 {
        v128_xor(
            unsafe { Bytes::<true>::low(vector, quad) },
            u8x16_splat(0x80),
        )
    }
    #[inline(always)]
    unsafe fn high(vector: *const u8, quad: usize) -> v128 {
        v128_xor(
            unsafe { Bytes::<true>::high(vector, quad) },
            u8x16_splat(0x80),
        )
    }
}

/// What [`unpack`] wrote: each code a byte.
pub struct Unpacked<C>(PhantomData<C>);

impl<C: Codes> Codes for Unpacked<C> {
    const ENCODING: Encoding = C::ENCODING;
    const ZERO_POINT: i32 = C::ZERO_POINT;
    const VECTOR_BYTES: usize = QUADS * 16;
    const UNPACK_FROM: usize = usize::MAX;
    #[inline(always)]
    unsafe fn low(vector: *const u8, quad: usize) -> v128 {
        unsafe { load(vector.add(quad * 16)) }
    }
    #[inline(always)]
    unsafe fn high(vector: *const u8, quad: usize) -> v128 {
        unsafe { load(vector.add((HALF + quad) * 16)) }
    }
    #[inline(always)]
    unsafe fn low_weights<D: Dot>(vector: *const u8, quad: usize) -> D::Weights {
        unsafe { D::load(vector.add(quad * 16)) }
    }
    #[inline(always)]
    unsafe fn high_weights<D: Dot>(vector: *const u8, quad: usize) -> D::Weights {
        unsafe { D::load(vector.add((HALF + quad) * 16)) }
    }
}

pub struct Nibbles;

impl Codes for Nibbles {
    const ENCODING: Encoding = Encoding::Q4;
    const UNPACK_FROM: usize = 5;
    #[inline(always)]
    unsafe fn low(vector: *const u8, quad: usize) -> v128 {
        v128_and(unsafe { load(vector.add(quad * 16)) }, u8x16_splat(15))
    }
    #[inline(always)]
    unsafe fn high(vector: *const u8, quad: usize) -> v128 {
        // Bits that come from the neighbouring byte are masked away.
        let shifted = u16x8_shr(unsafe { load(vector.add(quad * 16)) }, 4);
        v128_and(shifted, u8x16_splat(15))
    }
}

pub struct Fives;

impl Codes for Fives {
    const ENCODING: Encoding = Encoding::Q5;
    const UNPACK_FROM: usize = 2;
    #[inline(always)]
    unsafe fn low(vector: *const u8, quad: usize) -> v128 {
        let fifths = u16x8_shl(unsafe { load(vector) }, 4 - quad as u32);
        let nibbles = unsafe { Nibbles::low(vector.add(16), quad) };
        v128_or(nibbles, v128_and(fifths, u8x16_splat(16)))
    }
    #[inline(always)]
    unsafe fn high(vector: *const u8, quad: usize) -> v128 {
        let fifths = u16x8_shr(unsafe { load(vector) }, quad as u32);
        let nibbles = unsafe { Nibbles::high(vector.add(16), quad) };
        v128_or(nibbles, v128_and(fifths, u8x16_splat(16)))
    }
}

#[inline(always)]
unsafe fn load(from: *const u8) -> v128 {
    unsafe { v128_load(from.cast()) }
}

/// Row vector `vector`'s four scales from the 16 bytes it shares.
#[inline(always)]
fn scales(pair: v128, vector: usize) -> v128 {
    if vector.is_multiple_of(2) {
        i32x4_shl(pair, 16)
    } else {
        v128_and(pair, u32x4_splat(0xffff_0000))
    }
}

/// The sums' start: what the weights' zero point takes off.
#[inline(always)]
unsafe fn start<C: Codes>(neg_sum: *const i32) -> v128 {
    let neg_sum = unsafe { v128_load32_splat(neg_sum.cast()) };
    i32x4_mul(neg_sum, i32x4_splat(C::ZERO_POINT))
}

/// One row alone walks `STREAMS` groups at once; more rows take a group at a
/// time.
pub unsafe fn run<D: Dot, C: Codes, const STREAMS: usize>(job: &Job) {
    unsafe {
        let groups = job.groups.clone();
        match job.rows {
            1 => {
                let apart = groups.len() / STREAMS;
                for group in groups.start..groups.start + apart {
                    one::<D, C, STREAMS>(job, group, apart);
                }
                for group in groups.start + apart * STREAMS..groups.end {
                    one::<D, C, 1>(job, group, 0);
                }
            }
            rows if rows < C::UNPACK_FROM => groups.for_each(|group| many::<D, C, C>(job, group)),
            _ => groups.for_each(|group| many::<D, C, Unpacked<C>>(job, group)),
        }
    }
}

/// One row of activations, groups `group`, `group + apart`, ...
// Functions of their own: inlined into one, they are too much for the register
// allocation of V8.
#[inline(never)]
unsafe fn one<D: Dot, C: Codes, const STREAMS: usize>(job: &Job, group: usize, apart: usize) {
    unsafe {
        let blocks = job.matrix.blocks();
        let block_bytes = C::ENCODING.block_bytes();
        let vector_bytes = C::ENCODING.vector_bytes();
        let mut sums = [[f32x4_splat(0.0); VECTORS]; STREAMS];
        let mut weights: [*const u8; STREAMS] = std::array::from_fn(|stream| {
            let group = group + stream * apart;
            job.matrix.data.as_ptr().add(group * blocks * block_bytes)
        });
        for block in 0..blocks {
            let codes = job.codes.as_ptr().add(block * BLOCK);
            let x: [v128; QUADS] = std::array::from_fn(|quad| D::splat_narrow(codes.add(quad * 4)));
            let start = start::<C>(job.neg_sums.as_ptr().add(block));
            let x_scale = v128_load32_splat(job.scales.as_ptr().add(block).cast());
            for pair in 0..VECTORS / 2 {
                let pairs: [v128; STREAMS] =
                    std::array::from_fn(|stream| load(weights[stream].add(pair * 16)));
                for vector in [pair * 2, pair * 2 + 1] {
                    let mut dots = [D::zero(); STREAMS];
                    for quad in 0..HALF {
                        for stream in 0..STREAMS {
                            let from = weights[stream].add(SCALE_BYTES + vector * vector_bytes);
                            let low = C::low_weights::<D>(from, quad);
                            dots[stream] = D::add(x[quad], low, dots[stream]);
                            let high = C::high_weights::<D>(from, quad);
                            dots[stream] = D::add(x[quad + HALF], high, dots[stream]);
                        }
                    }
                    for stream in 0..STREAMS {
                        let scale = f32x4_mul(scales(pairs[stream], vector), x_scale);
                        let dots = D::finish(dots[stream], start);
                        let scaled = f32x4_mul(f32x4_convert_i32x4(dots), scale);
                        sums[stream][vector] = f32x4_add(sums[stream][vector], scaled);
                    }
                }
            }
            for weights in &mut weights {
                *weights = weights.add(block_bytes);
            }
        }
        for (stream, sums) in sums.iter().enumerate() {
            let out = job.out(0, group + stream * apart).as_mut_ptr();
            for (vector, &sum) in sums.iter().enumerate() {
                v128_store(out.add(vector * 4).cast(), sum);
            }
        }
    }
}

/// Rows of activations that a whole tile takes at once.
const TILE: usize = 4;

/// Room for a block of activations in another form.
pub type Room = [v128; CHUNK * BLOCK / 8];

/// Rows whose sums are held side by side: in `out` they may be a multiple of
/// 4 KiB apart, and so compete for the same few places of the nearest cache.
const CHUNK: usize = 32;

/// The sums of [`CHUNK`] rows for one group.
type Sums = [[v128; VECTORS]; CHUNK];

/// Many rows of activations, one group: its weights are read once. `U` is how
/// the tiles read them: as they are, or unpacked once for all rows.
#[inline(never)]
unsafe fn many<D: Dot, C: Codes, U: Codes>(job: &Job, group: usize) {
    unsafe {
        let blocks = job.matrix.blocks();
        let block_bytes = C::ENCODING.block_bytes();
        let start = job.matrix.data.as_ptr().add(group * blocks * block_bytes);
        let mut unpacked = [i32x4_splat(0); VECTORS * QUADS];
        let mut room: Room = [i32x4_splat(0); _];
        for first in (0..job.rows).step_by(CHUNK) {
            let rows = CHUNK.min(job.rows - first);
            let mut sums: Sums = [[f32x4_splat(0.0); VECTORS]; CHUNK];
            for block in 0..blocks {
                let at = block * job.rows + first;
                let codes = job.codes.as_ptr().add(at * BLOCK);
                let x = Rows::<D> {
                    half: std::hint::black_box(HALF),
                    codes: D::codes(codes, rows * BLOCK, &mut room),
                    scales: job.scales.as_ptr().add(at),
                    neg_sums: job.neg_sums.as_ptr().add(at),
                };
                let scales = start.add(block * block_bytes);
                let mut codes = scales.add(SCALE_BYTES);
                if U::VECTOR_BYTES != C::VECTOR_BYTES {
                    unpack::<C>(codes, &mut unpacked);
                    codes = unpacked.as_ptr().cast();
                }
                all_rows::<D, U>(&x, &Weights { codes, scales }, rows, &mut sums);
            }
            for (row, sums) in sums[..rows].iter().enumerate() {
                let out = job.out(first + row, group).as_mut_ptr();
                for (vector, &sum) in sums.iter().enumerate() {
                    v128_store(out.add(vector * 4).cast(), sum);
                }
            }
        }
    }
}

/// Adds one block to the sums of `rows` rows.
#[inline(always)]
unsafe fn all_rows<D: Dot, U: Codes>(x: &Rows<D>, weights: &Weights, rows: usize, sums: &mut Sums) {
    unsafe {
        let whole = whole_tiles(rows) * TILE;
        if whole > 0 {
            tiles_of::<D, U, TILE, 2, 1>(x, weights, 0..whole, sums);
        }
        match rows - whole {
            1 => tiles_of::<D, U, 1, 4, 2>(x, weights, whole..whole + 1, sums),
            2 => tiles_of::<D, U, 2, 4, 2>(x, weights, whole..whole + 2, sums),
            3 => tiles_of::<D, U, 3, 2, 1>(x, weights, whole..whole + 3, sums),
            5 => {
                tiles_of::<D, U, 3, 2, 1>(x, weights, whole..whole + 3, sums);
                tiles_of::<D, U, 2, 4, 2>(x, weights, whole + 3..whole + 5, sums);
            }
            _ => {}
        }
    }
}

/// [`tiles`] of `V` row vectors, or of `W` where their sums take two registers.
#[inline(always)]
unsafe fn tiles_of<D: Dot, U: Codes, const ROWS: usize, const V: usize, const W: usize>(
    x: &Rows<D>,
    weights: &Weights,
    rows: Range<usize>,
    sums: &mut Sums,
) {
    unsafe {
        if D::SUMS_REGISTERS == 1 {
            tiles::<D, U, ROWS, V>(x, weights, rows, sums);
        } else {
            tiles::<D, U, ROWS, W>(x, weights, rows, sums);
        }
    }
}

/// A row left over is better taken as 3 + 2 with the tile before it: alone, it
/// has too few sums to hide the latency of their additions.
fn whole_tiles(rows: usize) -> usize {
    if rows % TILE == 1 && rows > 1 {
        rows / TILE - 1
    } else {
        rows / TILE
    }
}

/// One block of activations, row after row.
struct Rows<D: Dot> {
    /// [`HALF`], unknown to the compiler.
    half: usize,
    codes: *const D::Code,
    scales: *const f32,
    neg_sums: *const i32,
}

/// A block of weights as the tiles take it.
struct Weights {
    /// Row vector after row vector, each its quads one after another.
    codes: *const u8,
    /// As they stand in the block.
    scales: *const u8,
}

/// Writes all quads of the block at `codes` one after another.
#[inline(never)]
unsafe fn unpack<C: Codes>(codes: *const u8, out: &mut [v128; VECTORS * QUADS]) {
    for (vector, out) in out.chunks_exact_mut(QUADS).enumerate() {
        unsafe {
            let vector = codes.add(vector * C::ENCODING.vector_bytes());
            for quad in 0..HALF {
                out[quad] = C::low(vector, quad);
                out[quad + HALF] = C::high(vector, quad);
            }
        }
    }
}

/// Rows times one block of weights, in tiles of `ROWS` rows and `V` row vectors:
/// their sums and what is multiplied have to fit the 16 registers of x86.
// A function of its own: see `one`.
#[inline(never)]
unsafe fn tiles<D: Dot, U: Codes, const ROWS: usize, const V: usize>(
    x: &Rows<D>,
    weights: &Weights,
    rows: Range<usize>,
    sums: &mut Sums,
) {
    for vector in (0..VECTORS).step_by(V) {
        for row in rows.clone().step_by(ROWS) {
            unsafe { tile::<D, U, ROWS, V>(x, weights, vector, row, sums) };
        }
    }
}

/// `ROWS` rows from `row` on times one block of `V` row vectors.
#[inline(always)]
unsafe fn tile<D: Dot, U: Codes, const ROWS: usize, const V: usize>(
    x: &Rows<D>,
    weights: &Weights,
    vector: usize,
    row: usize,
    sums: &mut Sums,
) {
    unsafe {
        let codes = x.codes.add(row * BLOCK);
        let from = weights.codes.add(vector * U::VECTOR_BYTES);
        let mut dots = [[D::zero(); V]; ROWS];
        // Rolled: unrolled, LLVM loads everything first, and V8 spills it.
        for quad in 0..x.half {
            let low: [D::Weights; V] =
                std::array::from_fn(|v| U::low_weights::<D>(from.add(v * U::VECTOR_BYTES), quad));
            for (r, dots) in dots.iter_mut().enumerate() {
                let x = D::splat(codes.add(r * BLOCK + quad * 4));
                for (dots, low) in dots.iter_mut().zip(low) {
                    *dots = D::add(x, low, *dots);
                }
            }
        }
        for quad in 0..x.half {
            let high: [D::Weights; V] =
                std::array::from_fn(|v| U::high_weights::<D>(from.add(v * U::VECTOR_BYTES), quad));
            for (r, dots) in dots.iter_mut().enumerate() {
                let x = D::splat(codes.add(r * BLOCK + HALF * 4 + quad * 4));
                for (dots, high) in dots.iter_mut().zip(high) {
                    *dots = D::add(x, high, *dots);
                }
            }
        }
        for (r, dots) in dots.iter().enumerate() {
            let x_scale = v128_load32_splat(x.scales.add(row + r).cast());
            let start = start::<U>(x.neg_sums.add(row + r));
            let sums = sums.as_mut_ptr().add(row + r).cast::<v128>().add(vector);
            for (v, &dots) in dots.iter().enumerate() {
                let scale = scales(load(weights.scales.add((vector + v) / 2 * 16)), vector + v);
                let scaled = f32x4_mul(
                    f32x4_convert_i32x4(D::finish(dots, start)),
                    f32x4_mul(scale, x_scale),
                );
                *sums.add(v) = f32x4_add(*sums.add(v), scaled);
            }
        }
    }
}
