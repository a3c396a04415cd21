//! Who signs requests. Keys live in the environment and in memory, and nowhere else.

use super::environment::Environment;
use crate::error::StorageError;
use std::fmt;

/// Variables that belong together: access key, secret key, session token. The first family that is
/// set counts; keys of two families are never mixed.
const FAMILIES: [[&str; 3]; 2] = [
    ["ACCESS_KEY", "SECRET_KEY", "SESSION_TOKEN"],
    [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ],
];

/// Keys of an account.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

impl Credentials {
    pub(super) fn read(environment: &Environment) -> Result<Self, StorageError> {
        for [access, secret, token] in FAMILIES {
            match (environment.get(access)?, environment.get(secret)?) {
                (None, None) => {}
                (None, Some(_)) => {
                    return Err(StorageError::HalfCredentials {
                        set: secret,
                        missing: access,
                    });
                }
                (Some(_), None) => {
                    return Err(StorageError::HalfCredentials {
                        set: access,
                        missing: secret,
                    });
                }
                (Some(access_key), Some(secret_key)) => {
                    return Ok(Self {
                        access_key,
                        secret_key,
                        session_token: environment.get(token)?,
                    });
                }
            }
        }
        Err(StorageError::NoCredentials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&'static str, &str)]) -> Result<Credentials, StorageError> {
        Credentials::read(&Environment::of(variables))
    }

    #[test]
    fn the_first_family_of_variables_counts_and_is_never_mixed() {
        let all = [
            ("ACCESS_KEY", "a"),
            ("SECRET_KEY", "s"),
            ("AWS_ACCESS_KEY_ID", "other"),
            ("AWS_SECRET_ACCESS_KEY", "other"),
            ("AWS_SESSION_TOKEN", "other"),
        ];
        let keys = read(&all).expect("keys");
        let found = (keys.access_key, keys.secret_key, keys.session_token);
        assert_eq!(found, ("a".to_owned(), "s".to_owned(), None));
        let keys = read(&all[2..]).expect("keys");
        assert_eq!(keys.session_token.as_deref(), Some("other"));
        let token = [all[0], all[1], ("SESSION_TOKEN", "t")];
        let keys = read(&token).expect("keys");
        assert_eq!(keys.session_token.as_deref(), Some("t"));
    }

    #[test]
    fn what_is_missing_is_told_by_name_and_no_key_is() {
        let error = read(&[("ACCESS_KEY", ""), ("SECRET_KEY", "")]).expect_err("empty");
        assert!(matches!(error, StorageError::NoCredentials));
        for [access, secret, _] in FAMILIES {
            assert!(error.to_string().contains(access), "{error}");
            assert!(error.to_string().contains(secret), "{error}");
            for (set, missing) in [(access, secret), (secret, access)] {
                let error = read(&[(set, "hush")]).expect_err("a half");
                assert!(error.to_string().contains(&format!("{missing} is not")));
                assert!(!error.to_string().contains("hush"));
            }
        }
        let broken = [("ACCESS_KEY", "a"), ("SECRET_KEY", "hush\n")];
        let error = read(&broken).expect_err("a line's end");
        assert!(matches!(error, StorageError::Variable("SECRET_KEY")));
        assert!(!error.to_string().contains("hush"));
        let keys = read(&[("ACCESS_KEY", "hush"), ("SECRET_KEY", "hush")]);
        assert!(!format!("{:?}", keys.expect("keys")).contains("hush"));
    }
}
