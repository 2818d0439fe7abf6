//! Bytes of a file to f32, for every number format a GPT-2 file may hold.
//!
//! Quantised blocks are decoded by Candle, whose block types are the GGUF
//! reference's. Everything works on slabs of whole blocks, so a tensor never
//! exists twice.

use crate::error::{Error, Result};
use candle_core::CpuStorage;
use candle_core::quantized::GgmlDType;
use half::{bf16, f16};
use std::borrow::Cow;

/// The number format of GGUF's type number `code`, where it is supported.
pub fn from_gguf_type(code: u32) -> Option<GgmlDType> {
    Some(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

/// Bytes that `elements` numbers take, where they fill whole blocks and the
/// result fits.
pub fn byte_len(dtype: GgmlDType, elements: u64) -> Option<u64> {
    let block = dtype.block_size() as u64;
    if !elements.is_multiple_of(block) {
        return None;
    }
    (elements / block).checked_mul(dtype.type_size() as u64)
}

/// Decodes `bytes` (whole blocks, in a buffer aligned for them) into `out`,
/// which has the matching length. Errors where a number is not finite.
pub fn to_f32(dtype: GgmlDType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    match dtype {
        GgmlDType::F32 => decode(bytes, out, f32::from_le_bytes),
        GgmlDType::F16 => decode(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        GgmlDType::BF16 => decode(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        _ => match dtype
            .from_data(Cow::Borrowed(bytes))
            .dequantize(out.len())?
        {
            CpuStorage::F32(values) => out.copy_from_slice(&values),
            _ => return Err(Error::Internal("dequantize gave no f32".into())),
        },
    }
    if out.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(Error::InvalidModelFile(
            "a weight is not a finite number".into(),
        ))
    }
}

fn decode<const N: usize>(bytes: &[u8], out: &mut [f32], one: impl Fn([u8; N]) -> f32) {
    let (numbers, _) = bytes.as_chunks::<N>();
    for (out, &number) in out.iter_mut().zip(numbers) {
        *out = one(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    #[test]
    fn half_formats_decode_exactly() {
        let mut out = [0.0; 2];
        to_f32(GgmlDType::F16, &[0x00, 0x3c, 0x00, 0xc0], &mut out).unwrap();
        assert_eq!(out, [1.0, -2.0]);
        to_f32(GgmlDType::BF16, &[0x80, 0x3f, 0x00, 0xc0], &mut out).unwrap();
        assert_eq!(out, [1.0, -2.0]);
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused() {
        let mut out = [0.0; 1];
        for bytes in [f32::NAN, f32::INFINITY].map(f32::to_le_bytes) {
            let error = to_f32(GgmlDType::F32, &bytes, &mut out).unwrap_err();
            assert_eq!(error.code(), "invalid-model-file");
        }
    }

    #[test]
    fn a_block_is_never_split() {
        assert_eq!(byte_len(GgmlDType::Q8_0, 64), Some(68));
        assert_eq!(byte_len(GgmlDType::Q8_0, 33), None);
        assert_eq!(byte_len(GgmlDType::F32, u64::MAX), None);
    }

    #[test]
    fn every_quantised_format_stays_near_the_numbers_it_was_made_from() {
        let values: Vec<f32> = (0..512)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
            .collect();
        let source = Tensor::from_slice(&values, 512, &Device::Cpu).unwrap();
        for (code, largest_error) in [
            (2, 0.15),
            (3, 0.08),
            (6, 0.08),
            (7, 0.05),
            (8, 0.01),
            (10, 0.5),
            (11, 0.3),
            (12, 0.1),
            (13, 0.05),
            (14, 0.03),
        ] {
            let dtype = from_gguf_type(code).unwrap();
            let packed = QTensor::quantize(&source, dtype).unwrap();
            let bytes = packed.data().unwrap();
            assert_eq!(byte_len(dtype, 512), Some(bytes.len() as u64));
            let mut out = vec![0.0; 512];
            to_f32(dtype, &bytes, &mut out).unwrap();
            let error = out
                .iter()
                .zip(&values)
                .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(error <= largest_error, "{dtype:?}: {error}");
        }
    }
}
