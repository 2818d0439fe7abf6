//! The loader against files made here: whole, in pieces, broken.

use super::*;
use crate::model::names;
use proptest::prelude::*;
use serde_json::json;

const CONFIG: &str = r#"{"model_type":"gpt2","n_layer":1,"n_head":2,"n_embd":32,"n_inner":64,
    "vocab_size":40,"n_positions":8}"#;

fn config() -> Config {
    Config::from_json(CONFIG.as_bytes()).unwrap()
}

/// A number that tells which weight and which place it is from.
fn value(name: &str, index: usize) -> f32 {
    let seed = name.bytes().map(u32::from).sum::<u32>() as f32;
    (seed + index as f32 * 0.37).sin()
}

fn file(header: &serde_json::Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

/// A safetensors file of the whole model, with extra tensors before it.
fn safetensors_file(prefix: &str, extra: &[(&str, &str, usize)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, bytes) in extra {
        header.insert(
            (*name).into(),
            json!({"dtype": dtype, "shape": [bytes], "data_offsets": [data.len(), data.len() + bytes]}),
        );
        data.extend(vec![255u8; *bytes]);
    }
    for name in names::all(&config()) {
        let shape = names::shape(&config(), &name).unwrap();
        let start = data.len();
        for index in 0..shape.iter().product() {
            data.extend(value(&name, index).to_le_bytes());
        }
        header.insert(
            format!("{prefix}{name}"),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    file(&header.into(), &data)
}

fn load(file: &[u8], chunk: usize) -> Result<Loaded> {
    let mut loader = Loader::new(Some(config()), Dtype::F32);
    for chunk in file.chunks(chunk) {
        loader.push(chunk)?;
    }
    loader.finish()
}

fn check(loaded: Loaded) {
    let mut weights = loaded.weights.tensors().unwrap();
    for name in names::all(&config()) {
        let tensor = weights.take(&name).unwrap();
        assert_eq!(tensor.dims(), names::shape(&config(), &name).unwrap());
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        for (index, &found) in values.iter().enumerate() {
            assert_eq!(found, value(&name, index), "{name}[{index}]");
        }
    }
}

#[test]
fn chunks_of_any_size_give_the_same_model() {
    let file = safetensors_file("", &[]);
    let whole = load(&file, file.len()).unwrap();
    let sha256 = whole.sha256;
    check(whole);
    for chunk in [1, 7, 1000, 65537] {
        let loaded = load(&file, chunk).unwrap();
        assert_eq!(loaded.sha256, sha256);
        check(loaded);
    }
}

#[test]
fn prefix_mask_buffers_and_tied_head_are_taken_in_stride() {
    let extra = [
        ("transformer.h.0.attn.bias", "U8", 64),
        ("transformer.h.0.attn.masked_bias", "BOOL", 1),
        ("lm_head.weight", "U8", 40),
    ];
    check(load(&safetensors_file("transformer.", &extra), 999).unwrap());
}

#[test]
fn a_file_that_ends_early_says_where() {
    let file = safetensors_file("", &[]);
    for cut in [1, 4, 1000, file.len() - 20] {
        let error = load(&file[..file.len() - cut], 4096).err().unwrap();
        assert_eq!(error.code(), "truncated-file", "{error}");
    }
    for len in [0, 3, 8, 9, 100] {
        let error = load(&file[..len], 4096).err().unwrap();
        assert_eq!(error.code(), "truncated-file", "{error}");
    }
}

#[test]
fn a_file_that_goes_on_is_refused() {
    let mut file = safetensors_file("", &[]);
    file.push(0);
    let error = load(&file, 4096).err().unwrap();
    assert_eq!(error.code(), "invalid-model-file");
}

#[test]
fn what_is_no_model_file_is_described() {
    for (bytes, words) in [
        (&b"<!doctype html><html></html>"[..], "HTML"),
        (b"\n <html><body>404</body></html>", "HTML"),
        (b"PK\x03\x04 a zip of pickles", "PyTorch"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (&[7; 64], "neither"),
    ] {
        let error = load(bytes, 4096).err().unwrap();
        assert_eq!(error.code(), "not-a-model-file");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_tensor_that_does_not_fit_the_config_is_refused_by_name() {
    let text = String::from_utf8_lossy(&safetensors_file("", &[])[8..]).into_owned();
    let header_end = text.rfind("]}}").unwrap() + 3;
    let header = &text[..header_end];
    let data = &safetensors_file("", &[])[8 + header_end..];
    for (from, to, code, names) in [
        // Same bytes, other shape.
        ("[40,32]", "[32,40]", "invalid-model-file", "wte.weight"),
        (
            "h.0.ln_1.bias",
            "h.0.ln_9.bias",
            "unsupported-model",
            "h.0.ln_9.bias",
        ),
        (
            "h.0.ln_1.bias",
            "transformer.h.0.ln_1.weight",
            "invalid-model-file",
            "twice",
        ),
        (
            "h.0.ln_1.bias",
            "h.0.attn.bias",
            "invalid-model-file",
            "h.0.ln_1.bias is missing",
        ),
        ("\"F32\"", "\"I32\"", "unsupported-model", "I32"),
    ] {
        let changed: serde_json::Value =
            serde_json::from_str(&header.replacen(from, to, 1)).unwrap();
        let error = load(&file(&changed, data), 4096).err().unwrap();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(names), "{error}");
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let mut file = safetensors_file("", &[]);
    let end = file.len();
    file[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = load(&file, 4096).err().unwrap();
    assert_eq!(error.code(), "invalid-model-file");
    assert!(error.to_string().contains("finite"), "{error}");
}

#[test]
fn safetensors_without_a_config_asks_for_it() {
    let error = Loader::new(None, Dtype::F32)
        .push(&safetensors_file("", &[]))
        .unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
    assert!(error.to_string().contains("config.json"));
}

#[test]
fn a_model_that_no_tab_can_hold_is_refused_before_its_bytes() {
    let config =
        Config::from_json(br#"{"model_type":"gpt2","n_layer":48,"n_head":25,"n_embd":1600}"#)
            .unwrap();
    let header = json!({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}});
    let error = Loader::new(Some(config), Dtype::F32)
        .push(&file(&header, &[]))
        .unwrap_err();
    assert_eq!(error.code(), "out-of-memory");
    assert!(error.to_string().contains("6230444800"), "{error}");
}

#[test]
fn half_precision_weights_are_widened() {
    use half::{bf16, f16};
    let whole = safetensors_file("", &[]);
    let header_bytes = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&whole[8..8 + header_bytes]).unwrap();
    let (numbers, _) = whole[8 + header_bytes..].as_chunks::<4>();
    let f32s = || numbers.iter().map(|&b| f32::from_le_bytes(b));
    let in_f16: Vec<u8> = f32s()
        .flat_map(|x| f16::from_f32(x).to_le_bytes())
        .collect();
    let in_bf16: Vec<u8> = f32s()
        .flat_map(|x| bf16::from_f32(x).to_le_bytes())
        .collect();
    for (dtype, data) in [("F16", in_f16), ("BF16", in_bf16)] {
        let mut header = header.clone();
        for info in header.as_object_mut().unwrap().values_mut() {
            info["dtype"] = dtype.into();
            for at in info["data_offsets"].as_array_mut().unwrap() {
                *at = (at.as_u64().unwrap() / 2).into();
            }
        }
        let loaded = load(&file(&header, &data), 4096).unwrap();
        let mut weights = loaded.weights.tensors().unwrap();
        let found = weights.take("h.0.mlp.c_fc.weight").unwrap();
        let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
        for (index, found) in found.into_iter().enumerate() {
            let exact = value("h.0.mlp.c_fc.weight", index);
            let expected = match dtype {
                "F16" => f16::from_f32(exact).to_f32(),
                _ => bf16::from_f32(exact).to_f32(),
            };
            assert_eq!(found, expected);
        }
    }
}

proptest! {
    #[test]
    fn no_change_of_bytes_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<u8>()), 1..6),
        chunk in 1..5000usize,
    ) {
        let mut file = safetensors_file("", &[]);
        let header_bytes = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        for (at, in_header, byte) in changes {
            // Half of the changes hit the small header.
            let len = if in_header { 8 + header_bytes } else { file.len() };
            let at = at.index(len);
            file[at] = byte;
        }
        if let Err(error) = load(&file, chunk) {
            prop_assert_ne!(error.code(), "internal");
        }
    }
}
