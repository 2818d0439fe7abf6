//! A thousand texts under a constraint, each token chosen by chance among those
//! that are allowed, and judged by those who know nothing of the automaton: a
//! parser of JSON, a validator of schemas, the `regex` crate.
//!
//! Chance is the hardest writer: it wants nothing, and so comes to every corner
//! that is open. The vocabulary is GPT-2's, all 50,257 tokens.

use cacher_wasm::generate::constraint::{Constraint, ConstraintSpec, Json};
use cacher_wasm::tokenizer::Tokenizer;
use regex::Regex;
use serde_json::Value;
use std::rc::Rc;

const EOS: u32 = 50_256;
/// A text that has not ended by then never will.
const MOST_TOKENS: usize = 5_000;

fn gpt2() -> Rc<Tokenizer> {
    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/gpt2-tokenizer");
        std::fs::read(format!("{folder}/{name}")).unwrap()
    };
    Rc::new(Tokenizer::from_vocab_and_merges(&file("vocab.json"), &file("merges.txt")).unwrap())
}

/// A model of random logits, that now and then wants to come to an end: of 50,257
/// tokens few close a string.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn fill(&mut self, logits: &mut [f32], tokenizer: &Tokenizer) {
        for logit in logits.iter_mut() {
            *logit = (self.next() >> 40) as f32;
        }
        if self.next().is_multiple_of(16) {
            for (id, logit) in (0..).zip(logits) {
                let bytes = tokenizer.token_bytes(id).unwrap_or_default();
                if id == EOS || matches!(bytes, [b'"' | b']' | b'}', ..]) {
                    *logit += 1e9;
                }
            }
        }
    }
}

/// Writes until the text is complete or its end is chosen, and returns it.
fn write(constraint: &Constraint, tokenizer: &Tokenizer, seed: u64) -> String {
    let mut chance = Chance(seed);
    let mut logits = vec![0.0; tokenizer.vocab_size()];
    let mut output = Vec::new();
    while !constraint.is_complete(&output) {
        chance.fill(&mut logits, tokenizer);
        constraint.apply(&output, &mut logits);
        let (token, best) = (0..)
            .zip(&logits)
            .max_by(|a, b| a.1.total_cmp(b.1))
            .unwrap();
        assert!(*best > f32::NEG_INFINITY, "a dead end after {output:?}");
        if token == EOS {
            assert!(constraint.may_end(&output));
            break;
        }
        output.push(token);
        assert!(
            output.len() < MOST_TOKENS,
            "no end: {:?}",
            tokenizer.decode(&output)
        );
    }
    let bytes = output
        .iter()
        .flat_map(|&token| tokenizer.token_bytes(token).unwrap());
    String::from_utf8(bytes.copied().collect()).unwrap()
}

const SCHEMAS: [&str; 14] = [
    r#"{
      "type": "object",
      "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "é\n\"", 3, null]}, "maxItems": 4}
      },
      "required": ["name", "age"],
      "additionalProperties": false
    }"#,
    r##"{
      "$schema": "https://json-schema.org/draft/2020-12/schema",
      "$ref": "#/$defs/tree",
      "$defs": {
        "tree": {
          "type": "object",
          "properties": {
            "value": {"type": ["number", "null"]},
            "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}
          },
          "required": ["value", "children"]
        }
      }
    }"##,
    r#"{
      "oneOf": [
        {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number", "exclusiveMinimum": 0}}, "required": ["kind", "r"]},
        {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "number", "minimum": 0.25, "maximum": 1e3}}, "required": ["kind", "side"]},
        {"type": "null"}
      ]
    }"#,
    r#"{"type": "array", "items": {"type": "number", "minimum": -1.5, "exclusiveMaximum": 2.25}, "minItems": 1, "maxItems": 8}"#,
    r#"{"type": "array", "items": {"type": "integer", "exclusiveMinimum": -1000, "maximum": 77}, "minItems": 2, "maxItems": 5}"#,
    r#"{"prefixItems": [{"type": "string", "format": "date"}, {"type": "string", "format": "time"}, {"type": "string", "format": "uuid"}], "items": false, "minItems": 3}"#,
    r#"{"type": "array", "items": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}, {"type": "string", "format": "hostname"}, {"type": "string", "format": "duration"}]}, "minItems": 5, "maxItems": 5}"#,
    r#"{"type": "string", "pattern": "^(\\d{3}-)?[A-Z\"\\\\\\n]{2,5}\\s\\w+\\W$"}"#,
    r#"{"type": "string", "pattern": "b+[^a\\s]"}"#,
    r#"{"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 3}"#,
    r#"{"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"const": {"x": [1, {}]}}, "c": {"enum": [0, -1.5, 1e3]}, "d/~ü": true}, "minProperties": 0}"#,
    r#"{"type": ["string", "boolean", "null"], "maxLength": 3}"#,
    r#"{"type": "object", "required": ["x", "y"], "properties": {"y": {"type": "number"}, "x": {}}}"#,
    r#"{}"#,
];

fn specification(schema: &str) -> ConstraintSpec {
    ConstraintSpec::JsonSchema(Json::parse(schema).unwrap())
}

#[test]
fn a_thousand_texts_of_chance_are_json_that_fits_the_schema() {
    let tokenizer = gpt2();
    let constraints: Vec<Constraint> = SCHEMAS
        .iter()
        .map(|schema| Constraint::new(&specification(schema), &tokenizer, &[EOS]).unwrap())
        .collect();
    let validators: Vec<jsonschema::Validator> = SCHEMAS
        .iter()
        .map(|schema| {
            let schema: Value = serde_json::from_str(schema).unwrap();
            jsonschema::options()
                .should_validate_formats(true)
                .build(&schema)
                .unwrap()
        })
        .collect();
    for seed in 0..1000 {
        let which = seed as usize % constraints.len();
        let text = write(&constraints[which], &tokenizer, seed);
        let value: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"));
        if let Err(error) = validators[which].validate(&value) {
            panic!("seed {seed}: {error}: {text}");
        }
    }
}

#[test]
fn texts_of_chance_match_their_expression() {
    let tokenizer = gpt2();
    for pattern in [
        r"[a-z]{3,8}(, [a-z]{3,8}){0,3}\.",
        r"\+?\d{1,3}( \d{2,4}){2,3}",
        r"(?i)(yes|no|maybe)[!?]?",
        "[é€😀漢字]{1,5}",
        r"\w{2,10}",
        r"\p{Greek}{1,6}|\p{Han}{1,3}",
        "(a|ab)(c|bcd)(d*)",
        "",
        r"(?s).{0,12}",
        r"(?-u:\b)[a-zé]{1,9}(?-u:\b) (?x: [a-c]{1,3} \ # comment
        )$",
    ] {
        let spec = ConstraintSpec::Regex(pattern.into());
        let constraint = Constraint::new(&spec, &tokenizer, &[EOS]).unwrap();
        let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for seed in 0..10 {
            let text = write(&constraint, &tokenizer, seed);
            assert!(whole.is_match(&text), "{pattern}: {text:?}");
        }
    }
}

#[test]
fn every_choice_is_come_upon() {
    let tokenizer = gpt2();
    let texts = ["yes", "yes!", "no", "non", "ñandú", "日本", ""];
    let spec = ConstraintSpec::Choices(texts.map(str::to_owned).into());
    let constraint = Constraint::new(&spec, &tokenizer, &[EOS]).unwrap();
    let mut found: Vec<String> = (0..300)
        .map(|seed| write(&constraint, &tokenizer, seed))
        .collect();
    found.sort();
    found.dedup();
    let mut expected = texts.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
