//! Hugging Face's `tokenizer.json`.
//!
//! The format can describe tokenizers of many kinds. What is not GPT-2's kind
//! is refused by name: read as if it were, it would give wrong ids without a
//! sign. The file is read twice, first for its kind and then for its lists, so
//! that a tokenizer of another kind is named before its vocabulary, which may
//! have another form, fails to parse.

use super::encode::Tokenizer;
use super::load::{Source, build, invalid, parse, split_merge};
use crate::error::Result;
use serde::Deserialize;
use std::collections::HashMap;
use tokenizers::AddedToken;

const FILE: &str = "tokenizer.json";

impl Tokenizer {
    /// Reads a `tokenizer.json` of Hugging Face's tokenizers.
    ///
    /// Settings of single calls (truncation, padding, trimmed offsets) have no
    /// effect here.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTokenizer`](crate::Error::InvalidTokenizer) where it is
    /// not valid, contradicts itself, is over a limit
    /// ([`MAX_FILE_BYTES`](super::MAX_FILE_BYTES),
    /// [`MAX_TOKENS`](super::MAX_TOKENS),
    /// [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES)) or is anything but
    /// byte-level BPE as GPT-2 has it: another model, another splitting, a
    /// normalizer, a space or tokens put around each text.
    pub fn from_tokenizer_json(bytes: &[u8]) -> Result<Self> {
        let kind: Kind = parse(FILE, bytes)?;
        kind.check()?;
        let lists: Lists = parse(FILE, bytes)?;
        let merges = lists.model.merges.into_iter().enumerate();
        build(Source {
            tokens: lists.model.vocab.into_iter().collect(),
            merges: merges
                .map(|(index, merge)| match merge {
                    Merge::Pair(left, right) => Ok((left, right)),
                    Merge::Line(line) => split_merge(index, &line),
                })
                .collect::<Result<_>>()?,
            added: lists
                .added_tokens
                .into_iter()
                .map(|added| (added.token, added.id))
                .collect(),
            ignore_merges: kind.model.ignore_merges,
        })
    }
}

/// What decides which kind of tokenizer the file describes.
#[derive(Deserialize)]
struct Kind {
    normalizer: Option<Part>,
    pre_tokenizer: Option<Part>,
    post_processor: Option<Part>,
    decoder: Option<Part>,
    model: Model,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    add_prefix_space: Option<bool>,
    use_regex: Option<bool>,
}

#[derive(Deserialize)]
struct Model {
    /// Files from before 2020 do not name it, and are told by their merges.
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

impl Kind {
    fn check(&self) -> Result<()> {
        let model = self.model.kind.as_deref().unwrap_or("BPE");
        require(model == "BPE", "model", model)?;
        self.model.check()?;
        if let Some(part) = &self.normalizer {
            require(false, "normalizer", &part.kind)?;
        }
        let Some(splitting) = &self.pre_tokenizer else {
            return require(false, "pre-tokenizer", "none");
        };
        for (part, name) in [
            (self.pre_tokenizer.as_ref(), "pre-tokenizer"),
            (self.post_processor.as_ref(), "post-processor"),
            (self.decoder.as_ref(), "decoder"),
        ] {
            if let Some(part) = part {
                require(part.kind == "ByteLevel", name, &part.kind)?;
            }
        }
        require(
            splitting.use_regex != Some(false),
            "pre-tokenizer",
            "ByteLevel without GPT-2's splitting",
        )?;
        require(
            splitting.add_prefix_space != Some(true),
            "pre-tokenizer",
            "ByteLevel with a space put before the text",
        )
    }
}

impl Model {
    fn check(&self) -> Result<()> {
        let is_set = |affix: &Option<String>| affix.as_ref().is_some_and(|a| !a.is_empty());
        for (set, what) in [
            (self.dropout.is_some_and(|p| p != 0.0), "dropout"),
            (is_set(&self.continuing_subword_prefix), "a subword prefix"),
            (is_set(&self.end_of_word_suffix), "a word suffix"),
            (self.byte_fallback, "byte fallback"),
        ] {
            require(!set, "model", &format!("BPE with {what}"))?;
        }
        Ok(())
    }
}

/// Refuses a tokenizer whose `part` is not GPT-2's.
fn require(holds: bool, part: &str, found: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(invalid(format_args!(
        "{FILE}: only byte-level BPE as in GPT-2 is supported, and the {part} is: {found}"
    )))
}

/// The lists of a file whose kind is known to be right.
#[derive(Deserialize)]
struct Lists {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: ModelLists,
}

#[derive(Deserialize)]
struct ModelLists {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

/// Older files have `"a b"`, newer ones `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A tokenizer of one merge.
    fn file() -> Value {
        json!({
            "added_tokens": [{
                "id": 3, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            }],
            "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
            "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false},
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
            "model": {
                "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                "end_of_word_suffix": "", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"],
            },
        })
    }

    fn read(file: &Value) -> Result<Tokenizer> {
        Tokenizer::from_tokenizer_json(file.to_string().as_bytes())
    }

    /// The message with which the file is refused when `pointer` is `value`.
    fn refusal(pointer: &str, value: Value) -> String {
        let mut file = file();
        *file.pointer_mut(pointer).unwrap() = value;
        let error = read(&file).err().unwrap();
        assert_eq!(error.code(), "invalid-tokenizer");
        error.to_string()
    }

    #[test]
    fn merges_are_read_in_both_spellings() {
        let mut file = file();
        assert_eq!(
            read(&file).unwrap().encode("abb", false).unwrap().ids,
            [2, 1]
        );
        file["model"]["merges"] = json!([["a", "b"]]);
        assert_eq!(
            read(&file).unwrap().encode("abb", false).unwrap().ids,
            [2, 1]
        );
    }

    #[test]
    fn added_tokens_are_special_or_not_as_the_file_says() {
        let mut file = file();
        file["added_tokens"][0]["content"] = json!("aa");
        let special = read(&file).unwrap();
        assert_eq!(special.encode("aab", false).unwrap().ids, [0, 2]);
        assert_eq!(special.encode("aab", true).unwrap().ids, [3, 1]);
        file["added_tokens"][0]["special"] = json!(false);
        let ordinary = read(&file).unwrap();
        assert_eq!(ordinary.encode("aab", false).unwrap().ids, [3, 1]);
    }

    #[test]
    fn an_added_token_outside_the_vocabulary_stands_for_its_text() {
        let mut file = file();
        file["added_tokens"][0]["content"] = json!("<é>");
        let tokenizer = read(&file).unwrap();
        assert_eq!(tokenizer.encode("a<é>", true).unwrap().ids, [0, 3]);
        assert_eq!(tokenizer.decode(&[0, 3]).unwrap(), "a<é>");
    }

    #[test]
    fn white_space_that_an_added_token_strips_counts_to_its_offsets() {
        let mut file = file();
        file["added_tokens"][0]["lstrip"] = json!(true);
        let encoding = read(&file)
            .unwrap()
            .encode("a  <|endoftext|>b", true)
            .unwrap();
        assert_eq!(encoding.ids, [0, 3, 1]);
        assert_eq!(encoding.offsets, [(0, 1), (1, 16), (16, 17)]);
    }

    #[test]
    fn ignore_merges_takes_a_piece_that_is_a_token_whole() {
        let mut file = file();
        file["model"]["merges"] = json!([]);
        assert_eq!(
            read(&file).unwrap().encode("ab", false).unwrap().ids,
            [0, 1]
        );
        file["model"]["ignore_merges"] = json!(true);
        assert_eq!(read(&file).unwrap().encode("ab", false).unwrap().ids, [2]);
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        let unigram = json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]]});
        for (pointer, value, named) in [
            ("/model", unigram, "model is: Unigram"),
            ("/model/dropout", json!(0.1), "dropout"),
            (
                "/model/continuing_subword_prefix",
                json!("##"),
                "subword prefix",
            ),
            ("/model/end_of_word_suffix", json!("</w>"), "word suffix"),
            ("/normalizer", json!({"type": "NFC"}), "normalizer is: NFC"),
            ("/pre_tokenizer", json!(null), "pre-tokenizer is: none"),
            (
                "/pre_tokenizer",
                json!({"type": "Metaspace"}),
                "pre-tokenizer is: Metaspace",
            ),
            (
                "/pre_tokenizer/add_prefix_space",
                json!(true),
                "a space put before",
            ),
            (
                "/post_processor",
                json!({"type": "TemplateProcessing"}),
                "TemplateProcessing",
            ),
            (
                "/decoder",
                json!({"type": "WordPiece"}),
                "decoder is: WordPiece",
            ),
        ] {
            let message = refusal(pointer, value);
            assert!(message.contains(named), "{pointer}: {message}");
        }
        let mut file = file();
        file["pre_tokenizer"]["use_regex"] = json!(false);
        assert!(read(&file).is_err());
        file["pre_tokenizer"]["use_regex"] = json!(true);
        file["model"]["byte_fallback"] = json!(true);
        assert!(read(&file).is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        for (pointer, value, named) in [
            (
                "/model/vocab/ab",
                json!(1),
                "id 1, which another token has too",
            ),
            (
                "/model/vocab/ab",
                json!(-1),
                "tokenizer.json: invalid value",
            ),
            ("/model/vocab/ab", json!(1_000_000), "below 1000000"),
            ("/model/merges/0", json!("a c"), "`c` out of vocabulary"),
            ("/model/merges/0", json!("b a"), "`ba` out of vocabulary"),
            ("/model/merges/0", json!("ab"), "merge 0 is not two tokens"),
            (
                "/model/merges/0",
                json!("a b a"),
                "merge 0 is not two tokens",
            ),
            (
                "/added_tokens/0/id",
                json!(2),
                "id 2, which another token has too",
            ),
            (
                "/added_tokens/0/content",
                json!("ab"),
                "has the ids 2 and 3",
            ),
        ] {
            let message = refusal(pointer, value);
            assert!(message.contains(named), "{pointer}: {message}");
        }
    }

    #[test]
    fn what_is_no_tokenizer_file_is_refused_with_its_name() {
        for bytes in [
            &b""[..],
            b"<!DOCTYPE html>",
            b"{}",
            b"[]",
            b"\xFF",
            b"{\"a\": 1}",
        ] {
            let error = Tokenizer::from_tokenizer_json(bytes).err().unwrap();
            assert!(error.to_string().contains("tokenizer.json"), "{error}");
        }
    }
}
