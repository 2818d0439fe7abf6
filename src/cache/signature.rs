//! Records that only who knows a secret can make, for layers that others can
//! write to.
//!
//! | bytes | |
//! |---|---|
//! | 4 | `CCHS` |
//! | 32 | HMAC-SHA-256 of the record |
//! | … | the record |
//!
//! The key is in the record, so a signed record cannot be put in another's place.
//! An older answer to the same request can: it was a right one.

use super::record::invalid;
use crate::error::{Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const MAGIC: &[u8; 4] = b"CCHS";
const HEAD_BYTES: usize = 36;

/// Error: `invalid-argument`, where the secret is empty.
pub fn sign(record: &[u8], secret: &str) -> Result<Vec<u8>> {
    let tag = mac(record, secret)?.finalize().into_bytes();
    Ok([MAGIC.as_slice(), tag.as_slice(), record].concat())
}

/// The record of a signed one; compares in constant time.
///
/// Errors: `invalid-argument`, where the secret is empty; `invalid-cache-record`.
pub fn verify<'a>(signed: &'a [u8], secret: &str) -> Result<&'a [u8]> {
    let (head, record) = signed
        .split_at_checked(HEAD_BYTES)
        .filter(|(head, _)| head.starts_with(MAGIC))
        .ok_or_else(|| invalid("it is not signed"))?;
    mac(record, secret)?
        .verify_slice(&head[MAGIC.len()..])
        .map_err(|_| invalid("its signature is wrong"))?;
    Ok(record)
}

fn mac(record: &[u8], secret: &str) -> Result<Hmac<Sha256>> {
    if secret.is_empty() {
        return Err(Error::argument("secret", "it is empty"));
    }
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = mac.map_err(|error| Error::Internal(error.to_string()))?;
    Ok(mac.chain_update(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_signature_is_hmac_sha_256() {
        let signed = sign(b"what do ya want for nothing?", "Jefe").unwrap();
        let hex: String = signed[4..36].iter().map(|b| format!("{b:02x}")).collect();
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex, expected);
    }

    #[test]
    fn nothing_but_the_same_record_with_the_same_secret_is_taken() {
        let signed = sign(b"record", "secret").unwrap();
        assert_eq!(verify(&signed, "secret").unwrap(), b"record");
        let error = verify(&signed, "Secret").unwrap_err();
        assert_eq!(error.code(), "invalid-cache-record");
        for bit in 0..signed.len() * 8 {
            let mut forged = signed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&forged, "secret").is_err(), "bit {bit}");
        }
        for len in 0..signed.len() {
            assert!(verify(&signed[..len], "secret").is_err());
        }
        assert_eq!(sign(b"record", "").unwrap_err().code(), "invalid-argument");
        assert!(verify(&signed, "").is_err());
    }
}
