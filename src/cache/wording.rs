//! What a prompt says, less how it says it: the words that count, in order,
//! with numbers as values and without what is only politeness or grammar.
//!
//! Everything that is not surely idle counts, so that a word this file knows
//! nothing of keeps two prompts apart rather than together.

use super::{numerals, phrases};

/// What a word is, by how its difference is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Number,
    Negation,
    /// A name, quoted text, code or an address.
    Name,
    Word,
}

/// A word that counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    pub text: String,
    pub kind: Kind,
}

/// The words of a prompt that count.
#[derive(Debug, Clone, PartialEq)]
pub struct Wording {
    pub words: Vec<Word>,
    /// How many words are before each comma or end of a sentence.
    pub breaks: Vec<usize>,
    /// Where "n't" stood, before it became "not".
    pub contracted: Vec<usize>,
}

/// A word as it stands in a prompt, in small letters.
pub struct Token {
    pub text: String,
    pub kind: Kind,
    /// A comma or the end of a sentence follows.
    pub ends: bool,
    pub contracted: bool,
}

/// Words without which a prompt means the same.
const ARTICLES: &[&str] = &["a", "an", "the"];
/// As these, but for those that begin a question: "are all cats mammals".
const AUXILIARIES: &[&str] = &["is", "are", "am", "be", "do", "does"];

const NEGATIONS: &[&str] = &[
    "not",
    "no",
    "never",
    "none",
    "nobody",
    "nothing",
    "nowhere",
    "neither",
    "nor",
    "without",
    "except",
    "excluding",
    "unless",
    "false",
    "hardly",
    "barely",
];

/// What `prompt` says.
pub fn wording(prompt: &str) -> Wording {
    let mut tokens = tokens(prompt);
    phrases::strip(&mut tokens);
    numerals::to_digits(&mut tokens);
    let mut wording = Wording {
        words: Vec::new(),
        breaks: Vec::new(),
        contracted: Vec::new(),
    };
    let mut begins = true;
    for token in tokens {
        let is = |list: &[&str]| token.kind == Kind::Word && list.contains(&&*token.text);
        let asks = begins && is(AUXILIARIES);
        begins = token.ends;
        if asks || !(is(ARTICLES) || is(AUXILIARIES)) {
            if token.contracted {
                wording.contracted.push(wording.words.len());
            }
            let kind = match token.kind {
                Kind::Word if NEGATIONS.contains(&&*token.text) => Kind::Negation,
                kind => kind,
            };
            let text = match kind {
                // Whichever it is: "is", "are" or "does".
                _ if asks => "whether".to_owned(),
                Kind::Word => stem(&token.text),
                _ => token.text,
            };
            wording.words.push(Word { text, kind });
        }
        if token.ends {
            wording.breaks.push(wording.words.len());
        }
    }
    wording
}

/// The prompt cut at white space and quotation marks.
fn tokens(prompt: &str) -> Vec<Token> {
    let text: String = prompt
        .chars()
        .map(|c| match c {
            '\u{2018}' | '\u{2019}' => '\'',
            '\u{201c}' | '\u{201d}' => '"',
            c => c,
        })
        .collect();
    // Without small letters, capitals say nothing.
    let shouted = !text.chars().any(char::is_lowercase);
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    let mut begins = true;
    while let Some(first) = rest.chars().next() {
        if let Some((quoted, after)) = quotation(rest, first) {
            tokens.push(Token {
                text: quoted.trim_end_matches(['.', ',', '!', '?']).to_owned(),
                kind: Kind::Name,
                ends: false,
                contracted: false,
            });
            let marks = ['.', ',', ';', ':', '!', '?', ')'];
            rest = after.trim_start_matches(marks).trim_start();
            begins = false;
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        let core = piece.trim_matches(is_mark);
        if !core.is_empty() {
            push(&mut tokens, signed(piece, core), begins, shouted);
        }
        let last = piece.chars().next_back();
        if let (Some(',' | ';' | '.' | '!' | '?' | ':'), Some(token)) = (last, tokens.last_mut()) {
            token.ends = true;
        }
        begins = matches!(last, Some('.' | '!' | '?' | ':')) || (core.is_empty() && begins);
        rest = after.trim_start();
        begins |= after[..after.len() - rest.len()].contains('\n');
    }
    tokens
}

/// Text in quotation marks at the beginning of `rest`, and what follows.
fn quotation(rest: &str, mark: char) -> Option<(&str, &str)> {
    if !matches!(mark, '"' | '\'' | '`') {
        return None;
    }
    let inner = &rest[1..];
    let mut ends = inner.match_indices(mark).map(|(at, _)| at);
    // An apostrophe inside a word ends nothing.
    let end = ends.find(|at| !inner[at + 1..].starts_with(char::is_alphanumeric))?;
    (end > 0).then(|| (&inner[..end], &inner[end + 1..]))
}

/// Marks around a word.
fn is_mark(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '"' | '(' | ')' | '-' | '–' | '—' | '…'
    )
}

/// With the sign of a number, which looks like a mark.
fn signed<'a>(piece: &'a str, core: &'a str) -> &'a str {
    match piece.strip_suffix(|c| is_mark(c)).unwrap_or(piece) {
        whole if core.starts_with(|c: char| c.is_ascii_digit()) && whole.starts_with('-') => {
            whole.trim_end_matches(is_mark)
        }
        _ => core,
    }
}

fn push(tokens: &mut Vec<Token>, core: &str, begins: bool, shouted: bool) {
    let mut add = |text: &str, kind, contracted| {
        tokens.push(Token {
            text: text.to_owned(),
            kind,
            ends: false,
            contracted,
        });
    };
    if core.contains(|c: char| c.is_numeric()) {
        return add(&numerals::plain(core), Kind::Number, false);
    }
    let plain = |c: char| c.is_alphabetic() || matches!(c, '\'' | '-');
    if !core.chars().all(plain) {
        return add(core, Kind::Name, false);
    }
    let capital = core.starts_with(char::is_uppercase);
    let capitals = core.chars().filter(|c| c.is_uppercase()).count();
    let acronym = capitals > 1 && capitals == core.chars().count();
    let lower = core.to_lowercase();
    if acronym && !shouted {
        // "US" is not "us".
        return add(core, Kind::Name, false);
    }
    if let Some((word, ending)) = lower.rsplit_once('\'') {
        let verb = match (word, ending) {
            ("can", "t") => "can",
            ("won", "t") => "will",
            ("shan", "t") => "shall",
            (word, "t") => word.strip_suffix('n').unwrap_or(word),
            (word, _) => word,
        };
        add(verb, Kind::Word, false);
        match ending {
            "t" => add("not", Kind::Word, true),
            "ve" => add("have", Kind::Word, false),
            "ll" => add("will", Kind::Word, false),
            "d" => add("would", Kind::Word, false),
            "s" if phrases::QUESTIONS.contains(&verb) => add("is", Kind::Word, false),
            // "is", "am" or "are", all idle, or a genitive.
            "s" | "m" | "re" => {}
            other => add(other, Kind::Word, false),
        }
        return;
    }
    if lower == "cannot" {
        add("can", Kind::Word, false);
        return add("not", Kind::Word, false);
    }
    let parts: Vec<&str> = lower.split('-').collect();
    if parts.len() > 1 && parts.iter().all(|part| numerals::cardinal(part).is_some()) {
        parts.iter().for_each(|part| add(part, Kind::Word, false));
        return;
    }
    let word = lower.replace('-', "");
    if capital && !begins && !shouted && word != "i" && !ARTICLES.contains(&&*word) {
        return add(&stem(&word), Kind::Name, false);
    }
    add(&word, Kind::Word, false);
}

/// One form of a word: singular, American.
fn stem(word: &str) -> String {
    let singular = match word {
        "has" => "have".to_owned(),
        "which" => "what".to_owned(),
        _ if word.len() < 4 || !word.ends_with('s') => word.to_owned(),
        _ if word.ends_with("ss") || word.ends_with("us") || word.ends_with("is") => {
            word.to_owned()
        }
        _ => match word.strip_suffix("es") {
            Some(stem) if stem.len() > 2 && stem.ends_with('i') => {
                format!("{}y", &stem[..stem.len() - 1])
            }
            Some(stem)
                if ["ss", "x", "z", "ch", "sh"]
                    .iter()
                    .any(|s| stem.ends_with(s)) =>
            {
                stem.to_owned()
            }
            _ => word[..word.len() - 1].to_owned(),
        },
    };
    if singular.len() < 5 {
        return singular;
    }
    let american = singular.replace("our", "or");
    match american.strip_suffix("se") {
        Some(stem) if stem.ends_with(['i', 'y']) => format!("{stem}ze"),
        _ => american,
    }
}
