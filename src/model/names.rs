//! Tensor names and shapes of a GPT-2.
//!
//! Inside the crate a tensor goes by Hugging Face's name without the
//! `transformer.` prefix (`h.0.attn.c_attn.weight`). Both file formats are
//! brought to these names here, and every shape is known before a byte is
//! allocated for it.

use super::Config;

/// What a tensor of a file is to this library.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// A weight of the model, by its name here.
    Weight(String),
    /// Known and not needed: causal masks of old checkpoints, the tied head's
    /// second copy.
    Skip,
    /// Not part of a GPT-2.
    Unknown,
}

/// Role of a tensor of a safetensors file.
pub fn from_hugging_face(config: &Config, name: &str) -> Role {
    let name = name.strip_prefix("transformer.").unwrap_or(name);
    if name == "lm_head.weight" {
        return Role::Skip;
    }
    if let Some((layer, rest)) = block_of(name, "h.")
        && layer < config.n_layer
        && matches!(rest, "attn.bias" | "attn.masked_bias")
    {
        return Role::Skip;
    }
    known(config, name)
}

/// Role of a tensor of a GGUF file, by llama.cpp's names for GPT-2.
pub fn from_gguf(config: &Config, name: &str) -> Role {
    let outside_blocks = match name {
        "token_embd.weight" => Some("wte.weight"),
        "position_embd.weight" => Some("wpe.weight"),
        "output_norm.weight" => Some("ln_f.weight"),
        "output_norm.bias" => Some("ln_f.bias"),
        _ => None,
    };
    if let Some(name) = outside_blocks {
        return known(config, name);
    }
    let Some((layer, rest)) = block_of(name, "blk.") else {
        return Role::Unknown;
    };
    let Some((part, kind)) = rest.rsplit_once('.') else {
        return Role::Unknown;
    };
    let part = match part {
        "attn_norm" => "ln_1",
        "attn_qkv" => "attn.c_attn",
        "attn_output" => "attn.c_proj",
        "ffn_norm" => "ln_2",
        "ffn_up" => "mlp.c_fc",
        "ffn_down" => "mlp.c_proj",
        _ => return Role::Unknown,
    };
    known(config, &format!("h.{layer}.{part}.{kind}"))
}

fn known(config: &Config, name: &str) -> Role {
    match shape(config, name) {
        Some(_) => Role::Weight(name.to_owned()),
        None => Role::Unknown,
    }
}

/// Shape of the weight `name`, matrices as Hugging Face's Conv1D has them:
/// `[in, out]`. `None` where a GPT-2 of this config has no such weight.
pub fn shape(config: &Config, name: &str) -> Option<Vec<usize>> {
    let d = config.n_embd;
    let shape = match name {
        "wte.weight" => vec![config.vocab_size, d],
        "wpe.weight" => vec![config.n_positions, d],
        "ln_f.weight" | "ln_f.bias" => vec![d],
        _ => {
            let (layer, rest) = block_of(name, "h.")?;
            if layer >= config.n_layer {
                return None;
            }
            match rest {
                "ln_1.weight" | "ln_1.bias" | "ln_2.weight" | "ln_2.bias" => vec![d],
                "attn.c_attn.weight" => vec![d, 3 * d],
                "attn.c_attn.bias" => vec![3 * d],
                "attn.c_proj.weight" => vec![d, d],
                "attn.c_proj.bias" => vec![d],
                "mlp.c_fc.weight" => vec![d, config.n_inner],
                "mlp.c_fc.bias" => vec![config.n_inner],
                "mlp.c_proj.weight" => vec![config.n_inner, d],
                "mlp.c_proj.bias" => vec![d],
                _ => return None,
            }
        }
    };
    Some(shape)
}

/// True for the matrices that GGUF stores as `[out, in]`.
pub fn is_linear(name: &str) -> bool {
    name.starts_with("h.")
        && name.ends_with(".weight")
        && (name.contains(".attn.") || name.contains(".mlp."))
}

/// Names of all weights of a model, in the order they are used.
pub fn all(config: &Config) -> Vec<String> {
    let block = [
        "ln_1.weight",
        "ln_1.bias",
        "attn.c_attn.weight",
        "attn.c_attn.bias",
        "attn.c_proj.weight",
        "attn.c_proj.bias",
        "ln_2.weight",
        "ln_2.bias",
        "mlp.c_fc.weight",
        "mlp.c_fc.bias",
        "mlp.c_proj.weight",
        "mlp.c_proj.bias",
    ];
    let mut names = vec!["wte.weight".to_owned(), "wpe.weight".to_owned()];
    for layer in 0..config.n_layer {
        names.extend(block.iter().map(|part| format!("h.{layer}.{part}")));
    }
    names.extend(["ln_f.weight".to_owned(), "ln_f.bias".to_owned()]);
    names
}

/// `("h.", "h.3.ln_1.weight")` → `(3, "ln_1.weight")`. Only plain decimal
/// numbers count, so that no two names mean one tensor.
fn block_of<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (layer, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    let number: usize = layer.parse().ok()?;
    (number.to_string() == layer).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::from_json(br#"{"model_type":"gpt2","n_layer":2}"#).unwrap()
    }

    #[test]
    fn both_formats_reach_every_weight_of_the_model() {
        let config = config();
        for name in all(&config) {
            for prefix in ["", "transformer."] {
                assert_eq!(
                    from_hugging_face(&config, &format!("{prefix}{name}")),
                    Role::Weight(name.clone())
                );
            }
        }
        let gguf = [
            ("token_embd.weight", "wte.weight"),
            ("blk.1.attn_qkv.bias", "h.1.attn.c_attn.bias"),
            ("blk.0.ffn_down.weight", "h.0.mlp.c_proj.weight"),
            ("output_norm.bias", "ln_f.bias"),
        ];
        for (theirs, ours) in gguf {
            assert_eq!(from_gguf(&config, theirs), Role::Weight(ours.to_owned()));
        }
    }

    #[test]
    fn the_weights_listed_are_all_that_the_config_counts() {
        let config = config();
        let listed: usize = all(&config)
            .iter()
            .map(|name| shape(&config, name).unwrap().iter().product::<usize>())
            .sum();
        assert_eq!(listed as u64, config.parameters());
    }

    #[test]
    fn mask_buffers_and_the_tied_head_are_skipped() {
        for name in [
            "lm_head.weight",
            "h.0.attn.bias",
            "transformer.h.1.attn.masked_bias",
        ] {
            assert_eq!(from_hugging_face(&config(), name), Role::Skip);
        }
    }

    #[test]
    fn what_a_gpt2_does_not_have_is_unknown() {
        for name in [
            "h.2.ln_1.weight",
            "h.01.ln_1.weight",
            "h.+1.ln_1.weight",
            "score.weight",
            "transformer.transformer.wte.weight",
            "h.2.attn.bias",
        ] {
            assert_eq!(from_hugging_face(&config(), name), Role::Unknown, "{name}");
        }
        assert_eq!(from_gguf(&config(), "blk.0.ffn_gate.weight"), Role::Unknown);
    }
}
