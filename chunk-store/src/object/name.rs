//! What may name an object.

use crate::error::ObjectError;

/// Bytes of a key. S3 has the same bound.
const KEY_BYTES_MAX: usize = 1024;
/// Bytes of a part of a key: what a file's name can hold.
const PART_BYTES_MAX: usize = 255;

/// Refuses keys that could mean another place than the one they name.
pub(crate) fn check_key(key: &str) -> Result<(), ObjectError> {
    if key.len() <= KEY_BYTES_MAX && key.split('/').all(is_sound) {
        Ok(())
    } else {
        Err(ObjectError::BadKey {
            key: key.chars().take(KEY_BYTES_MAX).collect(),
        })
    }
}

/// Names that begin with a dot are the store's own.
pub(crate) fn is_sound(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=PART_BYTES_MAX).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_the_store_are_refused() {
        let long = "a/".repeat(600);
        let part = "a".repeat(256);
        let refused = [
            "", "/", "/x", "x/", "a//b", ".", "..", "../x", "a/../b", "a/./b", ".tmp-x", "a/.b",
            "a\0b", "a\\b", "a b", "\u{e4}", &long, &part,
        ];
        for key in refused {
            assert!(
                matches!(check_key(key), Err(ObjectError::BadKey { .. })),
                "{key:?}"
            );
        }
        for key in [
            "a",
            "a/b",
            "0-00abcdef/3/4_0_65536",
            "a..b",
            &"a".repeat(255),
        ] {
            assert_eq!(check_key(key), Ok(()), "{key:?}");
        }
    }
}
