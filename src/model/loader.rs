//! A model from the bytes of its file, as they arrive.
//!
//! The file is pushed in chunks of any size and never held: the header is kept
//! until it is whole, then every tensor is decoded slab by slab straight into
//! its place. The peak is the size of the result plus one chunk. Shapes,
//! lengths and names are checked against the config before anything is
//! allocated for them; a file that ends early is known to have.

use super::filling::Filling;
use super::gguf::TokenizerLists;
use super::names::Role;
use super::plan::Plan;
use super::sink::{FloatSink, Sink};
use super::{Config, Dtype, Weights, gguf, safetensors};
use crate::engine::packed::Packed;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// What a file gave.
pub struct Loaded {
    pub config: Config,
    pub weights: LoadedWeights,
    /// The tokenizer of a GGUF file, where it has one.
    pub tokenizer: Option<TokenizerLists>,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
}

/// The weights in the form that their dtype runs from.
pub enum LoadedWeights {
    Tensors(Weights),
    Packed(Box<Packed>),
}

impl LoadedWeights {
    /// Tensors for the reference. Errors where they were packed.
    pub fn tensors(self) -> Result<Weights> {
        match self {
            Self::Tensors(weights) => Ok(weights),
            Self::Packed(_) => Err(Error::Internal("the weights were packed".into())),
        }
    }
}

/// Either sink, until it is known which one's result is wanted.
enum Collecting {
    Tensors(FloatSink),
    Packed(Box<Packed>),
}

impl Collecting {
    fn sink(&mut self) -> &mut dyn Sink {
        match self {
            Self::Tensors(sink) => sink,
            Self::Packed(sink) => sink.as_mut(),
        }
    }
}

/// Push parser of one safetensors or GGUF file.
pub struct Loader {
    config: Option<Config>,
    dtype: Dtype,
    /// The file's first bytes, until the header is whole.
    head: Vec<u8>,
    /// Length of `head` at which parsing is tried again.
    try_at: usize,
    plan: Option<Plan>,
    /// The entry of the plan in work.
    entry: usize,
    position: u64,
    /// Bytes in the file of every weight that has come.
    arrived: HashMap<String, u64>,
    collecting: Option<Collecting>,
    filling: Option<Filling>,
    sha256: Sha256,
}

impl Loader {
    /// `config` is needed for safetensors; a GGUF file has its own, which must
    /// then agree with the one given. The weights are brought into the form
    /// of `dtype` as they come.
    pub fn new(config: Option<Config>, dtype: Dtype) -> Self {
        Self {
            config,
            dtype,
            head: Vec::new(),
            try_at: 0,
            plan: None,
            entry: 0,
            position: 0,
            arrived: HashMap::new(),
            collecting: None,
            filling: None,
            sha256: Sha256::new(),
        }
    }

    /// Takes the file's next bytes. Errors: `not-a-model-file`,
    /// `invalid-model-file`, `unsupported-model`, `out-of-memory`. After an
    /// error the loader is of no further use.
    pub fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.sha256.update(chunk);
        if self.plan.is_some() {
            return self.push_data(chunk);
        }
        self.head.extend_from_slice(chunk);
        if self.head.len() < self.try_at {
            return Ok(());
        }
        match self.parse_header()? {
            None => {
                // Doubling keeps repeated attempts linear in the header's size.
                self.try_at = (self.head.len() * 2).max(64);
                Ok(())
            }
            Some((plan, data_start)) => {
                self.plan = Some(plan);
                self.collecting = Some(self.collect()?);
                let head = std::mem::take(&mut self.head);
                self.position = data_start;
                match usize::try_from(data_start)
                    .ok()
                    .filter(|&at| at <= head.len())
                {
                    Some(at) => self.push_data(&head[at..]),
                    // The padding after the header is still to come.
                    None => {
                        self.position = head.len() as u64;
                        Ok(())
                    }
                }
            }
        }
    }

    /// The model, where the file is whole. Errors: `truncated-file`,
    /// `invalid-model-file`.
    pub fn finish(mut self) -> Result<Loaded> {
        if self.plan.is_none() && !self.head.is_empty() {
            // The last attempt may have been some bytes ago.
            self.try_at = 0;
            self.push(&[])?;
        }
        let Some(plan) = self.plan else {
            return Err(Error::TruncatedFile {
                got: self.head.len() as u64,
                expected: self.head.len() as u64 + 1,
            });
        };
        if self.position < plan.end {
            return Err(Error::TruncatedFile {
                got: self.position,
                expected: plan.end,
            });
        }
        let config = self
            .config
            .ok_or_else(|| Error::Internal("a plan without a config".into()))?;
        let weights = match self.collecting {
            Some(Collecting::Tensors(sink)) => LoadedWeights::Tensors(sink.finish()?),
            Some(Collecting::Packed(packed)) => LoadedWeights::Packed(packed),
            None => return Err(Error::Internal("a plan without weights".into())),
        };
        Ok(Loaded {
            weights,
            config,
            tokenizer: plan.tokenizer,
            sha256: self.sha256.finalize().into(),
        })
    }

    /// Memory for the weights.
    fn collect(&self) -> Result<Collecting> {
        let config = self
            .config
            .clone()
            .ok_or_else(|| Error::Internal("a plan without a config".into()))?;
        Ok(match self.dtype {
            Dtype::F32 => Collecting::Tensors(FloatSink::new(config)),
            dtype => Collecting::Packed(Box::new(Packed::zeroed(&config, dtype)?)),
        })
    }

    /// The plan and where the data begins; `None` where the header is not
    /// whole yet.
    fn parse_header(&mut self) -> Result<Option<(Plan, u64)>> {
        let head = &self.head;
        if head.starts_with(gguf::MAGIC) {
            let Some(mut header) = gguf::Header::parse(head)? else {
                return Ok(None);
            };
            let own = header.config()?;
            if let Some(given) = &self.config {
                agree(given, &own)?;
            }
            let config = self.config.get_or_insert(own);
            config.require_memory(self.dtype)?;
            let plan = Plan::of_gguf(config, &mut header)?;
            return Ok(Some((plan, header.data_start)));
        }
        let Some((prefix, rest)) = head.split_first_chunk::<{ safetensors::PREFIX_BYTES }>() else {
            return Ok(None);
        };
        let header_bytes = u64::from_le_bytes(*prefix);
        if !(2..=safetensors::MAX_HEADER_BYTES).contains(&header_bytes)
            || rest.first().is_some_and(|&byte| byte != b'{')
        {
            return Err(Error::NotAModelFile(describe(head)));
        }
        let Some(header) = rest.get(..header_bytes as usize) else {
            return Ok(None);
        };
        let data_start = safetensors::PREFIX_BYTES as u64 + header_bytes;
        let tensors = safetensors::parse(header)?;
        let config = self
            .config
            .as_ref()
            .ok_or_else(|| Error::argument("config", "a safetensors file needs its config.json"))?;
        config.require_memory(self.dtype)?;
        let plan = Plan::of_safetensors(config, tensors, data_start)?;
        Ok(Some((plan, data_start)))
    }

    fn push_data(&mut self, mut chunk: &[u8]) -> Result<()> {
        let (Some(plan), Some(collecting)) = (&self.plan, &mut self.collecting) else {
            return Err(Error::Internal("data before a header".into()));
        };
        let sink = collecting.sink();
        while !chunk.is_empty() {
            let Some(entry) = plan.entries.get(self.entry) else {
                self.position += chunk.len() as u64;
                if self.position > plan.end + plan.padding {
                    return Err(Error::InvalidModelFile(format!(
                        "there are bytes after the last tensor's end at {}",
                        plan.end
                    )));
                }
                return Ok(());
            };
            if self.position < entry.start {
                let gap = (entry.start - self.position).min(chunk.len() as u64);
                self.position += gap;
                chunk = &chunk[gap as usize..];
                continue;
            }
            let left = entry.start + entry.bytes - self.position;
            let (mine, rest) = chunk.split_at(left.min(chunk.len() as u64) as usize);
            self.position += mine.len() as u64;
            chunk = rest;
            if let Role::Weight(name) = &entry.role {
                let in_tensor = |error| match error {
                    Error::InvalidModelFile(why) => {
                        Error::InvalidModelFile(format!("{}: {why}", entry.name))
                    }
                    other => other,
                };
                let mut filling = match self.filling.take() {
                    Some(filling) => filling,
                    None => Filling::new(entry, name, self.arrived.get(name).copied(), sink)?,
                };
                filling.push(mine, sink).map_err(in_tensor)?;
                if mine.len() as u64 == left {
                    filling.finish(sink).map_err(in_tensor)?;
                    self.arrived.insert(name.clone(), entry.bytes);
                } else {
                    self.filling = Some(filling);
                }
            }
            if mine.len() as u64 == left {
                self.entry += 1;
            }
        }
        Ok(())
    }
}

/// Errors where a `config.json` contradicts what a GGUF file says of itself,
/// which is less.
fn agree(given: &Config, own: &Config) -> Result<()> {
    let comparable = Config {
        scale_attn_weights: own.scale_attn_weights,
        scale_attn_by_inverse_layer_idx: own.scale_attn_by_inverse_layer_idx,
        eos_token_ids: own.eos_token_ids.clone(),
        ..given.clone()
    };
    if comparable == *own {
        return Ok(());
    }
    Err(Error::InvalidModelFile(format!(
        "config.json and the GGUF file describe different models: {given:?}, {own:?}"
    )))
}

/// What a file that is no model looks like, in words.
fn describe(head: &[u8]) -> String {
    let text = head.trim_ascii_start();
    let what = if text.starts_with(b"<") {
        "it looks like an HTML page; is the address right?"
    } else if text.starts_with(b"version https://git-lfs") {
        "it is a Git LFS pointer, not the file it points to"
    } else if head.starts_with(b"PK") || head.starts_with(b"\x80") {
        "it looks like a PyTorch checkpoint; safetensors and GGUF are read"
    } else {
        "it begins neither as safetensors nor as GGUF"
    };
    what.to_owned()
}

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "loader_gguf_tests.rs"]
mod gguf_tests;
