//! The order of the processors, and what of the options each is made from.

use super::phrases::Phrases;
use super::*;
use crate::error::Result;
use crate::generate::GenerateOptions;
use crate::generate::options::{Bias, TemperatureSchedule as Schedule};
use crate::tokenizer::Tokenizer;

/// What the processors of one generation need beside its options.
#[derive(Clone, Copy)]
pub struct PipelineContext<'a> {
    /// Tokens of the prompt: where in the history the output begins.
    pub prompt_len: usize,
    /// Scores that there are.
    pub vocab_size: usize,
    /// The end-of-text tokens of this generation.
    pub eos_token_ids: &'a [u32],
    /// What truncations leave at least: 1, and in beam sampling one more than
    /// there are end-of-text tokens.
    pub min_tokens_to_keep: usize,
    /// Most tokens of prompt and output.
    pub max_length: usize,
    /// For the texts among the options.
    pub tokenizer: Option<&'a Tokenizer>,
}

/// Where in a [`Pipeline`] a processor of another's making belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// After the sequence bias and before everything else: the penalty of
    /// diverse beam groups.
    AfterSequenceBias,
    /// After all that rules out and biases, before the temperature: a
    /// constraint.
    BeforeWarpers,
}

/// Processors that run one after the other.
#[derive(Default)]
pub struct Pipeline {
    sequence_bias: Vec<Box<dyn LogitsProcessor>>,
    processors: Vec<Box<dyn LogitsProcessor>>,
    warpers: Vec<Box<dyn LogitsProcessor>>,
}

impl Pipeline {
    /// Runs `processors` in the order given.
    pub fn new(processors: Vec<Box<dyn LogitsProcessor>>) -> Self {
        Self {
            processors,
            ..Self::default()
        }
    }

    /// Adds a processor at its place, after those added there before.
    pub fn insert(&mut self, place: Place, processor: Box<dyn LogitsProcessor>) {
        match place {
            Place::AfterSequenceBias => self.sequence_bias.push(processor),
            Place::BeforeWarpers => self.processors.push(processor),
        }
    }
}

impl LogitsProcessor for Pipeline {
    fn process(&mut self, history: &[u32], scores: &mut [f32]) {
        let stages = [
            &mut self.sequence_bias,
            &mut self.processors,
            &mut self.warpers,
        ];
        for processor in stages.into_iter().flatten() {
            processor.process(history, scores);
        }
    }
}

/// The processors that `options` ask for, in Hugging Face's order:
///
/// sequence bias; repetition penalty, then frequency and presence penalty;
/// n-grams, bad words, least lengths, forced tokens, invalid values, decay of
/// the length, suppressed tokens, logit bias; unless greedy, temperature, top-h,
/// top-k, top-p, min-p, typical-p, epsilon, eta; last, renormalisation.
///
/// What would change nothing is left out. [`Mirostat`] learns from what is
/// chosen, so it is not among them: it runs after them all, and the truncations
/// are left out for it.
///
/// Errors: `invalid-option` and `no-tokenizer`, for the texts among the options.
/// Ranges are checked by [`GenerateOptions::validate`].
///
/// [`Mirostat`]: crate::generate::mirostat::Mirostat
pub fn pipeline(options: &GenerateOptions, context: &PipelineContext) -> Result<Pipeline> {
    let phrases = Phrases {
        tokenizer: context.tokenizer,
        vocab_size: context.vocab_size,
    };
    let renormalize = when(options.renormalize_logits, Renormalize::default);
    Ok(Pipeline {
        sequence_bias: sequence_bias(options, &phrases)?.into_iter().collect(),
        processors: processors(options, context, &phrases)?,
        warpers: if options.is_greedy() {
            renormalize.into_iter().collect()
        } else {
            let mut all = warpers(options, context);
            all.extend(renormalize);
            all
        },
    })
}

fn sequence_bias(
    options: &GenerateOptions,
    phrases: &Phrases,
) -> Result<Option<Box<dyn LogitsProcessor>>> {
    let mut biased = Vec::new();
    for (index, (sequence, bias)) in options.sequence_bias.iter().enumerate() {
        let option = format!("sequenceBias[{index}]");
        let sequences = phrases.sequences(&option, sequence)?;
        biased.extend(sequences.into_iter().map(|ids| (ids, *bias)));
    }
    Ok(when(!biased.is_empty(), || SequenceBias::new(biased)))
}

/// What is done whether a token is then sampled or the best is taken.
fn processors(
    options: &GenerateOptions,
    context: &PipelineContext,
    phrases: &Phrases,
) -> Result<Vec<Box<dyn LogitsProcessor>>> {
    let o = options;
    let &PipelineContext {
        prompt_len,
        eos_token_ids: eos,
        ..
    } = context;
    let mut bad_words = Vec::new();
    for (index, word) in o.bad_words.iter().enumerate() {
        bad_words.extend(phrases.sequences(&format!("badWords[{index}]"), word)?);
    }
    let mut biases = Vec::new();
    for (name, bias) in &o.logit_bias {
        let bias = match *bias {
            Bias::Add(bias) => bias,
            Bias::RuleOut => f32::NEG_INFINITY,
        };
        biases.push((vec![phrases.token("logitBias", name)?], bias));
    }
    // `min_new_tokens` counts instead of `min_length`, as in transformers.
    let min_length = match o.min_new_tokens {
        Some(_) => 0,
        None => o.min_length,
    };
    // Where the first token is forced, the one after it is the first to choose.
    let forced_first = o.forced_bos_token_id.is_some() && prompt_len <= 1;
    let begin = prompt_len + usize::from(forced_first);
    let in_order = [
        when(o.repetition_penalty != 1.0, || {
            RepetitionPenalty::new(o.repetition_penalty)
        }),
        when(
            o.frequency_penalty != 0.0 || o.presence_penalty != 0.0,
            || CountPenalty::new(o.frequency_penalty, o.presence_penalty, prompt_len),
        ),
        when(o.no_repeat_ngram_size > 0, || {
            NoRepeatNgram::new(o.no_repeat_ngram_size)
        }),
        when(!bad_words.is_empty(), || BadWords::new(bad_words, eos)),
        when(min_length > prompt_len, || {
            MinLength::new(min_length, eos.to_vec())
        }),
        o.min_new_tokens.and_then(|least| {
            when(least > 0, || {
                MinLength::of_output(prompt_len, least, eos.to_vec())
            })
        }),
        o.forced_bos_token_id.map(|id| boxed(Forced::bos(id))),
        when(!o.forced_eos_token_id.is_empty(), || {
            Forced::eos(context.max_length, o.forced_eos_token_id.clone())
        }),
        when(o.remove_invalid_values, || RemoveInvalid),
        o.exponential_decay_length_penalty.map(|(start, factor)| {
            let eos = eos.to_vec();
            boxed(ExponentialDecay::new(prompt_len, start, factor, eos))
        }),
        when(!o.suppress_tokens.is_empty(), || {
            Suppress::always(o.suppress_tokens.clone())
        }),
        when(!o.begin_suppress_tokens.is_empty(), || {
            Suppress::at(begin, o.begin_suppress_tokens.clone())
        }),
        when(!biases.is_empty(), || SequenceBias::new(biases)),
    ];
    Ok(in_order.into_iter().flatten().collect())
}

/// What only sampling does.
fn warpers(options: &GenerateOptions, context: &PipelineContext) -> Vec<Box<dyn LogitsProcessor>> {
    let mut all = Vec::new();
    all.extend(temperature(options, context.prompt_len));
    if options.mirostat.is_none() {
        all.extend(truncations(options, context.min_tokens_to_keep));
    }
    all
}

fn temperature(options: &GenerateOptions, prompt_len: usize) -> Option<Box<dyn LogitsProcessor>> {
    let from = options.temperature;
    let along = |curve, to: f32, tokens: u32| {
        let (from, to) = (f64::from(from), f64::from(to));
        boxed(TemperatureSchedule::new(
            curve,
            from,
            to,
            tokens as usize,
            prompt_len,
        ))
    };
    match options.temperature_schedule {
        None => when(from != 1.0, || Temperature::new(from)),
        Some(Schedule::Linear { to, tokens }) => Some(along(Curve::Linear, to, tokens)),
        Some(Schedule::Cosine { to, tokens }) => Some(along(Curve::Cosine, to, tokens)),
        Some(Schedule::Entropy { min, max, exponent }) => {
            let [min, max, exponent] = [min, max, exponent].map(f64::from);
            Some(boxed(EntropyTemperature::new(min, max, exponent)))
        }
    }
}

fn truncations(
    options: &GenerateOptions,
    least: usize,
) -> impl Iterator<Item = Box<dyn LogitsProcessor>> {
    let o = options;
    let top_k = match o.adaptive_top_k {
        Some(k) => Some(boxed(AdaptiveTopK::new(k.min, k.max, least))),
        None => when(o.top_k > 0, || TopK::new(o.top_k, least)),
    };
    let top_p = match o.adaptive_top_p {
        Some(p) => Some(boxed(AdaptiveTopP::new(p.min, p.max, least))),
        None => when(o.top_p < 1.0, || TopP::new(o.top_p, least)),
    };
    let in_order = [
        o.top_h.map(|top_h| boxed(TopH::new(top_h))),
        top_k,
        top_p,
        when(o.min_p > 0.0, || MinP::new(o.min_p, least)),
        when(o.typical_p < 1.0, || {
            TypicalP::new(o.typical_p as f32, least)
        }),
        when(o.epsilon_cutoff > 0.0, || {
            Epsilon::new(o.epsilon_cutoff as f32, least)
        }),
        when(o.eta_cutoff > 0.0, || Eta::new(o.eta_cutoff as f32, least)),
    ];
    in_order.into_iter().flatten()
}

fn boxed(processor: impl LogitsProcessor + 'static) -> Box<dyn LogitsProcessor> {
    Box::new(processor)
}

fn when<P: LogitsProcessor + 'static>(
    wanted: bool,
    make: impl FnOnce() -> P,
) -> Option<Box<dyn LogitsProcessor>> {
    wanted.then(|| boxed(make()))
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
