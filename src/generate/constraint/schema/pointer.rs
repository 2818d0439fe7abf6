//! JSON pointers (RFC 6901), as references have them after `#`.

use super::super::json::Json;

/// A key, as a part of a pointer.
pub fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// What a reference into the schema itself means: `#`, or `#` and a pointer.
pub fn resolve<'s>(root: &'s Json, reference: &str) -> Option<&'s Json> {
    let pointer = reference.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(root);
    }
    pointer.strip_prefix('/')?.split('/').try_fold(root, step)
}

fn step<'s>(value: &'s Json, part: &str) -> Option<&'s Json> {
    let key = percent_decoded(part)?.replace("~1", "/").replace("~0", "~");
    match value {
        Json::List(values) => values.get(key.parse::<usize>().ok()?),
        object => object.get(&key),
    }
}

/// A reference is a URI, and so a key may be written in it with `%` and digits.
fn percent_decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_followed_to_keys_and_places_in_lists() {
        let root = Json::parse(r#"{"a":{"b/c~d é":[1,2]}}"#).unwrap();
        let found = |reference| resolve(&root, reference).map(ToString::to_string);
        assert_eq!(found("#"), Some(root.to_string()));
        assert_eq!(found("#/a/b~1c~0d%20%C3%A9/1").as_deref(), Some("2"));
        for nowhere in [
            "",
            "a",
            "#a",
            "#/b",
            "#/a/b~1c~0d%20%C3%A9/2",
            "#/a/%",
            "other.json#/a",
        ] {
            assert_eq!(found(nowhere), None, "{nowhere}");
        }
    }
}
