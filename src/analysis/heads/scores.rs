//! Numbers for where a head looks, added up row by row.
//!
//! The detection scores are those of TransformerLens's `head_detector.py`. A
//! pattern is 1 where a head of that kind would look:
//!
//! | kind | query `q` looks at key `k` |
//! |---|---|
//! | previous token | `k = q - 1` |
//! | duplicate token | `k < q`, the same token |
//! | induction | `k - 1 < q`, the token before `k` is that at `q` |
//!
//! With `"mul"` the score is the part of all attention that lies on the
//! pattern, from 0 to 1. With `"abs"` it is 1 less the sum of absolute
//! differences between attention and pattern over the number of tokens, down to
//! -1 and below where the pattern has several keys of a query. TransformerLens
//! rounds that to three digits; here it is not rounded.
//!
//! Entropy is `-sum w ln w` of a row, distance is `sum w (q - k)`; both are means
//! over the queries. The first token's mass is the mean over the queries after
//! the first, for the first can look nowhere else.

use serde::{Deserialize, Serialize};

/// How attention is compared with a pattern.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    #[default]
    Mul,
    Abs,
}

/// How patterns are scored.
#[derive(Debug, Clone, Copy)]
pub struct Scoring {
    pub measure: Measure,
    pub exclude_bos: bool,
    pub exclude_current_token: bool,
}

/// Sums over the rows of a head.
#[derive(Debug, Clone, Default)]
pub struct HeadScores {
    rows: usize,
    entropy: f64,
    distance: f64,
    first_token: f64,
    /// Attention that counts, and that on each pattern.
    counted: f64,
    on_pattern: [f64; 3],
    /// Differences from each pattern.
    differences: [f64; 3],
}

impl HeadScores {
    /// Adds the row of the next query, over the keys up to it.
    pub fn add(&mut self, scoring: Scoring, tokens: &[u32], row: &[f32]) {
        let query = row.len() - 1;
        self.rows += 1;
        if query > 0 {
            self.first_token += f64::from(row[0]);
        }
        for (key, &weight) in row.iter().enumerate() {
            let weight = f64::from(weight);
            if weight > 0.0 {
                self.entropy -= weight * libm::log(weight);
            }
            self.distance += weight * (query - key) as f64;
            let excluded = (scoring.exclude_bos && key == 0)
                || (scoring.exclude_current_token && key == query);
            if excluded {
                continue;
            }
            self.counted += weight;
            let patterns = [
                key + 1 == query,
                key < query && tokens[key] == tokens[query],
                key > 0 && tokens[key - 1] == tokens[query],
            ];
            for (index, is_on) in patterns.into_iter().enumerate() {
                if is_on {
                    self.on_pattern[index] += weight;
                    self.differences[index] += (1.0 - weight).abs();
                } else {
                    self.differences[index] += weight;
                }
            }
        }
    }

    /// Mean over queries, in nats.
    pub fn entropy(&self) -> f64 {
        self.entropy / self.rows.max(1) as f64
    }

    /// Mean over queries, in tokens.
    pub fn mean_distance(&self) -> f64 {
        self.distance / self.rows.max(1) as f64
    }

    /// Mean over the queries after the first; 0 where there are none.
    pub fn first_token_mass(&self) -> f64 {
        self.first_token / self.rows.saturating_sub(1).max(1) as f64
    }

    /// The score of a pattern, in the order of the table above.
    pub fn pattern(&self, scoring: Scoring, pattern: usize) -> f64 {
        match scoring.measure {
            Measure::Mul if self.counted > 0.0 => self.on_pattern[pattern] / self.counted,
            Measure::Mul => 0.0,
            Measure::Abs => 1.0 - self.differences[pattern] / self.rows.max(1) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// TransformerLens's definitions, on whole matrices.
    fn naive(scoring: Scoring, tokens: &[u32], attention: &[Vec<f64>], pattern: usize) -> f64 {
        let n = tokens.len();
        let duplicate = |i: usize, j: usize| j < i && tokens[i] == tokens[j];
        let detection = |i: usize, j: usize| {
            let is_on = j <= i
                && match pattern {
                    0 => j + 1 == i,
                    1 => duplicate(i, j),
                    // The whole matrix shifted by a column, its lower triangle.
                    _ => j > 0 && duplicate(i, j - 1),
                };
            f64::from(u8::from(is_on))
        };
        let counts = |i: usize, j: usize| {
            !(scoring.exclude_bos && j == 0 || scoring.exclude_current_token && i == j)
        };
        let sum = |of: &dyn Fn(usize, usize) -> f64| -> f64 {
            (0..n)
                .flat_map(|i| (0..n).map(move |j| (i, j)))
                .filter(|&(i, j)| counts(i, j))
                .map(|(i, j)| of(i, j))
                .sum()
        };
        match scoring.measure {
            Measure::Mul => {
                let all = sum(&|i, j| attention[i][j]);
                let on = sum(&|i, j| attention[i][j] * detection(i, j));
                if all > 0.0 { on / all } else { 0.0 }
            }
            Measure::Abs => 1.0 - sum(&|i, j| (attention[i][j] - detection(i, j)).abs()) / n as f64,
        }
    }

    proptest! {
        #[test]
        fn scores_are_those_of_whole_matrices(
            tokens in prop::collection::vec(0u32..4, 1..12),
            seeds in prop::collection::vec(0.01f32..1.0, 144),
            abs in any::<bool>(),
            exclude_bos in any::<bool>(),
            exclude_current_token in any::<bool>(),
        ) {
            let measure = if abs { Measure::Abs } else { Measure::Mul };
            let scoring = Scoring { measure, exclude_bos, exclude_current_token };
            let n = tokens.len();
            let mut scores = HeadScores::default();
            let mut attention = vec![vec![0.0; n]; n];
            for query in 0..n {
                let row = &seeds[query * 12..=query * 12 + query];
                let sum: f32 = row.iter().sum();
                let row: Vec<f32> = row.iter().map(|x| x / sum).collect();
                scores.add(scoring, &tokens, &row);
                for (key, &weight) in row.iter().enumerate() {
                    attention[query][key] = f64::from(weight);
                }
            }
            for pattern in 0..3 {
                let expected = naive(scoring, &tokens, &attention, pattern);
                let found = scores.pattern(scoring, pattern);
                prop_assert!((found - expected).abs() < 1e-9, "{pattern}: {found} {expected}");
            }
        }
    }

    #[test]
    fn entropy_distance_and_first_mass_are_means_over_queries() {
        let scoring = Scoring {
            measure: Measure::Mul,
            exclude_bos: false,
            exclude_current_token: false,
        };
        let mut scores = HeadScores::default();
        scores.add(scoring, &[1, 2], &[1.0]);
        scores.add(scoring, &[1, 2], &[0.5, 0.5]);
        assert!((scores.entropy() - libm::log(2.0) / 2.0).abs() < 1e-12);
        assert_eq!(scores.mean_distance(), 0.25);
        assert_eq!(scores.first_token_mass(), 0.5);
    }
}
