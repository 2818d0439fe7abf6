//! What becomes of changes that contradict each other.

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// What to put in the place of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    Ours,
    Theirs,
    /// What was there before both.
    Base,
    /// Ours, then theirs.
    Both,
    /// These instead.
    Tokens(Vec<u32>),
}

/// A [`Resolution`] as a caller gives it, with text: `"ours"`, `"theirs"`,
/// `"base"`, `"both"` or `{ text }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename = "Resolution", rename_all = "lowercase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum TextResolution {
    Ours,
    Theirs,
    Base,
    Both,
    Text(String),
}

impl TextResolution {
    /// Makes tokens of its text. `parse_special` as in [`Tokenizer::encode`].
    ///
    /// # Errors
    ///
    /// [`Error::NoTokenizer`] for text without one, and those of
    /// [`Tokenizer::encode`].
    pub fn encode(self, tokenizer: Option<&Tokenizer>, parse_special: bool) -> Result<Resolution> {
        Ok(match self {
            Self::Ours => Resolution::Ours,
            Self::Theirs => Resolution::Theirs,
            Self::Base => Resolution::Base,
            Self::Both => Resolution::Both,
            Self::Text(text) => {
                let tokenizer = tokenizer.ok_or(Error::NoTokenizer)?;
                Resolution::Tokens(tokenizer.encode(&text, parse_special)?.ids)
            }
        })
    }
}

/// What becomes of conflicts that nothing else is said of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(target_arch = "wasm32", derive(tsify::Tsify))]
pub enum OnConflict {
    /// They are listed, and nothing is merged.
    #[default]
    Error,
    Ours,
    Theirs,
    /// What was there before both.
    Base,
    /// Ours, then theirs.
    Both,
}

impl OnConflict {
    /// What it says for each conflict, `None` for an error.
    pub fn resolution(self) -> Option<Resolution> {
        match self {
            Self::Error => None,
            Self::Ours => Some(Resolution::Ours),
            Self::Theirs => Some(Resolution::Theirs),
            Self::Base => Some(Resolution::Base),
            Self::Both => Some(Resolution::Both),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{BYTES, bytes};
    use super::*;

    #[test]
    fn resolutions_are_read_as_javascript_has_them() {
        let read = |json: &str| serde_json::from_str::<TextResolution>(json);
        assert_eq!(read(r#""both""#).unwrap(), TextResolution::Both);
        let text = read(r#"{ "text": "é" }"#).unwrap();
        assert_eq!(
            text.clone().encode(Some(&BYTES), false),
            Ok(Resolution::Tokens(bytes("é")))
        );
        assert_eq!(text.encode(None, false), Err(Error::NoTokenizer));
        assert!(read(r#""mine""#).is_err());
    }
}
