//! Why limits and totals are not told or set, and what to do.

use anyhow::anyhow;
use meta_client::{ClientError, Failure};
use meta_core::outcome::Refusal;

/// The level from which volumes have totals and limits.
pub(crate) const LEVEL: u32 = 4;

/// What there is to say of a volume without them.
pub(crate) fn no_totals() -> anyhow::Error {
    anyhow!(
        "the volume's level has no totals and no limits: it comes to level {LEVEL}, and its files are \
         counted, once all nodes and mirrors read that, unless node.toml says `raise_levels = false`"
    )
}

/// What went wrong, with what to do; `only` says who may do it.
pub(crate) fn refused(error: ClientError, only: &str) -> anyhow::Error {
    match error {
        ClientError::Refused(Refusal::NotSupported) => no_totals(),
        ClientError::Refused(Refusal::NotPermitted) => anyhow!("{only}"),
        ClientError::Refused(Refusal::Mirror) => {
            anyhow!("the volume is a mirror: ask its origin")
        }
        ClientError::Refused(Refusal::NotFound | Refusal::Stale) => {
            anyhow!("the directory was removed meanwhile")
        }
        ClientError::Refused(Refusal::NotDirectory) => {
            anyhow!("it is no directory: only directories have totals and limits")
        }
        ClientError::Failed(Failure::BadRequest(why)) => anyhow!(
            "the metadata cluster does not know of totals and limits yet ({why}): upgrade all its nodes"
        ),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        let of = |refusal| refused(ClientError::Refused(refusal), "run this as root").to_string();
        assert!(of(Refusal::NotSupported).contains("level 4"));
        assert_eq!(of(Refusal::NotPermitted), "run this as root");
        assert!(of(Refusal::Mirror).contains("origin"));
        assert!(of(Refusal::NotDirectory).contains("no directory"));
        assert!(of(Refusal::BeingCounted).contains("try again later"));
        let old = Failure::BadRequest("n1".to_owned()).into();
        assert!(refused(old, "").to_string().contains("(n1): upgrade"));
    }
}
