//! The header of a packed model that is kept on the device.
//!
//! The file is this header (JSON) and the bytes of [`Packed`]. The header says
//! what the bytes are and what they were made from, and carries what else a
//! start needs: the config, and the tokenizer of a GGUF file.

use super::packed::Packed;
use crate::error::{Error, Result};
use crate::model::{Config, Dtype, TokenizerLists};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Version of header, layout and quantisation; part of the file's name.
pub const VERSION: u32 = 1;

/// Largest header that is read, in bytes.
const MAX_HEADER_BYTES: usize = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    version: u32,
    dtype: String,
    /// 8-bit weights are stored plus 128.
    offset_form: bool,
    /// SHA-256 of the file that it was packed from.
    source_sha256: String,
    config: serde_json::Value,
    tokenizer: Option<TokenizerLists>,
    bytes: u64,
    /// XXH3 of the bytes: against damage. Nothing depends on it for safety.
    checksum: String,
}

/// A packed model that is being read back.
#[derive(Debug)]
pub struct Restoring {
    header: Header,
    packed: Packed,
}

/// What a header and its bytes give.
#[derive(Debug)]
pub struct Restored {
    pub packed: Packed,
    pub tokenizer: Option<TokenizerLists>,
    /// SHA-256 of the file that it was packed from, hexadecimal.
    pub source_sha256: String,
}

/// The header for `packed`.
pub fn header(
    packed: &Packed,
    source_sha256: &str,
    tokenizer: Option<TokenizerLists>,
) -> Result<Vec<u8>> {
    let header = Header {
        version: VERSION,
        dtype: packed.dtype().name().to_owned(),
        offset_form: packed.is_offset_form(),
        source_sha256: source_sha256.to_owned(),
        config: packed.config().to_json(),
        tokenizer,
        bytes: packed.bytes().len() as u64,
        checksum: checksum(packed.bytes()),
    };
    serde_json::to_vec(&header).map_err(|error| Error::Internal(error.to_string()))
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidModelFile(format!("packed model: {}", reason.into()))
}

impl Restoring {
    /// Reads the header and makes room for the bytes. Errors:
    /// `invalid-model-file`, `out-of-memory`.
    pub fn new(header: &[u8], dtype: Dtype) -> Result<Self> {
        if header.len() > MAX_HEADER_BYTES {
            return Err(invalid(format!("its header has {} bytes", header.len())));
        }
        let header: Header =
            serde_json::from_slice(header).map_err(|error| invalid(error.to_string()))?;
        if header.version != VERSION || header.dtype != dtype.name() {
            return Err(invalid(format!(
                "it is {} of version {}, wanted is {} of version {VERSION}",
                header.dtype,
                header.version,
                dtype.name()
            )));
        }
        let config = Config::from_json(header.config.to_string().as_bytes())?;
        config.require_memory(dtype)?;
        let packed = Packed::zeroed(&config, dtype)?;
        if packed.bytes().len() as u64 != header.bytes {
            return Err(invalid(format!(
                "it has {} bytes of weights, its config needs {}",
                header.bytes,
                packed.bytes().len()
            )));
        }
        Ok(Self { header, packed })
    }

    /// Where the bytes belong.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.packed.bytes_mut()
    }

    /// The model, where its bytes are there. Error: `invalid-model-file`.
    pub fn finish(mut self) -> Result<Restored> {
        if checksum(self.packed.bytes()) != self.header.checksum {
            return Err(invalid("its checksum is wrong"));
        }
        if self.header.offset_form != self.packed.is_offset_form() {
            self.packed.flip_form();
        }
        Ok(Restored {
            packed: self.packed,
            tokenizer: self.header.tokenizer,
            source_sha256: self.header.source_sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sink::Sink;

    fn packed() -> Packed {
        let config = Config::from_json(
            br#"{"model_type":"gpt2","n_layer":1,"n_head":2,"n_embd":8,"vocab_size":40,"n_positions":9,"eos_token_id":3}"#,
        );
        let mut packed = Packed::zeroed(&config.unwrap(), Dtype::Q8).unwrap();
        packed.begin("wte.weight", false).unwrap();
        let numbers: Vec<f32> = (0..320).map(|i| (i as f32).sin()).collect();
        packed.push(&numbers);
        packed
    }

    #[test]
    fn a_packed_model_comes_back_as_it_was() {
        let packed = packed();
        let header = header(&packed, "abc", None).unwrap();
        let mut restoring = Restoring::new(&header, Dtype::Q8).unwrap();
        restoring.bytes_mut().copy_from_slice(packed.bytes());
        let restored = restoring.finish().unwrap();
        assert_eq!(restored.packed.bytes(), packed.bytes());
        assert_eq!(restored.packed.config(), packed.config());
        assert_eq!(restored.source_sha256, "abc");
    }

    #[test]
    fn damage_and_contradictions_are_refused() {
        let packed = packed();
        let good = header(&packed, "abc", None).unwrap();
        let refused = |header: &[u8]| Restoring::new(header, Dtype::Q8).unwrap_err().code();
        for (from, to) in [
            (r#""version":1"#, r#""version":2"#),
            (r#""q8""#, r#""q4""#),
            (r#""vocab_size":40"#, r#""vocab_size":90"#),
            (r#""n_head":2"#, r#""n_head":3"#),
        ] {
            let text = String::from_utf8(good.clone()).unwrap();
            assert!(text.contains(from));
            assert_eq!(
                refused(text.replace(from, to).as_bytes()),
                "invalid-model-file"
            );
        }
        assert_eq!(refused(&good[..20]), "invalid-model-file");
        let mut restoring = Restoring::new(&good, Dtype::Q8).unwrap();
        restoring.bytes_mut().copy_from_slice(packed.bytes());
        restoring.bytes_mut()[100] ^= 1;
        assert_eq!(restoring.finish().unwrap_err().code(), "invalid-model-file");
    }
}
