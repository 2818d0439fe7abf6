//! Direct logit attribution: how much each part of the model adds to a token's
//! logit (N. Elhage et al., "A Mathematical Framework for Transformer
//! Circuits", 2021).
//!
//! The residual stream `x` at a position is a sum: the two embeddings, what each
//! layer's attention adds, what each MLP adds. The logit of token `t` is
//! `wte_t . (s (x - mean(x)) * g + b)`, with `g` and `b` of `ln_f` and `s = 1 /
//! sqrt(variance(x) + epsilon)`. With `s` frozen at what it is, that is linear
//! in `x`, so each part `p` adds `p . u` where `u` is `s g * wte_t` less its
//! mean, and `ln_f`'s bias adds `b . wte_t`. What a layer's attention adds is in
//! turn a sum over its heads, a head's output times its rows of `c_proj`, and
//! `c_proj`'s bias.
//!
//! A part's number says what it adds to the logit directly, not through later
//! layers. With a second token `against` it is the difference of the two logits
//! that is attributed: parts that raise all logits alike fall out.
//!
//! Everything is summed in f64. In f32 the parts sum to the logit but for
//! rounding; packed models quantise the activations before each product, so that
//! their logit differs from the sum by what that loses (`difference`), and a
//! layer's heads from what the layer adds (`remainder`).

use super::reader::Reader;
use super::selection::from_end;
use super::{Analysis, AnalysisProgress, AnalysisResult, Bench, Chunk, Setting, Subject};
use crate::error::{Error, Result};
use crate::generate::generation::check_text;
use crate::generate::log_prob::{log_sum_exp, rank};
use crate::model::{Layers, Model, Taps};
use serde::{Deserialize, Serialize};

/// Options of [`Attribution`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct AttributionRequest {
    /// The position that predicts; negative numbers count from the end. Default:
    /// the last.
    pub position: Option<i64>,
    /// Whose logit. Default: the token that follows in the text, after the last
    /// the likeliest.
    pub token: Option<u32>,
    /// Whose logit is taken off. Default: none.
    pub against: Option<u32>,
}

/// What each part adds, in logits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttributionResult {
    pub position: usize,
    pub token: u32,
    pub against: Option<u32>,
    /// As the model computes it; with `against`, the difference.
    pub logit: f64,
    /// Of `token`, in nats, and its rank, 1 being the likeliest.
    pub logprob: f64,
    pub rank: u32,
    /// Of all parts.
    pub sum: f64,
    /// `logit` less `sum`: what rounding and quantisation lose.
    pub difference: f64,
    /// By which `ln_f` multiplies, frozen.
    pub scale: f64,
    pub token_embedding: f64,
    pub position_embedding: f64,
    /// The bias of `ln_f`.
    pub final_bias: f64,
    pub layers: Vec<LayerAttribution>,
    pub tokens_evaluated: usize,
}

/// What a layer adds, in logits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerAttribution {
    pub layer: usize,
    /// Heads, bias and remainder together.
    pub attention: f64,
    /// Of each head.
    pub heads: Vec<f64>,
    /// The bias of `c_proj`.
    pub bias: f64,
    /// `attention` less heads and bias: what quantisation loses.
    pub remainder: f64,
    pub mlp: f64,
}

/// Direct logit attribution at a position.
pub struct Attribution {
    reader: Reader,
    position: usize,
    token: Option<u32>,
    against: Option<u32>,
    result: Option<AttributionResult>,
}

impl Attribution {
    /// Errors: `invalid-option`, `invalid-token`, `context-overflow`.
    pub fn new(request: AttributionRequest, setting: &Setting, subject: Subject) -> Result<Self> {
        check_text(&subject.tokens, setting.model)?;
        let position = request.position.unwrap_or(-1);
        let position = from_end("position", position, subject.tokens.len())?;
        let vocab_size = setting.model.config().vocab_size;
        for (option, token) in [("token", request.token), ("against", request.against)] {
            if let Some(token) = token.filter(|&id| id as usize >= vocab_size) {
                let range = format!("from 0 to {}", vocab_size - 1);
                return Err(Error::option(option, token, range));
            }
        }
        let next = subject.tokens.get(position + 1).copied();
        Ok(Self {
            reader: Reader::new(setting.model, subject, position)?,
            position,
            token: request.token.or(next),
            against: request.against,
            result: None,
        })
    }

    fn attribute(&self, model: &dyn Model, chunk: &Chunk) -> Result<AttributionResult> {
        let config = model.config();
        let n_layer = config.n_layer;
        let output = &chunk.output;
        let last = chunk.count - 1;
        let at_end = |rows: &[f32]| -> Vec<f64> {
            let row = &rows[last * config.n_embd..][..config.n_embd];
            row.iter().copied().map(f64::from).collect()
        };
        let token = match self.token {
            Some(token) => token,
            None => likeliest(&output.logits),
        };
        let row = |name: &str, row: usize| -> Result<Vec<f64>> {
            let numbers = model.weight_rows(name, row..row + 1)?;
            Ok(numbers.into_iter().map(f64::from).collect())
        };

        let mut unembedding = row("wte.weight", token as usize)?;
        let mut logit = f64::from(output.logits[token as usize]);
        if let Some(against) = self.against {
            let other = row("wte.weight", against as usize)?;
            for (number, other) in unembedding.iter_mut().zip(other) {
                *number -= other;
            }
            logit -= f64::from(output.logits[against as usize]);
        }
        let (weight, bias) = (row("ln_f.weight", 0)?, row("ln_f.bias", 0)?);
        let residual = at_end(&output.hidden_states[n_layer]);
        let scale = scale_of(&residual, config.layer_norm_epsilon);
        let mut direction: Vec<f64> = unembedding
            .iter()
            .zip(&weight)
            .map(|(unembedding, weight)| unembedding * weight * scale)
            .collect();
        let mean = direction.iter().sum::<f64>() / direction.len() as f64;
        for number in &mut direction {
            *number -= mean;
        }

        let mut layers = Vec::with_capacity(n_layer);
        for layer in 0..n_layer {
            let projection =
                model.weight_rows(&format!("h.{layer}.attn.c_proj.weight"), 0..config.n_embd)?;
            let context = at_end(&output.contexts[layer]);
            let outputs = context.chunks_exact(config.head_dim());
            let inputs = projection.chunks_exact(config.head_dim() * config.n_embd);
            let heads: Vec<f64> = outputs
                .zip(inputs)
                .map(|(outputs, rows)| {
                    let rows = rows.chunks_exact(config.n_embd);
                    let parts = outputs.iter().zip(rows).map(|(output, row)| {
                        let row = row.iter().copied().map(f64::from);
                        output * row.zip(&direction).map(|(a, b)| a * b).sum::<f64>()
                    });
                    parts.sum()
                })
                .collect();
            let bias = dot(&row(&format!("h.{layer}.attn.c_proj.bias"), 0)?, &direction);
            let attention = dot(&at_end(&output.attention_additions[layer]), &direction);
            layers.push(LayerAttribution {
                layer,
                attention,
                bias,
                remainder: attention - bias - heads.iter().sum::<f64>(),
                heads,
                mlp: dot(&at_end(&output.mlp_additions[layer]), &direction),
            });
        }
        let input = self.reader.tokens()[self.position] as usize;
        let token_embedding = dot(&row("wte.weight", input)?, &direction);
        let position_embedding = dot(&row("wpe.weight", self.position)?, &direction);
        let final_bias = dot(&bias, &unembedding);
        let in_layers: f64 = layers.iter().map(|layer| layer.attention + layer.mlp).sum();
        let sum = token_embedding + position_embedding + in_layers + final_bias;
        Ok(AttributionResult {
            position: self.position,
            token,
            against: self.against,
            logit,
            logprob: f64::from(output.logits[token as usize]) - log_sum_exp(&output.logits),
            rank: rank(&output.logits, token),
            sum,
            difference: logit - sum,
            scale,
            token_embedding,
            position_embedding,
            final_bias,
            layers,
            tokens_evaluated: self.reader.evaluated(),
        })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `1 / sqrt(variance + epsilon)`
fn scale_of(x: &[f64], epsilon: f64) -> f64 {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    1.0 / (variance + epsilon).sqrt()
}

/// The id of the largest logit; of equal ones the lowest.
fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

impl Analysis for Attribution {
    fn step(&mut self, bench: &mut Bench) -> Result<()> {
        self.reader.begin(bench);
        if self.reader.position() < self.position {
            let end = self.position;
            self.reader.step(bench, end, |_| false, Taps::default())?;
            return Ok(());
        }
        let taps = Taps {
            hidden_states: true,
            contexts: Layers::ALL,
            additions: Layers::ALL,
            ..Taps::default()
        };
        let end = self.position + 1;
        let chunk = self.reader.step(bench, end, |_| true, taps)?;
        self.result = Some(self.attribute(bench.model, &chunk)?);
        self.reader.keep(bench);
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        AnalysisProgress::new(self.reader.position(), self.position + 1)
    }

    fn is_finished(&self) -> bool {
        self.result.is_some()
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        match self.result {
            Some(result) => AnalysisResult::new(result),
            None => Err(Error::Internal("a result before the end".into())),
        }
    }
}

#[cfg(test)]
#[path = "attribution_tests.rs"]
mod tests;
