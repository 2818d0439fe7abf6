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
        for block in 0..blocks {
            for (index, head) in heads.clone().enumerate() {
                let part = (self.part)(Kind::Keys, head, block);
                let query = &scratch.queries[index * R * width / 2..][..R * width / 2];
                let scales = &scratch.query_scales[index * R..][..R];
                let scores = &mut scratch.scores[index * R * stride + block * BLOCK_TOKENS..];
                block_scores::<V, R>(layout, part, query, scales, scores, stride);
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
        for block in 0..blocks {
            for (index, head) in heads.clone().enumerate() {
                let part = (self.part)(Kind::Values, head, block);
                let weights = &scratch.scores[index * R * stride + block * BLOCK_TOKENS..];
                let sums = &mut scratch.sums[index * R * width..][..R * width];
                let seen = std::array::from_fn(|row| block * BLOCK_TOKENS < self.positions + row);
                add_values::<V, R>(layout, part, weights, stride, seen, sums);
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

/// `R` rows' scores of the 32 positions of a block; a row's scores are
/// `stride` apart from the next one's.
// A function of its own: inlined, it is too much for V8's register allocation.
#[inline(never)]
fn block_scores<V: Vector, const R: usize>(
    layout: HeadLayout,
    part: &[u8],
    queries: &[i32],
    query_scales: &[f32],
    scores: &mut [f32],
    stride: usize,
) {
    let (codes, scales) = split(layout, part);
    let width = layout.width();
    let queries: [&[i32]; R] = std::array::from_fn(|row| &queries[row * width / 2..][..width / 2]);
    let query_scales: [V; R] = std::array::from_fn(|row| V::f32_splat(query_scales[row]));
    let groups = codes.chunks_exact(2 * 4 * width);
    for (index, (codes, scales)) in groups.zip(scales.chunks_exact(8)).enumerate() {
        let dots = dots::<V, R, 2>(codes, queries);
        for (row, dots) in dots.into_iter().enumerate() {
            for (group, dots) in dots.into_iter().enumerate() {
                let scale = query_scales[row].f32_mul(V::f32_load(&scales[group * 4..]));
                let at = row * stride + index * 8 + group * 4;
                dots.i32_to_f32()
                    .f32_mul(scale)
                    .f32_store(&mut scores[at..]);
            }
        }
    }
}

/// Sums over pairs, for `R` rows of them and `G` groups of codes: each 16 bytes
/// meet two pairs. The groups are one after another in `codes`.
#[inline(always)]
fn dots<V: Vector, const R: usize, const G: usize>(
    codes: &[i8],
    pairs: [&[i32]; R],
) -> [[V; G]; R] {
    let count = codes.len() / G / 16;
    assert!(pairs.iter().all(|pairs| pairs.len() == 2 * count));
    let mut sums = [[V::i32_splat(0); G]; R];
    for index in 0..count {
        for half in 0..2 {
            // SAFETY: index < count, and the lengths were checked above.
            let codes: [V; G] = std::array::from_fn(|group| unsafe {
                let at = (group * count + index) * 16 + half * 8;
                V::i16_load_i8(codes.get_unchecked(at..at + 8))
            });
            for (sums, pairs) in sums.iter_mut().zip(pairs) {
                // SAFETY: as above.
                let pair = V::i32_splat(unsafe { *pairs.get_unchecked(2 * index + half) });
                for (sum, codes) in sums.iter_mut().zip(codes) {
                    *sum = sum.i32_add(codes.i16_dot(pair));
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

/// Adds a block's weighted values to the sums of `R` rows, those that see it.
#[inline(never)]
fn add_values<V: Vector, const R: usize>(
    layout: HeadLayout,
    part: &[u8],
    weights: &[f32],
    stride: usize,
    seen: [bool; R],
    sums: &mut [f32],
) {
    let (codes, scales) = split(layout, part);
    let width = layout.width();
    let mut pairs = [[0; BLOCK_TOKENS / 2]; R];
    let factors: [V; R] = std::array::from_fn(|row| {
        let weights = &weights[row * stride..][..BLOCK_TOKENS];
        if seen[row] {
            V::f32_splat(encode_weights::<V>(weights, scales, &mut pairs[row]))
        } else {
            V::f32_splat(0.0)
        }
    });
    let pairs: [&[i32]; R] = std::array::from_fn(|row| &pairs[row][..]);
    let mut add = |column: usize, row: usize, dots: V| {
        if seen[row] {
            let sums = &mut sums[row * width + column..];
            let scaled = dots.i32_to_f32().f32_mul(factors[row]);
            V::f32_load(sums).f32_add(scaled).f32_store(sums);
        }
    };
    let groups = codes.chunks_exact(2 * 4 * BLOCK_TOKENS);
    let rest = groups.remainder();
    for (index, codes) in groups.enumerate() {
        let dots = dots::<V, R, 2>(codes, pairs);
        for (row, [first, second]) in dots.into_iter().enumerate() {
            add(index * 8, row, first);
            add(index * 8 + 4, row, second);
        }
    }
    if !rest.is_empty() {
        let dots = dots::<V, R, 1>(rest, pairs);
        for (row, [dots]) in dots.into_iter().enumerate() {
            add(width - 4, row, dots);
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
