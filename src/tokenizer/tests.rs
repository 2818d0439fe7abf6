//! GPT-2's own vocabulary, against the `tokenizers` crate's whole pipeline and
//! against what must hold for any text, any ids and any file.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

fn fixture(path: &str) -> Vec<u8> {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    std::fs::read(format!("{fixtures}/{path}")).unwrap()
}

static GPT2: LazyLock<Tokenizer> = LazyLock::new(|| {
    Tokenizer::from_vocab_and_merges(
        &fixture("gpt2-tokenizer/vocab.json"),
        &fixture("gpt2-tokenizer/merges.txt"),
    )
    .unwrap()
});

/// The same vocabulary in the crate's own pipeline: right for texts on which
/// its regular expression does not give up.
static ORACLE: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| {
    let (vocab, merges) = gpt2_lists();
    let vocab: Vocab = vocab.into_iter().zip(0..).collect();
    let merges: Merges = merges
        .iter()
        .map(|merge| merge.split_once(' ').unwrap())
        .map(|(left, right)| (left.to_owned(), right.to_owned()))
        .collect();
    let mut oracle = tokenizers::Tokenizer::new(BPE::new(vocab, merges));
    oracle.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
    oracle.add_special_tokens(&[tokenizers::AddedToken::from("<|endoftext|>", true)]);
    oracle
});

/// GPT-2's tokens by id and its merges.
fn gpt2_lists() -> (Vec<String>, Vec<String>) {
    let vocab: std::collections::HashMap<String, usize> =
        serde_json::from_slice(&fixture("gpt2-tokenizer/vocab.json")).unwrap();
    let mut tokens = vec![String::new(); vocab.len()];
    for (token, id) in vocab {
        tokens[id] = token;
    }
    let merges = String::from_utf8(fixture("gpt2-tokenizer/merges.txt")).unwrap();
    (tokens, merges.lines().skip(1).map(str::to_owned).collect())
}

/// Words, white space, characters of one to four bytes, special tokens.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => "[a-z]{1,9}",
        2 => prop::sample::select(vec![
            " ", "   ", "\n\n", "\t", "\u{a0}", "\u{3000}", "'s", "'ll", "1234", "½", "!?", "é",
            "漢字", "👨\u{200d}👩", "\u{301}", "\u{fffd}", "\u{0}", "<|endoftext|>", "<|endof",
            "Ġ", "ÃÂ",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    let parts = prop::collection::vec((part, any::<bool>()), 0..30);
    parts.prop_map(|parts| {
        let spaced = parts
            .iter()
            .map(|(part, spaced)| [if *spaced { " " } else { "" }, part]);
        spaced.flatten().collect()
    })
}

/// Positions in UTF-16 code units at which characters begin, and the end.
fn boundaries(text: &str) -> Vec<u32> {
    let mut at = 0;
    let mut boundaries = vec![0];
    for character in text.chars() {
        at += character.len_utf16() as u32;
        boundaries.push(at);
    }
    boundaries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn ids_and_offsets_are_those_of_the_crate_s_own_pipeline(
        text in text(),
        parse_special: bool,
    ) {
        let mut oracle = ORACLE.clone();
        oracle.set_encode_special_tokens(!parse_special);
        let expected = oracle.encode_char_offsets(&*text, false).unwrap();
        let encoding = GPT2.encode(&text, parse_special).unwrap();
        prop_assert_eq!(&encoding.ids, expected.get_ids());
        let units = boundaries(&text);
        let offsets = expected.get_offsets().iter().map(|&(a, b)| (units[a], units[b]));
        prop_assert_eq!(encoding.offsets, offsets.collect::<Vec<_>>());
    }

    #[test]
    fn decoding_an_encoding_gives_the_text(text in text(), parse_special: bool) {
        let ids = GPT2.encode(&text, parse_special).unwrap().ids;
        prop_assert_eq!(GPT2.decode(&ids).unwrap(), text);
    }

    #[test]
    fn offsets_cover_the_text_in_order_and_lie_between_characters(
        text in text(),
        parse_special: bool,
    ) {
        let offsets = GPT2.encode(&text, parse_special).unwrap().offsets;
        let boundaries = boundaries(&text);
        let mut covered = 0;
        let mut last = (0, 0);
        for (start, end) in offsets {
            prop_assert!(boundaries.binary_search(&start).is_ok());
            prop_assert!(boundaries.binary_search(&end).is_ok());
            prop_assert!(start < end && start <= covered);
            prop_assert!(last.0 <= start && last.1 <= end);
            covered = end;
            last = (start, end);
        }
        prop_assert_eq!(covered, boundaries[boundaries.len() - 1]);
    }

    #[test]
    fn tokens_streamed_one_by_one_give_the_decoded_text(
        ids in prop::collection::vec(0u32..50257, 0..40),
    ) {
        let mut stream = TextStream::default();
        let mut text = String::new();
        for &id in &ids {
            text += &stream.push(GPT2.token_bytes(id).unwrap());
        }
        text += &stream.finish();
        prop_assert_eq!(text, GPT2.decode(&ids).unwrap());
    }

    #[test]
    fn any_lists_are_refused_or_work(
        tokens in prop::collection::vec("[abĠé ]{0,3}", 0..40),
        merges in prop::collection::vec("[abĠé]{0,2} ?[abĠé]{0,2}", 0..4),
        special in prop::collection::vec(0u32..50, 0..3),
        text in "[abé ]{0,12}",
        parse_special: bool,
    ) {
        if let Ok(tokenizer) = Tokenizer::from_lists(tokens, merges, &special)
            && let Ok(encoding) = tokenizer.encode(&text, parse_special)
        {
            let bytes = encoding.ids.iter().map(|&id| tokenizer.token_bytes(id).unwrap());
            let bytes = bytes.collect::<Vec<_>>().concat();
            // A special token need not stand for the bytes of its name.
            prop_assert!(parse_special || bytes == text.as_bytes());
        }
    }

    #[test]
    fn a_damaged_file_is_refused_or_works(
        at: prop::sample::Index,
        damage in prop_oneof![Just(None), any::<u8>().prop_map(Some)],
        text in text(),
    ) {
        let mut file = fixture("mini-c/tokenizer.json");
        let at = at.index(file.len());
        match damage {
            Some(byte) => file[at] = byte,
            None => file.truncate(at),
        }
        if let Ok(tokenizer) = Tokenizer::from_tokenizer_json(&file)
            && let Ok(encoding) = tokenizer.encode(&text, true)
        {
            prop_assert!(tokenizer.decode(&encoding.ids).is_ok());
        }
    }
}

#[test]
fn empty_text_has_no_tokens() {
    assert_eq!(GPT2.encode("", true).unwrap(), Encoding::default());
    assert_eq!(GPT2.decode(&[]).unwrap(), "");
}

#[test]
fn gpt2_has_50257_tokens_and_the_last_ends_the_text() {
    assert_eq!(GPT2.vocab_size(), 50257);
    assert_eq!(GPT2.end_of_text(), Some(50256));
    assert_eq!(GPT2.token_bytes(50256), Some(&b"<|endoftext|>"[..]));
    assert_eq!(GPT2.token_bytes(50257), None);
}

#[test]
fn the_longest_text_is_encoded_even_as_one_word() {
    for unit in ["a", " ", "\n", "^", "\u{1}", "é"] {
        let text = unit.repeat(MAX_TEXT_BYTES / unit.len());
        let encoding = GPT2.encode(&text, true).unwrap();
        assert!(GPT2.decode(&encoding.ids).unwrap() == text, "{unit:?}");
    }
}

#[test]
fn a_longer_text_is_refused() {
    let error = GPT2.encode(&"a".repeat(MAX_TEXT_BYTES + 1), false);
    assert_eq!(error.unwrap_err().code(), "input-too-long");
}

#[test]
fn an_id_without_a_token_is_refused_with_its_place() {
    let error = GPT2.decode(&[0, 50257]).unwrap_err();
    assert_eq!(
        error,
        crate::Error::InvalidToken {
            id: 50257,
            index: 1,
            vocab_size: 50257
        }
    );
    assert!(GPT2.decode(&[u32::MAX]).is_err());
}

#[test]
fn text_that_the_vocabulary_cannot_write_is_refused_with_its_place() {
    let tokens = ["a", "Ġ", "Ġa"].map(str::to_owned).to_vec();
    let tokenizer = Tokenizer::from_lists(tokens, vec!["Ġ a".to_owned()], &[]).unwrap();
    assert_eq!(tokenizer.encode("a a", false).unwrap().ids, [0, 2]);
    assert_eq!(
        tokenizer.encode("é aba", false).unwrap_err(),
        crate::Error::TokenizerGaveUp { at: 0, bytes: 6 }
    );
    assert_eq!(
        tokenizer.encode("a aba", false).unwrap_err(),
        crate::Error::TokenizerGaveUp { at: 1, bytes: 5 }
    );
}

#[test]
fn lists_files_and_tokenizer_json_give_the_same_tokenizer() {
    let (tokens, merges) = gpt2_lists();
    let added = serde_json::json!([{
        "id": 50256, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true,
    }]);
    let vocab: serde_json::Map<_, _> = tokens
        .iter()
        .cloned()
        .zip((0..).map(|id: u32| id.into()))
        .collect();
    let file = serde_json::json!({
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    });
    let from_json = Tokenizer::from_tokenizer_json(file.to_string().as_bytes()).unwrap();
    let from_lists = Tokenizer::from_lists(tokens, merges, &[50256]).unwrap();
    let text = "It's <|endoftext|> 1234 漢字 😀\n\n  naïve";
    for parse_special in [true, false] {
        let expected = GPT2.encode(text, parse_special).unwrap();
        for tokenizer in [&from_json, &from_lists] {
            assert_eq!(tokenizer.vocab_size(), GPT2.vocab_size());
            assert_eq!(tokenizer.end_of_text(), GPT2.end_of_text());
            assert_eq!(tokenizer.encode(text, parse_special).unwrap(), expected);
        }
    }
}

#[test]
fn the_mini_tokenizers_load_and_end_with_end_of_text() {
    for (file, size) in [("mini-a", 512), ("mini-b", 640), ("mini-c", 300)] {
        let bytes = fixture(&format!("{file}/tokenizer.json"));
        let tokenizer = Tokenizer::from_tokenizer_json(&bytes).unwrap();
        assert_eq!(tokenizer.vocab_size(), size);
        assert_eq!(tokenizer.end_of_text(), Some(size as u32 - 1));
        let ids = tokenizer.encode("The 漢<|endoftext|>", true).unwrap().ids;
        assert_eq!(ids.last(), Some(&(size as u32 - 1)));
        assert_eq!(tokenizer.decode(&ids).unwrap(), "The 漢<|endoftext|>");
    }
}

#[test]
fn of_a_token_listed_twice_text_becomes_the_first_and_both_are_read_back() {
    let tokens = ["a", "b", "a"].map(str::to_owned).to_vec();
    let tokenizer = Tokenizer::from_lists(tokens, Vec::new(), &[]).unwrap();
    assert_eq!(tokenizer.encode("ba", false).unwrap().ids, [1, 0]);
    assert_eq!(tokenizer.decode(&[2, 1, 0]).unwrap(), "aba");
}

#[test]
fn lists_over_the_limits_are_refused() {
    let refusal = |tokens, merges, special: &[u32]| {
        let error = Tokenizer::from_lists(tokens, merges, special)
            .err()
            .unwrap();
        assert_eq!(error.code(), "invalid-tokenizer");
        error.to_string()
    };
    let many = vec![String::new(); MAX_TOKENS + 1];
    assert!(refusal(many.clone(), Vec::new(), &[]).contains("1000001 tokens"));
    let long = vec!["a".repeat(MAX_TOKEN_BYTES + 1)];
    assert!(refusal(long, Vec::new(), &[]).contains("token 0 has 1025 bytes"));
    let one = vec!["a".to_owned()];
    assert!(refusal(one.clone(), Vec::new(), &[1]).contains("special token 1"));
    let merges = vec!["a a".to_owned(); MAX_TOKENS + 1];
    assert!(refusal(one, merges, &[]).contains("1000001 merges"));
    let huge = vec![b' '; MAX_FILE_BYTES + 1];
    for error in [
        Tokenizer::from_tokenizer_json(&huge).err(),
        Tokenizer::from_vocab_and_merges(&huge, b"").err(),
        Tokenizer::from_vocab_and_merges(b"{}", &huge).err(),
    ] {
        assert!(error.unwrap().to_string().contains("the limit is"));
    }
}
