//! Records: what goes in comes out, and nothing else comes in.

use super::super::entry::{Kind, MAX_TIME};
use super::super::testing::{key, new_entry};
use super::*;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn facts() -> Facts {
    new_entry(1).facts(1_000, Some(2_000)).unwrap()
}

fn semantic() -> Semantic {
    Semantic {
        family: "family".into(),
        prompt: "a prompt".into(),
    }
}

fn sealed(value: &str, compress_over: u64) -> Record {
    let semantic = Some((semantic(), [1.0, -0.5].as_slice()));
    Record::seal(facts(), &Value::from(value), semantic, compress_over).unwrap()
}

/// A record with a right checksum around whatever is given.
fn forged(version: u32, header: &str, floats: &[f32], payload: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for number in [version, header.len() as u32, floats.len() as u32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(header.as_bytes());
    bytes.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
    bytes.extend(payload);
    with_hash(bytes)
}

fn with_hash(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(xxh3_128(&bytes).to_le_bytes());
    bytes
}

fn header() -> Json {
    json!({
        "facts": facts(), "value": "text", "valueBytes": 2, "compressed": false, "semantic": null,
    })
}

fn refused(bytes: Vec<u8>) -> String {
    let error = Record::open(bytes).unwrap_err();
    assert_eq!(error.code(), "invalid-cache-record");
    error.to_string()
}

fn values() -> impl Strategy<Value = Value<'static>> {
    let text = prop_oneof![any::<String>(), "[ab]{0,3000}"];
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(0..2u8, 0..3000),
    ];
    prop_oneof![
        text.prop_map(|text| Value::Text(text.into())),
        bytes.prop_map(|bytes| Value::Bytes(bytes.into())),
    ]
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (
        any::<[u8; 32]>(),
        prop::collection::vec(any::<char>(), 0..=200),
        prop::option::of("[0-9a-f]{64}"),
        prop::collection::vec("[a-zé\"]{0,20}", 0..=16),
        (0..=MAX_TIME, prop::option::of(0..=MAX_TIME)),
        (0.0..1e12f64, any::<u32>()),
    )
        .prop_map(
            |(bytes, title, model, tags, (created, expires), (cost_ms, tokens))| Facts {
                key: Key(bytes),
                title: title.into_iter().collect(),
                kind: if model.is_some() {
                    Kind::Generation
                } else {
                    Kind::Value
                },
                model,
                created,
                expires,
                cost_ms,
                tokens,
                tags,
                source: "cacher-wasm/0.1.0".into(),
            },
        )
}

proptest! {
    #[test]
    fn what_was_sealed_comes_out(
        facts in any_facts(),
        value in values(),
        semantic in prop::option::of((
            (any::<String>(), any::<String>())
                .prop_map(|(family, prompt)| Semantic { family, prompt }),
            prop::collection::vec(-1e9..1e9f32, 1..100),
        )),
        compress_over in 0..2_000u64,
    ) {
        let of = semantic.as_ref().map(|(semantic, vector)| (semantic.clone(), &vector[..]));
        let record = Record::seal(facts.clone(), &value, of, compress_over).unwrap();
        let opened = Record::open(record.bytes().to_vec()).unwrap();
        prop_assert_eq!(&opened, &record);
        prop_assert_eq!(opened.facts(), &facts);
        prop_assert_eq!(opened.value().unwrap(), value.clone());
        let found = opened.semantic().map(|(semantic, vector)| (semantic.clone(), vector));
        prop_assert_eq!(found, semantic.clone());
        // Never larger than it would be without compression, which says how large.
        let of = semantic.as_ref().map(|(semantic, vector)| (semantic.clone(), &vector[..]));
        let plain = Record::seal(facts, &value, of, 0).unwrap();
        prop_assert_eq!(plain.raw_bytes(), plain.bytes().len() as u64);
        prop_assert!(record.bytes().len() as u64 <= record.raw_bytes());
    }

    #[test]
    fn whatever_is_changed_inside_a_record_nothing_panics(
        at in any::<prop::sample::Index>(),
        change in prop::collection::vec(any::<u8>(), 0..6),
        compress_over in 0..2u64,
    ) {
        let mut bytes = sealed(&"value ".repeat(50), compress_over).bytes().to_vec();
        bytes.truncate(bytes.len() - HASH_BYTES);
        let at = at.index(bytes.len());
        let end = (at + change.len()).min(bytes.len());
        bytes.splice(at..end, change);
        // The checksum put right: the rest has to notice, or it is a record.
        if let Ok(record) = Record::open(with_hash(bytes)) {
            prop_assert!(record.value().is_ok());
        }
    }
}

#[test]
fn any_changed_bit_and_any_missing_or_surplus_byte_is_found() {
    for compress_over in [0, 1] {
        let record = sealed(&"abc".repeat(100), compress_over);
        for bit in 0..record.bytes().len() * 8 {
            let mut damaged = record.bytes().to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            refused(damaged);
        }
        for len in 0..record.bytes().len() {
            refused(record.bytes()[..len].to_vec());
        }
        refused([record.bytes(), b"\0"].concat());
    }
}

#[test]
fn values_are_compressed_from_the_size_on_and_where_it_helps() {
    let text = "abc".repeat(100);
    let plain = sealed(&text, 0);
    assert_eq!(plain.bytes(), sealed(&text, 301).bytes());
    let packed = sealed(&text, 300);
    assert!(packed.bytes().len() + 200 < plain.bytes().len());
    assert_eq!(packed.value().unwrap(), Value::from(&text[..]));
    // Both say how large it would be; their headers differ by `true` and `false`.
    assert_eq!(packed.raw_bytes() + 1, plain.raw_bytes());
    let random = "q8Zk";
    assert_eq!(sealed(random, 1).bytes(), sealed(random, 0).bytes());
}

#[test]
fn what_a_forger_can_write_is_refused() {
    let good = header().to_string();
    assert!(Record::open(forged(VERSION, &good, &[], b"ok")).is_ok());
    assert!(refused(forged(VERSION + 1, &good, &[], b"ok")).contains("version"));
    assert!(refused(forged(VERSION, "{}", &[], b"ok")).contains("missing field"));
    assert!(refused(forged(VERSION, &good, &[], b"longer")).contains("size"));
    assert!(refused(forged(VERSION, &good, &[1.0], b"ok")).contains("vector"));
    assert!(refused(forged(VERSION, &good, &[], b"\xff\xff")).contains("text"));
    assert!(refused(forged(VERSION, &" ".repeat(MAX_HEADER_BYTES + 1), &[], b"")).contains("long"));
    let too_many = vec![0.0; MAX_FLOATS + 1];
    assert!(refused(forged(VERSION, &good, &too_many, b"ok")).contains("long"));
    for (pointer, wrong) in [
        ("/facts/title", json!("a".repeat(201))),
        ("/facts/tags", json!(vec!["a"; 17])),
        ("/facts/created", json!(MAX_TIME + 1)),
        ("/facts/created", json!(1.5)),
        ("/facts/created", json!(null)),
        ("/facts/expires", json!(u64::MAX)),
        ("/facts/expires", json!(-1)),
        ("/facts/costMs", json!(-1.0)),
        ("/facts/costMs", json!(1e300)),
        ("/facts/key", json!("00")),
        ("/facts/key", json!(key(1).to_string().to_uppercase() + "A")),
        ("/facts/kind", json!("other")),
        ("/facts", json!({})),
        ("/value", json!("code")),
        ("/valueBytes", json!(u64::MAX)),
        ("/valueBytes", json!(-1)),
        ("/compressed", json!(true)),
        ("/semantic", json!({ "family": "f", "prompt": "p" })),
    ] {
        let mut forgery = header();
        *forgery.pointer_mut(pointer).unwrap() = wrong;
        refused(forged(VERSION, &forgery.to_string(), &[], b"ok"));
    }
    let mut unknown = header();
    unknown["more"] = json!(1);
    refused(forged(VERSION, &unknown.to_string(), &[], b"ok"));
}

#[test]
fn no_more_is_decompressed_than_was_declared_or_is_allowed() {
    let packed = lz4_flex::block::compress(&[b'a'; 1_000]);
    for (declared, fits) in [
        (1_000, true),
        (999, false),
        (1_001, false),
        (64 << 21, false),
    ] {
        let mut bomb = header();
        bomb["valueBytes"] = json!(declared);
        bomb["compressed"] = json!(true);
        let opened = Record::open(forged(VERSION, &bomb.to_string(), &[], &packed));
        assert_eq!(opened.is_ok(), fits, "{declared}");
    }
}

#[test]
fn a_vector_is_of_finite_numbers() {
    let mut with_prompt = header();
    with_prompt["semantic"] = json!({ "family": "f", "prompt": "p" });
    let of = |floats: &[f32]| forged(VERSION, &with_prompt.to_string(), floats, b"ok");
    assert!(Record::open(of(&[1.0])).is_ok());
    refused(of(&[f32::NAN]));
    refused(of(&[f32::INFINITY]));
    let seal = |vector: &[f32]| {
        let error = Record::seal(facts(), &Value::from(""), Some((semantic(), vector)), 0);
        error.unwrap_err().code()
    };
    assert_eq!(seal(&[]), "invalid-argument");
    assert_eq!(seal(&[f32::NAN]), "invalid-argument");
}

#[test]
fn what_is_too_large_is_not_sealed() {
    let long = Value::Bytes(vec![0; MAX_VALUE_BYTES + 1].into());
    let error = Record::seal(facts(), &long, None, 1).unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
    let prompt = "p".repeat(MAX_HEADER_BYTES);
    let semantic = Semantic {
        prompt,
        ..semantic()
    };
    let error = Record::seal(facts(), &Value::from(""), Some((semantic, &[1.0])), 0).unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
}
