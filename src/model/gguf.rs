//! The header of a GGUF file: metadata and the list of tensors.
//!
//! Candle reads GGUF too, from a seekable file and with limits of a gigabyte.
//! Here the bytes arrive in chunks and may be hostile, so this parser tells
//! "more bytes are needed" from "this is wrong", and nothing it allocates is
//! larger than what it was given. Format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2-3.

use super::{Config, convert};
use crate::error::{Error, Result};
use candle_core::quantized::GgmlDType;
use std::collections::HashMap;

pub const MAGIC: &[u8; 4] = b"GGUF";
/// Largest header that is read, in bytes. GPT-2's, with its tokenizer, has 2
/// to 3 million.
pub const MAX_HEADER_BYTES: usize = 32 << 20;
const MAX_ENTRIES: u64 = 4096;
const MAX_NAME_BYTES: u64 = 1024;
/// Longest list: as many items as a vocabulary may have tokens.
const MAX_ITEMS: u64 = 1 << 20;
const MAX_ALIGNMENT: u64 = 1 << 16;

/// A parsed header.
#[derive(Debug, Default)]
pub struct Header {
    metadata: HashMap<String, Value>,
    pub tensors: Vec<TensorInfo>,
    /// Where the tensors' data begins in the file.
    pub data_start: u64,
    /// Data of every tensor begins at a multiple of this.
    pub alignment: u64,
}

/// One tensor of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    /// Slowest dimension first, as everywhere but in GGUF itself.
    pub shape: Vec<u64>,
    pub dtype: GgmlDType,
    /// From the start of the data.
    pub offset: u64,
}

/// The lists a tokenizer is made of.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TokenizerLists {
    pub tokens: Vec<String>,
    pub merges: Vec<String>,
    /// Ids of control tokens.
    pub special: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Integers(Vec<i128>),
    /// An array whose content nothing here needs.
    Other,
}

/// Why parsing stopped short.
enum Stop {
    NeedMore,
    Bad(Error),
}

fn bad(reason: impl Into<String>) -> Stop {
    Stop::Bad(Error::InvalidModelFile(reason.into()))
}

impl Header {
    /// Parses the header from the file's first bytes; `None` where more are
    /// needed. Errors: `invalid-model-file`, `unsupported-model`.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        match Self::read(&mut Reader { bytes, at: 0 }) {
            Ok(header) => Ok(Some(header)),
            Err(Stop::Bad(error)) => Err(error),
            Err(Stop::NeedMore) if bytes.len() > MAX_HEADER_BYTES => Err(Error::InvalidModelFile(
                format!("the GGUF header is over {MAX_HEADER_BYTES} bytes"),
            )),
            Err(Stop::NeedMore) => Ok(None),
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, Stop> {
        if reader.take(4)? != MAGIC {
            return Err(bad("no GGUF magic"));
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(Stop::Bad(Error::UnsupportedModel(format!(
                "GGUF version {version} (2 and 3 are read, little-endian)"
            ))));
        }
        let tensor_count = reader.count("tensors", MAX_ENTRIES)?;
        let metadata_count = reader.count("metadata entries", MAX_ENTRIES)?;
        let mut header = Self::default();
        for _ in 0..metadata_count {
            let key = reader.name()?;
            let kind = reader.u32()?;
            let value = reader.value(kind)?;
            if header.metadata.insert(key.clone(), value).is_some() {
                return Err(bad(format!("metadata {key} is there twice")));
            }
        }
        header.alignment = match header.metadata.get("general.alignment") {
            None => 32,
            Some(Value::Integer(n)) if (1..=i128::from(MAX_ALIGNMENT)).contains(n) => *n as u64,
            Some(other) => return Err(bad(format!("general.alignment is {other:?}"))),
        };
        for _ in 0..tensor_count {
            header.tensors.push(reader.tensor()?);
        }
        header.data_start = (reader.at as u64).next_multiple_of(header.alignment);
        Ok(header)
    }

    /// The model's dimensions, from the metadata and the embedding's shape.
    pub fn config(&self) -> Result<Config> {
        let architecture = self.text("general.architecture").unwrap_or("no name");
        if architecture != "gpt2" {
            return Err(Error::UnsupportedModel(format!(
                "the GGUF file's architecture is {architecture:?}, only \"gpt2\" runs here"
            )));
        }
        let embedding = self
            .tensors
            .iter()
            .find(|tensor| tensor.name == "token_embd.weight")
            .ok_or_else(|| Error::InvalidModelFile("token_embd.weight is missing".into()))?;
        let n_embd = self.size("gpt2.embedding_length")?;
        let config = Config {
            vocab_size: embedding
                .shape
                .first()
                .and_then(|&rows| usize::try_from(rows).ok())
                .unwrap_or(0),
            n_positions: self.size("gpt2.context_length")?,
            n_embd,
            n_layer: self.size("gpt2.block_count")?,
            n_head: self.size("gpt2.attention.head_count")?,
            n_inner: self.size("gpt2.feed_forward_length")?,
            layer_norm_epsilon: match self.metadata.get("gpt2.attention.layer_norm_epsilon") {
                Some(Value::Float(epsilon)) => shortest(*epsilon),
                _ => {
                    return Err(Error::InvalidModelFile(
                        "gpt2.attention.layer_norm_epsilon is missing".into(),
                    ));
                }
            },
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            eos_token_ids: match self.metadata.get("tokenizer.ggml.eos_token_id") {
                Some(Value::Integer(id)) => vec![u32::try_from(*id).map_err(|_| {
                    Error::InvalidModelFile(format!("tokenizer.ggml.eos_token_id is {id}"))
                })?],
                _ => Vec::new(),
            },
        };
        config.validate()?;
        Ok(config)
    }

    /// The tokenizer inside, where there is one. Takes the lists out.
    pub fn take_tokenizer(&mut self) -> Result<Option<TokenizerLists>> {
        let Some(model) = self.text("tokenizer.ggml.model") else {
            return Ok(None);
        };
        if model != "gpt2" {
            return Err(Error::InvalidTokenizer(format!(
                "the GGUF file's tokenizer is {model:?}, only byte-level BPE (\"gpt2\") is read"
            )));
        }
        // GPT-2's split pattern; files made before the key existed have none.
        match self.text("tokenizer.ggml.pre") {
            None | Some("gpt-2" | "gpt2" | "default") => {}
            Some(other) => {
                return Err(Error::InvalidTokenizer(format!(
                    "the GGUF file's pre-tokenizer is {other:?}, only \"gpt-2\" is read"
                )));
            }
        }
        let mut texts = |key: &str| match self.metadata.remove(key) {
            Some(Value::Texts(list)) => Ok(list),
            _ => Err(Error::InvalidTokenizer(format!(
                "{key} is not a list of texts"
            ))),
        };
        let tokens = texts("tokenizer.ggml.tokens")?;
        let merges = texts("tokenizer.ggml.merges")?;
        // Token type 3 is CONTROL (llama.h).
        let special = match self.metadata.remove("tokenizer.ggml.token_type") {
            Some(Value::Integers(types)) => types
                .iter()
                .zip(0u32..)
                .filter(|&(&kind, _)| kind == 3)
                .map(|(_, id)| id)
                .collect(),
            _ => Vec::new(),
        };
        Ok(Some(TokenizerLists {
            tokens,
            merges,
            special,
        }))
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn size(&self, key: &str) -> Result<usize> {
        match self.metadata.get(key) {
            Some(Value::Integer(n)) => {
                usize::try_from(*n).map_err(|_| Error::InvalidModelFile(format!("{key} is {n}")))
            }
            _ => Err(Error::InvalidModelFile(format!("{key} is missing"))),
        }
    }
}

/// GGUF keeps the epsilon as f32: `1e-5` there is `9.99999974e-6` in f64. The
/// shortest decimal of the f32 is the number that was meant.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// Reads little-endian values off a buffer that may end early.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(count).ok_or(Stop::NeedMore)?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::NeedMore)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn count(&mut self, what: &str, most: u64) -> Result<u64, Stop> {
        let count = self.u64()?;
        if count > most {
            return Err(bad(format!("{count} {what}, the limit is {most}")));
        }
        Ok(count)
    }

    fn string(&mut self, most: u64) -> Result<String, Stop> {
        let len = self.count("bytes in a text", most)?;
        let bytes = self.take(len as usize)?;
        // Tokens of byte-level BPE are valid UTF-8; so is all other text here.
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(bad("a text of the GGUF header is not UTF-8")),
        }
    }

    fn name(&mut self) -> Result<String, Stop> {
        self.string(MAX_NAME_BYTES)
    }

    fn value(&mut self, kind: u32) -> Result<Value, Stop> {
        Ok(match kind {
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Bool(self.take(1)?[0] != 0),
            8 => Value::Text(self.string(MAX_HEADER_BYTES as u64)?),
            9 => self.list()?,
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => Value::Integer(self.integer(kind)?),
        })
    }

    fn integer(&mut self, kind: u32) -> Result<i128, Stop> {
        Ok(match kind {
            0 => self.take(1)?[0].into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            10 => self.u64()?.into(),
            11 => i64::from_le_bytes(self.array()?).into(),
            _ => return Err(bad(format!("metadata of unknown type {kind}"))),
        })
    }

    /// Items are read one by one, so a count that the bytes do not back
    /// allocates nothing.
    fn list(&mut self) -> Result<Value, Stop> {
        let kind = self.u32()?;
        let count = self.count("items in a list", MAX_ITEMS)?;
        Ok(match kind {
            8 => {
                let mut texts = Vec::new();
                for _ in 0..count {
                    texts.push(self.string(MAX_HEADER_BYTES as u64)?);
                }
                Value::Texts(texts)
            }
            6 | 7 | 12 => {
                let width = match kind {
                    6 => 4,
                    7 => 1,
                    _ => 8,
                };
                self.take(count as usize * width)?;
                Value::Other
            }
            9 => return Err(bad("metadata with lists inside a list")),
            _ => {
                let mut integers = Vec::new();
                for _ in 0..count {
                    integers.push(self.integer(kind)?);
                }
                Value::Integers(integers)
            }
        })
    }

    fn tensor(&mut self) -> Result<TensorInfo, Stop> {
        let name = self.name()?;
        let dimensions = self.u32()?;
        if !(1..=4).contains(&dimensions) {
            return Err(bad(format!("{name} has {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(self.u64()?);
        }
        shape.reverse();
        let code = self.u32()?;
        let dtype = convert::from_gguf_type(code).ok_or_else(|| {
            Stop::Bad(Error::UnsupportedModel(format!(
                "{name} has GGUF tensor type {code}"
            )))
        })?;
        Ok(TensorInfo {
            name,
            shape,
            dtype,
            offset: self.u64()?,
        })
    }
}

#[cfg(test)]
#[path = "gguf_tests.rs"]
mod tests;
