//! Bytes to text, as they come.
//!
//! A token may end within a character, so the text of a token is not always
//! known when the token is. A stream gives out each character with the token
//! that completes it. GPT-2 can also produce bytes that are no UTF-8 at all;
//! those become U+FFFD as soon as they are known to be wrong, one for each
//! maximal subpart, exactly where [`String::from_utf8_lossy`] puts it.

/// Turns bytes into text across chunk borders.
///
/// The pieces given out, joined, are [`String::from_utf8_lossy`] of all bytes
/// put in, wherever the chunks were cut.
///
/// ```
/// use cacher_wasm::tokenizer::TextStream;
///
/// let mut stream = TextStream::default();
/// assert_eq!(stream.push(b"caf\xC3"), "caf");
/// assert_eq!(stream.push(b"\xA9 \xF0\x9F"), "é ");
/// assert_eq!(stream.finish(), "\u{FFFD}");
/// ```
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    /// The beginning of a character whose end has not come yet: at most three
    /// bytes between calls.
    held: Vec<u8>,
}

impl TextStream {
    /// Takes the next bytes and gives the text they complete. May be empty.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.held.len());
        let mut open = 0;
        let mut chunks = self.held.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let invalid = chunk.invalid();
            // Bytes that others follow are known to be wrong; at the end they
            // may yet turn out to begin a character.
            if chunks.peek().is_none() && is_beginning(invalid) {
                open = invalid.len();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.held.drain(..self.held.len() - open);
        text
    }

    /// Ends the text: U+FFFD where a character was begun and not completed,
    /// else nothing. The stream is as new afterwards.
    pub fn finish(&mut self) -> String {
        if self.held.is_empty() {
            return String::new();
        }
        self.held.clear();
        char::REPLACEMENT_CHARACTER.into()
    }
}

/// Whether more bytes can make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text each chunk adds, and at last what `finish` adds.
    fn stream(chunks: &[&[u8]]) -> Vec<String> {
        let mut stream = TextStream::default();
        let mut texts: Vec<String> = chunks.iter().map(|bytes| stream.push(bytes)).collect();
        texts.push(stream.finish());
        texts
    }

    /// Bytes that come close to UTF-8: whole characters, parts of them, noise.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            4 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
            4 => any::<char>().prop_map(|c| {
                let bytes = c.to_string().into_bytes();
                bytes[..bytes.len().div_ceil(2)].to_vec()
            }),
            3 => prop::sample::select(vec![
                0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xE0,
                0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF,
            ]).prop_map(|byte| vec![byte]),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn chunks_join_to_the_lossy_text_wherever_they_are_cut(
            bytes in bytes(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(stream(&chunks).concat(), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn no_more_is_held_than_the_beginning_of_one_character(bytes in bytes()) {
            let mut stream = TextStream::default();
            for byte in bytes {
                stream.push(&[byte]);
                prop_assert!(stream.held.len() <= 3);
                prop_assert!(stream.held.is_empty() || is_beginning(&stream.held));
            }
        }
    }

    #[test]
    fn a_character_comes_with_the_bytes_that_complete_it() {
        assert_eq!(
            stream(&[b"\xF0\x9F", b"\x98", b"\x80!"]),
            ["", "", "😀!", ""]
        );
    }

    #[test]
    fn wrong_bytes_are_replaced_as_soon_as_they_are_known_to_be_wrong() {
        assert_eq!(stream(&[b"\xFF", b"a"]), ["\u{FFFD}", "a", ""]);
        assert_eq!(stream(&[b"\xE0", b"\x80"]), ["", "\u{FFFD}\u{FFFD}", ""]);
        assert_eq!(stream(&[b"\xF0\x9F", b"a"]), ["", "\u{FFFD}a", ""]);
    }

    #[test]
    fn a_genuine_replacement_character_is_not_held_back() {
        assert_eq!(
            stream(&["\u{FFFD}".as_bytes(), b"a"]),
            ["\u{FFFD}", "a", ""]
        );
    }

    #[test]
    fn a_finished_stream_is_as_new() {
        let mut stream = TextStream::default();
        assert_eq!(stream.push(b"\xE6\xBC"), "");
        assert_eq!(stream.finish(), "\u{FFFD}");
        assert_eq!(stream.finish(), "");
        assert_eq!(stream.push(b"\xA2"), "\u{FFFD}");
    }
}
