//! What guards accept and refuse, beyond the pairs of the fixture.

use super::refusal;
use proptest::prelude::*;

fn agree(a: &str, b: &str) {
    assert_eq!(refusal(a, b), None, "{a} / {b}");
}

fn refused(a: &str, b: &str, what: &str) {
    let reason = refusal(a, b).unwrap_or_else(|| panic!("{a} / {b}"));
    assert!(reason.starts_with(what), "{a} / {b}: {reason}");
}

#[test]
fn numbers_agree_by_value() {
    agree("Add two and 1,000.", "Add 2 and one thousand");
    agree("the 19th of May", "the nineteenth of May");
    agree("count to twenty-five", "count to 25");
    agree("about forty two cats", "about 42 cats");
    refused("What is 3.5 plus 2?", "What is 35 plus 2?", "numbers");
    refused("What is -5 plus 2?", "What is 5 plus 2?", "numbers");
    refused("Say it 2 times.", "Say it 3 times.", "numbers");
    refused("Say it.", "Say it twelve times.", "numbers");
    refused("the first floor", "the one floor", "numbers");
    refused("Meet at 10:30.", "Meet at 1030.", "numbers");
    refused("2000 in 10 years", "10 in 2000 years", "the order");
}

#[test]
fn negations_agree() {
    agree("Why can't I sleep?", "Why can not I sleep?");
    agree("Why cannot I sleep?", "Why can't I sleep?");
    agree("Why won't my cat eat?", "Why will my cat not eat?");
    agree("I don\u{2019}t know", "I don't know");
    for (a, b) in [
        ("Which birds can fly?", "Which birds can't fly?"),
        ("Is it true?", "Is it not true?"),
        ("Cook it with salt.", "Cook it without salt."),
        ("Everything went well.", "Nothing went well."),
        ("I always eat.", "I never eat."),
        ("all months including May", "all months except May"),
    ] {
        refused(a, b, "negations");
    }
    for (a, b) in [
        ("a dependent variable", "an independent variable"),
        ("a toxic plant", "a non-toxic plant"),
        ("Are they happy?", "Are they unhappy?"),
    ] {
        refused(a, b, "words");
    }
    // The same "not", of another thing.
    refused(
        "Why do cats not swim but dogs swim?",
        "Why do cats swim but dogs not swim?",
        "the order",
    );
}

#[test]
fn named_things_agree() {
    agree("who wrote Hamlet?", "Who wrote hamlet?");
    agree("WHO WROTE HAMLET?", "Who wrote Hamlet?");
    agree("Newton's law", "newton's law.");
    agree(
        "Translate \u{201c}good day\u{201d}.",
        "Translate 'good day'",
    );
    refused("Tell me about Oslo.", "Tell me about Bergen.", "names");
    refused(
        "Say \"good day\" to him",
        "Say \"good night\" to him",
        "names",
    );
    refused("Translate \"Polish\".", "Translate \"polish\".", "names");
    refused(
        "What does parse_args do?",
        "What does parse_line do?",
        "names",
    );
    refused(
        "Open https://a.example/x",
        "Open https://a.example/y",
        "names",
    );
    refused("the laws of the US", "the laws of us", "names");
    refused("Learn C++.", "Learn C#.", "names");
    refused("What is 8 + 2?", "What is 8 * 2?", "names");
}

#[test]
fn opposites_differ() {
    let pairs = "increase decrease, before after, buy sell, on off, in out, up down, open close, \
        more less, first last, over under, import export, win lose, for against, from to, \
        most least, best worst, always sometimes, must may, was is, why how, when where, \
        or and, he she, my your, many few, push pull, left right, above below";
    for pair in pairs.split(", ") {
        let (a, b) = pair.split_once(' ').unwrap();
        let prompt = |word: &str| format!("say {word} again");
        assert!(refusal(&prompt(a), &prompt(b)).is_some(), "{pair}");
    }
}

#[test]
fn directions_agree() {
    for (a, b) in [
        (
            "the train from Paris to Rome",
            "the train from Rome to Paris",
        ),
        ("Does a lion beat a tiger?", "Does a tiger beat a lion?"),
        ("Should I eat before I run?", "Should I run before I eat?"),
        ("Why do dogs chase cats?", "Why do cats chase dogs?"),
        ("What do you think of me?", "What do I think of you?"),
        ("Turn rust, not iron, red", "Turn iron, not rust, red"),
        ("Are squares rectangles?", "Are rectangles squares?"),
    ] {
        assert!(refusal(a, b).is_some(), "{a} / {b}");
    }
    agree("In Rust, how do I sort?", "How do I sort in Rust?");
    agree("Compare tea and coffee", "compare coffee and tea.");
    agree(
        "What is the difference between a cat and a dog?",
        "What's the difference between a dog and a cat?",
    );
}

#[test]
fn idle_words_do_not_count() {
    agree(
        "How do I swim?",
        "Hello, can you please tell me how to swim? Thanks!",
    );
    agree("How can I swim?", "What is the best way to swim?");
    agree("Explain how tides work.", "how do tides work");
    agree(
        "List the colours of a rainbow",
        "What are the colors of the rainbow?",
    );
    agree("Is water wet?", "Please, is the water wet");
    // An article or an auxiliary may be what makes it another question.
    for (a, b) in [
        ("Name a cat.", "What is a cat?"),
        ("Tell me a story.", "What is a story?"),
        ("Do birds sing?", "Which birds sing?"),
        ("Is the sky blue?", "The sky is blue."),
        ("Can you swim?", "What is swim?"),
        ("How do you feel?", "How do I feel?"),
    ] {
        assert!(refusal(a, b).is_some(), "{a} / {b}");
    }
    // But they are all there is to some prompts.
    agree("hello", "Hello!");
    refused("hello", "thanks", "words");
    refused("please", "list", "words");
    assert!(refusal("", "why").is_some());
}

#[test]
fn long_and_odd_texts_take_no_long_time() {
    for unit in [
        "\"a ",
        "' ",
        "hi ",
        "a, ",
        "-",
        "one hundred ",
        "please ",
        "\u{2019}t ",
    ] {
        let text: String = unit.chars().cycle().take(4000).collect();
        agree(&text, &text);
    }
}

fn prompt() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "how",
        "do",
        "I",
        "not",
        "don't",
        "two",
        "2",
        "hundred",
        "Paris",
        "paris",
        "and",
        "between",
        "please",
        "list",
        "tell",
        "me",
        "the",
        "cats,",
        "cat.",
        "US",
        "us",
        "\"a b\"",
        "'",
        "-5",
        "1,000",
        "x_y",
        "from",
        "to",
        "explain",
        "why",
        "?",
        "\n",
        "can't",
        "what's",
        "\u{e9}t\u{e9}",
        "日本",
    ]);
    let made = prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "));
    prop_oneof![made, ".{0,40}"]
}

proptest! {
    #[test]
    fn a_prompt_agrees_with_itself(a in prompt()) {
        prop_assert_eq!(refusal(&a, &a), None);
        prop_assert_eq!(refusal(&a, &format!("  {a}\n")), None);
    }

    #[test]
    fn it_makes_no_difference_which_came_first(a in prompt(), b in prompt()) {
        prop_assert_eq!(refusal(&a, &b).is_some(), refusal(&b, &a).is_some());
    }

    #[test]
    fn another_number_is_always_refused(a in prompt(), n in 100..200u32, m in 200..300u32) {
        let (left, right) = (format!("{a} {n}"), format!("{a} {m}"));
        prop_assert!(refusal(&left, &right).is_some());
    }
}
