//! Scans of a vocabulary's scores: its largest ones, without sorting it, and
//! what is not ruled out.
//!
//! NaN and `-inf` are no candidates: the first is an error that the sampler
//! reports, the second is ruled out.

/// The largest score; `-inf` where there is none.
pub(crate) fn largest(scores: &[f32]) -> f32 {
    // Independent lanes, because a chain of dependent comparisons cannot be
    // vectorised: this is 5 times as fast as a plain fold.
    const LANES: usize = 16;
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &score) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, score);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, &b| larger(a, b))
}

/// The `k`-th largest score, equal ones counted each (`k` of at least 1);
/// `-inf` where there are fewer. `scratch` is any buffer, kept between calls
/// to spare allocations.
pub(crate) fn kth_largest(scores: &[f32], k: usize, scratch: &mut Vec<f32>) -> f32 {
    if k == 1 {
        return largest(scores);
    }
    // The buffer collects candidates; when full, all but its best k go, and
    // the last of these is the bar for newcomers. Most of a vocabulary then
    // costs one vectorised comparison a score.
    let full = k.saturating_mul(2).max(256);
    let mut bar = f32::NEG_INFINITY;
    scratch.clear();
    for block in scores.chunks(BLOCK) {
        if largest(block) <= bar {
            continue;
        }
        for &score in block {
            if score > bar {
                scratch.push(score);
                if scratch.len() == full {
                    bar = select(scratch, k);
                    scratch.truncate(k);
                }
            }
        }
    }
    if scratch.len() < k {
        return f32::NEG_INFINITY;
    }
    select(scratch, k)
}

/// Scores looked over at once.
pub(crate) const BLOCK: usize = 64;

/// Calls `each` with every token that is not ruled out and its score, in id
/// order. After top-k nearly every block is ruled out as a whole, and that is
/// one vectorised look.
pub(crate) fn left(scores: &[f32], mut each: impl FnMut(u32, f32)) {
    for (first, block) in (0u32..).step_by(BLOCK).zip(scores.chunks(BLOCK)) {
        let is_left = |score: &f32| *score > f32::NEG_INFINITY;
        // A fold without an early end, so that it is vectorised.
        if block.iter().fold(false, |any, score| any | is_left(score)) {
            for (id, &score) in (first..).zip(block) {
                if score > f32::NEG_INFINITY {
                    each(id, score);
                }
            }
        }
    }
}

/// Rules out what is below `bar`.
pub(crate) fn rule_out_below(scores: &mut [f32], bar: f32) {
    // Every score is written, so that it is vectorised.
    for score in scores {
        *score = if *score < bar {
            f32::NEG_INFINITY
        } else {
            *score
        };
    }
}

/// Rules out every token that ranks below the one of `last_score` and
/// `last_id`. Equal scores rank by id, the lower one higher.
pub(crate) fn rule_out_after(scores: &mut [f32], last_score: f32, last_id: u32) {
    let (upto, after) = scores.split_at_mut((last_id as usize + 1).min(scores.len()));
    rule_out_below(upto, last_score);
    for score in after {
        *score = if *score <= last_score {
            f32::NEG_INFINITY
        } else {
            *score
        };
    }
}

/// Where a running sum of `weights`, in ascending order of `keys` and of equal
/// keys in that of places, first satisfies `reached`: the place of the item
/// that completes it, `None` where even the sum of all does not.
///
/// `keys` are at least `lowest`. Only items whose keys are close to the place
/// sought are sorted: sums of buckets lead there.
pub(crate) fn place_of_sum(
    keys: &[f64],
    lowest: f64,
    weights: &[f64],
    order: &mut Vec<u32>,
    reached: impl Fn(f64) -> bool,
) -> Option<usize> {
    const BUCKETS: usize = 2048;
    // Keys are distances in nats: beyond 32 next to nothing has weight.
    const PER_UNIT: f64 = 64.0;
    let last = (BUCKETS - 1) as f64;
    let scaled = |key: f64| ((key - lowest) * PER_UNIT).min(last);
    let mut sums = [0.0; BUCKETS];
    for (&key, weight) in keys.iter().zip(weights) {
        sums[scaled(key) as usize] += weight;
    }
    let mut before = 0.0;
    for (number, sum) in sums.into_iter().enumerate() {
        if !reached(before + sum) {
            before += sum;
            continue;
        }
        order.clear();
        let number = number as f64;
        let inside = |&(_, &key): &(u32, &f64)| {
            let scaled = scaled(key);
            scaled >= number && scaled < number + 1.0
        };
        order.extend((0u32..).zip(keys).filter(inside).map(|(place, _)| place));
        let key_of = |place: &u32| keys[*place as usize];
        order.sort_unstable_by(|a, b| key_of(a).total_cmp(&key_of(b)).then(a.cmp(b)));
        for &place in order.iter() {
            before += weights[place as usize];
            if reached(before) {
                return Some(place as usize);
            }
        }
        // Added one by one, rounding left the sum a little smaller.
        if let Some(&last) = order.last() {
            return Some(last as usize);
        }
    }
    None
}

/// Moves the `k` largest to the front; gives the smallest of them.
fn select(scores: &mut [f32], k: usize) -> f32 {
    *scores
        .select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a))
        .1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn kth_largest_agrees_with_sorting(
            coarse in vec(-40i8..40, 0..2000),
            holes: bool,
            k in 1usize..600,
        ) {
            let scores: Vec<f32> = coarse
                .iter()
                .map(|&x| match x {
                    -40..-30 if holes => f32::NEG_INFINITY,
                    30..40 if holes => f32::NAN,
                    _ => f32::from(x) / 4.0,
                })
                .collect();
            let mut sorted: Vec<f32> = scores.iter().copied().filter(|s| !s.is_nan()).collect();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let nth = |k: usize| sorted.get(k - 1).copied().unwrap_or(f32::NEG_INFINITY);
            prop_assert_eq!(kth_largest(&scores, k, &mut Vec::new()), nth(k));
            prop_assert_eq!(largest(&scores), nth(1));
        }

        #[test]
        fn a_sum_is_reached_where_adding_up_in_order_reaches_it(
            items in vec((0u16..3000, 0u32..1000), 0..300),
            target in 0u32..100_000,
        ) {
            // Whole numbers, so that sums are exact in any order.
            let keys: Vec<f64> = items.iter().map(|&(key, _)| f64::from(key) / 30.0 - 3.0).collect();
            let weights: Vec<f64> = items.iter().map(|&(_, weight)| f64::from(weight)).collect();
            let mut places: Vec<usize> = (0..items.len()).collect();
            places.sort_by(|&a, &b| keys[a].total_cmp(&keys[b])); // stable
            let mut sum = 0.0;
            let expected = places.into_iter().find(|&place| {
                sum += weights[place];
                sum >= f64::from(target)
            });
            let reached = |sum| sum >= f64::from(target);
            let found = place_of_sum(&keys, -3.0, &weights, &mut Vec::new(), reached);
            // An empty bucket reaches a target of 0 before there is any item.
            if target > 0 {
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn what_is_left_is_every_finite_score_once(
            places in vec(0usize..3000, 0..40),
            size in 0usize..3000,
        ) {
            let mut scores = vec![f32::NEG_INFINITY; size];
            for place in places {
                if let Some(score) = scores.get_mut(place) {
                    *score = if place % 7 == 0 { f32::NAN } else { place as f32 };
                }
            }
            let expected: Vec<(u32, f32)> = (0u32..)
                .zip(scores.iter().copied())
                .filter(|&(_, score)| score > f32::NEG_INFINITY)
                .collect();
            let mut found = Vec::new();
            left(&scores, |id, score| found.push((id, score)));
            prop_assert_eq!(found, expected);
        }
    }
}
