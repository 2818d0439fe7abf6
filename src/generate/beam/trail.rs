//! The text of a beam: what a token adds to it, and whether it ends it.

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
    /// it.
    pub fn whole(&self, tokens: &[u32]) -> String {
        let mut trail = self.begin();
        let mut bytes = Vec::new();
        let mut is_stopped = false;
        for &token in tokens {
            is_stopped |= trail.stop.push(self.bytes(token), &mut bytes).is_some();
        }
        if !is_stopped {
            trail.stop.flush(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
