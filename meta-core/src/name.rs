//! A name in a directory, checked once where it comes in.

use crate::limits::NAME_BYTES_MAX;
use crate::outcome::Refusal;
use std::fmt;

/// 1 to 255 bytes without `/` and NUL, and neither `.` nor `..`. Any other bytes are allowed: a
/// POSIX name is not text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Checks the bytes.
    ///
    /// # Errors
    /// [`Refusal::NameTooLong`] past 255 bytes, else [`Refusal::InvalidArgument`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Refusal> {
        let bytes = bytes.into();
        if bytes.len() > NAME_BYTES_MAX {
            return Err(Refusal::NameTooLong);
        }
        let dots = bytes == b"." || bytes == b"..";
        if bytes.is_empty() || dots || bytes.iter().any(|b| matches!(b, 0 | b'/')) {
            return Err(Refusal::InvalidArgument);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(Name::new(*b"a").is_ok());
        assert!(Name::new(vec![0xff; 255]).is_ok());
        assert_eq!(Name::new(vec![b'a'; 256]), Err(Refusal::NameTooLong));
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            assert_eq!(Name::new(bad), Err(Refusal::InvalidArgument), "{bad:?}");
        }
        assert!(Name::new(*b"...").is_ok());
    }
}
