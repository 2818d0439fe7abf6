//! A model from the bytes of its file, as they arrive.
//!
//! The file is pushed in chunks of any size and never held: the header is kept
//! until it is whole, then every tensor is decoded slab by slab straight into
//! its place. The peak is the size of the result plus one chunk. Shapes,
//! lengths and names are checked against the config before anything is
//! allocated for them; a file that ends early is known to have.

use super::names::{self, Role};
use super::{Config, Weights, convert, gguf, safetensors};
use crate::error::{Error, Result};
use candle_core::quantized::GgmlDType;
use candle_core::{Device, Tensor};
use gguf::TokenizerLists;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Elements decoded at a time; a multiple of every block size.
const SLAB_ELEMENTS: usize = 1 << 14;
/// The most that a wasm32 memory can hold, in bytes.
const ADDRESS_SPACE: u64 = 1 << 32;

/// What a file gave.
pub struct Loaded {
    pub config: Config,
    pub weights: Weights,
    /// The tokenizer of a GGUF file, where it has one.
    pub tokenizer: Option<TokenizerLists>,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
}

/// Push parser of one safetensors or GGUF file.
pub struct Loader {
    config: Option<Config>,
    /// The file's first bytes, until the header is whole.
    head: Vec<u8>,
    /// Length of `head` at which parsing is tried again.
    try_at: usize,
    plan: Option<Plan>,
    position: u64,
    tensors: HashMap<String, Decoded>,
    filling: Option<Filling>,
    sha256: Sha256,
}

/// What the header said: which bytes are what.
struct Plan {
    /// By position in the file.
    entries: Vec<Entry>,
    next: usize,
    end: u64,
    /// Bytes allowed after `end`.
    padding: u64,
    tokenizer: Option<TokenizerLists>,
}

struct Entry {
    /// Name in the file, for errors.
    name: String,
    role: Role,
    dtype: GgmlDType,
    /// Shape as stored.
    shape: Vec<usize>,
    /// Stored `[out, in]`, wanted `[in, out]`.
    transposed: bool,
    start: u64,
    bytes: u64,
}

impl Entry {
    fn is(&self, name: &str) -> bool {
        matches!(&self.role, Role::Weight(own) if own == name)
    }
}

/// A tensor that has arrived.
struct Decoded {
    values: Vec<f32>,
    /// Bytes it took in the file: how fine its format is.
    bytes: u64,
}

/// A tensor being decoded.
struct Filling {
    values: Vec<f32>,
    done: usize,
    /// Where `values` hold the embedding already and its second copy arrives.
    second: Option<SecondCopy>,
    /// Undecoded bytes, in a buffer aligned for every block type.
    slab: Vec<u64>,
    slab_bytes: usize,
}

impl Loader {
    /// `config` is needed for safetensors; a GGUF file has its own, which must
    /// then agree with the one given.
    pub fn new(config: Option<Config>) -> Self {
        Self {
            config,
            head: Vec::new(),
            try_at: 0,
            plan: None,
            position: 0,
            tensors: HashMap::new(),
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
        let transposed = |name: &String| plan.entries.iter().any(|e| e.transposed && e.is(name));
        let mut tensors = HashMap::new();
        for (name, decoded) in self.tensors {
            let mut shape = names::shape(&config, &name)
                .ok_or_else(|| Error::Internal(format!("{name} has no shape")))?;
            let tensor = if transposed(&name) {
                shape.reverse();
                Tensor::from_vec(decoded.values, shape, &Device::Cpu)?.t()?
            } else {
                Tensor::from_vec(decoded.values, shape, &Device::Cpu)?
            };
            tensors.insert(name, tensor);
        }
        Ok(Loaded {
            weights: Weights::new(&config, tensors)?,
            config,
            tokenizer: plan.tokenizer,
            sha256: self.sha256.finalize().into(),
        })
    }

    /// The plan and where the data begins; `None` where the header is not
    /// whole yet.
    fn parse_header(&mut self) -> Result<Option<(Plan, u64)>> {
        let head = &self.head;
        if head.starts_with(gguf::MAGIC) {
            let Some(header) = gguf::Header::parse(head)? else {
                return Ok(None);
            };
            return self.plan_gguf(header).map(Some);
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
        self.plan_safetensors(tensors, data_start)
            .map(|plan| Some((plan, data_start)))
    }

    fn plan_safetensors(
        &mut self,
        tensors: Vec<safetensors::TensorInfo>,
        data_start: u64,
    ) -> Result<Plan> {
        let config = self
            .config
            .as_ref()
            .ok_or_else(|| Error::argument("config", "a safetensors file needs its config.json"))?;
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
        Plan::new(config, entries, 0, None)
    }

    fn plan_gguf(&mut self, mut header: gguf::Header) -> Result<(Plan, u64)> {
        let own = header.config()?;
        if let Some(given) = &self.config {
            // The file cannot say everything config.json can; what both say
            // must be the same.
            let comparable = Config {
                scale_attn_weights: own.scale_attn_weights,
                scale_attn_by_inverse_layer_idx: own.scale_attn_by_inverse_layer_idx,
                eos_token_ids: own.eos_token_ids.clone(),
                ..given.clone()
            };
            if comparable != own {
                return Err(Error::InvalidModelFile(format!(
                    "config.json and the GGUF file describe different models: {given:?}, {own:?}"
                )));
            }
        }
        let config = self.config.get_or_insert(own);
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
            // See `SecondCopy`.
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
        let plan = Plan::new(config, entries, header.alignment, tokenizer)?;
        Ok((plan, header.data_start))
    }

    fn push_data(&mut self, mut chunk: &[u8]) -> Result<()> {
        let Some(plan) = &mut self.plan else {
            return Err(Error::Internal("data before a header".into()));
        };
        while !chunk.is_empty() {
            let Some(entry) = plan.entries.get(plan.next) else {
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
                let filling = match &mut self.filling {
                    Some(filling) => filling,
                    empty => empty.insert(Filling::new(entry, self.tensors.remove(name))?),
                };
                let in_tensor = |error| match error {
                    Error::InvalidModelFile(why) => {
                        Error::InvalidModelFile(format!("{}: {why}", entry.name))
                    }
                    other => other,
                };
                filling.push(entry.dtype, mine).map_err(in_tensor)?;
                if mine.len() as u64 == left {
                    filling.flush(entry.dtype).map_err(in_tensor)?;
                    if let Some(filling) = self.filling.take() {
                        self.tensors.insert(name.clone(), filling.finish(entry)?);
                    }
                }
            }
            if mine.len() as u64 == left {
                plan.next += 1;
            }
        }
        Ok(())
    }
}

impl Plan {
    /// Checks the list of tensors against the config.
    fn new(
        config: &Config,
        entries: Vec<Entry>,
        padding: u64,
        tokenizer: Option<TokenizerLists>,
    ) -> Result<Self> {
        let needed = config.parameters().saturating_mul(4);
        if needed > ADDRESS_SPACE - ADDRESS_SPACE / 8 {
            return Err(Error::OutOfMemory {
                needed,
                purpose: "for the weights in f32, a tab's wasm memory ends at 4 GiB".into(),
            });
        }
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
            next: 0,
            end,
            padding,
            tokenizer,
        })
    }
}

/// The tied head, which some converters write as a tensor of its own, often in
/// another format than the embedding. One tensor serves as both, the finer of
/// the two; were they not the same weights, that would be another model.
struct SecondCopy {
    finer: bool,
    /// Sums over all numbers so far, of the squared difference and of the
    /// first copy's squares.
    difference: f64,
    norm: f64,
}

/// Largest relative squared difference of two copies of the embedding: above
/// what 2-bit formats do to it (0.1), far below unrelated weights (2).
const UNTIED: f64 = 0.25;

impl SecondCopy {
    fn compare(&mut self, first: &mut [f32], second: &[f32]) {
        for (first, &second) in first.iter_mut().zip(second) {
            self.difference += f64::from(*first - second).powi(2);
            self.norm += f64::from(*first).powi(2);
            if self.finer {
                *first = second;
            }
        }
    }
}

impl Filling {
    /// `earlier` is what arrived under this name before.
    fn new(entry: &Entry, earlier: Option<Decoded>) -> Result<Self> {
        let slab_bytes = SLAB_ELEMENTS / entry.dtype.block_size() * entry.dtype.type_size();
        let slab = vec![0; slab_bytes.div_ceil(8)];
        if let Some(first) = earlier {
            return Ok(Self {
                values: first.values,
                done: 0,
                second: Some(SecondCopy {
                    finer: entry.bytes > first.bytes,
                    difference: 0.0,
                    norm: 0.0,
                }),
                slab,
                slab_bytes: 0,
            });
        }
        let elements = entry.shape.iter().product();
        let mut values = Vec::new();
        values
            .try_reserve_exact(elements)
            .map_err(|_| Error::OutOfMemory {
                needed: elements as u64 * 4,
                purpose: format!("for {}", entry.name),
            })?;
        values.resize(elements, 0.0);
        Ok(Self {
            values,
            done: 0,
            second: None,
            slab,
            slab_bytes: 0,
        })
    }

    fn push(&mut self, dtype: GgmlDType, mut bytes: &[u8]) -> Result<()> {
        let full = SLAB_ELEMENTS / dtype.block_size() * dtype.type_size();
        while !bytes.is_empty() {
            let count = bytes.len().min(full - self.slab_bytes);
            let slab: &mut [u8] = bytemuck::cast_slice_mut(&mut self.slab);
            slab[self.slab_bytes..self.slab_bytes + count].copy_from_slice(&bytes[..count]);
            self.slab_bytes += count;
            bytes = &bytes[count..];
            if self.slab_bytes == full {
                self.flush(dtype)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, dtype: GgmlDType) -> Result<()> {
        let elements = self.slab_bytes / dtype.type_size() * dtype.block_size();
        let slab: &[u8] = bytemuck::cast_slice(&self.slab);
        let out = &mut self.values[self.done..self.done + elements];
        match &mut self.second {
            None => convert::to_f32(dtype, &slab[..self.slab_bytes], out)?,
            Some(second) => {
                let mut decoded = vec![0.0; elements];
                convert::to_f32(dtype, &slab[..self.slab_bytes], &mut decoded)?;
                second.compare(out, &decoded);
            }
        }
        self.done += elements;
        self.slab_bytes = 0;
        Ok(())
    }

    /// What has arrived, all of it.
    fn finish(self, entry: &Entry) -> Result<Decoded> {
        if let Some(second) = self.second
            && second.difference > UNTIED * second.norm
        {
            return Err(Error::UnsupportedModel(
                "output.weight is not the embedding: the head is not tied".into(),
            ));
        }
        Ok(Decoded {
            values: self.values,
            bytes: entry.bytes,
        })
    }
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
