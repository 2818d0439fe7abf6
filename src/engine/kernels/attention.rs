//! Causal attention over 8-bit keys and values.
//!
//! Scores and weighted sums are integer dot products: the query and, for each
//! block of 32 positions, the probabilities times the values' scales become
//! 16-bit integers, so little is lost beyond the 8 bits of the cache itself.
//! Every query's sums run over the blocks in order, so a position's result
//! does not depend on what is computed beside it.
//!
//! A single position attends with all its heads at once, block after block:
//! that reads the cache in long stretches. Of a prompt, [`TILE`] positions
//! attend together, so that what is loaded is used for each.

use super::exp::exp;
use super::vector::{Native, Vector};
use crate::model::kv::BLOCK_TOKENS;
use crate::model::kv_head::{HeadLayout, Kind, largest, scale_of, usable};
use std::ops::Range;

/// Positions that attend together at most.
pub const TILE: usize = 4;
/// Blocks that are read side by side: each is a stream of its own for the
/// hardware's prefetching.
const STREAMS: usize = 2;

/// What one thread needs beside: reused from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    /// `[heads, rows, width / 2]`: pairs of i16.
    queries: Vec<i32>,
    /// `[heads, rows]`
    query_scales: Vec<f32>,
    /// `[heads, rows, positions]`, whole blocks.
    scores: Vec<f32>,
    /// `[heads, rows]`
    totals: Vec<f32>,
    /// `[heads, rows, width]`
    sums: Vec<f32>,
}

/// Neighbouring positions of a sequence, and the heads with which they attend.
pub struct Attention<'a, Q, P> {
    pub layout: HeadLayout,
    pub heads: Range<usize>,
    /// Positions that the first row sees; each further row sees one more.
    pub positions: usize,
    /// At most [`TILE`].
    pub rows: usize,
    /// The factor on scores.
    pub scale: f32,
    /// `(row, head)`: the query, `head_dim` numbers.
    pub query: Q,
    /// `(kind, head, block)`: the head's part of a block.
    pub part: P,
    pub scratch: &'a mut Scratch,
}

impl<'a, Q, P> Attention<'_, Q, P>
where
    Q: Fn(usize, usize) -> &'a [f32],
    P: Fn(Kind, usize, usize) -> &'a [u8],
{
    /// Attends: `out(row, head, numbers, weights, total)` takes the result,
    /// and, for each position, a weight that over `total` is its probability.
    pub fn run(self, out: impl FnMut(usize, usize, &[f32], &[f32], f32)) {
        self.run_on::<Native>(out);
    }

    /// [`run`](Self::run) on the vectors `V`.
    pub fn run_on<V: Vector>(self, out: impl FnMut(usize, usize, &[f32], &[f32], f32)) {
        match self.rows {
            1 => self.tile::<V, 1>(out),
            2 => self.tile::<V, 2>(out),
            3 => self.tile::<V, 3>(out),
            rows => {
                assert_eq!(rows, TILE);
                self.tile::<V, TILE>(out);
            }
        }
    }

    #[inline(always)]
    fn tile<V: Vector, const R: usize>(
        self,
        mut out: impl FnMut(usize, usize, &[f32], &[f32], f32),
    ) {
        let Self {
            layout,
            heads,
            scratch,
            ..
        } = self;
        let (width, units) = (layout.width(), heads.len() * R);
        let blocks = (self.positions + R - 1).div_ceil(BLOCK_TOKENS);
        let stride = blocks * BLOCK_TOKENS;
        scratch.queries.clear();
        scratch.query_scales.clear();
        for head in heads.clone() {
            for row in 0..R {
                let scale = encode_query(layout, (self.query)(row, head), &mut scratch.queries);
                scratch.query_scales.push(scale * self.scale);
            }
        }
        scratch.scores.resize(units * stride, 0.0);
        for block in (0..blocks).step_by(STREAMS) {
            for (index, head) in heads.clone().enumerate() {
                let part = |block| (self.part)(Kind::Keys, head, block);
                let query = &scratch.queries[index * R * width / 2..][..R * width / 2];
                let scales = &scratch.query_scales[index * R..][..R];
                let scores = &mut scratch.scores[index * R * stride + block * BLOCK_TOKENS..];
                if block + 1 < blocks {
                    let parts = [part(block), part(block + 1)];
                    scores_of::<V, R, STREAMS>(layout, parts, query, scales, scores, stride);
                } else {
                    scores_of::<V, R, 1>(layout, [part(block)], query, scales, scores, stride);
                }
            }
        }
        scratch.totals.clear();
        for (unit, scores) in scratch.scores.chunks_exact_mut(stride).enumerate() {
            scratch
                .totals
                .push(softmax::<V>(scores, self.positions + unit % R));
        }
        scratch.sums.clear();
        scratch.sums.resize(units * width, 0.0);
        for block in (0..blocks).step_by(STREAMS) {
            for (index, head) in heads.clone().enumerate() {
                let part = |block| (self.part)(Kind::Values, head, block);
                let weights = &scratch.scores[index * R * stride + block * BLOCK_TOKENS..];
                let sums = &mut scratch.sums[index * R * width..][..R * width];
                let seen = std::array::from_fn(|row| {
                    (self.positions + row).saturating_sub(block * BLOCK_TOKENS)
                });
                if block + 1 < blocks {
                    let parts = [part(block), part(block + 1)];
                    add_values::<V, R, STREAMS>(layout, parts, weights, stride, seen, sums);
                } else {
                    add_values::<V, R, 1>(layout, [part(block)], weights, stride, seen, sums);
                }
            }
        }
        for (index, head) in heads.enumerate() {
            for row in 0..R {
                let unit = index * R + row;
                let total = scratch.totals[unit];
                let sums = &mut scratch.sums[unit * width..][..layout.head_dim];
                for sum in sums.iter_mut() {
                    *sum /= total;
                }
                let weights = &scratch.scores[unit * stride..][..self.positions + row];
                out(row, head, sums, weights, total);
            }
        }
    }
}

/// Appends the query as pairs of i16; returns their scale. The codes are so
/// small that the sum over all dimensions of their products with keys fits an
/// i32.
fn encode_query(layout: HeadLayout, query: &[f32], pairs: &mut Vec<i32>) -> f32 {
    let most = (i32::MAX / (127 * layout.width() as i32)).min(32767) as f32;
    let largest = largest(query);
    let inverse = if usable(largest) { most / largest } else { 0.0 };
    let code = |x: &f32| (x * inverse).round_ties_even() as i32;
    for quad in query.chunks(4) {
        let at = |d: usize| quad.get(d).map_or(0, code);
        pairs.push(pair(at(0), at(1)));
        pairs.push(pair(at(2), at(3)));
    }
    scale_of(largest, most)
}

/// Two i16 as one i32.
fn pair(first: i32, second: i32) -> i32 {
    first & 0xffff | second << 16
}

/// `R` rows' scores of the positions of `S` neighbouring blocks; a row's scores
/// are `stride` apart from the next one's.
// A function of its own: inlined, it is too much for V8's register allocation.
#[inline(never)]
fn scores_of<V: Vector, const R: usize, const S: usize>(
    layout: HeadLayout,
    parts: [&[u8]; S],
    queries: &[i32],
    query_scales: &[f32],
    scores: &mut [f32],
    stride: usize,
) {
    let width = layout.width();
    let parts = parts.map(|part| split(layout, part));
    let queries: [&[i32]; R] = std::array::from_fn(|row| &queries[row * width / 2..][..width / 2]);
    let query_scales: [V; R] = std::array::from_fn(|row| V::f32_splat(query_scales[row]));
    for group in 0..BLOCK_TOKENS / 4 {
        let codes = parts.map(|(codes, _)| &codes[group * 4 * width..][..4 * width]);
        let dots = dots::<V, R, S>(codes, [queries; S]);
        for (row, dots) in dots.into_iter().enumerate() {
            for (stream, dots) in dots.into_iter().enumerate() {
                let scales = V::f32_load(&parts[stream].1[group * 4..]);
                let scale = query_scales[row].f32_mul(scales);
                let at = row * stride + stream * BLOCK_TOKENS + group * 4;
                dots.i32_to_f32()
                    .f32_mul(scale)
                    .f32_store(&mut scores[at..]);
            }
        }
    }
}

/// Sums over pairs, for `R` rows of them and `S` streams of codes: each 16
/// bytes meet two pairs.
#[inline(always)]
fn dots<V: Vector, const R: usize, const S: usize>(
    codes: [&[i8]; S],
    pairs: [[&[i32]; R]; S],
) -> [[V; S]; R] {
    let count = codes[0].len() / 16;
    assert!(codes.iter().all(|codes| codes.len() == 16 * count));
    assert!(pairs.iter().flatten().all(|pairs| pairs.len() == 2 * count));
    let mut sums = [[V::i32_splat(0); S]; R];
    for index in 0..count {
        for half in 0..2 {
            for stream in 0..S {
                // SAFETY: index < count, and the lengths were checked above.
                let codes = V::i16_load_i8(unsafe {
                    let at = index * 16 + half * 8;
                    codes[stream].get_unchecked(at..at + 8)
                });
                for row in 0..R {
                    // SAFETY: as above.
                    let pair = unsafe { *pairs[stream][row].get_unchecked(2 * index + half) };
                    let dot = codes.i16_dot(V::i32_splat(pair));
                    sums[row][stream] = sums[row][stream].i32_add(dot);
                }
            }
        }
    }
    sums
}

/// Turns scores into e to their distance from the largest, zero past
/// `positions`; returns the sum.
#[inline(never)]
fn softmax<V: Vector>(scores: &mut [f32], positions: usize) -> f32 {
    let places = V::i32_from([0, 1, 2, 3]);
    let count = V::i32_splat(positions as i32);
    let mut largest = V::f32_splat(f32::NEG_INFINITY);
    let whole = positions / 4 * 4;
    for scores in scores[..whole].chunks_exact(4) {
        largest = largest.f32_pmax(V::f32_load(scores));
    }
    let last = &scores[whole..positions];
    let largest = largest.f32_lanes().into_iter().chain(last.iter().copied());
    let largest = V::f32_splat(largest.fold(f32::NEG_INFINITY, |a, b| if a < b { b } else { a }));
    let mut sum = V::f32_splat(0.0);
    // What stands past the last position's vector is not read again.
    let used = &mut scores[..positions.next_multiple_of(BLOCK_TOKENS)];
    for (index, scores) in used.chunks_exact_mut(4).enumerate() {
        let seen = count.i32_gt(places.i32_add(V::i32_splat(index as i32 * 4)));
        let weight = exp(V::f32_load(scores).f32_sub(largest)).and(seen);
        sum = sum.f32_add(weight);
        weight.f32_store(scores);
    }
    sum.f32_sum()
}

/// Adds the weighted values of `S` neighbouring blocks to the sums of `R` rows;
/// `seen`: positions that each row sees from the first of them on.
#[inline(never)]
fn add_values<V: Vector, const R: usize, const S: usize>(
    layout: HeadLayout,
    parts: [&[u8]; S],
    weights: &[f32],
    stride: usize,
    seen: [usize; R],
    sums: &mut [f32],
) {
    let width = layout.width();
    let parts = parts.map(|part| split(layout, part));
    let mut pairs = [[[0; BLOCK_TOKENS / 2]; R]; S];
    let mut factors = [[V::f32_splat(0.0); R]; S];
    for stream in 0..S {
        for row in 0..R {
            let at = row * stride + stream * BLOCK_TOKENS;
            if seen[row] > stream * BLOCK_TOKENS {
                let weights = &weights[at..at + BLOCK_TOKENS];
                let pairs = &mut pairs[stream][row];
                factors[stream][row] =
                    V::f32_splat(encode_weights::<V>(weights, parts[stream].1, pairs));
            }
        }
    }
    let pairs: [[&[i32]; R]; S] =
        std::array::from_fn(|stream| std::array::from_fn(|row| &pairs[stream][row][..]));
    for column in (0..width).step_by(4) {
        let codes = parts.map(|(codes, _)| &codes[column * BLOCK_TOKENS..][..4 * BLOCK_TOKENS]);
        let dots = dots::<V, R, S>(codes, pairs);
        for (row, dots) in dots.into_iter().enumerate() {
            let sums = &mut sums[row * width + column..];
            let mut sum = V::f32_load(sums);
            for (stream, dots) in dots.into_iter().enumerate() {
                // Not even zero is added for a block that the row does not see:
                // that would turn -0 into 0.
                if seen[row] > stream * BLOCK_TOKENS {
                    sum = sum.f32_add(dots.i32_to_f32().f32_mul(factors[stream][row]));
                }
            }
            sum.f32_store(sums);
        }
    }
}

/// A block's weights times the values' scales as pairs of i16; returns their
/// scale.
#[inline(always)]
fn encode_weights<V: Vector>(weights: &[f32], scales: &[f32], pairs: &mut [i32]) -> f32 {
    const MOST: f32 = 32767.0;
    let mut products = [0.0; BLOCK_TOKENS];
    let mut top = V::f32_splat(0.0);
    for ((weights, scales), products) in weights
        .chunks_exact(4)
        .zip(scales.chunks_exact(4))
        .zip(products.chunks_exact_mut(4))
    {
        let product = V::f32_load(weights).f32_mul(V::f32_load(scales));
        top = top.f32_pmax(product);
        product.f32_store(products);
    }
    // Products are not negative: the largest is the largest magnitude.
    let [a, b, c, d] = top.f32_lanes();
    let largest = a.max(b).max(c.max(d));
    let inverse = if usable(largest) { MOST / largest } else { 0.0 };
    let inverse = V::f32_splat(inverse);
    for (products, pairs) in products.chunks_exact(4).zip(pairs.chunks_exact_mut(2)) {
        let codes = V::f32_load(products).f32_mul(inverse).f32_nearest();
        let [a, b, c, d] = codes.f32_to_i32().i32_lanes();
        pairs[0] = pair(a, b);
        pairs[1] = pair(c, d);
    }
    scale_of(largest, MOST)
}

/// Codes and scales of a part.
#[inline(always)]
fn split(layout: HeadLayout, part: &[u8]) -> (&[i8], &[f32]) {
    let (codes, scales) = part.split_at(layout.code_bytes());
    (bytemuck::cast_slice(codes), bytemuck::cast_slice(scales))
}
