//! What is done to the scores between the model and the choice of a token.
//!
//! Each processor does what the one of the same name in Hugging Face
//! transformers does, on `f32` scores, in the order of its `generate()`; the
//! golden fixtures hold what that computed. (llama.cpp applies temperature
//! last; here, as there, it comes before the truncations.) One processor a
//! file; [`pipeline`] has the order.
//!
//! Scores are logits when sampling and log-probabilities in beam search. A
//! token is ruled out by the score `-inf`.

mod adaptive_top_k;
mod adaptive_top_p;
mod bad_words;
mod count_penalty;
mod entropy_temperature;
mod epsilon;
mod eta;
mod exponential_decay;
mod forced;
mod min_length;
mod min_p;
mod no_repeat_ngram;
mod remove_invalid;
mod renormalize;
mod repetition_penalty;
pub(crate) mod select;
mod sequence_bias;
pub(crate) mod softmax;
mod suppress;
mod temperature;
mod temperature_schedule;
mod top_h;
mod top_k;
mod top_p;
mod typical_p;

pub use adaptive_top_k::AdaptiveTopK;
pub use adaptive_top_p::AdaptiveTopP;
pub use bad_words::BadWords;
pub use count_penalty::CountPenalty;
pub use entropy_temperature::EntropyTemperature;
pub use epsilon::Epsilon;
pub use eta::Eta;
pub use exponential_decay::ExponentialDecay;
pub use forced::Forced;
pub use min_length::MinLength;
pub use min_p::MinP;
pub use no_repeat_ngram::NoRepeatNgram;
pub use remove_invalid::RemoveInvalid;
pub use renormalize::Renormalize;
pub use repetition_penalty::RepetitionPenalty;
pub use sequence_bias::SequenceBias;
pub use suppress::Suppress;
pub use temperature::Temperature;
pub use temperature_schedule::{Curve, TemperatureSchedule};
pub use top_h::TopH;
pub use top_k::TopK;
pub use top_p::TopP;
pub use typical_p::TypicalP;

use super::GenerateOptions;

/// One step between the model's scores and the choice of a token.
pub trait LogitsProcessor {
    /// Changes `scores`, one a token of the vocabulary, given all tokens so
    /// far: the prompt and the output.
    ///
    /// Takes `&mut self` for buffers only: the result depends on the arguments
    /// alone, so that one processor can serve many beams.
    fn process(&mut self, history: &[u32], scores: &mut [f32]);
}

/// Rules tokens out. An id outside the vocabulary has no score to change.
fn rule_out(scores: &mut [f32], ids: &[u32]) {
    for &id in ids {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Processors that run one after the other.
#[derive(Default)]
pub struct Pipeline {
    processors: Vec<Box<dyn LogitsProcessor>>,
}

impl Pipeline {
    /// Runs `processors` in the order given.
    pub fn new(processors: Vec<Box<dyn LogitsProcessor>>) -> Self {
        Self { processors }
    }
}

impl LogitsProcessor for Pipeline {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        for processor in &mut self.processors {
            processor.process(history, scores);
        }
    }
}

/// The processors that `options` ask for, in Hugging Face's order. What would
/// change nothing is left out, and so are the warpers where no chance is
/// involved.
pub fn pipeline(options: &GenerateOptions) -> Pipeline {
    let o = options;
    let sampling = !o.is_greedy();
    let in_order = [
        when(o.repetition_penalty != 1.0, || {
            RepetitionPenalty::new(o.repetition_penalty)
        }),
        when(sampling && o.temperature != 1.0, || {
            Temperature::new(o.temperature)
        }),
        when(sampling && o.top_k > 0, || TopK::new(o.top_k, 1)),
        when(sampling && o.top_p < 1.0, || TopP::new(o.top_p, 1)),
        when(sampling && o.min_p > 0.0, || MinP::new(o.min_p, 1)),
    ];
    Pipeline::new(in_order.into_iter().flatten().collect())
}

fn when<P: LogitsProcessor + 'static>(
    wanted: bool,
    make: impl FnOnce() -> P,
) -> Option<Box<dyn LogitsProcessor>> {
    wanted.then(|| Box::new(make()) as Box<dyn LogitsProcessor>)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processed(options: &GenerateOptions, history: &[u32], scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        pipeline(options).process(history, &mut scores);
        scores
    }

    const OUT: f32 = f32::NEG_INFINITY;

    #[test]
    fn temperature_comes_before_the_truncations() {
        // At temperature 1 the best token alone has 0.64 of the probability,
        // at 4 it has 0.35, so that another is needed for 0.6.
        let options = GenerateOptions {
            temperature: 4.0,
            top_p: 0.6,
            ..Default::default()
        };
        let scores = [3.0, 2.0, 1.0, 0.0];
        assert_eq!(processed(&options, &[], &scores), [0.75, 0.5, OUT, OUT]);
        let options = GenerateOptions {
            temperature: 1.0,
            ..options
        };
        assert_eq!(processed(&options, &[], &scores), [3.0, OUT, OUT, OUT]);
    }

    #[test]
    fn top_p_sees_only_what_top_k_left() {
        // Of all four the best has 0.53 of the probability, of the best two
        // 0.62: enough for 0.6 only there.
        let options = GenerateOptions {
            top_k: 2,
            top_p: 0.6,
            ..Default::default()
        };
        let scores = [1.5, 1.0, -0.3, -0.8];
        assert_eq!(processed(&options, &[], &scores), [1.5, OUT, OUT, OUT]);
        let options = GenerateOptions {
            top_k: 0,
            ..options
        };
        assert_eq!(processed(&options, &[], &scores), [1.5, 1.0, OUT, OUT]);
    }

    #[test]
    fn greedy_uses_penalties_but_no_warpers() {
        let options = GenerateOptions {
            temperature: 0.0,
            top_k: 1,
            top_p: 0.1,
            min_p: 0.9,
            repetition_penalty: 2.0,
            ..Default::default()
        };
        assert_eq!(
            processed(&options, &[1, 2, 2], &[1.0, 4.0, -1.0]),
            [1.0, 2.0, -2.0]
        );
    }

    #[test]
    fn defaults_are_top_k_alone() {
        assert_eq!(pipeline(&GenerateOptions::default()).processors.len(), 1);
    }
}
