//! The header of a safetensors file, by the `safetensors` crate, with tighter
//! limits: what a GPT-2 needs, not what a format allows.
//!
//! The crate checks that offsets are contiguous from 0, without holes or
//! overlaps, and that each length fits its shape and type.

use crate::error::{Error, Result};
use candle_core::quantized::GgmlDType;
use safetensors::Dtype;
use safetensors::tensor::Metadata;

/// Bytes before the header: its length as a little-endian u64.
pub const PREFIX_BYTES: usize = 8;
/// Largest header that is read, in bytes. GPT-2 XL's has under 100,000.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;
const MAX_TENSORS: usize = 4096;

/// One tensor of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    pub shape: Vec<usize>,
    /// `None` for formats that no weight may have (mask buffers do).
    pub dtype: Option<GgmlDType>,
    /// Name of the format in the file.
    pub dtype_name: String,
    /// Begin and end, from the end of the header.
    pub range: (u64, u64),
}

/// Parses the header (without its length prefix). Tensors come in file order.
/// Errors: `invalid-model-file`.
pub fn parse(header: &[u8]) -> Result<Vec<TensorInfo>> {
    let invalid = |reason: String| Error::InvalidModelFile(reason);
    let metadata: Metadata = serde_json::from_slice(header)
        .map_err(|error| invalid(format!("the safetensors header is broken: {error}")))?;
    let names = metadata.offset_keys();
    if names.len() > MAX_TENSORS {
        return Err(invalid(format!(
            "{} tensors, the limit is {MAX_TENSORS}",
            names.len()
        )));
    }
    names
        .into_iter()
        .map(|name| {
            let info = metadata
                .info(&name)
                .ok_or_else(|| Error::Internal(format!("{name} has no entry")))?;
            Ok(TensorInfo {
                shape: info.shape.clone(),
                dtype: match info.dtype {
                    Dtype::F32 => Some(GgmlDType::F32),
                    Dtype::F16 => Some(GgmlDType::F16),
                    Dtype::BF16 => Some(GgmlDType::BF16),
                    _ => None,
                },
                dtype_name: format!("{:?}", info.dtype),
                range: (info.data_offsets.0 as u64, info.data_offsets.1 as u64),
                name,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_in_the_order_of_their_bytes() {
        let header = br#"{"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},
            "__metadata__":{"format":"pt"},
            "a":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}}"#;
        let tensors = parse(header).unwrap();
        assert_eq!(tensors[0].name, "b");
        assert_eq!(tensors[0].dtype, Some(GgmlDType::F16));
        assert_eq!(tensors[1].range, (4, 7));
        assert_eq!(tensors[1].dtype, None);
    }

    #[test]
    fn headers_that_contradict_themselves_are_refused() {
        for header in [
            "",
            "[]",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
            r#"{"a":{"dtype":"F9","shape":[1],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}"#,
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#,
        ] {
            let error = parse(header.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "invalid-model-file", "{header}");
        }
    }
}
