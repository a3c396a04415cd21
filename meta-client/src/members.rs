//! The members of a cluster, as far as a client knows them: those of its URL, and those that the cluster
//! names. Of the URL's none may be left one day.

use crate::endpoint;
use crate::link::Link;
use proto::v1;
use std::collections::HashSet;
use std::time::Duration;

/// Members that are kept.
pub(crate) const MEMBERS_MAX: usize = 64;
/// The list of members is waited for so long.
const LEARN_LIMIT: Duration = Duration::from_secs(1);

/// The members that are known, by address.
#[derive(Debug)]
pub(crate) struct Members {
    /// As the user gave them.
    given: Vec<String>,
    /// As the cluster named them last.
    named: Vec<String>,
}

impl Members {
    pub(crate) fn new(addrs: &[String]) -> Self {
        Self {
            given: addrs.to_vec(),
            named: Vec::new(),
        }
    }

    /// All addresses, each once, the given ones first.
    pub(crate) fn addrs(&self) -> Vec<String> {
        let mut known = HashSet::new();
        let all = self.given.iter().chain(&self.named);
        let new = all.filter(|addr| known.insert(addr.as_str()));
        new.take(MEMBERS_MAX).cloned().collect()
    }

    /// Asks a member who belongs to the cluster. One that does not say so changes nothing.
    pub(crate) async fn learn(&mut self, link: &Link) {
        let mut admin = endpoint::admin(link.channel());
        let asking = admin.status(v1::StatusRequest {});
        if let Ok(Ok(status)) = tokio::time::timeout(LEARN_LIMIT, asking).await {
            let members = status.into_inner().members.into_iter();
            let named: Vec<String> = members.map(|member| member.addr).collect();
            if !named.is_empty() {
                self.named = named;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_and_named_members_are_known_once_each_and_not_without_bound() {
        let mut members = Members::new(&["a:1".to_owned(), "b:1".to_owned()]);
        members.named = vec!["c:1".to_owned(), "a:1".to_owned()];
        assert_eq!(members.addrs(), ["a:1", "b:1", "c:1"]);
        members.named = (0..1000).map(|host| format!("h{host}:1")).collect();
        let addrs = members.addrs();
        assert_eq!(addrs.len(), MEMBERS_MAX);
        assert_eq!(addrs[..3], ["a:1", "b:1", "h0:1"]);
    }
}
