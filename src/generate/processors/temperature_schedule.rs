//! A temperature that changes as the text grows.

use super::{LogitsProcessor, temperature::divide_or_take_best};

/// How a value goes from one number to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// At the same rate all the way.
    Linear,
    /// Slowly at both ends.
    Cosine,
}

/// With `n` the tokens generated so far and `x = min(n / tokens, 1)`:
///
/// ```text
/// linear: T = from + (to - from) * x
/// cosine: T = to + (from - to) * (1 + cos(pi x)) / 2
/// score = score / T
/// ```
///
/// so the first token has `from`, and those from number `tokens + 1` on have
/// `to`. Where `T` is 0, or so small that a score would overflow, only the best
/// stay.
///
/// Source: simulated annealing (S. Kirkpatrick et al., 1983); the cosine is
/// that of learning rates (I. Loshchilov and F. Hutter, arXiv:1608.03983,
/// equation 5). Default: a constant temperature.
#[derive(Debug)]
pub struct TemperatureSchedule {
    curve: Curve,
    from: f64,
    to: f64,
    tokens: usize,
    prompt_len: usize,
}

impl TemperatureSchedule {
    /// `from` and `to` are at least 0; with `tokens` of 0 it is `to` at once.
    pub fn new(curve: Curve, from: f64, to: f64, tokens: usize, prompt_len: usize) -> Self {
        Self {
            curve,
            from,
            to,
            tokens,
            prompt_len,
        }
    }

    /// The temperature of the token after `generated` others.
    pub fn at(&self, generated: usize) -> f64 {
        if generated >= self.tokens {
            return self.to;
        }
        let x = generated as f64 / self.tokens as f64;
        match self.curve {
            Curve::Linear => self.from + (self.to - self.from) * x,
            Curve::Cosine => {
                let falling = (1.0 + libm::cos(std::f64::consts::PI * x)) / 2.0;
                self.to + (self.from - self.to) * falling
            }
        }
    }
}

impl LogitsProcessor for TemperatureSchedule {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        let temperature = self.at(history.len().saturating_sub(self.prompt_len));
        divide_or_take_best(scores, temperature as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_and_a_cosine_go_from_one_end_to_the_other() {
        let linear = TemperatureSchedule::new(Curve::Linear, 2.0, 1.0, 4, 0);
        let found: Vec<f64> = (0..6).map(|n| linear.at(n)).collect();
        assert_eq!(found, [2.0, 1.75, 1.5, 1.25, 1.0, 1.0]);
        let cosine = TemperatureSchedule::new(Curve::Cosine, 2.0, 1.0, 4, 0);
        let expected = [2.0, 1.853_553, 1.5, 1.146_446, 1.0, 1.0];
        for (n, expected) in expected.into_iter().enumerate() {
            assert!((cosine.at(n) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn the_prompt_does_not_count() {
        let mut schedule = TemperatureSchedule::new(Curve::Linear, 4.0, 2.0, 2, 3);
        for (history, expected) in [(&[7; 3][..], 0.5), (&[7; 4], 2.0 / 3.0), (&[7; 9], 1.0)] {
            let mut scores = [2.0];
            schedule.process(history, &mut scores);
            assert_eq!(scores, [expected]);
        }
    }

    #[test]
    fn at_temperature_zero_the_best_are_left() {
        let mut scores = [1.0, 3.0, 3.0];
        TemperatureSchedule::new(Curve::Linear, 1.0, 0.0, 0, 0).process(&[], &mut scores);
        assert_eq!(scores, [f32::NEG_INFINITY, 3.0, 3.0]);
    }

    proptest! {
        #[test]
        fn it_never_leaves_its_ends_and_never_turns(
            from in 0.0f64..4.0,
            to in 0.0f64..4.0,
            tokens in 0usize..300,
            cosine: bool,
        ) {
            let curve = if cosine { Curve::Cosine } else { Curve::Linear };
            let schedule = TemperatureSchedule::new(curve, from, to, tokens, 0);
            let mut before = if tokens == 0 { to } else { from };
            for n in 0..tokens + 2 {
                let now = schedule.at(n);
                prop_assert!((now - before) * (to - from) >= -1e-9);
                prop_assert!(now >= from.min(to) - 1e-9 && now <= from.max(to) + 1e-9);
                before = now;
            }
            prop_assert_eq!(before, to);
        }
    }
}
