//! Numbers, within bounds.
//!
//! They are written without exponent, with at most 15 digits in all: any two
//! such numbers are different as `f64` as well, so that a bound holds for
//! whoever reads them so. A number is counted in units of its last place, which
//! makes every bound a whole one and every comparison one of digits.

use super::super::hir::{class, literal, optional, repeated};
use super::super::json::Json;
use super::Compiler;
use crate::error::Result;
use regex_syntax::hir::Hir;

/// Digits that an `f64` keeps apart.
const DIGITS: u32 = 15;
/// Places after the point, unless a bound has more.
const PLACES: u32 = 6;
/// The largest number, in units of the last place.
const MOST: i128 = 10i128.pow(DIGITS) - 1;

/// A number without bounds: what [`between`] would say in many more parts, and
/// zero with a sign.
pub fn any() -> Hir {
    let more = digits(0, DIGITS - PLACES - 1);
    let whole = vec![literal("0"), Hir::concat(vec![class(&[('1', '9')]), more])];
    let part = Hir::concat(vec![literal("."), digits(1, PLACES)]);
    Hir::concat(vec![
        optional(literal("-")),
        Hir::alternation(whole),
        optional(part),
    ])
}

fn any_integer() -> Hir {
    let signed = Hir::concat(vec![
        optional(literal("-")),
        class(&[('1', '9')]),
        digits(0, DIGITS - 1),
    ]);
    Hir::alternation(vec![literal("0"), signed])
}

fn digits(least: u32, most: u32) -> Hir {
    repeated(class(&[('0', '9')]), least, Some(most))
}

impl Compiler<'_> {
    /// A number, or an integer, by `minimum`, `maximum`, `exclusiveMinimum` and
    /// `exclusiveMaximum`.
    pub fn number(&mut self, schema: &Json, integer: bool) -> Result<Hir> {
        let mut bounds = Vec::new();
        for (keyword, lower, exclusive) in [
            ("minimum", true, 0),
            ("exclusiveMinimum", true, 1),
            ("maximum", false, 0),
            ("exclusiveMaximum", false, 1),
        ] {
            if let Some(value) = schema.get(keyword) {
                let bound = match value {
                    Json::Number(number) => Decimal::read(&number.to_string()),
                    _ => None,
                };
                match bound {
                    Some(bound) => bounds.push((bound, lower, exclusive)),
                    None => return Err(self.wrong_at(keyword, value, "a number")),
                }
            }
        }
        if bounds.is_empty() {
            return Ok(if integer { any_integer() } else { any() });
        }
        let places = if integer {
            0
        } else {
            let whole = bounds.iter().map(|(bound, ..)| bound.digits());
            let after = bounds.iter().map(|(bound, ..)| bound.places());
            let room = DIGITS.saturating_sub(whole.max().unwrap_or(1));
            after.max().unwrap_or(0).max(PLACES).min(room)
        };
        let (mut least, mut most) = (-MOST, MOST);
        for (bound, lower, exclusive) in bounds {
            let (below, above) = bound.units(places);
            if lower {
                // Above the bound itself where that is a number of these places.
                let strict = if below == above { exclusive } else { 0 };
                least = least.max(above + strict);
            } else {
                let strict = if below == above { exclusive } else { 0 };
                most = most.min(below - strict);
            }
        }
        Ok(between(least, most, places))
    }
}

/// A decimal number: `mantissa` times a power of ten.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    mantissa: i128,
    exponent: i32,
}

impl Decimal {
    /// Reads a number as JSON has it, of at most 20 digits.
    fn read(text: &str) -> Option<Self> {
        let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, after) = number.split_once('.').unwrap_or((number, ""));
        let mut decimal = Self {
            mantissa: format!("{whole}{after}").parse().ok()?,
            exponent: exponent.parse::<i32>().ok()? - after.len() as i32,
        };
        while decimal.mantissa != 0 && decimal.mantissa % 10 == 0 {
            decimal.mantissa /= 10;
            decimal.exponent += 1;
        }
        Some(decimal)
    }

    /// Digits before the point.
    fn digits(self) -> u32 {
        let digits = self.mantissa.unsigned_abs().to_string().len() as i32;
        (digits + self.exponent).max(1) as u32
    }

    /// Digits after the point.
    fn places(self) -> u32 {
        (-self.exponent).max(0) as u32
    }

    /// The nearest numbers of so many places that are not above and not below,
    /// in units of the last place; beyond what can be written, some number that
    /// is too.
    fn units(self, places: u32) -> (i128, i128) {
        const BEYOND: i128 = 10i128.pow(18);
        let exponent = self.exponent + places as i32;
        if exponent >= 0 {
            let units = 10i128
                .checked_pow(exponent as u32)
                .and_then(|power| self.mantissa.checked_mul(power))
                .unwrap_or(self.mantissa.signum() * BEYOND)
                .clamp(-BEYOND, BEYOND);
            return (units, units);
        }
        // No mantissa has more digits than this.
        let power = 10i128.pow((-exponent).min(38) as u32);
        let below = self.mantissa.div_euclid(power);
        let above = below + i128::from(self.mantissa.rem_euclid(power) != 0);
        (below.clamp(-BEYOND, BEYOND), above.clamp(-BEYOND, BEYOND))
    }
}

/// The numbers from `least` to `most`, in units of the last of `places`.
fn between(least: i128, most: i128, places: u32) -> Hir {
    let mut alternatives = Vec::new();
    if most >= 0 && least <= most {
        alternatives.push(magnitudes(least.max(0), most, places));
    }
    // Zero has no sign.
    if least < 0 && least <= most {
        let magnitudes = magnitudes((-most).max(1), -least, places);
        alternatives.push(Hir::concat(vec![literal("-"), magnitudes]));
    }
    Hir::alternation(alternatives)
}

/// The same of numbers that are not negative.
fn magnitudes(least: i128, most: i128, places: u32) -> Hir {
    let unit = 10i128.pow(places);
    let (first, last) = (least / unit, most / unit);
    let whole_and_part = |whole: i128, from: i128, to: i128| {
        let whole = literal(whole.to_string());
        Hir::concat(vec![whole, part(from, to, places)])
    };
    if first == last {
        return whole_and_part(first, least % unit, most % unit);
    }
    let mut alternatives = vec![
        whole_and_part(first, least % unit, unit - 1),
        whole_and_part(last, 0, most % unit),
    ];
    if first + 1 < last {
        let whole = whole_numbers(first + 1, last - 1);
        alternatives.push(Hir::concat(vec![whole, part(0, unit - 1, places)]));
    }
    Hir::alternation(alternatives)
}

/// The whole numbers from `first` to `last`, without leading zeros.
fn whole_numbers(first: i128, last: i128) -> Hir {
    let mut alternatives = Vec::new();
    let mut from = first;
    while from <= last {
        let width = from.to_string().len() as u32;
        let to = last.min(10i128.pow(width) - 1);
        alternatives.push(same_width(
            from.to_string().as_bytes(),
            to.to_string().as_bytes(),
        ));
        from = to + 1;
    }
    Hir::alternation(alternatives)
}

/// The digits from `from` to `to`, which are as many.
fn same_width(from: &[u8], to: &[u8]) -> Hir {
    if is_all(from, b'0') && is_all(to, b'9') {
        let width = from.len() as u32;
        return digits(width, width);
    }
    by_first_digit(from, to, same_width)
}

/// What follows the whole part: places from `from` to `to`, of which zeros at
/// the end may be missing, and the point with them where all are.
fn part(from: i128, to: i128, places: u32) -> Hir {
    if places == 0 {
        return Hir::empty();
    }
    let width = places as usize;
    let after_point = some_places(
        format!("{from:0width$}").as_bytes(),
        format!("{to:0width$}").as_bytes(),
    );
    let part = Hir::concat(vec![literal("."), after_point]);
    if from == 0 { optional(part) } else { part }
}

/// At least one place.
fn some_places(from: &[u8], to: &[u8]) -> Hir {
    if is_all(from, b'0') && is_all(to, b'9') {
        return digits(1, from.len() as u32);
    }
    by_first_digit(from, to, |from, to| {
        if from.is_empty() {
            return Hir::empty();
        }
        let more = some_places(from, to);
        if is_all(from, b'0') {
            optional(more)
        } else {
            more
        }
    })
}

/// The first digit, and with `rest` those after it: within both bounds, or at
/// one of them.
fn by_first_digit(from: &[u8], to: &[u8], rest: impl Fn(&[u8], &[u8]) -> Hir) -> Hir {
    let (Some((&first, from)), Some((&last, to))) = (from.split_first(), to.split_first()) else {
        return Hir::empty();
    };
    let then = |first: u8, last: u8, rest: Hir| {
        Hir::concat(vec![class(&[(first.into(), last.into())]), rest])
    };
    if first == last {
        return then(first, first, rest(from, to));
    }
    let (zeros, nines) = (vec![b'0'; to.len()], vec![b'9'; to.len()]);
    let mut alternatives = vec![
        then(first, first, rest(from, &nines)),
        then(last, last, rest(&zeros, to)),
    ];
    if first + 1 < last {
        alternatives.push(then(first + 1, last - 1, rest(&zeros, &nines)));
    }
    Hir::alternation(alternatives)
}

fn is_all(digits: &[u8], digit: u8) -> bool {
    digits.iter().all(|&other| other == digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::constraint::automaton::Automaton;
    use proptest::prelude::*;

    fn expression(least: i128, most: i128, places: u32) -> Automaton {
        Automaton::new(&between(least, most, places), &[true; 256]).unwrap()
    }

    #[test]
    fn numbers_are_written_without_needless_digits() {
        let numbers = Automaton::new(&super::any(), &[true; 256]).unwrap();
        let integers = Automaton::new(&any_integer(), &[true; 256]).unwrap();
        for integer in ["0", "7", "-1", "100", "-999999999999999"] {
            assert!(integers.accepts(integer), "{integer}");
        }
        for integer in ["", "-0", "01", "1.0", "1e3", "1000000000000000"] {
            assert!(!integers.accepts(integer), "{integer}");
        }
        for number in [
            "0",
            "7",
            "-1",
            "10",
            "0.5",
            "-0.000001",
            "999999999.999999",
            "1.50",
        ] {
            assert!(numbers.accepts(number), "{number}");
        }
        for number in [
            "",
            "-",
            "--1",
            "00",
            "01",
            "1.",
            ".5",
            "+1",
            "1e5",
            "1000000000",
            "0.0000001",
        ] {
            assert!(!numbers.accepts(number), "{number}");
        }
    }

    #[test]
    fn bounds_are_read_as_they_are_written() {
        for (text, below, above) in [
            ("0.1", 10, 10),
            ("-2", -200, -200),
            ("1e2", 10_000, 10_000),
            ("0.125", 12, 13),
            ("-0.125", -13, -12),
            ("1e-300", 0, 1),
            ("-1e300", -(10i128.pow(18)), -(10i128.pow(18))),
            ("12345678901234567890", 10i128.pow(18), 10i128.pow(18)),
        ] {
            assert_eq!(
                Decimal::read(text).unwrap().units(2),
                (below, above),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_between_matches_and_nothing_else(
            a in -30_000i64..30_000, b in -30_000i64..30_000, places in 0u32..4,
            tried in prop::collection::vec(-40_000i64..40_000, 50),
        ) {
            let (least, most) = (a.min(b), a.max(b));
            let expression = expression(least.into(), most.into(), places);
            for number in tried.into_iter().chain([least, most, least - 1, most + 1, 0]) {
                let unit = 10i64.pow(places);
                let sign = if number < 0 { "-" } else { "" };
                let (whole, part) = (number.abs() / unit, number.abs() % unit);
                let width = places as usize;
                let mut text = if places == 0 {
                    format!("{sign}{whole}")
                } else {
                    format!("{sign}{whole}.{part:0width$}")
                };
                let inside = (least..=most).contains(&number);
                // With all places, and with ever fewer zeros at the end.
                loop {
                    prop_assert_eq!(expression.accepts(&text), inside, "{}", &text);
                    if places == 0 || !text.contains('.') { break }
                    if text.ends_with(".0") { text.truncate(text.len() - 2); }
                    else if text.ends_with('0') { text.pop(); }
                    else { break }
                }
            }
        }
    }
}
