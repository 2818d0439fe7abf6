//! Which bytes of a model file are which weight, checked before any is read.

use super::gguf::{self, TokenizerLists};
use super::names::{self, Role};
use super::{Config, convert, safetensors};
use crate::error::{Error, Result};
use candle_core::quantized::GgmlDType;
use std::collections::HashSet;

/// What the header said: which bytes are what.
pub struct Plan {
    /// By position in the file.
    pub entries: Vec<Entry>,
    pub end: u64,
    /// Bytes allowed after `end`.
    pub padding: u64,
    pub tokenizer: Option<TokenizerLists>,
}

pub struct Entry {
    /// Name in the file, for errors.
    pub name: String,
    pub role: Role,
    pub dtype: GgmlDType,
    /// Shape as stored.
    pub shape: Vec<usize>,
    /// Stored `[out, in]`, wanted `[in, out]`.
    pub transposed: bool,
    pub start: u64,
    pub bytes: u64,
}

impl Plan {
    /// The plan of a safetensors file whose data begins at `data_start`.
    pub fn of_safetensors(
        config: &Config,
        tensors: Vec<safetensors::TensorInfo>,
        data_start: u64,
    ) -> Result<Self> {
        let mut entries = Vec::new();
        for tensor in tensors {
            let role = names::from_hugging_face(config, &tensor.name);
            let dtype = match (&role, tensor.dtype) {
                (_, Some(dtype)) => dtype,
                // Its numbers are not read, so any format will do.
                (Role::Skip, None) => GgmlDType::F32,
                (_, None) => {
                    return Err(Error::UnsupportedModel(format!(
                        "{} has dtype {}, only F32, F16 and BF16 are read",
                        tensor.name, tensor.dtype_name
                    )));
                }
            };
            entries.push(Entry {
                role,
                dtype,
                shape: tensor.shape,
                transposed: false,
                start: data_start + tensor.range.0,
                bytes: tensor.range.1 - tensor.range.0,
                name: tensor.name,
            });
        }
        Self::new(config, entries, 0, None)
    }

    /// The plan of a GGUF file. Takes the tokenizer out of the header.
    pub fn of_gguf(config: &Config, header: &mut gguf::Header) -> Result<Self> {
        let mut entries = Vec::new();
        for tensor in &header.tensors {
            let contradiction =
                |what: &str| Error::InvalidModelFile(format!("{}: {what}", tensor.name));
            let elements = tensor
                .shape
                .iter()
                .try_fold(1u64, |product, &n| product.checked_mul(n));
            let bytes = elements
                .and_then(|elements| convert::byte_len(tensor.dtype, elements))
                .ok_or_else(|| contradiction("its shape is no whole number of blocks"))?;
            let start = header
                .data_start
                .checked_add(tensor.offset)
                .filter(|start| start.checked_add(bytes).is_some())
                .ok_or_else(|| contradiction("its offset is past any file's end"))?;
            // See `filling::SecondCopy`.
            let role = match tensor.name.as_str() {
                "output.weight" => Role::Weight("wte.weight".into()),
                name => names::from_gguf(config, name),
            };
            entries.push(Entry {
                transposed: matches!(&role, Role::Weight(name) if names::is_linear(name)),
                role,
                dtype: tensor.dtype,
                shape: tensor.shape.iter().map(|&n| n as usize).collect(),
                start,
                bytes,
                name: tensor.name.clone(),
            });
        }
        entries.sort_by_key(|entry| entry.start);
        let tokenizer = header.take_tokenizer()?;
        Self::new(config, entries, header.alignment, tokenizer)
    }

    /// Checks the list of tensors against the config.
    fn new(
        config: &Config,
        entries: Vec<Entry>,
        padding: u64,
        tokenizer: Option<TokenizerLists>,
    ) -> Result<Self> {
        let mut seen = HashSet::new();
        let mut end = 0;
        for entry in &entries {
            if entry.start < end {
                return Err(Error::InvalidModelFile(format!(
                    "{} overlaps the tensor before it",
                    entry.name
                )));
            }
            end = entry.start + entry.bytes;
            let name = match &entry.role {
                Role::Skip => continue,
                Role::Unknown => {
                    return Err(Error::UnsupportedModel(format!(
                        "the tensor {} is not part of a GPT-2 of {} layers",
                        entry.name, config.n_layer
                    )));
                }
                Role::Weight(name) => name,
            };
            let mut expected = names::shape(config, name)
                .ok_or_else(|| Error::Internal(format!("{name} has no shape")))?;
            if entry.transposed {
                expected.reverse();
            }
            if entry.shape != expected {
                return Err(Error::InvalidModelFile(format!(
                    "{} has shape {:?}, the config says {expected:?}",
                    entry.name, entry.shape
                )));
            }
            if !seen.insert((name.clone(), entry.name == "output.weight")) {
                return Err(Error::InvalidModelFile(format!("{name} is there twice")));
            }
        }
        for name in names::all(config) {
            if !seen.contains(&(name.clone(), false)) {
                return Err(Error::InvalidModelFile(format!("{name} is missing")));
            }
        }
        Ok(Self {
            entries,
            end,
            padding,
            tokenizer,
        })
    }
}
