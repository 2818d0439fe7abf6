//! When a popular entry is computed anew before it expires.
//!
//! XFetch (Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic Cache
//! Stampede Prevention", VLDB 2015): each use draws, from an exponential
//! distribution, how much too early it may call the entry expired. Dear entries
//! are renewed earlier than cheap ones, and hardly ever by two callers at once.

/// True where `now - cost_ms * beta * ln(u) >= expires` for a `u` of the
/// distribution of 1 - `chance`, uniform above 0 and up to 1, whose logarithm is
/// finite. `beta` is 1 at the paper's optimum; 0: never.
///
/// `hits` are uses before this one: an entry that was not used since it was made
/// may well not be used again, and is not worth the work.
pub fn is_due(expires: u64, now: u64, cost_ms: f64, hits: u64, beta: f64, chance: f64) -> bool {
    let early = -cost_ms * beta * (1.0 - chance).ln();
    beta > 0.0 && hits > 0 && now as f64 + early >= expires as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_due_when_the_formula_says_so() {
        // u = 1/e: early by cost * beta.
        let chance = 1.0 - (-1.0f64).exp();
        assert!(is_due(1_000, 900, 101.0, 1, 1.0, chance));
        assert!(!is_due(1_000, 900, 99.0, 1, 1.0, chance));
        assert!(is_due(1_000, 900, 51.0, 1, 2.0, chance));
        assert!(!is_due(1_000, 900, 101.0, 0, 1.0, chance), "never used");
        assert!(!is_due(1_000, 900, 101.0, 1, 0.0, chance), "switched off");
    }

    proptest! {
        #[test]
        fn the_dearer_and_the_later_the_sooner(
            now in 0u64..1_000,
            later in 0u64..100,
            cost in 0.0..1e3f64,
            dearer in 0.0..1e3f64,
            chance in 0.0..1.0f64,
        ) {
            let due = |now, cost| is_due(1_000, now, cost, 1, 1.0, chance);
            prop_assert!(!due(now, cost) || due(now + later, cost + dearer));
            prop_assert!(!is_due(1_000, now, cost, 1, 1.0, 0.0), "no chance, not early");
        }

        #[test]
        fn as_often_as_the_distribution_says(before in 1u64..500, cost in 1.0..500f64) {
            // P(early >= before) = exp(-before / cost)
            let n = 10_000;
            let due = (0..n).filter(|i| {
                let chance = (f64::from(*i) + 0.5) / f64::from(n);
                is_due(1_000_000, 1_000_000 - before, cost, 1, 1.0, chance)
            });
            let share = due.count() as f64 / f64::from(n);
            let expected = (-(before as f64) / cost).exp();
            prop_assert!((share - expected).abs() < 2e-4, "{} {}", share, expected);
        }
    }
}
