//! Ends a text after its first line, sentence or paragraph.
//!
//! That one has ended shows only when the next begins, mostly inside a token.
//! White space at the end is held back until then, so that the text ends
//! neatly. Sentences are those of Unicode's text segmentation (UAX #29), which
//! knows no abbreviations: "Mr. Smith" is two.

use crate::generate::options::StopAt;
use unicode_segmentation::UnicodeSegmentation;

/// Looks for the end of the first line, sentence or paragraph.
#[derive(Debug)]
pub(super) struct Boundary {
    at: StopAt,
    /// The output so far, with a byte that is no character as one that is.
    text: String,
    /// Bytes at the end of the output that may begin a character.
    rest: Vec<u8>,
    /// The output so far, as it is.
    bytes: Vec<u8>,
    emitted: usize,
}

/// In the place of each byte that is no UTF-8: as long as the byte, and no
/// space, letter or mark.
const NO_CHARACTER: char = '\u{1a}';

impl Boundary {
    pub fn new(at: StopAt) -> Self {
        Self {
            at,
            text: String::new(),
            rest: Vec::new(),
            bytes: Vec::new(),
            emitted: 0,
        }
    }

    /// Takes bytes of output and appends to `emit` what is safe to show; true
    /// where the text ends here.
    pub fn push(&mut self, bytes: &[u8], emit: &mut Vec<u8>) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.rest.extend_from_slice(bytes);
        self.decode();
        let end = match self.at {
            StopAt::Line => self.lines().nth(1).map(|next| next.0),
            StopAt::Paragraph => self.paragraph_end(),
            StopAt::Sentence => self.sentence_end(),
        };
        let until = end.unwrap_or(self.text.len());
        let shown = self.text[..until].trim_end().len();
        self.emit_until(shown, emit);
        end.is_some()
    }

    /// Appends what was held back: the text has ended otherwise.
    pub fn flush(&mut self, emit: &mut Vec<u8>) {
        self.emit_until(self.bytes.len(), emit);
    }

    fn emit_until(&mut self, until: usize, emit: &mut Vec<u8>) {
        if until > self.emitted {
            emit.extend_from_slice(&self.bytes[self.emitted..until]);
            self.emitted = until;
        }
    }

    fn decode(&mut self) {
        loop {
            match std::str::from_utf8(&self.rest) {
                Ok(text) => {
                    self.text += text;
                    self.rest.clear();
                    return;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    self.text += &String::from_utf8_lossy(&self.rest[..valid]);
                    let Some(wrong) = error.error_len() else {
                        self.rest.drain(..valid);
                        return;
                    };
                    self.text.extend(std::iter::repeat_n(NO_CHARACTER, wrong));
                    self.rest.drain(..valid + wrong);
                }
            }
        }
    }

    /// Where each line begins, from the first that has something on it, with
    /// the line.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut start = 0;
        self.text
            .split_inclusive('\n')
            .chain(self.text.ends_with('\n').then_some(""))
            .map(move |line| {
                let at = start;
                start += line.len();
                (at, line)
            })
            .skip_while(|(_, line)| line.trim().is_empty())
    }

    /// Before the first empty line after something.
    fn paragraph_end(&self) -> Option<usize> {
        let whole = |line: &str| line.ends_with('\n');
        self.lines()
            .find(|(_, line)| line.trim().is_empty() && whole(line))
            .map(|(at, _)| at)
    }

    /// Where the sentence after the first with something in it begins.
    fn sentence_end(&self) -> Option<usize> {
        self.text
            .split_sentence_bound_indices()
            .skip_while(|(_, sentence)| sentence.trim().is_empty())
            .nth(1)
            .map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text shown, and whether it was ended, from `text` in pieces.
    fn run(at: StopAt, pieces: &[&[u8]]) -> (String, bool) {
        let mut boundary = Boundary::new(at);
        let mut shown = Vec::new();
        for piece in pieces {
            if boundary.push(piece, &mut shown) {
                return (String::from_utf8_lossy(&shown).into_owned(), true);
            }
        }
        boundary.flush(&mut shown);
        (String::from_utf8_lossy(&shown).into_owned(), false)
    }

    fn whole(at: StopAt, text: &str) -> (String, bool) {
        run(at, &[text.as_bytes()])
    }

    #[test]
    fn a_line_ends_before_its_newline() {
        assert_eq!(whole(StopAt::Line, "one\ntwo"), ("one".into(), true));
        assert_eq!(whole(StopAt::Line, "one\n"), ("one".into(), true));
        assert_eq!(
            whole(StopAt::Line, "\n \n one \r\n"),
            ("\n \n one".into(), true)
        );
        assert_eq!(whole(StopAt::Line, "one "), ("one ".into(), false));
    }

    #[test]
    fn a_paragraph_ends_before_an_empty_line() {
        let text = "\n\none\ntwo\n \nthree";
        assert_eq!(
            whole(StopAt::Paragraph, text),
            ("\n\none\ntwo".into(), true)
        );
        assert_eq!(
            whole(StopAt::Paragraph, "one\ntwo\n"),
            ("one\ntwo\n".into(), false)
        );
        assert_eq!(whole(StopAt::Paragraph, "one\n "), ("one\n ".into(), false));
    }

    #[test]
    fn a_sentence_ends_where_the_next_begins() {
        for (text, sentence) in [
            ("It was 3.5 m high. Then", "It was 3.5 m high."),
            ("\"Go.\" she said. And", "\"Go.\" she said."),
            (" Really?! Yes", " Really?!"),
            ("好的。我", "好的。"),
            ("One.\nTwo", "One."),
        ] {
            assert_eq!(
                whole(StopAt::Sentence, text),
                (sentence.into(), true),
                "{text}"
            );
        }
        let unfinished = "He said so. ";
        assert_eq!(
            whole(StopAt::Sentence, unfinished),
            (unfinished.into(), false)
        );
    }

    #[test]
    fn a_character_may_come_in_pieces_and_bytes_may_be_no_character() {
        let (text, ended) = run(
            StopAt::Line,
            &[b"caf\xc3", b"\xa9\xff", b"\xe2\x82\n", b"x"],
        );
        assert_eq!((text.as_str(), ended), ("café\u{fffd}\u{fffd}", true));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_a_beginning_of_the_text_however_it_comes(
            text in "[a-c.!? \n\u{e9}\u{4f60}]{0,40}",
            cuts in proptest::collection::vec(0usize..100, 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            for at in [StopAt::Line, StopAt::Sentence, StopAt::Paragraph] {
                let (shown, ended) = run(at, &pieces);
                prop_assert!(text.starts_with(&shown));
                if !ended {
                    prop_assert_eq!(&shown, &text);
                }
                // Lines and paragraphs end at the same place however they come.
                if at != StopAt::Sentence {
                    prop_assert_eq!(whole(at, &text), (shown, ended));
                }
            }
        }
    }
}
