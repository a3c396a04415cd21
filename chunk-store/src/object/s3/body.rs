//! The bytes of an answer: those of the range that was asked for, all of them, or an error.

use super::failure::{Failure, causes};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use std::time::Duration;

/// What an answer to a read holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Data(Bytes),
    /// The object ends before the range does; its length.
    Short(u64),
}

/// Reads the body of an answer to a request for `range`, which is not empty.
pub(super) async fn read(
    answer: GetObjectOutput,
    range: &Range<u64>,
    silence: Duration,
) -> Result<Found, Failure> {
    let len = answer
        .content_length
        .and_then(|len| u64::try_from(len).ok());
    let told = match &answer.content_range {
        Some(text) => Some(ContentRange::of(text).ok_or_else(|| odd("its range is no range"))?),
        None => None,
    };
    match check(told, len, range)? {
        Some(short) => Ok(Found::Short(short)),
        None => collect(answer.body, range.end - range.start, silence)
            .await
            .map(Found::Data),
    }
}

/// `bytes FIRST-LAST/LENGTH`, the last byte included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ContentRange {
    first: u64,
    last: u64,
    /// `*` if the store does not say.
    len: Option<u64>,
}

impl ContentRange {
    fn of(text: &str) -> Option<Self> {
        let (range, len) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some(Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            len: match len {
                "*" => None,
                len => Some(len.parse().ok()?),
            },
        })
    }
}

/// The object's length if it ends too early, nothing if the answer is the one to the question.
/// `len` is that of the body.
fn check(
    told: Option<ContentRange>,
    len: Option<u64>,
    range: &Range<u64>,
) -> Result<Option<u64>, Failure> {
    let wanted = range.end - range.start;
    let Some(told) = told else {
        // The whole object, from a store that does not part this one, or that knows no ranges.
        return match len {
            Some(len) if range.start == 0 && len == wanted => Ok(None),
            Some(len) if len < range.end => Ok(Some(len)),
            _ => Err(odd("it is not the range that was asked for")),
        };
    };
    if told.first != range.start {
        return Err(odd("it begins elsewhere than was asked for"));
    }
    if told.len.is_some_and(|len| len < range.end) {
        return Ok(told.len);
    }
    let whole = told.last.checked_add(1) == Some(range.end);
    match len {
        Some(len) if len != wanted => Err(odd("its length does not fit its range")),
        _ if !whole => Err(odd("it ends elsewhere than was asked for")),
        _ => Ok(None),
    }
}

fn odd(why: &str) -> Failure {
    Failure::Silent(format!("the answer cannot be used: {why}"))
}

/// Exactly `wanted` bytes; no more are ever kept.
async fn collect(mut body: ByteStream, wanted: u64, silence: Duration) -> Result<Bytes, Failure> {
    let wanted = usize::try_from(wanted).map_err(|_| odd("it does not fit this machine"))?;
    let mut all = BytesMut::new();
    loop {
        let part = match tokio::time::timeout(silence, body.next()).await {
            Err(_elapsed) => {
                return Err(Failure::Silent(format!(
                    "no byte came for {silence:?} after {} of {wanted}",
                    all.len()
                )));
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(Failure::Silent(format!(
                    "the answer broke off after {} of {wanted} bytes: {}",
                    all.len(),
                    causes(&error)
                )));
            }
            Ok(Some(Ok(part))) => part,
        };
        if part.len() > wanted - all.len() {
            return Err(odd("it is longer than was asked for"));
        }
        if all.is_empty() {
            if part.len() == wanted {
                // Whole in one piece: not copied. What would follow is not wanted.
                return Ok(part);
            }
            all.reserve(wanted);
        }
        all.extend_from_slice(&part);
    }
    if all.len() < wanted {
        return Err(Failure::Silent(format!(
            "the answer ended after {} of {wanted} bytes",
            all.len()
        )));
    }
    Ok(all.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(told: Option<&str>, len: u64, range: Range<u64>) -> Result<Option<u64>, Failure> {
        let told = told.map(|text| ContentRange::of(text).expect("a range"));
        check(told, Some(len), &range)
    }

    #[test]
    fn an_answer_is_used_only_if_it_is_the_range_that_was_asked_for() {
        assert_eq!(checked(Some("bytes 2-4/9"), 3, 2..5), Ok(None));
        assert_eq!(checked(Some("bytes 2-4/*"), 3, 2..5), Ok(None));
        // From a store that knows no ranges.
        assert_eq!(checked(None, 5, 0..5), Ok(None));
        for (told, len) in [
            (Some("bytes 1-3/9"), 3),
            (Some("bytes 2-5/9"), 4),
            (Some("bytes 2-4/9"), 9),
            (Some("bytes 2-3/9"), 2),
            (Some("bytes 2-18446744073709551615/9"), 3),
            (None, 9),
        ] {
            let failure = checked(told, len, 2..5).expect_err("another range");
            assert!(matches!(failure, Failure::Silent(_)), "{told:?} {len}");
        }
    }

    #[test]
    fn an_object_that_ends_early_is_told_with_its_length() {
        assert_eq!(checked(Some("bytes 2-3/4"), 2, 2..5), Ok(Some(4)));
        assert_eq!(checked(None, 4, 2..5), Ok(Some(4)));
        assert_eq!(checked(None, 4, 0..5), Ok(Some(4)));
    }

    #[test]
    fn ranges_that_are_none_are_not_understood() {
        for text in [
            "",
            "bytes",
            "bytes 1-2",
            "bytes 1/2",
            "bytes a-2/3",
            "lines 1-2/3",
        ] {
            assert_eq!(ContentRange::of(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn bodies_of_another_length_are_refused() {
        let silence = Duration::from_secs(9);
        let body = |text: &'static str| ByteStream::from_static(text.as_bytes());
        let read = collect(body("abc"), 3, silence).await;
        assert_eq!(read, Ok(Bytes::from_static(b"abc")));
        for text in ["", "ab", "abcd"] {
            let read = collect(body(text), 3, silence).await;
            assert!(matches!(read, Err(Failure::Silent(_))), "{text}");
        }
    }
}
