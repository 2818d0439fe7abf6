//! The candidates of a step: of all continuations of all beams, those that are
//! looked at further.

use crate::error::{Error, Result};
use crate::generate::processors::select::{kth_largest, largest};
use crate::generate::rng::Rng;

/// One more token after a beam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Index of the beam among the rows.
    pub beam: usize,
    pub token: u32,
    /// The token's log-probability, after the processors.
    pub score: f32,
    /// That of all generated tokens, added up in `f64`.
    pub sum: f64,
}

/// Scores of what may follow one beam.
#[derive(Debug, Clone, Copy)]
pub struct Row<'r> {
    /// The beam's sum so far.
    pub sum: f64,
    /// One a token of the vocabulary; `-inf` is ruled out.
    pub scores: &'r [f32],
}

impl Row<'_> {
    fn candidate(&self, beam: usize, token: usize) -> Candidate {
        let score = self.scores[token];
        Candidate {
            beam,
            token: token as u32,
            score,
            sum: self.sum + f64::from(score),
        }
    }
}

/// The best `count` continuations, best first. Of equal ones that of the
/// earlier beam comes first, then that of the lower token.
///
/// Error: `no-next-token` where a score is NaN or `+inf`.
pub fn best(rows: &[Row], count: usize) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    let mut scratch = Vec::new();
    for (beam, row) in rows.iter().enumerate() {
        check(row.scores)?;
        // No more than `count` of one beam can be among the best of all.
        let bar = kth_largest(row.scores, count, &mut scratch);
        let in_question = |&(_, &score): &(usize, &f32)| score >= bar && score > f32::NEG_INFINITY;
        let tokens = row.scores.iter().enumerate().filter(in_question);
        candidates.extend(tokens.map(|(token, _)| row.candidate(beam, token)));
    }
    // Stable, so that equal ones stay in the order of beams and tokens.
    candidates.sort_by(|a, b| b.sum.total_cmp(&a.sum));
    candidates.truncate(count);
    Ok(candidates)
}

/// `count` continuations drawn by chance, in the order drawn: from the softmax
/// of all sums, without putting back. Fewer where fewer have a probability
/// above 0.
///
/// This is what transformers does with `torch.multinomial(softmax(sums), count)`
/// (another series of random numbers apart): each draw is from what the draws
/// before have left, by the inverse of its distribution function, with one
/// number of `rng` a draw.
///
/// Error: `no-next-token` where a score is NaN or `+inf`.
pub fn draw(rows: &[Row], count: usize, rng: &mut Rng) -> Result<Vec<Candidate>> {
    let mut best = f64::NEG_INFINITY;
    for row in rows {
        check(row.scores)?;
        best = best.max(row.sum + f64::from(largest(row.scores)));
    }
    let mut urn: Vec<(Candidate, f64)> = Vec::new();
    for (beam, row) in rows.iter().enumerate() {
        for (token, &score) in row.scores.iter().enumerate() {
            if score > f32::NEG_INFINITY {
                let candidate = row.candidate(beam, token);
                let weight = libm::exp(candidate.sum - best);
                if weight > 0.0 {
                    urn.push((candidate, weight));
                }
            }
        }
    }
    let mut drawn = Vec::with_capacity(count);
    while drawn.len() < count && !urn.is_empty() {
        let total: f64 = urn.iter().map(|(_, weight)| weight).sum();
        // Below the total, also after rounding: the number is below 1.
        let target = rng.next_f64() * total;
        let mut sum = 0.0;
        let passes = |(_, weight): &(Candidate, f64)| {
            sum += weight;
            sum > target
        };
        let index = urn.iter().position(passes).unwrap_or(urn.len() - 1);
        drawn.push(urn.remove(index).0);
    }
    Ok(drawn)
}

fn check(scores: &[f32]) -> Result<()> {
    let broken = |score: &f32| score.is_nan() || *score == f32::INFINITY;
    if scores.iter().fold(false, |any, score| any | broken(score)) {
        let reason = "the scores of a beam hold NaN or +infinity".into();
        return Err(Error::NoNextToken(reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::rng::Rng; // proptest's prelude has one too
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn places(candidates: &[Candidate]) -> Vec<(usize, u32)> {
        candidates.iter().map(|c| (c.beam, c.token)).collect()
    }

    #[test]
    fn equal_ones_come_in_the_order_of_beams_and_tokens() {
        let rows = [(-1.0, [-1.0, -2.0, -1.0]), (0.0, [-2.0, OUT, -2.0])];
        let rows = rows
            .each_ref()
            .map(|(sum, scores)| Row { sum: *sum, scores });
        let best = best(&rows, 4).unwrap();
        assert_eq!(places(&best), [(0, 0), (0, 2), (1, 0), (1, 2)]);
        assert!(best.iter().all(|c| c.sum == -2.0));
    }

    #[test]
    fn what_is_ruled_out_is_no_candidate() {
        let scores = [OUT, -1.0, OUT];
        let row = Row {
            sum: 0.0,
            scores: &scores,
        };
        assert_eq!(places(&best(&[row], 4).unwrap()), [(0, 1)]);
        assert_eq!(
            places(&draw(&[row], 4, &mut Rng::new(1)).unwrap()),
            [(0, 1)]
        );
        let nothing = Row {
            sum: 0.0,
            scores: &[OUT; 3],
        };
        assert!(best(&[nothing], 2).unwrap().is_empty());
        assert!(draw(&[nothing], 2, &mut Rng::new(1)).unwrap().is_empty());
    }

    #[test]
    fn scores_that_are_no_numbers_are_refused() {
        for bad in [f32::NAN, f32::INFINITY] {
            let scores = [0.0, bad];
            let rows = [Row {
                sum: 0.0,
                scores: &scores,
            }];
            assert_eq!(best(&rows, 1).unwrap_err().code(), "no-next-token");
            let drawn = draw(&rows, 1, &mut Rng::new(1));
            assert_eq!(drawn.unwrap_err().code(), "no-next-token");
        }
    }

    #[test]
    fn draws_follow_the_softmax_of_what_is_left() {
        // Sums as of two beams; the probabilities are 0.1, 0.2, 0.3 and 0.4.
        let log = |p: f64| p.ln() as f32;
        let scores = [[log(0.2), log(0.4)], [log(0.3), log(0.4)]];
        let rows = [
            Row {
                sum: 0.5f64.ln(),
                scores: &scores[0],
            },
            Row {
                sum: 0.0,
                scores: &scores[1],
            },
        ];
        let p = [0.1, 0.2, 0.3, 0.4];
        let n = 100_000;
        let mut counts = [[0usize; 4]; 4];
        let mut rng = Rng::new(5);
        for _ in 0..n {
            let drawn = draw(&rows, 2, &mut rng).unwrap();
            let [a, b] = [0, 1].map(|i| drawn[i].beam * 2 + drawn[i].token as usize);
            counts[a][b] += 1;
        }
        let mut chi_square = 0.0;
        for (a, row) in counts.iter().enumerate() {
            for (b, &count) in row.iter().enumerate() {
                if a == b {
                    assert_eq!(count, 0, "drawn twice");
                    continue;
                }
                let expected = n as f64 * p[a] * p[b] / (1.0 - p[a]);
                chi_square += (count as f64 - expected).powi(2) / expected;
            }
        }
        // 11 degrees of freedom: above 31.3 by chance once in a thousand seeds.
        assert!(chi_square < 31.3, "{chi_square}: {counts:?}");
    }

    proptest! {
        #[test]
        fn the_best_are_those_of_sorting_everything(
            sums in vec(-8i8..1, 1..5),
            coarse in vec(-30i8..1, 1..300),
            count in 1usize..20,
        ) {
            let vocab_size = coarse.len().div_ceil(sums.len());
            let score = |i: usize| match coarse.get(i) {
                Some(&x) if x > -25 => f32::from(x) / 4.0,
                _ => OUT,
            };
            let scores: Vec<f32> = (0..sums.len() * vocab_size).map(score).collect();
            let rows: Vec<Row> = sums
                .iter()
                .zip(scores.chunks(vocab_size))
                .map(|(&sum, scores)| Row { sum: f64::from(sum), scores })
                .collect();
            let mut all: Vec<(usize, f64)> = (0..scores.len())
                .map(|i| (i, rows[i / vocab_size].sum + f64::from(scores[i])))
                .filter(|(_, sum)| sum.is_finite())
                .collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(count);
            let expected: Vec<_> = all
                .iter()
                .map(|&(i, _)| (i / vocab_size, (i % vocab_size) as u32))
                .collect();
            prop_assert_eq!(places(&best(&rows, count).unwrap()), expected);
        }
    }
}
