//! A model's dimensions and switches, from Hugging Face's `config.json`.
//!
//! What the file says and this library does not do is refused by name: a
//! model that runs with an option ignored gives wrong text and no error.
//! Fields and defaults are those of `GPT2Config` in transformers
//! (`models/gpt2/configuration_gpt2.py`).

use super::Dtype;
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Largest `config.json` that is read, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// The most that a wasm32 memory can hold, in bytes.
const ADDRESS_SPACE: u64 = 1 << 32;

/// Shape and switches of a GPT-2.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Number of tokens: logits a position.
    pub vocab_size: usize,
    /// Context length in tokens.
    pub n_positions: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Attention heads a block; divides `n_embd`.
    pub n_head: usize,
    /// Width of the MLP's hidden layer; `4 * n_embd` unless the file says.
    pub n_inner: usize,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_epsilon: f64,
    /// Attention scores are divided by the square root of the head's width.
    pub scale_attn_weights: bool,
    /// Attention scores of block `i` are divided by `i + 1` as well.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Tokens that end a text; may be empty.
    pub eos_token_ids: Vec<u32>,
}

impl Config {
    /// Reads `config.json`. Errors: `invalid-model-file`, `unsupported-model`.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(invalid(format!(
                "config.json has {} bytes, the limit is {MAX_CONFIG_BYTES}",
                bytes.len()
            )));
        }
        let Value::Object(fields) = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("config.json is not JSON: {error}")))?
        else {
            return Err(invalid("config.json is not a JSON object"));
        };
        let fields = Fields(fields);
        fields.refuse_unsupported()?;

        let n_embd = fields.size("n_embd", 768)?;
        let config = Self {
            vocab_size: fields.size("vocab_size", 50257)?,
            n_positions: match fields.0.get("n_positions") {
                Some(_) => fields.size("n_positions", 1024)?,
                None => fields.size("n_ctx", 1024)?,
            },
            n_embd,
            n_layer: fields.size("n_layer", 12)?,
            n_head: fields.size("n_head", 12)?,
            n_inner: fields.size("n_inner", 4 * n_embd)?,
            layer_norm_epsilon: fields.number("layer_norm_epsilon", 1e-5)?,
            scale_attn_weights: fields.flag("scale_attn_weights", true)?,
            scale_attn_by_inverse_layer_idx: fields
                .flag("scale_attn_by_inverse_layer_idx", false)?,
            eos_token_ids: fields.eos_token_ids()?,
        };
        config.validate()?;
        Ok(config)
    }

    /// As a `config.json`.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "model_type": "gpt2",
            "vocab_size": self.vocab_size,
            "n_positions": self.n_positions,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": self.n_inner,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "scale_attn_weights": self.scale_attn_weights,
            "scale_attn_by_inverse_layer_idx": self.scale_attn_by_inverse_layer_idx,
            "eos_token_id": self.eos_token_ids,
        })
    }

    /// Checks that the dimensions fit each other and a browser tab.
    pub fn validate(&self) -> Result<()> {
        for (name, value, most) in [
            ("vocab_size", self.vocab_size, 1 << 20),
            ("n_positions", self.n_positions, 1 << 16),
            ("n_embd", self.n_embd, 1 << 14),
            ("n_layer", self.n_layer, 1 << 8),
            ("n_head", self.n_head, 1 << 10),
            ("n_inner", self.n_inner, 1 << 16),
        ] {
            if value == 0 || value > most {
                return Err(invalid(format!("{name} is {value}, not from 1 to {most}")));
            }
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(invalid(format!(
                "n_head {} does not divide n_embd {}",
                self.n_head, self.n_embd
            )));
        }
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon < 1.0) {
            return Err(invalid(format!(
                "layer_norm_epsilon is {}, not between 0 and 1",
                self.layer_norm_epsilon
            )));
        }
        for &id in &self.eos_token_ids {
            if id as usize >= self.vocab_size {
                return Err(invalid(format!(
                    "eos_token_id {id} is outside the vocabulary of {}",
                    self.vocab_size
                )));
            }
        }
        Ok(())
    }

    /// Lets the tokenizer's end-of-text token end texts where the config names
    /// no token for it.
    pub fn default_eos(&mut self, end_of_text: Option<u32>) {
        if self.eos_token_ids.is_empty() {
            let known = end_of_text.filter(|&id| (id as usize) < self.vocab_size);
            self.eos_token_ids.extend(known);
        }
    }

    /// Errors where the weights would leave no room for anything else in a tab:
    /// an eighth of the address space stays free.
    pub fn require_memory(&self, dtype: Dtype) -> Result<()> {
        let needed = self.parameters().saturating_mul(dtype.bits_per_weight()) / 8;
        if needed <= ADDRESS_SPACE - ADDRESS_SPACE / 8 {
            return Ok(());
        }
        Err(Error::OutOfMemory {
            needed,
            purpose: format!(
                "for the weights in {}, a tab's wasm memory ends at 4 GiB",
                dtype.name()
            ),
        })
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Factor on the attention scores of block `layer`.
    pub fn attention_scale(&self, layer: usize) -> f64 {
        let mut scale = 1.0;
        if self.scale_attn_weights {
            scale /= (self.head_dim() as f64).sqrt();
        }
        if self.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f64;
        }
        scale
    }

    /// Number of weights, the tied head counted once.
    pub fn parameters(&self) -> u64 {
        let [vocab, positions, d, inner, layers] = [
            self.vocab_size,
            self.n_positions,
            self.n_embd,
            self.n_inner,
            self.n_layer,
        ]
        .map(|n| n as u64);
        let attention = (d * 3 * d + 3 * d) + (d * d + d);
        let mlp = (d * inner + inner) + (inner * d + d);
        (vocab + positions) * d + layers * (attention + mlp + 4 * d) + 2 * d
    }
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidModelFile(reason.into())
}

/// The JSON object, with typed look-ups whose errors name the field. A field
/// that is `null` counts as absent, as in transformers.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn size(&self, name: &str, default: usize) -> Result<usize> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| invalid(format!("{name} is {value}, not a whole number"))),
        }
    }

    fn number(&self, name: &str, default: f64) -> Result<f64> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .ok_or_else(|| invalid(format!("{name} is {value}, not a number"))),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| invalid(format!("{name} is {value}, not true or false"))),
        }
    }

    /// A single id or a list of them.
    fn eos_token_ids(&self) -> Result<Vec<u32>> {
        let one = |value: &Value| {
            value
                .as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .ok_or_else(|| invalid(format!("eos_token_id is {value}, not a token id")))
        };
        match self.get("eos_token_id") {
            None => Ok(Vec::new()),
            Some(Value::Array(ids)) => ids.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?]),
        }
    }

    fn refuse_unsupported(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::UnsupportedModel(what));
        let is_gpt2_class = |value: &Value| {
            let names = value.as_array();
            names.is_some_and(|names| {
                names
                    .iter()
                    .any(|name| name.as_str().is_some_and(|name| name.starts_with("GPT2")))
            })
        };
        match self.get("model_type") {
            Some(kind) if kind == "gpt2" => {}
            Some(kind) => return refuse(format!("model_type is {kind}, only \"gpt2\" runs here")),
            None if self.get("architectures").is_some_and(is_gpt2_class) => {}
            None => return refuse("config.json names no model_type \"gpt2\"".into()),
        }
        // `gelu_pytorch_tanh` is the same formula under another name.
        match self.get("activation_function") {
            None => {}
            Some(name) if name == "gelu_new" || name == "gelu_pytorch_tanh" => {}
            Some(name) => {
                return refuse(format!(
                    "activation_function is {name}, only \"gelu_new\" runs here"
                ));
            }
        }
        // `reorder_and_upcast_attn` only keeps half-precision attention in
        // f32; attention is f32 here in any case, so it needs no refusal.
        if self.flag("add_cross_attention", false)? {
            return refuse("add_cross_attention is true".into());
        }
        if !self.flag("tie_word_embeddings", true)? {
            return refuse("tie_word_embeddings is false: the head is not the embedding".into());
        }
        if self.get("quantization_config").is_some() {
            return refuse("quantization_config: load a GGUF file or plain weights".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Config> {
        Config::from_json(json.as_bytes())
    }

    #[test]
    fn every_published_size_has_its_known_number_of_weights() {
        for (layers, heads, width, parameters) in [
            (6, 12, 768, 81_912_576),
            (12, 12, 768, 124_439_808),
            (24, 16, 1024, 354_823_168),
            (36, 20, 1280, 774_030_080),
            (48, 25, 1600, 1_557_611_200),
        ] {
            let config = parse(&format!(
                r#"{{"model_type":"gpt2","n_layer":{layers},"n_head":{heads},"n_embd":{width}}}"#
            ))
            .unwrap();
            assert_eq!(config.parameters(), parameters);
            assert_eq!(config.n_inner, 4 * width);
            assert_eq!((config.vocab_size, config.n_positions), (50257, 1024));
        }
    }

    #[test]
    fn null_means_the_default_and_n_ctx_stands_in_for_n_positions() {
        let config =
            parse(r#"{"model_type":"gpt2","n_inner":null,"n_ctx":64,"eos_token_id":[1,2]}"#)
                .unwrap();
        assert_eq!(config.n_inner, 3072);
        assert_eq!(config.n_positions, 64);
        assert_eq!(config.eos_token_ids, [1, 2]);
    }

    #[test]
    fn unsupported_options_are_refused_by_name() {
        for (field, name) in [
            (r#""model_type":"llama""#, "model_type"),
            (
                r#""model_type":"gpt2","activation_function":"relu""#,
                "activation_function",
            ),
            (
                r#""model_type":"gpt2","add_cross_attention":true"#,
                "add_cross_attention",
            ),
            (
                r#""model_type":"gpt2","tie_word_embeddings":false"#,
                "tie_word_embeddings",
            ),
            (
                r#""model_type":"gpt2","quantization_config":{}"#,
                "quantization_config",
            ),
        ] {
            let error = parse(&format!("{{{field}}}")).unwrap_err();
            assert_eq!(error.code(), "unsupported-model");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn impossible_dimensions_are_refused_by_name() {
        for (field, name) in [
            (r#""n_layer":0"#, "n_layer"),
            (r#""n_layer":-3"#, "n_layer"),
            (r#""n_embd":1e99"#, "n_embd"),
            (r#""vocab_size":99999999999"#, "vocab_size"),
            (r#""n_head":7"#, "n_head"),
            (r#""layer_norm_epsilon":0"#, "layer_norm_epsilon"),
            (r#""eos_token_id":50257"#, "eos_token_id"),
            (r#""n_positions":"many""#, "n_positions"),
        ] {
            let error = parse(&format!(r#"{{"model_type":"gpt2",{field}}}"#)).unwrap_err();
            assert_eq!(error.code(), "invalid-model-file");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_json_object_is_refused() {
        for text in ["", "[]", "<!doctype html>", "{"] {
            assert_eq!(parse(text).unwrap_err().code(), "invalid-model-file");
        }
    }
}
