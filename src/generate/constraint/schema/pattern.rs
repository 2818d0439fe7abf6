//! `pattern`: a regular expression about the content of a string, to one about
//! the content as JSON writes it.
//!
//! JSON Schema means ECMAScript's expressions. Rust's are written alike but for
//! classes: `\d`, `\w`, `\s` and `.` get ECMAScript's meaning here, and what
//! would mean two things is refused.

use super::super::hir::{class, literal, repeated};
use super::super::regex::{MAX_PATTERN_NESTING, not_valid, quoted};
use super::string;
use crate::error::{Error, Result};
use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    Ast, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, ClassSetRange,
    ClassSetUnion, GroupKind, Literal, LiteralKind, Span,
};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

/// An expression between the quotes of a string.
pub struct Content {
    pub hir: Hir,
    /// The least and the most characters that match, escaped ones counted once.
    pub lengths: (u64, Option<u64>),
}

/// Reads a pattern. As JSON Schema has it, it may match anywhere unless it says
/// `^` and `$`. Errors name `option`.
pub fn parse(option: &str, pattern: &str) -> Result<Content> {
    let refused = |reason: &str| Error::option(option, quoted(pattern), reason);
    let mut ast = ParserBuilder::new()
        .nest_limit(MAX_PATTERN_NESTING)
        .build()
        .parse(pattern)
        .map_err(|error| not_valid(option, pattern, &error.into()))?;
    make_ecmascript(&mut ast).map_err(refused)?;
    let hir = Translator::new()
        .translate(pattern, &ast)
        .map_err(|error| not_valid(option, pattern, &error.into()))?;
    let hir = whole(hir);
    let lengths = lengths(&hir);
    let hir = written(&hir).ok_or_else(|| {
        refused("without ^, $, \\b and \\B but for ^ at the start and $ at the end: others are not supported")
    })?;
    Ok(Content { hir, lengths })
}

type Refused<T> = Result<T, &'static str>;

/// Gives the classes their meaning in ECMAScript.
fn make_ecmascript(ast: &mut Ast) -> Refused<()> {
    match ast {
        Ast::Flags(_) => return Err(NO_FLAGS),
        Ast::Dot(span) => *ast = Ast::ClassBracketed(Box::new(bracketed(**span, true, &LINE_ENDS))),
        Ast::ClassPerl(class) => *ast = Ast::ClassBracketed(Box::new(perl(class))),
        Ast::ClassBracketed(class) => match &mut class.kind {
            ClassSet::Item(item) => make_item_ecmascript(item)?,
            ClassSet::BinaryOp(_) => {
                return Err("without &&, -- and ~~ in classes: ECMAScript reads them otherwise");
            }
        },
        Ast::Repetition(repetition) => make_ecmascript(&mut repetition.ast)?,
        Ast::Group(group) => {
            if matches!(&group.kind, GroupKind::NonCapturing(flags) if !flags.items.is_empty()) {
                return Err(NO_FLAGS);
            }
            make_ecmascript(&mut group.ast)?;
        }
        Ast::Alternation(alternation) => {
            alternation.asts.iter_mut().try_for_each(make_ecmascript)?
        }
        Ast::Concat(concat) => concat.asts.iter_mut().try_for_each(make_ecmascript)?,
        Ast::Empty(_) | Ast::Literal(_) | Ast::Assertion(_) | Ast::ClassUnicode(_) => {}
    }
    Ok(())
}

const NO_FLAGS: &str = "without inline flags: JSON Schema's patterns have none";

fn make_item_ecmascript(item: &mut ClassSetItem) -> Refused<()> {
    match item {
        ClassSetItem::Perl(class) => *item = ClassSetItem::Bracketed(Box::new(perl(class))),
        ClassSetItem::Bracketed(_) | ClassSetItem::Ascii(_) => {
            return Err("without [ in classes (write \\[): ECMAScript reads it otherwise");
        }
        ClassSetItem::Union(union) => {
            union.items.iter_mut().try_for_each(make_item_ecmascript)?;
        }
        ClassSetItem::Empty(_)
        | ClassSetItem::Literal(_)
        | ClassSetItem::Range(_)
        | ClassSetItem::Unicode(_) => {}
    }
    Ok(())
}

/// `\d`, `\s` and `\w` as ECMAScript has them.
fn perl(class: &ClassPerl) -> ClassBracketed {
    let ranges: &[(char, char)] = match class.kind {
        ClassPerlKind::Digit => &[('0', '9')],
        ClassPerlKind::Word => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        ClassPerlKind::Space => &[
            ('\t', '\r'),
            (' ', ' '),
            ('\u{A0}', '\u{A0}'),
            ('\u{1680}', '\u{1680}'),
            ('\u{2000}', '\u{200A}'),
            ('\u{2028}', '\u{2029}'),
            ('\u{202F}', '\u{202F}'),
            ('\u{205F}', '\u{205F}'),
            ('\u{3000}', '\u{3000}'),
            ('\u{FEFF}', '\u{FEFF}'),
        ],
    };
    bracketed(class.span, class.negated, ranges)
}

/// What `.` does not match.
const LINE_ENDS: [(char, char); 3] = [('\n', '\n'), ('\r', '\r'), ('\u{2028}', '\u{2029}')];

fn bracketed(span: Span, negated: bool, ranges: &[(char, char)]) -> ClassBracketed {
    let literal = |c| Literal {
        span,
        kind: LiteralKind::Verbatim,
        c,
    };
    let items = ranges.iter().map(|&(start, end)| {
        ClassSetItem::Range(ClassSetRange {
            span,
            start: literal(start),
            end: literal(end),
        })
    });
    ClassBracketed {
        span,
        negated,
        kind: ClassSet::union(ClassSetUnion {
            span,
            items: items.collect(),
        }),
    }
}

/// Takes `^` from the start and `$` from the end of every alternative, and puts
/// any text where they are not.
fn whole(hir: Hir) -> Hir {
    let any = || repeated(class(&[('\0', char::MAX)]), 0, None);
    let one = |hir: Hir| {
        let mut parts = match hir.into_kind() {
            HirKind::Concat(parts) => parts,
            HirKind::Look(look) => vec![Hir::look(look)],
            HirKind::Empty => Vec::new(),
            kind => vec![rebuilt(kind)],
        };
        let is = |part: Option<&Hir>, look| part.is_some_and(|p| *p.kind() == HirKind::Look(look));
        if is(parts.first(), Look::Start) {
            parts.remove(0);
        } else {
            parts.insert(0, any());
        }
        if is(parts.last(), Look::End) {
            parts.pop();
        } else {
            parts.push(any());
        }
        Hir::concat(parts)
    };
    match hir.into_kind() {
        HirKind::Alternation(alternatives) => {
            Hir::alternation(alternatives.into_iter().map(one).collect())
        }
        HirKind::Capture(capture) => whole(*capture.sub),
        kind => one(rebuilt(kind)),
    }
}

fn rebuilt(kind: HirKind) -> Hir {
    match kind {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(repetition) => Hir::repetition(repetition),
        HirKind::Capture(capture) => Hir::capture(capture),
        HirKind::Concat(subs) => Hir::concat(subs),
        HirKind::Alternation(subs) => Hir::alternation(subs),
    }
}

/// The content as it is written between quotes. `None` where it looks around.
fn written(hir: &Hir) -> Option<Hir> {
    Some(match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(text) => {
            let text = std::str::from_utf8(&text.0).ok()?;
            Hir::concat(text.chars().map(written_character).collect())
        }
        HirKind::Class(Class::Unicode(class)) => written_class(class),
        HirKind::Class(Class::Bytes(class)) => written_class(&class.to_unicode_class()?),
        HirKind::Look(_) => return None,
        HirKind::Repetition(repetition) => {
            Hir::repetition(repetition.with(written(&repetition.sub)?))
        }
        HirKind::Capture(capture) => written(&capture.sub)?,
        HirKind::Concat(subs) => Hir::concat(subs.iter().map(written).collect::<Option<_>>()?),
        HirKind::Alternation(subs) => {
            Hir::alternation(subs.iter().map(written).collect::<Option<_>>()?)
        }
    })
}

fn is_escaped(character: char) -> bool {
    character < ' ' || character == '"' || character == '\\'
}

fn written_character(character: char) -> Hir {
    let quoted = serde_json::Value::String(character.into()).to_string();
    literal(&quoted[1..quoted.len() - 1])
}

fn written_class(class: &ClassUnicode) -> Hir {
    let all = [('\0', char::MAX)].map(|(first, last)| ClassUnicodeRange::new(first, last));
    if class.ranges() == all {
        return string::character();
    }
    let mut plain = ClassUnicode::new(
        [(' ', '!'), ('#', '['), (']', char::MAX)]
            .map(|(first, last)| ClassUnicodeRange::new(first, last)),
    );
    plain.intersect(class);
    let contains = |c: char| {
        let mut ranges = class.ranges().iter();
        ranges.any(|range| (range.start()..=range.end()).contains(&c))
    };
    let escaped = ('\0'..='\\').filter(|&c| is_escaped(c) && contains(c));
    let mut alternatives = vec![Hir::class(Class::Unicode(plain))];
    alternatives.extend(escaped.map(written_character));
    Hir::alternation(alternatives)
}

/// The least and the most characters of what matches.
fn lengths(hir: &Hir) -> (u64, Option<u64>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => (0, Some(0)),
        HirKind::Literal(text) => {
            let count = String::from_utf8_lossy(&text.0).chars().count() as u64;
            (count, Some(count))
        }
        HirKind::Class(_) => (1, Some(1)),
        HirKind::Capture(capture) => lengths(&capture.sub),
        HirKind::Repetition(repetition) => {
            let (least, most) = lengths(&repetition.sub);
            let most = match (most, repetition.max) {
                (Some(0), _) => Some(0),
                (Some(most), Some(max)) => Some(most.saturating_mul(max.into())),
                _ => None,
            };
            (least.saturating_mul(repetition.min.into()), most)
        }
        HirKind::Concat(subs) => subs.iter().map(lengths).fold((0, Some(0)), |sum, next| {
            let most = sum
                .1
                .zip(next.1)
                .map(|(a, b): (u64, u64)| a.saturating_add(b));
            (sum.0.saturating_add(next.0), most)
        }),
        HirKind::Alternation(subs) => subs
            .iter()
            .map(lengths)
            .reduce(|a, b| (a.0.min(b.0), a.1.zip(b.1).map(|(a, b)| a.max(b))))
            .unwrap_or((0, Some(0))),
    }
}
