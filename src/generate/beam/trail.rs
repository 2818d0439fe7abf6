//! The text of a beam: what a token adds to it, and whether it ends it.

use crate::error::Result;
use crate::generate::stop::StopMatcher;
use crate::tokenizer::{TextStream, Tokenizer};
use std::rc::Rc;

/// What turns tokens into text, the same for all beams.
#[derive(Clone)]
pub struct Texts {
    pub tokenizer: Option<Rc<Tokenizer>>,
    pub stop: Vec<String>,
    pub include_stop: bool,
}

/// How far the text of one beam has come.
#[derive(Debug, Clone)]
pub struct Trail {
    stream: TextStream,
    stop: StopMatcher,
}

impl Texts {
    /// The beginning of a text.
    pub fn begin(&self) -> Trail {
        Trail {
            stream: TextStream::default(),
            stop: StopMatcher::new(&self.stop, self.include_stop),
        }
    }

    fn bytes(&self, token: u32) -> &[u8] {
        let tokenizer = self.tokenizer.as_deref();
        let bytes = tokenizer.and_then(|tokenizer| tokenizer.token_bytes(token));
        bytes.unwrap_or_default()
    }

    /// Goes on with `token`: the text that is complete with it, stop strings
    /// and all, and which stop string is.
    pub fn push(&self, trail: &mut Trail, token: u32) -> (String, Option<String>) {
        let bytes = self.bytes(token);
        let found = trail.stop.push(bytes, &mut Vec::new());
        let stop = found.map(|found| self.stop[found.index].clone());
        (trail.stream.push(bytes), stop)
    }

    /// The text of `tokens`, up to a stop string or, with `include_stop`, with
    /// it; and the tokens of that text. Where the cut is inside a token, what
    /// comes before it is tokenised anew.
    pub fn whole(&self, tokens: &[u32]) -> Result<(String, Vec<u32>)> {
        let mut trail = self.begin();
        let mut bytes = Vec::new();
        let mut is_cut = false;
        for &token in tokens {
            // A matcher is spent once it has found one.
            is_cut = trail.stop.push(self.bytes(token), &mut bytes).is_some();
            if is_cut {
                break;
            }
        }
        let text_tokens = if is_cut {
            self.tokens_of(tokens, &bytes)?
        } else {
            trail.stop.flush(&mut bytes);
            tokens.to_vec()
        };
        Ok((String::from_utf8_lossy(&bytes).into_owned(), text_tokens))
    }

    /// As many of `tokens` as are whole in `bytes`, which they begin with, and
    /// the rest of `bytes` as text.
    fn tokens_of(&self, tokens: &[u32], bytes: &[u8]) -> Result<Vec<u32>> {
        let mut kept = 0;
        let mut count = 0;
        let mut whole = (0, 0);
        for &token in tokens {
            kept += self.bytes(token).len();
            if kept > bytes.len() {
                break;
            }
            count += 1;
            // A rest can only begin where a character does.
            if bytes.get(kept).is_none_or(|byte| byte & 0xC0 != 0x80) {
                whole = (kept, count);
            }
        }
        let (kept, count) = whole;
        let mut text_tokens = tokens[..count].to_vec();
        let rest = String::from_utf8_lossy(&bytes[kept..]);
        if let (false, Some(tokenizer)) = (rest.is_empty(), &self.tokenizer) {
            text_tokens.extend(tokenizer.encode(&rest, false)?.ids);
        }
        Ok(text_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::scheduler::tests::tokenizer;

    /// Each byte is a token.
    fn texts(stop: &str, include_stop: bool) -> Texts {
        Texts {
            tokenizer: Some(tokenizer()),
            stop: vec![stop.into()],
            include_stop,
        }
    }

    fn ids(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    #[test]
    fn a_text_ends_before_its_stop_string_or_with_it() {
        for (include_stop, expected) in [(false, "caf\u{e9} "), (true, "caf\u{e9} au")] {
            let texts = texts("au", include_stop);
            let (text, tokens) = texts.whole(&ids("caf\u{e9} au lait")).unwrap();
            assert_eq!(text, expected);
            assert_eq!(tokens, ids(expected));
        }
        let (text, tokens) = texts("au", false).whole(&ids("caf\u{e9} a")).unwrap();
        assert_eq!((text.as_str(), tokens), ("caf\u{e9} a", ids("caf\u{e9} a")));
    }

    #[test]
    fn a_token_that_holds_the_cut_is_made_anew() {
        let texts = texts("5", false);
        // Token 256 reads "<256>".
        let (text, tokens) = texts.whole(&[97, 256, 98]).unwrap();
        assert_eq!((text.as_str(), tokens), ("a<2", ids("a<2")));
    }
}
