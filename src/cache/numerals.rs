//! Numbers by their value, whether in words or in digits.

use super::wording::{Kind, Token};

const UNITS: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: &[&str] = &[
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
const SCALES: &[(&str, u64)] = &[
    ("hundred", 100),
    ("thousand", 1_000),
    ("million", 1_000_000),
    ("billion", 1_000_000_000),
];
const ORDINALS: &[&str] = &[
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
];

/// One spelling of a number in digits; other text as it is.
pub fn plain(core: &str) -> String {
    let groups: Vec<&str> = core.split(',').collect();
    let grouped = groups.len() > 1
        && (1..=3).contains(&groups[0].len())
        && groups[1..].iter().all(|group| group.len() == 3);
    let plain = match grouped {
        true => groups.concat(),
        false => core.to_owned(),
    };
    plain.to_lowercase()
}

/// Number words to digits.
pub fn to_digits(tokens: &mut Vec<Token>) {
    let mut at = 0;
    while at < tokens.len() {
        let word = &*tokens[at].text;
        if let Some(index) = ORDINALS.iter().position(|&ordinal| ordinal == word) {
            let n = index + 1;
            let suffix = match n {
                1 => "st",
                2 => "nd",
                3 => "rd",
                _ => "th",
            };
            tokens[at].text = format!("{n}{suffix}");
            tokens[at].kind = Kind::Number;
        } else if let Some(mut value) = cardinal(word) {
            let mut end = at + 1;
            let next = |end: usize| tokens.get(end).map_or("", |token| &*token.text);
            if (20..100).contains(&value)
                && let Some(unit @ 1..10) = cardinal(next(end))
            {
                value += unit;
                end += 1;
            }
            while let Some(&(_, scale)) = SCALES.iter().find(|(name, _)| *name == next(end)) {
                value = value.saturating_mul(scale);
                end += 1;
            }
            tokens[at].text = value.to_string();
            tokens[at].kind = Kind::Number;
            tokens[at].ends = tokens[end - 1].ends;
            tokens.drain(at + 1..end);
        }
        at += 1;
    }
}

/// The value of a number word.
pub fn cardinal(word: &str) -> Option<u64> {
    let place = |list: &[&str]| list.iter().position(|&known| known == word);
    let unit = place(UNITS).map(|index| index as u64);
    let tens = || place(TENS).map(|index| (index as u64 + 2) * 10);
    let scale = || SCALES.iter().find(|(name, _)| *name == word);
    unit.or_else(tens)
        .or_else(|| scale().map(|&(_, value)| value))
}
