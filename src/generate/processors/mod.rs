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
mod exp;
mod exponential_decay;
mod forced;
mod min_length;
mod min_p;
mod no_repeat_ngram;
mod phrases;
mod pipeline;
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
pub use pipeline::{Pipeline, PipelineContext, Place, pipeline};
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
