//! Constraints on small vocabularies: against an oracle that knows nothing of
//! automata, and case by case.

use super::*;
use crate::error::Error;
use crate::tokenizer::byte_to_char;
use ::regex::Regex;
use proptest::prelude::*;
use std::collections::BTreeSet;

const OUT: f32 = f32::NEG_INFINITY;

/// Tokens of these bytes, and after them one that ends a generation and another
/// added one.
fn tokenizer(tokens: &[&[u8]]) -> (Rc<Tokenizer>, u32) {
    let eos = tokens.len() as u32;
    let spelt = tokens
        .iter()
        .map(|bytes| bytes.iter().map(|&byte| byte_to_char(byte)).collect())
        .chain(["<eos>".to_owned(), "<other>".to_owned()])
        .collect();
    let tokenizer = Tokenizer::from_lists(spelt, Vec::new(), &[eos, eos + 1]).unwrap();
    (Rc::new(tokenizer), eos)
}

fn constraint(spec: &ConstraintSpec, tokens: &[&[u8]]) -> Constraint {
    let (tokenizer, eos) = tokenizer(tokens);
    Constraint::new(spec, &tokenizer, &[eos]).unwrap()
}

fn regex(pattern: &str, tokens: &[&[u8]]) -> Constraint {
    constraint(&ConstraintSpec::Regex(pattern.into()), tokens)
}

fn choices(texts: &[&str], tokens: &[&[u8]]) -> Constraint {
    let texts = texts.iter().map(|&text| text.to_owned()).collect();
    constraint(&ConstraintSpec::Choices(texts), tokens)
}

/// The ids that may come next.
fn allowed(constraint: &Constraint, output: &[u32]) -> Vec<u32> {
    let mut scores = vec![0.0; constraint.tokenizer.vocab_size() + 3];
    constraint.apply(output, &mut scores);
    let ids: Vec<u32> = (0..)
        .zip(&scores)
        .filter_map(|(id, &score)| (score != OUT).then_some(id))
        .collect();
    assert!(ids.iter().all(|&id| constraint.allows(output, id)));
    ids
}

#[test]
fn tokens_that_can_lead_to_a_match_are_allowed() {
    let tokens: [&[u8]; 5] = [b"a", b"b", b"ab", b"ba", b"bb"];
    let constraint = regex("a(ba)*", &tokens);
    assert_eq!(allowed(&constraint, &[]), [0, 2]);
    assert_eq!(allowed(&constraint, &[0]), [1, 3, 5]);
    assert_eq!(allowed(&constraint, &[2]), [0, 2]);
    assert!(constraint.may_end(&[0, 3]) && !constraint.may_end(&[2]));
    assert!(!constraint.is_complete(&[0, 3]));
    // After what does not match nothing can.
    assert!(!constraint.is_possible(&[1]) && constraint.is_possible(&[2]));
    assert!(allowed(&constraint, &[1]).is_empty());
    assert!(allowed(&constraint, &[99]).is_empty());
}

#[test]
fn a_character_may_come_in_pieces_and_only_whole() {
    // "é" is C3 A9, "è" C3 A8, "€" E2 82 AC.
    let tokens: [&[u8]; 7] = [
        b"\xC3",
        b"\xA9",
        b"\xA8",
        b"\xE2\x82",
        b"\xAC",
        b"x\xC3",
        b"\xE2",
    ];
    let constraint = regex("x*[é€]", &[&tokens[..], &[b"\x82", b"x"]].concat());
    assert_eq!(allowed(&constraint, &[]), [0, 3, 5, 6, 8]);
    assert_eq!(allowed(&constraint, &[5]), [1]);
    assert_eq!(allowed(&constraint, &[3]), [4]);
    assert_eq!(allowed(&constraint, &[6]), [7]);
    assert!(constraint.is_complete(&[5, 1]));
    assert!(constraint.is_complete(&[8, 6, 7, 4]));
    assert_eq!(allowed(&constraint, &[5, 1]), [9]);
}

#[test]
fn a_choice_may_begin_another() {
    let tokens: [&[u8]; 4] = [b"a", b"ab", b"b", b"c"];
    let constraint = choices(&["ab", "a", "abb", "ab"], &tokens);
    assert_eq!(allowed(&constraint, &[]), [0, 1]);
    assert_eq!(allowed(&constraint, &[0]), [2, 4]);
    assert_eq!(allowed(&constraint, &[1]), [2, 4]);
    assert!(constraint.may_end(&[1]) && !constraint.is_complete(&[1]));
    assert!(constraint.is_complete(&[1, 2]));
    assert_eq!(allowed(&constraint, &[1, 2]), [4]);
}

#[test]
fn nothing_at_all_can_be_the_match() {
    let empty = choices(&[""], &[b"a"]);
    assert!(empty.is_complete(&[]) && empty.may_end(&[]));
    assert_eq!(allowed(&empty, &[]), [1]);
    let maybe = regex("a?", &[b"a"]);
    assert!(maybe.may_end(&[]) && !maybe.is_complete(&[]));
    assert_eq!(allowed(&maybe, &[]), [0, 1]);
}

#[test]
fn anchors_and_ascii_word_boundaries_look_at_the_whole_output() {
    let tokens: [&[u8]; 3] = [b"a", b" ", b"\n"];
    let constraint = regex(r"^(?-u:\b)a[a ]*(?-u:\b)$", &tokens);
    assert_eq!(allowed(&constraint, &[0, 1]), [0, 1]);
    assert!(constraint.may_end(&[0, 1, 0]));
    let lines = regex(r"(?m)a$\na", &tokens);
    assert_eq!(allowed(&lines, &[0]), [2]);
}

#[test]
fn added_tokens_are_no_text() {
    // The token that ends the generation is spelt as the text, and so is an
    // added one.
    let tokens: [&[u8]; 9] = [b"<", b"e", b"o", b"s", b">", b"t", b"h", b"r", b"<other"];
    let constraint = regex("(<eos>|<other>)+", &tokens);
    let (eos, other) = (9, 10);
    assert_eq!(allowed(&constraint, &[]), [0, 8]);
    assert!(!constraint.is_possible(&[eos]) && !constraint.is_possible(&[other]));
    assert_eq!(allowed(&constraint, &[8, 4]), [0, 8, eos]);
}

#[test]
fn a_token_that_ends_the_generation_is_no_text_either() {
    let (tokenizer, eos) = tokenizer(&[b"a", b"b", b"ab"]);
    let ends = [1, eos];
    let spec = |pattern: &str| ConstraintSpec::Regex(pattern.into());
    // Without a token for "b" alone, "ab" is not used where "b" may be needed.
    let constraint = Constraint::new(&spec("a(ab)?"), &tokenizer, &ends).unwrap();
    assert_eq!(allowed(&constraint, &[]), [0]);
    assert_eq!(allowed(&constraint, &[0]), [1, eos]);
    let error = Constraint::new(&spec("b"), &tokenizer, &ends)
        .err()
        .unwrap();
    assert_eq!(error.code(), "invalid-option");
}

#[test]
fn a_processor_looks_at_the_output_behind_the_prompt() {
    let constraint = Rc::new(regex("ab", &[b"a", b"b"]));
    let mut processor = constraint.processor(2);
    let mut scores = [1.0, 2.0, 3.0, 4.0];
    processor.process(&[1, 1], &mut scores);
    assert_eq!(scores, [1.0, OUT, OUT, OUT]);
    let mut scores = [1.0, 2.0, 3.0, 4.0];
    processor.process(&[1, 1, 0], &mut scores);
    assert_eq!(scores, [OUT, 2.0, OUT, OUT]);
}

#[test]
fn scores_beyond_the_vocabulary_are_ruled_out() {
    let constraint = regex(".*", &[b"a"]);
    let mut scores = vec![0.0; 300];
    constraint.apply(&[], &mut scores);
    assert_eq!(scores[..2], [0.0, 0.0]);
    assert!(scores[2..].iter().all(|&score| score == OUT));
    constraint.apply(&[], &mut []);
}

fn refused(spec: ConstraintSpec) -> (String, String, String) {
    let every_byte: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
    let tokens: Vec<&[u8]> = every_byte.iter().map(|byte| &byte[..]).collect();
    let (tokenizer, eos) = tokenizer(&tokens);
    let refused = Constraint::new(&spec, &tokenizer, &[eos]);
    match refused.err().unwrap_or_else(|| panic!("{spec:?}")) {
        Error::InvalidOption {
            option,
            value,
            range,
        } => (option, value, range),
        other => panic!("{other}"),
    }
}

#[test]
fn what_cannot_be_compiled_is_refused_by_name() {
    for (pattern, says) in [
        ("a(b", "byte 1: unclosed group"),
        (r"a\b", "Unicode word boundaries"),
        (r"(?=a)b", "look-around"),
        ("[a&&b]", "none can"),
        ("a$b", "none can"),
        (r"(\w{1000}){1000}", "smaller"),
        ("(((a{1000}){1000}){1000}){1000}", "smaller"),
        ("(a|b)*a(a|b){30}", "smaller"),
        (&"(".repeat(200), "regular expression"),
        (&"a".repeat(MAX_PATTERN_BYTES + 1), "at most 4096 bytes"),
    ] {
        let (option, _, range) = refused(ConstraintSpec::Regex(pattern.into()));
        assert_eq!(option, "constraint.regex");
        assert!(range.contains(says), "{pattern:.50}: {range}");
    }
    for (texts, option) in [
        (vec![], "constraint.choices"),
        (vec![String::new(); MAX_CHOICES + 1], "constraint.choices"),
        (
            vec!["a".into(), "b".repeat(MAX_CHOICES_BYTES)],
            "constraint.choices[1]",
        ),
    ] {
        assert_eq!(refused(ConstraintSpec::Choices(texts)).0, option);
    }
}

use super::super::{MAX_CHOICES, MAX_CHOICES_BYTES, MAX_PATTERN_BYTES};

/// A regular expression that is matched by taking derivatives (J. Brzozowski,
/// 1964): what is left to match after a character. Made by `cat`, `alt` and
/// `star` only, so that one that matches nothing is always `Nothing`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Oracle {
    Nothing,
    Empty,
    OneOf(BTreeSet<char>),
    Cat(Box<Oracle>, Box<Oracle>),
    Alt(Box<Oracle>, Box<Oracle>),
    Star(Box<Oracle>),
}

use Oracle::{Alt, Cat, Empty, Nothing, OneOf, Star};

fn cat(a: Oracle, b: Oracle) -> Oracle {
    match (a, b) {
        (Nothing, _) | (_, Nothing) => Nothing,
        (Empty, other) | (other, Empty) => other,
        (a, b) => Cat(a.into(), b.into()),
    }
}

fn alt(a: Oracle, b: Oracle) -> Oracle {
    match (a, b) {
        (Nothing, other) | (other, Nothing) => other,
        (a, b) if a == b => a,
        (a, b) => Alt(a.into(), b.into()),
    }
}

impl Oracle {
    fn matches_empty(&self) -> bool {
        match self {
            Nothing | OneOf(_) => false,
            Empty | Star(_) => true,
            Cat(a, b) => a.matches_empty() && b.matches_empty(),
            Alt(a, b) => a.matches_empty() || b.matches_empty(),
        }
    }

    fn after(&self, character: char) -> Oracle {
        match self {
            Nothing | Empty => Nothing,
            OneOf(characters) if characters.contains(&character) => Empty,
            OneOf(_) => Nothing,
            Cat(a, b) if a.matches_empty() => {
                alt(cat(a.after(character), *b.clone()), b.after(character))
            }
            Cat(a, b) => cat(a.after(character), *b.clone()),
            Alt(a, b) => alt(a.after(character), b.after(character)),
            Star(sub) => cat(sub.after(character), self.clone()),
        }
    }

    fn after_text(&self, text: &str) -> Oracle {
        text.chars().fold(self.clone(), |left, c| left.after(c))
    }

    /// Whether some text with this beginning matches.
    fn can_begin_with(&self, bytes: &[u8]) -> bool {
        let (whole, rest) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, &[][..]),
            Err(error) => {
                let (whole, rest) = bytes.split_at(error.valid_up_to());
                (std::str::from_utf8(whole).unwrap(), rest)
            }
        };
        let left = self.after_text(whole);
        if rest.is_empty() {
            return left != Nothing;
        }
        CHARACTERS
            .iter()
            .any(|c| c.to_string().as_bytes().starts_with(rest) && left.after(*c) != Nothing)
    }

    fn pattern(&self) -> String {
        match self {
            Nothing => "[a&&b]".into(),
            Empty => String::new(),
            OneOf(characters) if characters.len() == CHARACTERS.len() => ".".into(),
            OneOf(characters) => format!("[{}]", characters.iter().collect::<String>()),
            Cat(a, b) => format!("{}{}", a.pattern(), b.pattern()),
            Alt(a, b) => format!("(?:{}|{})", a.pattern(), b.pattern()),
            Star(sub) => format!("(?:{})*", sub.pattern()),
        }
    }
}

/// All characters that the bytes of [`POOL`] can spell.
const CHARACTERS: [char; 7] = [
    'a', '\u{C2}', 'é', '\u{2082}', '\u{20A9}', '\u{2A42}', '\u{2A69}',
];
/// Their bytes, and pieces of several.
const POOL: [&[u8]; 14] = [
    b"a",
    b"\xC3",
    b"\xA9",
    b"\xE2",
    b"\x82",
    b"aa",
    b"a\xC3",
    b"\xA9a",
    b"\xC3\xA9",
    b"\xE2\x82",
    b"\x82\xA9",
    b"\xA9\xE2\xA9",
    b"\xC3\xA9\xE2\x82\xA9a",
    b"\x82\x82a\xC3",
];

fn oracles() -> impl Strategy<Value = Oracle> {
    let one_of = prop::collection::btree_set(prop::sample::select(&CHARACTERS[..]), 1..4);
    let leaf = prop_oneof![
        8 => one_of.prop_map(OneOf),
        1 => Just(OneOf(CHARACTERS.into())),
        1 => Just(Empty),
    ];
    leaf.prop_recursive(4, 12, 2, |sub| {
        prop_oneof![
            3 => (sub.clone(), sub.clone()).prop_map(|(a, b)| cat(a, b)),
            2 => (sub.clone(), sub.clone()).prop_map(|(a, b)| alt(a, b)),
            1 => sub.prop_map(|sub| Star(sub.into())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_token_is_allowed_where_a_match_can_follow_and_nowhere_else(
        oracle in oracles(),
        more in prop::sample::subsequence(&POOL[5..], 0..9),
        steps in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let tokens = [&POOL[..5], &more].concat();
        let constraint = regex(&oracle.pattern(), &tokens);
        let eos = tokens.len() as u32;
        let (mut output, mut bytes) = (Vec::new(), Vec::new());
        for step in steps {
            let ends = std::str::from_utf8(&bytes)
                .is_ok_and(|text| oracle.after_text(text).matches_empty());
            let expected: Vec<u32> = (0..).zip(&tokens)
                .filter(|(_, token)| oracle.can_begin_with(&[&bytes[..], token].concat()))
                .map(|(id, _)| id)
                .collect();
            let found = allowed(&constraint, &output);
            prop_assert_eq!(constraint.may_end(&output), ends);
            prop_assert_eq!(constraint.is_complete(&output), ends && expected.is_empty());
            // No dead ends.
            prop_assert!(!found.is_empty());
            prop_assert_eq!(found, expected.iter().copied().chain(ends.then_some(eos)).collect::<Vec<_>>());
            if ends {
                let text = std::str::from_utf8(&bytes).unwrap();
                let whole = Regex::new(&format!("^(?:{})$", oracle.pattern())).unwrap();
                prop_assert!(whole.is_match(text));
            }
            if expected.is_empty() { break }
            let token = expected[step.index(expected.len())];
            output.push(token);
            bytes.extend_from_slice(tokens[token as usize]);
        }
    }

    #[test]
    fn the_state_of_a_beam_depends_on_its_output_alone(
        outputs in prop::collection::vec(prop::collection::vec(0u32..5, 0..6), 0..60),
    ) {
        let tokens: [&[u8]; 4] = [b"a", b"b", b"ab", b"bb"];
        let shared = regex("(ab|b)*a?", &tokens);
        for output in outputs {
            let alone = regex("(ab|b)*a?", &tokens);
            prop_assert_eq!(allowed(&shared, &output), allowed(&alone, &output));
            prop_assert_eq!(shared.is_possible(&output), alone.is_possible(&output));
        }
    }
}
