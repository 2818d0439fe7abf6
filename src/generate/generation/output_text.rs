//! The text of a generation: tokens' bytes through stop strings and boundaries
//! to whole characters.
//!
//! Bytes in which a stop string or the end of a sentence may begin are held
//! back, so that a stream never shows what the result will not have.

use super::boundary::Boundary;
use super::outcome::FinishReason;
use crate::error::Result;
use crate::generate::GenerateOptions;
use crate::generate::stop::StopMatcher;
use crate::tokenizer::{TextStream, Tokenizer};

/// Text being made of bytes.
pub(super) struct OutputText {
    stop: StopMatcher,
    boundary: Option<Boundary>,
    stream: TextStream,
    /// Bytes that became text, before any was replaced by U+FFFD.
    bytes: usize,
}

/// What ends a text by itself.
pub(super) enum TextEnd {
    /// What `stopAt` asks for.
    Boundary,
    /// The stop string of this index.
    Stop(usize),
}

impl OutputText {
    pub fn new(options: &GenerateOptions) -> Self {
        Self {
            stop: StopMatcher::new(&options.stop, options.include_stop),
            boundary: options.stop_at.map(Boundary::new),
            stream: TextStream::default(),
            bytes: 0,
        }
    }

    /// Takes a token's bytes; what is certain to be text is added to `text`.
    pub fn push(&mut self, token_bytes: &[u8], text: &mut String) -> Option<TextEnd> {
        let mut bytes = Vec::new();
        let found = self.stop.push(token_bytes, &mut bytes);
        if self.show(&bytes, text) {
            return Some(TextEnd::Boundary);
        }
        found.map(|found| TextEnd::Stop(found.index))
    }

    /// Makes text of bytes that no stop string can begin in; true where the text
    /// ends by itself among them.
    fn show(&mut self, bytes: &[u8], text: &mut String) -> bool {
        let Some(boundary) = &mut self.boundary else {
            self.bytes += bytes.len();
            *text += &self.stream.push(bytes);
            return false;
        };
        let mut shown = Vec::new();
        let ends = boundary.push(bytes, &mut shown);
        self.bytes += shown.len();
        *text += &self.stream.push(&shown);
        ends
    }

    /// Ends it for `reason`: what was held back becomes text, unless it is what
    /// has ended it.
    pub fn end(&mut self, reason: FinishReason, text: &mut String) {
        let mut cut = reason == FinishReason::Boundary;
        if !cut && reason != FinishReason::Stop {
            let mut bytes = Vec::new();
            self.stop.flush(&mut bytes);
            cut = self.show(&bytes, text);
        }
        if let (false, Some(boundary)) = (cut, &mut self.boundary) {
            let mut bytes = Vec::new();
            boundary.flush(&mut bytes);
            self.bytes += bytes.len();
            *text += &self.stream.push(&bytes);
        }
        *text += &self.stream.finish();
    }

    /// The tokens of the text, of those that were put in. Where the text ends
    /// inside a token, what comes before the cut is tokenised anew.
    pub fn tokens(&self, output: &[u32], tokenizer: Option<&Tokenizer>) -> Result<Vec<u32>> {
        let bytes_of = |token: u32| {
            let bytes = tokenizer.and_then(|tokenizer| tokenizer.token_bytes(token));
            bytes.unwrap_or_default()
        };
        let mut bytes = 0;
        let mut kept: Vec<u32> = Vec::new();
        for &token in output {
            let token_bytes = bytes_of(token);
            let room = self.bytes - bytes;
            if token_bytes.len() > room {
                let mut rest = token_bytes[..room].to_vec();
                // The character that is cut may have begun in tokens before.
                while rest.first().is_some_and(|byte| byte & 0xC0 == 0x80)
                    && let Some(before) = kept.pop()
                {
                    rest.splice(..0, bytes_of(before).iter().copied());
                }
                let rest = String::from_utf8_lossy(&rest);
                if let (false, Some(tokenizer)) = (rest.is_empty(), tokenizer) {
                    kept.extend(tokenizer.encode(&rest, false)?.ids);
                }
                break;
            }
            bytes += token_bytes.len();
            kept.push(token);
        }
        Ok(kept)
    }
}
