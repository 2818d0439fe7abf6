//! GPT-2's way of writing any byte as one printable character.
//!
//! Vocabulary and merges are text files, so bytes that do not print (space,
//! control characters, the halves of multi-byte characters) are written as the
//! characters from U+0100 on, in order; all others stand for themselves. Space
//! becomes `Ġ`, for instance. The `tokenizers` crate has the same table but
//! keeps it private.

/// Whether the byte is written as the character of its own number.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

const TO_CHAR: [char; 256] = {
    let mut table = ['\0'; 256];
    let mut byte = 0;
    let mut unprintable = 0;
    while byte < 256 {
        table[byte] = if is_printable(byte as u8) {
            byte as u8 as char
        } else {
            unprintable += 1;
            // The last is U+0143, so that the cast cannot fail.
            match char::from_u32(0xFF + unprintable) {
                Some(character) => character,
                None => '\0',
            }
        };
        byte += 1;
    }
    table
};

/// The inverse of [`TO_CHAR`]: its characters are below U+0144.
const TO_BYTE: [Option<u8>; 0x144] = {
    let mut table = [None; 0x144];
    let mut byte = 0;
    while byte < 256 {
        table[TO_CHAR[byte] as usize] = Some(byte as u8);
        byte += 1;
    }
    table
};

/// The character that stands for a byte.
pub fn to_char(byte: u8) -> char {
    TO_CHAR[usize::from(byte)]
}

/// The byte that a character stands for, if it stands for one.
fn to_byte(character: char) -> Option<u8> {
    TO_BYTE.get(character as usize).copied().flatten()
}

/// The bytes that a token of the vocabulary stands for. One with a character
/// that stands for no byte is taken as plain text, as Hugging Face does.
pub fn token_bytes(token: &str) -> Vec<u8> {
    token
        .chars()
        .map(to_byte)
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let alphabet: std::collections::HashSet<char> = (0..=255).map(to_char).collect();
        assert_eq!(alphabet.len(), 256);
        assert!((0..=255).all(|byte| to_byte(to_char(byte)) == Some(byte)));
        assert_eq!(alphabet, ByteLevel::alphabet().into_iter().collect());
    }

    #[test]
    fn bytes_are_written_as_gpt2_writes_them() {
        assert_eq!(
            [b' ', b'\n', b'a', 0xC3, 0xAD].map(to_char),
            ['Ġ', 'Ċ', 'a', 'Ã', 'Ń']
        );
        assert_eq!(token_bytes("ĠcafÃ©"), " café".as_bytes());
    }

    #[test]
    fn a_token_outside_the_alphabet_is_plain_text() {
        assert_eq!(token_bytes("Ġ漢 é"), "Ġ漢 é".as_bytes());
        assert_eq!(token_bytes("ń"), "ń".as_bytes());
    }
}
