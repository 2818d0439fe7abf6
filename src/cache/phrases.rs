//! Phrases that ask and say nothing of what is asked for.

use super::wording::Token;

/// Politeness where a prompt begins,
const OPENERS: &[&str] = &[
    "hello",
    "hi",
    "hey",
    "please",
    "kindly",
    "can you",
    "could you",
    "would you please",
    "i want you to",
    "i would like you to",
];
/// and where it ends.
const CLOSERS: &[&str] = &["please", "thanks", "thank you"];

/// Ways of asking how to do something; the rest of the question follows.
const HOW_TO: &[&str] = &[
    "how do i",
    "how can i",
    "how could i",
    "how should i",
    "how i",
    "how does one",
    "how can one",
    "what is the way to",
    "what is a good way to",
    "what is the best way to",
    "what should i do to",
    "how to",
];

/// Idle before a question: "explain how it works".
const EXPLAIN: &[&str] = &["explain", "describe"];
/// So are these, and before "the" they mean "what is"; but "name a cat" is not
/// "what is a cat".
const ASK: &[&str] = &[
    "tell me",
    "give me",
    "show me",
    "list",
    "name",
    "do you know",
    "i want to know",
    "i would like to know",
];
pub const QUESTIONS: &[&str] = &["how", "why", "what", "when", "where", "who", "which"];

/// Takes away what begins and ends a prompt out of politeness, and makes the
/// ways of asking for the same thing one.
pub fn strip(tokens: &mut Vec<Token>) {
    while let Some(length) = idle_opening(tokens) {
        tokens.drain(..length);
    }
    while let Some(length) = (1..=2).find(|&length| {
        let end = tokens.len().saturating_sub(length);
        end > 0 && prefix(&tokens[end..], CLOSERS) == Some(length)
    }) {
        tokens.truncate(tokens.len() - length);
    }
    if let Some(length) = prefix(tokens, ASK).filter(|&at| is(tokens.get(at), &["the"])) {
        tokens[0].text = "what".to_owned();
        tokens.drain(1..length);
    }
    for at in 0..tokens.len() {
        if let Some(length) = prefix(&tokens[at..], HOW_TO) {
            tokens[at].text = "how".to_owned();
            tokens.drain(at + 1..at + length);
            break;
        }
    }
}

/// How many tokens say nothing, where more follow.
fn idle_opening(tokens: &[Token]) -> Option<usize> {
    let polite = prefix(tokens, OPENERS).filter(|&length| length < tokens.len());
    let before_question =
        |phrases| prefix(tokens, phrases).filter(|&length| is(tokens.get(length), QUESTIONS));
    polite
        .or_else(|| before_question(EXPLAIN))
        .or_else(|| before_question(ASK))
}

/// Length of the longest of `phrases` that the tokens begin with.
fn prefix(tokens: &[Token], phrases: &[&str]) -> Option<usize> {
    let lengths = phrases.iter().filter_map(|phrase| {
        let mut texts = tokens.iter().map(|token| &*token.text);
        let begins = phrase.split(' ').all(|word| texts.next() == Some(word));
        begins.then(|| phrase.split(' ').count())
    });
    lengths.max()
}

fn is(token: Option<&Token>, words: &[&str]) -> bool {
    token.is_some_and(|token| words.contains(&&*token.text))
}
