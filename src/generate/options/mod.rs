//! What a caller may ask of a generation, with defaults.
//!
//! Names are Hugging Face's `generate()` names in JavaScript's spelling, where
//! it has one. An unknown name is refused by name, never ignored: a misspelt
//! `topK` that does nothing is the worst kind of default. What each may be is in
//! `ranges.rs`.

mod complaints;
mod ranges;
mod values;

pub use complaints::{unknown_option, unreadable_option};
pub use ranges::*;
pub use values::*;

use super::constraint::ConstraintSpec;
use crate::error::Result;
use crate::model::{Ablation, Config, Replacement};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Options of one generation. Every field has a default.
///
/// Scores are changed in Hugging Face's order: guidance, sequence bias,
/// repetition, frequency and presence penalty, n-grams, bad words, lengths,
/// forced tokens, suppressed tokens, logit bias, constraint; then, unless
/// greedy, temperature, top-h, top-k, top-p, min-p, typical-p, epsilon, eta.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub struct GenerateOptions {
    /// Most tokens to generate. Default: 128.
    pub max_tokens: usize,

    // Sampling.
    /// Divides the logits before sampling; `0` takes the most probable token
    /// (greedy), and then no option of sampling does anything. Default: 1.
    pub temperature: f32,
    /// How the temperature changes while the text is written. Default: it does
    /// not.
    pub temperature_schedule: Option<TemperatureSchedule>,
    /// Keep the tokens whose entropy, added up from the best, is at most
    /// `topH` times that of all (E. Potraghloo et al., "Top-H decoding",
    /// arXiv:2509.02510). Default: off.
    pub top_h: Option<f64>,
    /// Keep the `topK` most probable tokens, ties of the last one included;
    /// `0` keeps all. Default: 50, as in Hugging Face.
    pub top_k: usize,
    /// `topK` by entropy, in its place. Default: off.
    pub adaptive_top_k: Option<ByEntropy>,
    /// Keep the smallest set of most probable tokens whose probabilities
    /// reach `topP`; `1` keeps all. Default: 1.
    pub top_p: f64,
    /// `topP` by entropy, in its place. Default: off.
    pub adaptive_top_p: Option<ByEntropy>,
    /// Keep tokens at least `minP` times as probable as the best; `0` keeps
    /// all. Default: 0.
    pub min_p: f32,
    /// Keep the tokens whose surprise is nearest to the entropy, until their
    /// probabilities reach `typicalP` (C. Meister et al., arXiv:2202.00666);
    /// `1` keeps all. Default: 1.
    pub typical_p: f64,
    /// Keep tokens of at least this probability (J. Hewitt et al.,
    /// arXiv:2210.15191); `0` keeps all. Default: 0.
    pub epsilon_cutoff: f64,
    /// The same by entropy: at least `min(eta, sqrt(eta) * exp(-H))`, in the
    /// same paper; `0` keeps all. Default: 0.
    pub eta_cutoff: f64,
    /// Aims at a surprise; then topH, topK, topP, minP, typicalP and the cutoffs
    /// do nothing. Default: off.
    pub mirostat: Option<MirostatOptions>,
    /// Seed of the sampler: an integer from 0 to 2^64-1 (a `bigint` above
    /// 2^53-1). The same request with the same seed gives the same text.
    /// Default: a fresh one, reported in the result.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number | bigint"))]
    pub seed: Option<u64>,

    // Penalties and bans.
    /// Scores of tokens already in prompt or output are divided by this where
    /// positive and multiplied where negative (CTRL, arXiv:1909.05858); `1`
    /// does nothing. Default: 1.
    pub repetition_penalty: f32,
    /// Taken from a token's score as often as the token stands in the output
    /// (OpenAI's formula). Default: 0.
    pub frequency_penalty: f32,
    /// Taken from the score of every token that stands in the output.
    /// Default: 0.
    pub presence_penalty: f32,
    /// No run of so many tokens comes twice in prompt and output; `0`: off.
    /// Default: 0.
    pub no_repeat_ngram_size: usize,
    /// Never written: texts, as they stand and after a space, or token ids.
    /// Default: none.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "(string | number[])[]"))]
    pub bad_words: Vec<TokenSequence>,
    /// Added to the score of the last token of a sequence where the others
    /// stand before it; texts as they stand and after a space. Default: none.
    #[cfg_attr(
        target_arch = "wasm32",
        tsify(type = "[sequence: string | number[], bias: number][]")
    )]
    pub sequence_bias: Vec<(TokenSequence, f32)>,
    /// Added to single tokens' scores; `false` rules the token out. Keys of
    /// digits are ids, others the text of one token; in a list of pairs, ids are
    /// numbers. Default: none.
    #[serde(deserialize_with = "values::biases")]
    #[cfg_attr(
        target_arch = "wasm32",
        tsify(
            type = "Record<string, number | false> | [token: number | string, bias: number | false][]"
        )
    )]
    pub logit_bias: Vec<(TokenName, Bias)>,
    /// Token ids that are never chosen. Default: none.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number[]"))]
    pub suppress_tokens: Vec<u32>,
    /// Token ids that are not chosen first. Default: none.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number[]"))]
    pub begin_suppress_tokens: Vec<u32>,
    /// No end-of-text token before prompt and output have so many tokens.
    /// Default: 0.
    pub min_length: usize,
    /// No end-of-text token before the output has so many; counts instead of
    /// `minLength` where given. Default: none.
    pub min_new_tokens: Option<usize>,
    /// The token after a prompt of one token. Default: none.
    pub forced_bos_token_id: Option<u32>,
    /// The token at `maxTokens`; of several, the likeliest. Default: none.
    #[serde(deserialize_with = "values::one_or_many")]
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number | number[]"))]
    pub forced_eos_token_id: Vec<u32>,
    /// `[start, factor]`: from the output's token `start` on, the end-of-text
    /// token's score grows by `|score| * (factor^(n - start) - 1)`.
    /// Default: none.
    #[cfg_attr(
        target_arch = "wasm32",
        tsify(type = "[start: number, factor: number]")
    )]
    pub exponential_decay_length_penalty: Option<(usize, f64)>,
    /// NaN becomes 0 and infinities the largest numbers, instead of an error.
    /// Default: false.
    pub remove_invalid_values: bool,
    /// Scores are log-probabilities again after all that. It changes what is
    /// reported, not what is chosen. Default: false.
    pub renormalize_logits: bool,
    /// Classifier-free guidance: how far to go from what comes without the
    /// prompt towards what comes with it (G. Sanchez et al., arXiv:2306.17806);
    /// `1`: off. Each token costs two. Default: 1.
    pub guidance_scale: f32,
    /// With guidance: what to go away from. Default: the last token of the
    /// prompt alone.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "string | number[]"))]
    pub negative_prompt: Option<TokenSequence>,
    /// What the output has to be: a regular expression, one of some texts, or
    /// JSON of a schema. Default: none.
    pub constraint: Option<ConstraintSpec>,

    // The end.
    /// Generation ends before the first of these strings to appear in the
    /// output; one string or a list. Default: none.
    #[serde(deserialize_with = "values::one_or_many")]
    #[cfg_attr(target_arch = "wasm32", tsify(type = "string | string[]"))]
    pub stop: Vec<String>,
    /// Keep the stop string, or the text of the stop token. Default: false.
    pub include_stop: bool,
    /// Token ids that end the generation; an empty list never ends it so.
    /// Default: the model's own end-of-text token.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number[]"))]
    pub eos_token_ids: Option<Vec<u32>>,
    /// More token ids that end it, which are no end-of-text tokens for
    /// `minLength` and the like. Default: none.
    #[cfg_attr(target_arch = "wasm32", tsify(type = "number[]"))]
    pub stop_token_ids: Vec<u32>,
    /// Ends after the first line, sentence or paragraph. Default: off.
    pub stop_at: Option<StopAt>,
    /// Ends at the first step after so many milliseconds. Default: none.
    pub max_time_ms: Option<f64>,
    /// Ends before a token that the model gives less than this probability.
    /// Default: 0.
    pub stop_below_probability: f64,
    /// Ends before a token where the model's entropy is above this, in nats.
    /// Default: none.
    pub stop_above_entropy: Option<f64>,
    /// Ends where the text goes in circles. Default: off.
    pub stop_on_loop: Option<LoopOptions>,

    // What is told.
    /// Tell each token's log-probability, and so many likely alternatives of
    /// it (0 to 100). Default: tell nothing.
    pub logprobs: Option<usize>,

    // How it is run.
    /// Read special tokens such as `<|endoftext|>` in the prompt's text as
    /// tokens rather than as the characters they are written with.
    /// Default: false.
    pub parse_special: bool,
    /// What becomes of a text that is longer than the model's context.
    /// Default: `"error"`.
    pub context_policy: ContextPolicy,
    /// With `contextPolicy: "keep-prefix"`: tokens of the prompt that stay.
    /// Default: 0.
    pub keep_prefix_tokens: usize,
    /// Speculate: drafts of at most this many tokens, taken from where the last
    /// ones stood in the text before, are checked in one pass. The output stays
    /// the same; text that repeats itself (quotes, lists, code) comes faster.
    /// Not for dtype `f32`. `0`: off. Default: 0.
    pub prompt_lookup_num_tokens: usize,
    /// Take what the KV cache has of the prompt from earlier texts that began
    /// alike. The output stays the same. With dtype `f32` only a state's own
    /// text is taken so. Default: true.
    pub cache_prompt: bool,
    /// Heads that are taken out of the model for this text, to see what they do.
    /// Its KV blocks are then shared with no text that has them. Default: none.
    pub ablate_heads: Vec<HeadAblation>,
    /// Keep the attention of every row that is run, so that a later analysis of
    /// this text takes it as it was: up to 32 MiB of all texts together, after
    /// which the oldest are dropped. Not with guidance, nor without
    /// `cachePrompt`; with dtype `f32` only of a state's own text. Default: off.
    pub capture_attention: Option<CaptureAttention>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: 128,
            temperature: 1.0,
            temperature_schedule: None,
            top_h: None,
            top_k: 50,
            adaptive_top_k: None,
            top_p: 1.0,
            adaptive_top_p: None,
            min_p: 0.0,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            mirostat: None,
            seed: None,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            no_repeat_ngram_size: 0,
            bad_words: Vec::new(),
            sequence_bias: Vec::new(),
            logit_bias: Vec::new(),
            suppress_tokens: Vec::new(),
            begin_suppress_tokens: Vec::new(),
            min_length: 0,
            min_new_tokens: None,
            forced_bos_token_id: None,
            forced_eos_token_id: Vec::new(),
            exponential_decay_length_penalty: None,
            remove_invalid_values: false,
            renormalize_logits: false,
            guidance_scale: 1.0,
            negative_prompt: None,
            constraint: None,
            stop: Vec::new(),
            include_stop: false,
            eos_token_ids: None,
            stop_token_ids: Vec::new(),
            stop_at: None,
            max_time_ms: None,
            stop_below_probability: 0.0,
            stop_above_entropy: None,
            stop_on_loop: None,
            logprobs: None,
            parse_special: false,
            context_policy: ContextPolicy::Error,
            keep_prefix_tokens: 0,
            prompt_lookup_num_tokens: 0,
            cache_prompt: true,
            ablate_heads: Vec::new(),
            capture_attention: None,
        }
    }
}

impl GenerateOptions {
    /// The options' names, as JavaScript spells them.
    pub fn names() -> Vec<String> {
        match serde_json::to_value(Self::default()) {
            Ok(serde_json::Value::Object(fields)) => fields.into_iter().map(|(k, _)| k).collect(),
            _ => Vec::new(),
        }
    }

    /// The heads that are taken out. Error: `invalid-option`.
    pub fn ablation(&self, config: &Config) -> Result<Option<Arc<Ablation>>> {
        let heads = self.ablate_heads.iter().map(|heads| {
            let mean = heads.mean.clone();
            let replacement = mean.map_or(Replacement::Zero, Replacement::Mean);
            (heads.layer, heads.head, replacement)
        });
        Ok(Ablation::new(config, heads)?.map(Arc::new))
    }

    /// True where the most probable token is taken and no chance is involved.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
