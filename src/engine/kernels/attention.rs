//! Causal attention of one head over its 8-bit keys and values.
//!
//! Scores and weighted sums are integer dot products: the query and, for each
//! block of 32 positions, the probabilities times the values' scales become
//! 16-bit integers, so little is lost beyond the 8 bits of the cache itself.
//! Every query's sums run over the blocks in order, so a position's result
//! does not depend on what is computed beside it.
//!

use super::exp::exp;
use super::vector::{Native, Vector};
use crate::model::kv::BLOCK_TOKENS;
use crate::model::kv_head::{HeadLayout, largest, scale_of, usable};

/// What one thread needs beside: reused from head to head.
#[derive(Debug, Default)]
pub struct Scratch {
    query: Vec<[i16; 2]>,
    /// A number for each position, whole blocks.
    scores: Vec<f32>,
    weights: Vec<[i16; 2]>,
    sums: Vec<f32>,
}

/// One head's query at a position.
pub struct Query<'a> {
    pub layout: HeadLayout,
    /// `head_dim` numbers.
    pub query: &'a [f32],
    /// The factor on scores.
    pub scale: f32,
    /// Positions that it sees.
    pub positions: usize,
}

/// Attends: `part(block)` is the head's part of the cache's block. Writes
/// `head_dim` numbers to `out` and, where asked, the probability of every
/// position to `probabilities`.
pub fn attend<'p>(
    query: &Query,
    part: impl Fn(usize) -> &'p [u8],
    scratch: &mut Scratch,
    out: &mut [f32],
    probabilities: Option<&mut [f32]>,
) {
    attend_on::<Native>(query, part, scratch, out, probabilities);
}

/// [`attend`] on the vectors `V`.
#[inline(always)]
pub fn attend_on<'p, V: Vector>(
    query: &Query,
    part: impl Fn(usize) -> &'p [u8],
    scratch: &mut Scratch,
    out: &mut [f32],
    probabilities: Option<&mut [f32]>,
) {
    let layout = query.layout;
    let blocks = query.positions.div_ceil(BLOCK_TOKENS);
    scratch.scores.resize(blocks * BLOCK_TOKENS, 0.0);
    let query_scale = encode_query(query, &mut scratch.query) * query.scale;

    for (block, scores) in scratch.scores.chunks_exact_mut(BLOCK_TOKENS).enumerate() {
        block_scores::<V>(layout, part(block), &scratch.query, query_scale, scores);
    }
    let total = softmax::<V>(&mut scratch.scores, query.positions);
    if let Some(probabilities) = probabilities {
        for (probability, weight) in probabilities.iter_mut().zip(&scratch.scores) {
            *probability = weight / total;
        }
    }
    scratch.sums.clear();
    scratch.sums.resize(layout.width(), 0.0);
    for (block, weights) in scratch.scores.chunks_exact(BLOCK_TOKENS).enumerate() {
        let part = part(block);
        let scale = encode_weights::<V>(layout, part, weights, &mut scratch.weights);
        add_values::<V>(layout, part, &scratch.weights, scale, &mut scratch.sums);
    }
    for (out, sum) in out.iter_mut().zip(&scratch.sums) {
        *out = sum / total;
    }
}

/// The query as pairs of i16, with its scale. The codes are so small that the
/// sum over all dimensions of their products with keys fits an i32.
fn encode_query(query: &Query, pairs: &mut Vec<[i16; 2]>) -> f32 {
    let most = (i32::MAX / (127 * query.layout.width() as i32)).min(32767) as f32;
    let largest = largest(query.query);
    let inverse = if usable(largest) { most / largest } else { 0.0 };
    let code = |x: &f32| (x * inverse).round_ties_even() as i16;
    pairs.clear();
    for quad in query.query.chunks(4) {
        let at = |d: usize| quad.get(d).map_or(0, code);
        pairs.push([at(0), at(1)]);
        pairs.push([at(2), at(3)]);
    }
    scale_of(largest, most)
}

/// Scores of the 32 positions of a block.
#[inline(always)]
fn block_scores<V: Vector>(
    layout: HeadLayout,
    part: &[u8],
    query: &[[i16; 2]],
    query_scale: f32,
    scores: &mut [f32],
) {
    let (codes, scales) = parts(layout, part, false);
    let query_scale = V::f32_splat(query_scale);
    let groups = codes.chunks_exact(4 * layout.width());
    for ((codes, scales), scores) in groups
        .zip(scales.chunks_exact(4))
        .zip(scores.chunks_exact_mut(4))
    {
        let sums = pairs_dot::<V>(codes, query);
        sums.i32_to_f32()
            .f32_mul(query_scale.f32_mul(V::f32_load(scales)))
            .f32_store(scores);
    }
}

/// Four sums over pairs: each 16 bytes of `codes` with two of `pairs`.
#[inline(always)]
fn pairs_dot<V: Vector>(codes: &[i8], pairs: &[[i16; 2]]) -> V {
    let (mut even, mut odd) = (V::i32_splat(0), V::i32_splat(0));
    for (codes, pairs) in codes.chunks_exact(16).zip(pairs.chunks_exact(2)) {
        even = even.i32_add(V::i16_load_i8(codes).i16_dot(V::i16_splat_pair(pairs[0])));
        odd = odd.i32_add(V::i16_load_i8(&codes[8..]).i16_dot(V::i16_splat_pair(pairs[1])));
    }
    even.i32_add(odd)
}

/// Turns scores into e to their distance from the largest, zero past
/// `positions`; returns the sum.
#[inline(always)]
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
    for (index, scores) in scores.chunks_exact_mut(4).enumerate() {
        let seen = count.i32_gt(places.i32_add(V::i32_splat(index as i32 * 4)));
        let weight = exp(V::f32_load(scores).f32_sub(largest)).and(seen);
        sum = sum.f32_add(weight);
        weight.f32_store(scores);
    }
    sum.f32_sum()
}

/// A block's weights times the values' scales as pairs of i16; returns their
/// scale.
#[inline(always)]
fn encode_weights<V: Vector>(
    layout: HeadLayout,
    part: &[u8],
    weights: &[f32],
    pairs: &mut Vec<[i16; 2]>,
) -> f32 {
    const MOST: f32 = 32767.0;
    let (_, scales) = parts(layout, part, true);
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
    let largest = top.f32_lanes().into_iter().fold(0.0, f32::max);
    let inverse = if usable(largest) { MOST / largest } else { 0.0 };
    let inverse = V::f32_splat(inverse);
    pairs.clear();
    for products in products.chunks_exact(4) {
        let codes = V::f32_load(products).f32_mul(inverse).f32_nearest();
        let [a, b, c, d] = codes.f32_to_i32().i32_lanes();
        pairs.push([a as i16, b as i16]);
        pairs.push([c as i16, d as i16]);
    }
    scale_of(largest, MOST)
}

/// Adds a block's weighted values to the head's sums.
#[inline(always)]
fn add_values<V: Vector>(
    layout: HeadLayout,
    part: &[u8],
    weights: &[[i16; 2]],
    scale: f32,
    sums: &mut [f32],
) {
    let (codes, _) = parts(layout, part, true);
    let scale = V::f32_splat(scale);
    let groups = codes.chunks_exact(4 * BLOCK_TOKENS);
    for (codes, sums) in groups.zip(sums.chunks_exact_mut(4)) {
        let dots = pairs_dot::<V>(codes, weights);
        V::f32_load(sums)
            .f32_add(dots.i32_to_f32().f32_mul(scale))
            .f32_store(sums);
    }
}

/// Codes and scales of the keys or the values.
#[inline(always)]
fn parts(layout: HeadLayout, part: &[u8], values: bool) -> (&[i8], &[f32]) {
    let (codes, scales) = layout.parts(values);
    (
        bytemuck::cast_slice(&part[codes]),
        bytemuck::cast_slice(&part[scales]),
    )
}
