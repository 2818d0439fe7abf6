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
    n_layer: usize,
    pending: Option<Pending>,
}

/// What has been attributed, once the position has been run; a layer is a step,
/// as its projection has to be decoded.
struct Pending {
    result: AttributionResult,
    /// `u` of the formula.
    direction: Vec<f64>,
    /// Of each layer, at the position: the heads' outputs, what attention adds
    /// and what the MLP adds.
    parts: Vec<[Vec<f64>; 3]>,
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
            n_layer: setting.model.config().n_layer,
            pending: None,
        })
    }

    /// Everything but the layers.
    fn begin(&self, model: &dyn Model, chunk: &Chunk) -> Result<Pending> {
        let config = model.config();
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

        let mut unembedding = row(model, "wte.weight", token as usize)?;
        let mut logit = f64::from(output.logits[token as usize]);
        if let Some(against) = self.against {
            let other = row(model, "wte.weight", against as usize)?;
            for (number, other) in unembedding.iter_mut().zip(other) {
                *number -= other;
            }
            logit -= f64::from(output.logits[against as usize]);
        }
        let gain = row(model, "ln_f.weight", 0)?;
        let residual = at_end(&output.hidden_states[self.n_layer]);
        let scale = scale_of(&residual, config.layer_norm_epsilon);
        let mut direction: Vec<f64> = unembedding
            .iter()
            .zip(&gain)
            .map(|(unembedding, gain)| unembedding * gain * scale)
            .collect();
        let mean = direction.iter().sum::<f64>() / direction.len() as f64;
        for number in &mut direction {
            *number -= mean;
        }

        let input = self.reader.tokens()[self.position] as usize;
        let token_embedding = dot(&row(model, "wte.weight", input)?, &direction);
        let position_embedding = dot(&row(model, "wpe.weight", self.position)?, &direction);
        let final_bias = dot(&row(model, "ln_f.bias", 0)?, &unembedding);
        let parts = (0..self.n_layer).map(|layer| {
            let parts = [
                &output.contexts,
                &output.attention_additions,
                &output.mlp_additions,
            ];
            parts.map(|layers| at_end(&layers[layer]))
        });
        Ok(Pending {
            parts: parts.collect(),
            direction,
            result: AttributionResult {
                position: self.position,
                token,
                against: self.against,
                logit,
                logprob: f64::from(output.logits[token as usize]) - log_sum_exp(&output.logits),
                rank: rank(&output.logits, token),
                sum: token_embedding + position_embedding + final_bias,
                difference: 0.0,
                scale,
                token_embedding,
                position_embedding,
                final_bias,
                layers: Vec::with_capacity(self.n_layer),
                tokens_evaluated: self.reader.evaluated(),
            },
        })
    }

    /// Layers that have been attributed.
    fn layers_done(&self) -> usize {
        let pending = self.pending.as_ref();
        pending.map_or(0, |pending| pending.result.layers.len())
    }
}

impl Pending {
    /// Attributes the next layer.
    fn add_layer(&mut self, model: &dyn Model) -> Result<()> {
        let config = model.config();
        let (n_embd, head_dim) = (config.n_embd, config.head_dim());
        let layer = self.result.layers.len();
        let [context, attention, mlp] = &self.parts[layer];
        let name = |part: &str| format!("h.{layer}.attn.c_proj.{part}");
        let projection = model.weight_rows(&name("weight"), 0..n_embd)?;
        let outputs = context.chunks_exact(head_dim);
        let inputs = projection.chunks_exact(head_dim * n_embd);
        let heads: Vec<f64> = outputs
            .zip(inputs)
            .map(|(outputs, rows)| {
                let parts = outputs.iter().zip(rows.chunks_exact(n_embd));
                let parts = parts.map(|(output, row)| {
                    let row = row.iter().copied().map(f64::from);
                    output * row.zip(&self.direction).map(|(a, b)| a * b).sum::<f64>()
                });
                parts.sum()
            })
            .collect();
        let bias = dot(&row(model, &name("bias"), 0)?, &self.direction);
        let attention = dot(attention, &self.direction);
        let mlp = dot(mlp, &self.direction);
        let result = &mut self.result;
        result.layers.push(LayerAttribution {
            layer,
            attention,
            bias,
            remainder: attention - bias - heads.iter().sum::<f64>(),
            heads,
            mlp,
        });
        result.sum += attention + mlp;
        result.difference = result.logit - result.sum;
        Ok(())
    }
}

/// A row of a weight.
fn row(model: &dyn Model, name: &str, row: usize) -> Result<Vec<f64>> {
    let numbers = model.weight_rows(name, row..row + 1)?;
    Ok(numbers.into_iter().map(f64::from).collect())
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
        if let Some(pending) = &mut self.pending {
            return pending.add_layer(bench.model);
        }
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
        self.reader.keep(bench);
        self.pending = Some(self.begin(bench.model, &chunk)?);
        Ok(())
    }

    fn progress(&self) -> AnalysisProgress {
        let done = self.reader.position() + self.layers_done();
        AnalysisProgress::new(done, self.position + 1 + self.n_layer)
    }

    fn is_finished(&self) -> bool {
        self.pending.is_some() && self.layers_done() == self.n_layer
    }

    fn result(self: Box<Self>) -> Result<AnalysisResult> {
        match self.pending {
            Some(pending) => AnalysisResult::new(pending.result),
            None => Err(Error::Internal("a result before the end".into())),
        }
    }
}

#[cfg(test)]
#[path = "attribution_tests.rs"]
mod tests;
