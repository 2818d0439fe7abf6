//! Which tokens of a text are meant.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::ops::Range;

/// From `start` up to but not `end`, as in JavaScript's `slice`: negative
/// numbers count from the end. Other than there, both have to be in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenRange {
    pub start: i64,
    /// `None` is the end of the text.
    pub end: Option<i64>,
}

impl TokenRange {
    /// The range in a text of `len` tokens; `option` is its name in errors.
    ///
    /// Error: `invalid-option` for one that is empty or leaves the text.
    pub fn resolve(&self, option: &str, len: usize) -> Result<Range<usize>> {
        let place = |name: &str, at: i64| {
            let from_start = if at < 0 {
                at.saturating_add(len as i64)
            } else {
                at
            };
            let place = usize::try_from(from_start).ok();
            place.filter(|&place| place <= len).ok_or_else(|| {
                Error::option(
                    format!("{option}.{name}"),
                    at,
                    format!("from -{len} to {len}, as the text has {len} tokens"),
                )
            })
        };
        let start = place("start", self.start)?;
        let end = self.end.map_or(Ok(len), |end| place("end", end))?;
        if start >= end {
            return Err(Error::option(
                option,
                format!("{start} to {end}"),
                "a range of at least one token",
            ));
        }
        Ok(start..end)
    }
}

/// One token of a text of `len`: negative numbers count from the end.
///
/// Error: `invalid-option`.
pub fn place(option: &str, at: i64, len: usize) -> Result<usize> {
    let from_start = if at < 0 {
        at.saturating_add(len as i64)
    } else {
        at
    };
    let place = usize::try_from(from_start).ok();
    place.filter(|&place| place < len).ok_or_else(|| {
        let range = format!(
            "from -{len} to {}, as the text has {len} tokens",
            len.saturating_sub(1)
        );
        Error::option(option, at, range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(start: i64, end: Option<i64>) -> Result<Range<usize>> {
        TokenRange { start, end }.resolve("range", 10)
    }

    #[test]
    fn negative_ends_count_from_the_end_and_absent_ones_are_it() {
        assert_eq!(resolved(0, None).unwrap(), 0..10);
        assert_eq!(resolved(-3, None).unwrap(), 7..10);
        assert_eq!(resolved(2, Some(-1)).unwrap(), 2..9);
        assert_eq!(resolved(0, Some(10)).unwrap(), 0..10);
        assert_eq!(place("at", -1, 10).unwrap(), 9);
    }

    #[test]
    fn what_is_empty_or_outside_is_refused_by_name() {
        for (start, end, name) in [
            (-11, None, "range.start"),
            (0, Some(11), "range.end"),
            (5, Some(5), "range"),
            (10, None, "range"),
        ] {
            let error = resolved(start, end).unwrap_err();
            assert_eq!(error.details()["option"], name, "{error}");
        }
        assert!(place("at", 10, 10).is_err() && place("at", i64::MIN, 10).is_err());
    }
}
