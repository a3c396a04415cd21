//! What a failed request means: whether it may pass, and what a person can do about it.

use super::bucket::S3Bucket;
use crate::error::ObjectError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// What S3 says in codes and statuses that other stores say, too.
const THROTTLED: &[&str] = &[
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
];
/// Refusals of this one attempt: what was sent came late, was hurt on its way, or met another
/// request.
const ATTEMPT: &[&str] = &[
    "RequestTimeout",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "OperationAborted",
    "ConditionalRequestConflict",
    "InternalError",
    "ServiceUnavailable",
];
const FULL: &[&str] = &[
    "QuotaExceeded",
    "StorageQuotaExceeded",
    "InsufficientStorage",
    "InsufficientCapacity",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
];
const UNKNOWN_KEY: &[&str] = &["InvalidAccessKeyId", "NotSignedUp", "InvalidToken"];
const OTHER_REGION: &[&str] = &[
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
];
/// How much of a store's message is told.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why a request has no good answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// No answer came, or not a whole one.
    Silent(String),
    /// It was never sent, and never would be.
    Unsent(String),
    /// The store refused it.
    Answered(Answer),
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// S3's name for the error; empty if the answer has none.
    pub(super) code: String,
    pub(super) message: String,
    /// Where the bucket is, if the store says so.
    pub(super) region: Option<String>,
}

impl<E> From<SdkError<E>> for Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        if let SdkError::ServiceError(refusal) = &error {
            let (answer, raw) = (refusal.err(), refusal.raw());
            let region = raw.headers().get("x-amz-bucket-region");
            return Self::Answered(Answer {
                status: raw.status().as_u16(),
                code: shown(answer.code().unwrap_or_default()),
                message: shown(answer.message().unwrap_or_default()),
                region: region.map(shown),
            });
        }
        match &error {
            SdkError::ConstructionFailure(_) => Self::Unsent(causes(&error)),
            _ => Self::Silent(causes(&error)),
        }
    }
}

/// The innermost words: those around them only say that something failed.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(shown(&cause.to_string()));
        next = cause.source();
    }
    causes.dedup();
    if causes.is_empty() {
        causes.push(shown(&error.to_string()));
    }
    causes.join(": ")
}

/// A text from outside, fit for a log line.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_CHARS_MAX)
        .collect()
}

impl Answer {
    fn says(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }

    /// The store does not know conditions on a put.
    pub(super) fn refuses_conditions(&self) -> bool {
        let named = self.message.to_ascii_lowercase().contains("if-none-match");
        self.status == 501 || self.code == "NotImplemented" || (self.status == 400 && named)
    }

    /// The bucket itself is not there.
    pub(super) fn lacks_bucket(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    pub(super) fn lacks_object(&self) -> bool {
        self.status == 404 && !self.lacks_bucket()
    }

    fn may_pass(&self) -> bool {
        self.says(THROTTLED)
            || self.says(ATTEMPT)
            || matches!(self.status, 408 | 425 | 429 | 500 | 502..=506 | 508..)
    }

    /// As the store said it.
    fn quoted(&self) -> String {
        let mut text = format!("status {}", self.status);
        for part in [&self.code, &self.message] {
            if !part.is_empty() {
                text.push_str(", ");
                text.push_str(part);
            }
        }
        text
    }

    /// What to do about a refusal that will not pass.
    fn advice(&self, place: &S3Bucket) -> String {
        let here = place.place();
        if self.lacks_bucket() || self.status == 404 {
            return format!("{here} does not exist: make it, or correct its URL");
        }
        if let Some(region) = self.region.as_ref().filter(|told| **told != place.region) {
            return format!(
                "{here} is in region {region} and not in {}: use that region in its URL or in \
                 AWS_REGION",
                place.region
            );
        }
        if self.says(OTHER_REGION) || matches!(self.status, 301 | 307 | 308) {
            return format!(
                "{here} is not in region {}: correct its URL, or set AWS_REGION",
                place.region
            );
        }
        if self.says(UNKNOWN_KEY) {
            return "the store does not know the access key: correct ACCESS_KEY or \
                    AWS_ACCESS_KEY_ID (and the session token, if there is one)"
                .to_owned();
        }
        match (self.code.as_str(), self.status) {
            ("SignatureDoesNotMatch", _) => {
                "the secret key is wrong: correct SECRET_KEY or AWS_SECRET_ACCESS_KEY".to_owned()
            }
            ("ExpiredToken" | "TokenRefreshRequired", _) => {
                "the session token has expired: set new keys and mount again".to_owned()
            }
            ("RequestTimeTooSkewed", _) => "the clock of this machine is wrong: set it".to_owned(),
            (_, 401 | 403) => format!("the keys have no right to do this in {here}: grant it"),
            _ => format!("{here} does not accept the request"),
        }
    }
}

impl Failure {
    /// Tells it as the failure of an action on an object.
    pub(super) fn of(self, action: &'static str, key: &str, place: &S3Bucket) -> ObjectError {
        let key = key.to_owned();
        match self {
            Self::Silent(why) => ObjectError::Failed { action, key, why },
            Self::Unsent(why) => ObjectError::Refused { action, key, why },
            Self::Answered(answer) if answer.status == 507 || answer.says(FULL) => {
                ObjectError::NoSpace { key }
            }
            Self::Answered(answer) if answer.may_pass() => ObjectError::Failed {
                action,
                key,
                why: answer.quoted(),
            },
            // What cannot be put is not missing, and of a list nothing can be.
            Self::Answered(answer)
                if answer.lacks_object() && matches!(action, "get" | "head" | "delete") =>
            {
                ObjectError::Missing { key }
            }
            Self::Answered(answer) => ObjectError::Refused {
                action,
                key,
                why: format!("{} ({})", answer.advice(place), answer.quoted()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> S3Bucket {
        S3Bucket {
            endpoint: "http://h:1".to_owned(),
            bucket: "b".to_owned(),
            prefix: String::new(),
            region: "r".to_owned(),
            path_style: true,
        }
    }

    fn told(action: &'static str, status: u16, code: &str) -> ObjectError {
        let answer = Answer {
            status,
            code: code.to_owned(),
            ..Answer::default()
        };
        Failure::Answered(answer).of(action, "k", &place())
    }

    #[test]
    fn what_may_pass_is_told_apart_from_what_will_not() {
        for (status, code) in [
            (500, "InternalError"),
            (500, ""),
            (502, ""),
            (503, "SlowDown"),
            (503, ""),
            (504, ""),
            (429, ""),
            (408, ""),
            (400, "RequestTimeout"),
            (400, "BadDigest"),
            (400, "XAmzContentSHA256Mismatch"),
            (400, "SlowDown"),
            (409, "ConditionalRequestConflict"),
            (409, "OperationAborted"),
        ] {
            for action in ["put", "get", "head", "list", "delete"] {
                assert!(told(action, status, code).may_pass(), "{status} {code}");
            }
        }
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (403, "InvalidAccessKeyId"),
            (403, ""),
            (401, ""),
            (400, "ExpiredToken"),
            (400, "InvalidRequest"),
            (404, "NoSuchBucket"),
            (301, "PermanentRedirect"),
            (413, "EntityTooLarge"),
            (501, "NotImplemented"),
            (418, ""),
        ] {
            for action in ["put", "get", "head", "list", "delete"] {
                let error = told(action, status, code);
                let refused = matches!(error, ObjectError::Refused { .. });
                assert!(refused && !error.may_pass(), "{status} {code}: {error}");
            }
        }
        assert!(
            Failure::Silent("x".into())
                .of("get", "k", &place())
                .may_pass()
        );
        assert!(
            !Failure::Unsent("x".into())
                .of("get", "k", &place())
                .may_pass()
        );
    }

    #[test]
    fn missing_and_full_are_told_by_their_names() {
        let key = "k".to_owned();
        for code in ["NoSuchKey", "NotFound", ""] {
            let missing = ObjectError::Missing { key: key.clone() };
            assert_eq!(told("get", 404, code), missing);
            assert!(matches!(
                told("put", 404, code),
                ObjectError::Refused { .. }
            ));
        }
        for (status, code) in [
            (507, ""),
            (403, "QuotaExceeded"),
            (507, "XMinioStorageFull"),
        ] {
            let full = ObjectError::NoSpace { key: key.clone() };
            assert_eq!(told("put", status, code), full);
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (status, code, words) in [
            (
                404,
                "NoSuchBucket",
                "bucket b at http://h:1 does not exist: make it",
            ),
            (403, "SignatureDoesNotMatch", "correct SECRET_KEY"),
            (403, "InvalidAccessKeyId", "correct ACCESS_KEY"),
            (403, "AccessDenied", "no right to do this in bucket b"),
            (400, "ExpiredToken", "has expired"),
            (403, "RequestTimeTooSkewed", "clock"),
            (400, "AuthorizationHeaderMalformed", "not in region r"),
        ] {
            let text = told("put", status, code).to_string();
            assert!(text.contains(words) && text.contains(code), "{text}");
        }
        let elsewhere = Answer {
            status: 301,
            region: Some("far".to_owned()),
            message: "a\nb".to_owned(),
            ..Answer::default()
        };
        let text = Failure::Answered(elsewhere).of("put", "k", &place());
        assert!(text.to_string().contains("is in region far and not in r"));
        assert_eq!(shown("a\r\nb\u{7}"), "ab");
    }
}
