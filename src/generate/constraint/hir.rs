//! Small pieces of which expressions are put together.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition};

pub fn literal(text: impl AsRef<[u8]>) -> Hir {
    Hir::literal(text.as_ref().to_vec())
}

pub fn optional(sub: Hir) -> Hir {
    repeated(sub, 0, Some(1))
}

/// `sub` from `min` to `max` times; without `max`, without end.
pub fn repeated(sub: Hir, min: u32, max: Option<u32>) -> Hir {
    Hir::repetition(Repetition {
        min,
        max,
        greedy: true,
        sub: Box::new(sub),
    })
}

/// One character of the ranges, ends included.
pub fn class(ranges: &[(char, char)]) -> Hir {
    let ranges = ranges
        .iter()
        .map(|&(first, last)| ClassUnicodeRange::new(first, last));
    Hir::class(Class::Unicode(ClassUnicode::new(ranges)))
}

/// How many parts an expression has, ranges of characters and bytes counted
/// each: what a copy of it costs.
pub fn size(hir: &Hir) -> usize {
    1 + match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Unicode(class)) => class.ranges().len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Repetition(repetition) => size(&repetition.sub),
        HirKind::Capture(capture) => size(&capture.sub),
        HirKind::Concat(subs) | HirKind::Alternation(subs) => subs.iter().map(size).sum(),
    }
}
