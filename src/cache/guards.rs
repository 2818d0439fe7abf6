//! What must agree before the answer to one prompt is given for another.
//!
//! Vectors of prompts that differ in one word, a number or the order of two
//! names are nearer to each other than those of paraphrases (measured:
//! `docs/semantic.md`), so similarity alone may not decide. A guard accepts
//! only what it can account for: the same numbers, negations, names and other
//! words that count, in the same order.

use super::wording::{Kind, Word, Wording, wording};

/// Words between which and "and" two things may change places.
const SYMMETRIC: &[&str] = &["between", "compare"];

/// Why `b`'s answer must not be given for `a`; `None` where nothing speaks
/// against it. Symmetric but for the order in which differences are named.
pub fn refusal(a: &str, b: &str) -> Option<String> {
    let (a, b) = (wording(a), wording(b));
    let left = unmatched(&a, &b);
    let right = unmatched(&b, &a);
    let kinds = left.iter().chain(&right).map(|word| word.kind);
    if let Some(kind) = kinds.min() {
        let what = match kind {
            Kind::Number => "numbers",
            Kind::Negation => "negations",
            Kind::Name => "names",
            Kind::Word => "words",
        };
        return Some(format!("{what} differ: {} / {}", list(&left), list(&right)));
    }
    (!same_order(&a, &b)).then(|| "the order of the words differs".to_owned())
}

/// Words of `a` beyond those of `b`, as multisets. What begins a sentence has
/// a capital and may be a name: kinds need not agree.
fn unmatched<'a>(a: &'a Wording, b: &Wording) -> Vec<&'a Word> {
    let mut known: Vec<&str> = b.words.iter().map(|word| &*word.text).collect();
    known.sort_unstable();
    let mut words: Vec<&Word> = a.words.iter().collect();
    words.sort_unstable();
    let mut at = 0;
    words.retain(|word| {
        while at < known.len() && known[at] < &*word.text {
            at += 1;
        }
        let found = known.get(at) == Some(&&*word.text);
        at += usize::from(found);
        !found
    });
    words
}

fn list(words: &[&Word]) -> String {
    match words {
        [] => "nothing".to_owned(),
        words => {
            let texts: Vec<&str> = words.iter().map(|word| &*word.text).collect();
            texts.join(" ")
        }
    }
}

/// True where the order of the same words makes no difference.
fn same_order(a: &Wording, b: &Wording) -> bool {
    let (x, y) = (ordered(a), ordered(b));
    x == y
        || is_fronted(&x, a, &y)
        || is_fronted(&y, b, &x)
        || is_contracted(&x, a, &y)
        || is_contracted(&y, b, &x)
}

/// The words, with things that may change places in one order.
fn ordered(wording: &Wording) -> Vec<&str> {
    let mut words: Vec<&str> = wording.words.iter().map(|word| &*word.text).collect();
    for at in 0..words.len().saturating_sub(3) {
        if SYMMETRIC.contains(&words[at]) && words[at + 2] == "and" && words[at + 1] > words[at + 3]
        {
            words.swap(at + 1, at + 3);
        }
    }
    words
}

/// True where `x` is `y` with its end put first and a comma after it: "in
/// Python, how do I sort" and "how do I sort in Python".
fn is_fronted(x: &[&str], wording: &Wording, y: &[&str]) -> bool {
    let cuts = wording.breaks.iter().filter(|&&cut| cut <= x.len());
    cuts.into_iter()
        .any(|&cut| [&x[cut..], &x[..cut]].concat() == y)
}

/// True where they differ in the place of one "not" alone, which `x` has
/// before the subject: "why doesn't my cat eat", "why does my cat not eat".
fn is_contracted(x: &[&str], wording: &Wording, y: &[&str]) -> bool {
    wording.contracted.iter().any(|&from| {
        (1..=2).any(|by| {
            let mut moved = x.to_vec();
            let Some(part) = moved.get_mut(from..=from + by) else {
                return false;
            };
            part.rotate_left(1);
            moved == y
        })
    })
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
