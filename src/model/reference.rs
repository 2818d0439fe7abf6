//! GPT-2 in Candle operations, f32: the reference.
//!
//! It follows `modeling_gpt2.py` of Hugging Face transformers line by line and
//! is meant to be read beside it. Every other result of this crate is checked
//! against it, and it is checked against transformers' own numbers.
//!
//! Sequences of a batch run one after another, each with its own matrix
//! products: Candle's products may round differently with another number of
//! rows, and a text must not depend on what else is running.

use super::forward::{Model, Output, Rows, check_batch, check_hidden_states, check_weight_rows};
use super::{Config, KvCache, KvFormat, Taps, Weights};
use crate::error::{Error, Result};
use candle_core::{D, Device, Tensor};
use candle_nn::ops::{layer_norm, softmax_last_dim};
use std::ops::Range;

/// The reference implementation of [`Model`].
pub struct Reference {
    config: Config,
    /// `[vocab_size, n_embd]`; also the head, by its transposed view.
    wte: Tensor,
    /// `[n_positions, n_embd]`
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
}

struct Block {
    ln_1: LayerNorm,
    c_attn: Linear,
    attn_c_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    mlp_c_proj: Linear,
}

impl Reference {
    /// Takes the weights; nothing is copied.
    pub fn new(config: Config, mut weights: Weights) -> Result<Self> {
        let epsilon = config.layer_norm_epsilon as f32;
        let norm = |weights: &mut Weights, name: &str| -> Result<LayerNorm> {
            Ok(LayerNorm {
                weight: weights.take(&format!("{name}.weight"))?,
                bias: weights.take(&format!("{name}.bias"))?,
                epsilon,
            })
        };
        let linear = |weights: &mut Weights, name: &str| -> Result<Linear> {
            Ok(Linear {
                weight: weights.take(&format!("{name}.weight"))?,
                bias: weights.take(&format!("{name}.bias"))?,
            })
        };
        let weights = &mut weights;
        let mut blocks = Vec::with_capacity(config.n_layer);
        for i in 0..config.n_layer {
            blocks.push(Block {
                ln_1: norm(weights, &format!("h.{i}.ln_1"))?,
                c_attn: linear(weights, &format!("h.{i}.attn.c_attn"))?,
                attn_c_proj: linear(weights, &format!("h.{i}.attn.c_proj"))?,
                ln_2: norm(weights, &format!("h.{i}.ln_2"))?,
                c_fc: linear(weights, &format!("h.{i}.mlp.c_fc"))?,
                mlp_c_proj: linear(weights, &format!("h.{i}.mlp.c_proj"))?,
            });
        }
        Ok(Self {
            wte: weights.take("wte.weight")?,
            wpe: weights.take("wpe.weight")?,
            ln_f: norm(weights, "ln_f")?,
            blocks,
            config,
        })
    }

    /// The whole pass for the rows of one sequence. `n` rows at positions
    /// `start..end`; `d` is `n_embd`.
    fn run(&self, rows: &mut Rows, taps: Taps) -> Result<Output> {
        let (start, n) = (rows.kv.len(), rows.tokens.len());
        let mut output = Output::default();

        let ids = Tensor::from_slice(rows.tokens, n, &Device::Cpu)?;
        let positions = self.wpe.narrow(0, start, n)?;
        let mut x = self.wte.index_select(&ids, 0)?.add(&positions)?; // [n, d]
        if taps.hidden_states {
            output.hidden_states.push(values(&x)?);
        }

        for (layer, block) in self.blocks.iter().enumerate() {
            let normed = block.ln_1.forward(&x)?;
            let (context, attention) = self.attend(layer, block, &normed, rows.kv)?;
            let attended = block.attn_c_proj.forward(&context)?;
            x = (x + &attended)?;

            let normed = block.ln_2.forward(&x)?;
            let inner = block.c_fc.forward(&normed)?.gelu()?; // [n, n_inner]
            let thought = block.mlp_c_proj.forward(&inner)?;
            x = (x + &thought)?;

            if taps.attentions.contains(layer) {
                output.attentions.push(values(&attention)?);
            }
            if taps.contexts.contains(layer) {
                output.contexts.push(values(&context)?);
            }
            if taps.additions.contains(layer) {
                output.attention_additions.push(values(&attended)?);
                output.mlp_additions.push(values(&thought)?);
            }
            if taps.hidden_states {
                output.hidden_states.push(values(&x)?);
            }
        }
        if taps.hidden_states {
            output.hidden_states.push(values(&self.ln_f.forward(&x)?)?);
        }

        let asked = rows.logits.indices(n);
        if !asked.is_empty() {
            if asked.len() < n {
                let indices: Vec<u32> = asked.iter().map(|&row| row as u32).collect();
                let indices = Tensor::from_vec(indices, asked.len(), &Device::Cpu)?;
                x = x.index_select(&indices, 0)?;
            }
            output.logits = values(&self.head(&x)?)?;
        }
        rows.kv.commit(n);
        Ok(output)
    }

    /// `[n, d]` to logits.
    fn head(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.ln_f.forward(x)?.matmul(&self.wte.t()?)?)
    }

    fn weight<'a>(&'a self, name: &str) -> Option<&'a Tensor> {
        let (part, kind) = name.rsplit_once('.')?;
        let norm = |norm: &'a LayerNorm| pick(kind, &norm.weight, &norm.bias);
        let linear = |linear: &'a Linear| pick(kind, &linear.weight, &linear.bias);
        let Some((layer, part)) = part.strip_prefix("h.").and_then(|x| x.split_once('.')) else {
            return match part {
                "wte" => Some(&self.wte),
                "wpe" => Some(&self.wpe),
                "ln_f" => norm(&self.ln_f),
                _ => None,
            };
        };
        let block = self.blocks.get(layer.parse::<usize>().ok()?)?;
        match part {
            "ln_1" => norm(&block.ln_1),
            "attn.c_attn" => linear(&block.c_attn),
            "attn.c_proj" => linear(&block.attn_c_proj),
            "ln_2" => norm(&block.ln_2),
            "mlp.c_fc" => linear(&block.c_fc),
            "mlp.c_proj" => linear(&block.mlp_c_proj),
            _ => None,
        }
    }

    /// Causal self-attention of `x` `[n, d]` over the cache and itself.
    /// Returns the heads' outputs side by side `[n, d]` and the probabilities
    /// `[n_head, n, end]`.
    fn attend(
        &self,
        layer: usize,
        block: &Block,
        x: &Tensor,
        kv: &mut KvCache,
    ) -> Result<(Tensor, Tensor)> {
        let (n, d) = x.dims2()?;
        let (n_head, head_dim) = (self.config.n_head, self.config.head_dim());
        let (start, end) = (kv.len(), kv.len() + n);

        let qkv = block.c_attn.forward(x)?; // [n, 3d]: query, key, value
        let flat = values(&qkv)?;
        for (row, qkv) in flat.chunks_exact(3 * d).enumerate() {
            kv.write(layer, row, &qkv[d..2 * d], &qkv[2 * d..]);
        }
        let (keys, cached_values) = kv.gather(layer, end);
        let heads = |t: Tensor, rows: usize| t.reshape((rows, n_head, head_dim))?.transpose(0, 1);
        let query = heads(qkv.narrow(D::Minus1, 0, d)?.contiguous()?, n)?; // [n_head, n, head_dim]
        let keys = heads(Tensor::from_vec(keys, (end, d), &Device::Cpu)?, end)?;
        let cached_values = heads(
            Tensor::from_vec(cached_values, (end, d), &Device::Cpu)?,
            end,
        )?;

        let scale = self.config.attention_scale(layer);
        let mut scores = (query.matmul(&keys.t()?)? * scale)?; // [n_head, n, end]
        if n > 1 {
            scores = scores.broadcast_add(&causal_mask(start, n)?)?;
        }
        let attention = softmax_last_dim(&scores)?;
        let context = attention.matmul(&cached_values)?; // [n_head, n, head_dim]
        let context = context.transpose(0, 1)?.reshape((n, d))?;
        let Some(ablation) = kv.ablation() else {
            return Ok((context, attention));
        };
        let mut numbers = values(&context)?;
        for row in numbers.chunks_exact_mut(d) {
            for (head, numbers) in row.chunks_exact_mut(head_dim).enumerate() {
                ablation.apply(layer, head, numbers);
            }
        }
        let context = Tensor::from_vec(numbers, (n, d), &Device::Cpu)?;
        Ok((context, attention))
    }
}

impl Model for Reference {
    fn config(&self) -> &Config {
        &self.config
    }

    fn weight_bytes(&self) -> u64 {
        self.config.parameters() * size_of::<f32>() as u64
    }

    /// Candle's products round differently with another number of rows.
    fn is_exact(&self) -> bool {
        false
    }

    fn kv_format(&self) -> KvFormat {
        KvFormat::F32
    }

    fn unembed(&self, hidden_states: &[f32]) -> Result<Vec<f32>> {
        let rows = check_hidden_states(&self.config, hidden_states)?;
        if rows == 0 {
            return Ok(Vec::new());
        }
        let shape = (rows, self.config.n_embd);
        values(&self.head(&Tensor::from_slice(hidden_states, shape, &Device::Cpu)?)?)
    }

    fn weight_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        check_weight_rows(&self.config, name, &rows)?;
        let weight = self
            .weight(name)
            .ok_or_else(|| Error::Internal(format!("{name} is not held")))?;
        if weight.rank() == 1 {
            return Ok(if rows.is_empty() {
                Vec::new()
            } else {
                values(weight)?
            });
        }
        values(&weight.narrow(0, rows.start, rows.len())?)
    }

    fn forward(&self, batch: &mut [Rows], taps: Taps) -> Result<Vec<Output>> {
        check_batch(self, batch)?;
        for rows in batch.iter_mut() {
            rows.kv.reserve(rows.tokens.len())?;
        }
        let starts: Vec<usize> = batch.iter().map(|rows| rows.kv.len()).collect();
        let outputs: Result<Vec<Output>> =
            batch.iter_mut().map(|rows| self.run(rows, taps)).collect();
        if outputs.is_err() {
            // Sequences that ran before the one at fault.
            for (rows, start) in batch.iter_mut().zip(starts) {
                rows.kv.truncate(start);
            }
        }
        outputs
    }
}

struct Linear {
    /// `[in, out]`
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.matmul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(x, &self.weight, &self.bias, self.epsilon)?)
    }
}

fn pick<'a>(kind: &str, weight: &'a Tensor, bias: &'a Tensor) -> Option<&'a Tensor> {
    match kind {
        "weight" => Some(weight),
        "bias" => Some(bias),
        _ => None,
    }
}

/// `[n, start + n]`: 0 where row `i` (position `start + i`) may look, -inf
/// past it.
fn causal_mask(start: usize, n: usize) -> Result<Tensor> {
    let end = start + n;
    let mask: Vec<f32> = (0..n)
        .flat_map(|row| (0..end).map(move |column| (row, column)))
        .map(|(row, column)| {
            if column <= start + row {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        })
        .collect();
    Ok(Tensor::from_vec(mask, (n, end), &Device::Cpu)?)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::super::{LogitRows, names};
    use super::*;
    use std::collections::HashMap;

    fn model() -> Reference {
        let config = Config::from_json(
            br#"{"model_type":"gpt2","n_layer":2,"n_head":2,"n_embd":8,"vocab_size":20,"n_positions":40}"#,
        )
        .unwrap();
        let tensors: HashMap<String, Tensor> = names::all(&config)
            .into_iter()
            .map(|name| {
                let shape = names::shape(&config, &name).unwrap();
                let count: usize = shape.iter().product();
                let seed = name.len() as f32;
                let values = (0..count).map(|i| (seed + i as f32 * 0.7).sin()).collect();
                let tensor = Tensor::from_vec::<_, f32>(values, shape, &Device::Cpu).unwrap();
                (name, tensor)
            })
            .collect();
        let weights = Weights::new(&config, tensors).unwrap();
        Reference::new(config, weights).unwrap()
    }

    fn rows<'a>(kv: &'a mut KvCache, tokens: &'a [u32]) -> Rows<'a> {
        let logits = LogitRows::Last;
        Rows { kv, tokens, logits }
    }

    #[test]
    fn a_sequence_gets_the_same_bits_alone_and_in_a_batch() {
        let model = model();
        let texts: [&[u32]; 3] = [&[1, 2, 3], &[4], &[5, 6, 7, 8, 9]];
        let mut caches = texts.map(|_| model.new_kv());
        let mut batch: Vec<Rows> = caches
            .iter_mut()
            .zip(texts)
            .map(|(kv, text)| rows(kv, text))
            .collect();
        let together = model.forward(&mut batch, Taps::default()).unwrap();
        for (text, output) in texts.into_iter().zip(together) {
            let mut kv = model.new_kv();
            let alone = model.forward(&mut [rows(&mut kv, text)], Taps::default());
            assert_eq!(alone.unwrap()[0].logits, output.logits);
        }
    }

    #[test]
    fn a_batch_that_is_refused_leaves_every_cache_as_it_was() {
        let model = model();
        let (mut good, mut full) = (model.new_kv(), model.new_kv());
        let tokens = [1; 39];
        let prefill = model.forward(&mut [rows(&mut full, &tokens)], Taps::default());
        prefill.unwrap();
        for (bad, code) in [(&[1, 2][..], "context-overflow"), (&[20], "invalid-token")] {
            let mut batch = [rows(&mut good, &[3, 4]), rows(&mut full, bad)];
            let error = model.forward(&mut batch, Taps::default()).unwrap_err();
            assert_eq!(error.code(), code);
            assert_eq!((good.len(), full.len()), (0, 39));
        }
        let beyond = Rows {
            logits: LogitRows::At(&[2]),
            ..rows(&mut good, &[3, 4])
        };
        let error = model.forward(&mut [beyond], Taps::default()).unwrap_err();
        assert_eq!(error.code(), "invalid-argument");
    }
}
