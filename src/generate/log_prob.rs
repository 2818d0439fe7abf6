//! Logits as log-probabilities.

/// The logarithm of the sum of `exp(logits)`, in nats: what to subtract from a
/// logit for its log-probability. In `f64`, in id order, with a compiled-in
/// `exp`, so that it is the same bits everywhere.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let best = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&x| libm::exp(f64::from(x) - best)).sum();
    best + libm::log(sum)
}

/// How much `b` differs from `a` as a prediction, in nats: the Kullback-Leibler
/// divergence `sum p_a (log p_a - log p_b)` of the softmaxes of two rows of
/// logits (S. Kullback and R. A. Leibler, "On Information and Sufficiency",
/// 1951). Never below 0.
pub fn kl_divergence(a: &[f32], b: &[f32]) -> f64 {
    let (log_sum_a, log_sum_b) = (log_sum_exp(a), log_sum_exp(b));
    let rows = a.iter().zip(b);
    let sum: f64 = rows
        .map(|(&a, &b)| {
            let (a, b) = (f64::from(a) - log_sum_a, f64::from(b) - log_sum_b);
            libm::exp(a) * (a - b)
        })
        .sum();
    // The rounding of tens of thousands of terms can end below.
    sum.max(0.0)
}

/// The rank of a token: 1 is the likeliest; of equal ones the lower id is first.
pub fn rank(logits: &[f32], token: u32) -> u32 {
    let own = logits.get(token as usize).copied().unwrap_or(f32::NAN);
    let better = (0u32..)
        .zip(logits)
        .filter(|&(id, &logit)| logit > own || (logit == own && id < token));
    1 + better.count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let logits = [1.0, -2.0, 800.0, 799.0, 3.5];
        let log_sum = log_sum_exp(&logits);
        let sum: f64 = logits.iter().map(|&x| (f64::from(x) - log_sum).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn divergence_is_zero_from_itself_and_as_computed_by_hand_from_another() {
        let a = [0.0, 1.0, 2.0];
        assert_eq!(kl_divergence(&a, &a), 0.0);
        // p = (1/2, 1/2), q = (1/4, 3/4): ln 2 - (ln 3) / 2.
        let (p, q) = ([0.0, 0.0], [0.0, 3f32.ln()]);
        let expected = 2f64.ln() - 3f64.ln() / 2.0;
        assert!((kl_divergence(&p, &q) - expected).abs() < 1e-7);
    }

    #[test]
    fn of_equal_logits_the_lower_id_ranks_first() {
        let logits = [1.0, 3.0, 3.0, 2.0];
        let ranks: Vec<u32> = (0..4).map(|id| rank(&logits, id)).collect();
        assert_eq!(ranks, [4, 1, 2, 3]);
    }
}
