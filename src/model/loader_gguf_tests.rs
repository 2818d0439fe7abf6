//! The loader against GGUF files that Candle writes, in every number format.

use super::*;
use crate::model::names;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::QTensor;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::{Device, Tensor};
use std::io::Cursor;

/// Wide enough for the 256-number blocks of the K formats.
const CONFIG: &str = r#"{"model_type":"gpt2","n_layer":1,"n_head":4,"n_embd":256,"n_inner":512,
    "vocab_size":300,"n_positions":16}"#;

fn config() -> Config {
    Config::from_json(CONFIG.as_bytes()).unwrap()
}

/// Names of the file's tensors, ours and llama.cpp's.
fn tensor_names() -> Vec<(String, String)> {
    let theirs = |name: &str| {
        let name = name.replace("h.0.", "blk.0.");
        let pairs = [
            ("wte", "token_embd"),
            ("wpe", "position_embd"),
            ("ln_f", "output_norm"),
            ("ln_1", "attn_norm"),
            ("ln_2", "ffn_norm"),
            ("attn.c_attn", "attn_qkv"),
            ("attn.c_proj", "attn_output"),
            ("mlp.c_fc", "ffn_up"),
            ("mlp.c_proj", "ffn_down"),
        ];
        pairs
            .iter()
            .fold(name, |name, (ours, theirs)| name.replace(ours, theirs))
    };
    let names = names::all(&config());
    names.into_iter().map(|n| (n.clone(), theirs(&n))).collect()
}

fn quantised(name: &str, dtype: GgmlDType) -> QTensor {
    let mut shape = names::shape(&config(), name).unwrap();
    if names::is_linear(name) {
        shape.reverse();
    }
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|i| (name.len() as f32 + i as f32 * 0.731).sin())
        .collect();
    let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    // Vectors stay f32, as converters leave them.
    let dtype = if name.ends_with("bias") || name.contains("ln_") {
        GgmlDType::F32
    } else {
        dtype
    };
    QTensor::quantize(&tensor, dtype).unwrap()
}

fn write(tensors: &[(String, QTensor)], architecture: &str) -> Vec<u8> {
    let metadata = [
        (
            "general.architecture",
            Value::String(architecture.to_owned()),
        ),
        ("gpt2.context_length", Value::U32(16)),
        ("gpt2.embedding_length", Value::U32(256)),
        ("gpt2.block_count", Value::U32(1)),
        ("gpt2.feed_forward_length", Value::U32(512)),
        ("gpt2.attention.head_count", Value::U32(4)),
        ("gpt2.attention.layer_norm_epsilon", Value::F32(1e-5)),
    ];
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(k, v)| (*k, v)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
    file.into_inner()
}

fn model_in(dtype: GgmlDType) -> Vec<(String, QTensor)> {
    tensor_names()
        .into_iter()
        .map(|(ours, theirs)| (theirs, quantised(&ours, dtype)))
        .collect()
}

fn load(file: &[u8], chunk: usize) -> Result<Loaded> {
    let mut loader = Loader::new(None, Dtype::F32);
    for chunk in file.chunks(chunk) {
        loader.push(chunk)?;
    }
    loader.finish()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn every_number_format_gives_the_numbers_that_candle_decodes() {
    for dtype in [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q8_0,
        GgmlDType::Q4_0,
        GgmlDType::Q5_1,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ] {
        let file = write(&model_in(dtype), "gpt2");
        for chunk in [1009, file.len()] {
            let loaded = load(&file, chunk).unwrap();
            let mut weights = loaded.weights.tensors().unwrap();
            assert_eq!(
                loaded.config,
                Config {
                    eos_token_ids: vec![],
                    ..config()
                }
            );
            for (name, _) in tensor_names() {
                let found = weights.take(&name).unwrap();
                assert_eq!(found.dims(), names::shape(&config(), &name).unwrap());
                let mut expected = quantised(&name, dtype).dequantize(&Device::Cpu).unwrap();
                if names::is_linear(&name) {
                    expected = expected.t().unwrap();
                }
                assert_eq!(values(&found), values(&expected), "{name} {dtype:?}");
            }
        }
    }
}

#[test]
fn of_two_copies_of_the_embedding_the_finer_one_is_kept() {
    for (embedding, head) in [
        (GgmlDType::Q4_0, GgmlDType::Q8_0),
        (GgmlDType::Q8_0, GgmlDType::Q4_0),
    ] {
        let mut tensors = model_in(embedding);
        tensors.push(("output.weight".into(), quantised("wte.weight", head)));
        let loaded = load(&write(&tensors, "gpt2"), 4096).unwrap();
        let mut weights = loaded.weights.tensors().unwrap();
        let found = weights.take("wte.weight").unwrap();
        let expected = quantised("wte.weight", GgmlDType::Q8_0);
        assert_eq!(
            values(&found),
            values(&expected.dequantize(&Device::Cpu).unwrap())
        );
    }
}

#[test]
fn a_head_of_its_own_is_refused_wherever_it_stands() {
    let untied = Tensor::randn(0f32, 1.0, (300, 256), &Device::Cpu).unwrap();
    for first in [true, false] {
        let head = QTensor::quantize(&untied, GgmlDType::Q8_0).unwrap();
        let mut tensors = model_in(GgmlDType::Q8_0);
        let at = if first { 0 } else { tensors.len() };
        tensors.insert(at, ("output.weight".into(), head));
        let error = load(&write(&tensors, "gpt2"), 4096).err().unwrap();
        assert_eq!(error.code(), "unsupported-model");
        assert!(error.to_string().contains("not tied"), "{error}");
    }
}

#[test]
fn a_config_that_says_otherwise_is_refused() {
    let other = CONFIG.replace("\"n_head\":4", "\"n_head\":8");
    let mut loader = Loader::new(
        Some(Config::from_json(other.as_bytes()).unwrap()),
        Dtype::F32,
    );
    let error = loader
        .push(&write(&model_in(GgmlDType::F32), "gpt2"))
        .unwrap_err();
    assert_eq!(error.code(), "invalid-model-file");
    assert!(error.to_string().contains("different models"), "{error}");
}

#[test]
fn truncated_misplaced_and_foreign_files_are_refused() {
    let file = write(&model_in(GgmlDType::Q8_0), "gpt2");
    for len in [3, 30, 3000, file.len() - 1000] {
        let error = load(&file[..len], 4096).err().unwrap();
        assert_eq!(error.code(), "truncated-file", "{error}");
    }
    let mut longer = file.clone();
    longer.extend([0; 100]);
    assert_eq!(
        load(&longer, 4096).err().unwrap().code(),
        "invalid-model-file"
    );
    let mut missing = model_in(GgmlDType::Q8_0);
    missing.remove(5);
    let error = load(&write(&missing, "gpt2"), 4096).err().unwrap();
    assert!(error.to_string().contains("missing"), "{error}");
    let error = load(&write(&model_in(GgmlDType::F32), "llama"), 4096)
        .err()
        .unwrap();
    assert_eq!(error.code(), "unsupported-model");
}
