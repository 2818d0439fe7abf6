//! Strings: any, by length, by `pattern`, by `format`.

use super::super::hir::{class, literal, repeated};
use super::super::json::Json;
use super::super::regex;
use super::{Compiler, pattern};
use crate::error::Result;
use regex_syntax::hir::Hir;

/// Any string. Characters that JSON wants escaped are written with their short
/// escapes, those without one do not come.
pub fn any() -> Hir {
    in_quotes(repeated(character(), 0, None))
}

/// Any one character of a string.
pub fn character() -> Hir {
    let escapes = ['"', '\\', 'b', 'f', 'n', 'r', 't'].map(|c| (c, c));
    Hir::alternation(vec![
        class(&[(' ', '!'), ('#', '['), (']', char::MAX)]),
        Hir::concat(vec![literal("\\"), class(&escapes)]),
    ])
}

fn in_quotes(content: Hir) -> Hir {
    Hir::concat(vec![literal("\""), content, literal("\"")])
}

/// A format's name and its expression.
type Format = (&'static str, fn() -> String);

/// The formats there are, as their RFCs have them, or a part of that where an
/// expression cannot say all or a text could be without end.
const FORMATS: [Format; 9] = [
    ("date", date),
    ("time", time),
    ("date-time", || format!("{}T{}", date(), time())),
    ("duration", duration),
    ("uuid", || {
        "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}".into()
    }),
    ("email", email),
    ("hostname", || {
        let label = |first: &str| format!("{first}(?:[a-z0-9]{{0,20}}[a-z0-9])?");
        format!(r"(?:{}\.){{0,4}}{}", label("[a-z0-9]"), label("[a-z]"))
    }),
    ("ipv4", ipv4),
    ("ipv6", || "(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}".into()),
];

/// RFC 3339; the years have the leap days that they have.
fn date() -> String {
    let long = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])";
    let short = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)";
    let february = "02-(?:0[1-9]|1[0-9]|2[0-8])";
    let leap = "(?:0[48]|[2468][048]|[13579][26])";
    let leap_century = "(?:[02468][048]|[13579][26])00";
    format!(
        "(?:[0-9]{{4}}-(?:{long}|{short}|{february})|(?:[0-9]{{2}}{leap}|{leap_century})-02-29)"
    )
}

/// RFC 3339 without leap seconds.
fn time() -> String {
    let minutes = "(?:[01][0-9]|2[0-3]):[0-5][0-9]";
    format!(r"{minutes}:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{minutes})")
}

/// RFC 3339, appendix A: a smaller unit comes only after the next larger one.
fn duration() -> String {
    let some = "[0-9]{1,4}";
    let units = |[first, second, third]: [char; 3]| {
        let last = format!("(?:{some}{third})?");
        let later = format!("{some}{second}{last}");
        format!("(?:{some}{first}(?:{later})?|{later}|{some}{third})")
    };
    let (date, time) = (units(['Y', 'M', 'D']), units(['H', 'M', 'S']));
    format!("P(?:{some}W|{date}(?:T{time})?|T{time})")
}

fn email() -> String {
    let word = "[a-z0-9]{1,20}";
    format!(r"{word}(?:[._+-]{word}){{0,2}}@(?:{word}(?:-{word})?\.){{1,3}}[a-z]{{2,8}}")
}

fn ipv4() -> String {
    let byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    format!(r"(?:{byte}\.){{3}}{byte}")
}

impl<'s> Compiler<'s> {
    /// A string by its keywords.
    pub fn string(&mut self, schema: &'s Json) -> Result<Hir> {
        let min = self.count(schema, "minLength")?;
        let max = self.count(schema, "maxLength")?;
        let described = match (schema.get("pattern"), schema.get("format")) {
            (Some(pattern), None) => Some(("pattern", self.pattern(pattern)?)),
            (None, Some(format)) => Some(("format", self.format(format)?)),
            (Some(_), Some(format)) => {
                let range = "left out beside pattern: both at once are not supported";
                return Err(self.wrong_at("format", format, range));
            }
            (None, None) => None,
        };
        let content = match described {
            Some((keyword, described)) => {
                self.check_length(schema, keyword, &described, min, max)?;
                described.hir
            }
            None if max.is_some_and(|max| max < min.unwrap_or(0)) => Hir::fail(),
            None => repeated(character(), min.unwrap_or(0), max),
        };
        Ok(in_quotes(content))
    }

    fn pattern(&self, value: &Json) -> Result<pattern::Content> {
        let Json::String(text) = value else {
            return Err(self.wrong_at("pattern", value, "text"));
        };
        let option = format!("{}{}/pattern", super::OPTION, self.path);
        regex::check_length(&option, text)?;
        pattern::parse(&option, text)
    }

    fn format(&self, value: &Json) -> Result<pattern::Content> {
        let known = FORMATS
            .iter()
            .find(|(name, _)| matches!(value, Json::String(given) if given == name));
        let Some((_, expression)) = known else {
            let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
            let range = format!("one of {}: others are not supported", names.join(", "));
            return Err(self.wrong_at("format", value, range));
        };
        let option = format!("{}{}/format", super::OPTION, self.path);
        pattern::parse(&option, &format!("^(?:{})$", expression()))
    }

    /// Lengths beside a pattern or a format are kept where it keeps them itself.
    fn check_length(
        &self,
        schema: &Json,
        keyword: &str,
        content: &pattern::Content,
        min: Option<u32>,
        max: Option<u32>,
    ) -> Result<()> {
        let (least, most) = content.lengths;
        for (name, kept) in [
            ("minLength", min.is_none_or(|min| least >= u64::from(min))),
            (
                "maxLength",
                max.is_none_or(|max| most.is_some_and(|most| most <= u64::from(max))),
            ),
        ] {
            if let (false, Some(value)) = (kept, schema.get(name)) {
                let range = format!(
                    "left out beside {keyword}, or true of all that it matches: both at once are not supported"
                );
                return Err(self.wrong_at(name, value, range));
            }
        }
        Ok(())
    }
}
