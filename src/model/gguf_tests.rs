//! The GGUF header: whole, cut short, wrong, disturbed.

use super::*;
use proptest::prelude::*;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A header with one entry of each kind that is used.
fn sample() -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    out.extend(4u64.to_le_bytes());
    text(&mut out, "general.architecture");
    out.extend(8u32.to_le_bytes());
    text(&mut out, "gpt2");
    text(&mut out, "gpt2.attention.layer_norm_epsilon");
    out.extend(6u32.to_le_bytes());
    out.extend(1e-5f32.to_le_bytes());
    text(&mut out, "tokenizer.ggml.merges");
    out.extend(9u32.to_le_bytes());
    out.extend(8u32.to_le_bytes());
    out.extend(2u64.to_le_bytes());
    text(&mut out, "a b");
    text(&mut out, "c d");
    text(&mut out, "gpt2.context_length");
    out.extend(4u32.to_le_bytes());
    out.extend(64u32.to_le_bytes());
    text(&mut out, "token_embd.weight");
    out.extend(2u32.to_le_bytes());
    out.extend(32u64.to_le_bytes());
    out.extend(5u64.to_le_bytes());
    out.extend(8u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out
}

#[test]
fn a_header_is_read_whatever_follows_it() {
    let mut bytes = sample();
    let len = bytes.len() as u64;
    bytes.extend([0; 100]);
    let header = Header::parse(&bytes).unwrap().unwrap();
    assert_eq!(header.tensors[0].shape, [5, 32]);
    assert_eq!(header.tensors[0].dtype, GgmlDType::Q8_0);
    assert_eq!(header.data_start, len.next_multiple_of(32));
    assert_eq!(header.size("gpt2.context_length").unwrap(), 64);
}

#[test]
fn every_shorter_prefix_asks_for_more() {
    let bytes = sample();
    for len in 0..bytes.len() {
        assert!(Header::parse(&bytes[..len]).unwrap().is_none(), "{len}");
    }
}

#[test]
fn epsilon_is_the_decimal_that_was_meant() {
    assert_eq!(shortest(f64::from(1e-5f32)), 1e-5);
}

#[test]
fn counts_that_no_file_has_are_refused_before_anything_is_allocated() {
    let mut bytes = sample();
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(
        Header::parse(&bytes).unwrap_err().code(),
        "invalid-model-file"
    );
}

#[test]
fn other_architectures_are_refused_by_name() {
    let mut bytes = sample();
    let at = bytes.windows(4).position(|w| w == b"gpt2").unwrap();
    bytes[at..at + 4].copy_from_slice(b"bert");
    let error = Header::parse(&bytes)
        .unwrap()
        .unwrap()
        .config()
        .unwrap_err();
    assert_eq!(error.code(), "unsupported-model");
    assert!(error.to_string().contains("bert"));
}

proptest! {
    #[test]
    fn no_change_of_bytes_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = sample();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(Some(mut header)) = Header::parse(&bytes) {
            let _ = header.config();
            let _ = header.take_tokenizer();
        }
    }
}
