//! Positions in UTF-16 code units, which is what JavaScript strings are
//! indexed by, from lengths in bytes.

use std::str::Chars;

/// Walks over a text once, from its start to its end.
pub struct Utf16Cursor<'t> {
    rest: Chars<'t>,
    /// Bytes walked over.
    at: usize,
    /// The last character boundary at or before `at`, in bytes ...
    boundary: usize,
    /// ... and in UTF-16 code units.
    units: u32,
}

impl<'t> Utf16Cursor<'t> {
    pub fn new(text: &'t str) -> Self {
        Self {
            rest: text.chars(),
            at: 0,
            boundary: 0,
            units: 0,
        }
    }

    /// Bytes walked over so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Walks over the next `bytes` bytes. Gives the start and end, in UTF-16
    /// code units, of the characters that they touch: where they begin or end
    /// within a character, the whole character counts.
    pub fn advance(&mut self, bytes: usize) -> (u32, u32) {
        self.at += bytes;
        let start = self.units;
        while self.boundary < self.at {
            let mut ahead = self.rest.clone();
            let Some(character) = ahead.next() else { break };
            let units = character.len_utf16() as u32;
            if self.boundary + character.len_utf8() > self.at {
                return (start, self.units + units);
            }
            self.rest = ahead;
            self.boundary += character.len_utf8();
            self.units += units;
        }
        (start, self.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_character_carry_the_whole_character() {
        let mut cursor = Utf16Cursor::new("a😀é");
        let walked: Vec<_> = [1, 1, 2, 1, 1, 1].map(|n| cursor.advance(n)).to_vec();
        assert_eq!(walked, [(0, 1), (1, 3), (1, 3), (1, 3), (3, 4), (3, 4)]);
        assert_eq!(cursor.at(), 7);
    }

    #[test]
    fn a_span_from_within_one_character_to_within_another_carries_both() {
        let mut cursor = Utf16Cursor::new("漢字!");
        let walked: Vec<_> = [2, 2, 3].map(|n| cursor.advance(n)).to_vec();
        assert_eq!(walked, [(0, 1), (0, 2), (1, 3)]);
    }
}
