//! Why a request got no outcome: failures of the way to the leader, never of the operation.

use openraft::errors::{
    ClientWriteError, Fatal, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError,
};
use proto::v1;
use raft_store::TypeConfig;
use std::fmt;

/// What the client should do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FailureKind {
    /// Not executed: ask the leader, at this address if it is known.
    NotLeader(Option<String>),
    /// Not executed: retry.
    Unavailable,
    /// Not executed: retry later.
    Overloaded,
    /// May have been executed: resend in the same slot.
    Unknown,
    /// This sending was not executed: a node's reserve is reached.
    NoSpace,
    /// No common version.
    UnsupportedVersion,
    /// Not executed, and never will be.
    BadRequest,
    /// The cluster has no identity yet.
    NotInitialised,
    /// Not answered: this node has not applied what must be seen.
    Behind,
}

/// A failure, with words for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unavailable, message)
    }

    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unknown, message)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(FailureKind::BadRequest, message)
    }

    pub(crate) fn overloaded(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Overloaded, message)
    }

    pub(crate) fn behind(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Behind, message)
    }

    pub(crate) fn not_initialised() -> Self {
        let message = "the cluster is not initialised; run `curlew-meta init` once";
        Self::new(FailureKind::NotInitialised, message)
    }

    /// The name of the kind, for metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self.kind {
            FailureKind::NotLeader(_) => "not_leader",
            FailureKind::Unavailable => "unavailable",
            FailureKind::Overloaded => "overloaded",
            FailureKind::Unknown => "unknown",
            FailureKind::NoSpace => "no_space",
            FailureKind::UnsupportedVersion => "unsupported_version",
            FailureKind::BadRequest => "bad_request",
            FailureKind::NotInitialised => "not_initialised",
            FailureKind::Behind => "behind",
        }
    }

    /// As it travels.
    pub(crate) fn into_message(self) -> v1::Failure {
        let mut leader_addr = String::new();
        let kind = match self.kind {
            FailureKind::NotLeader(addr) => {
                leader_addr = addr.unwrap_or_default();
                v1::FailureKind::NotLeader
            }
            FailureKind::Unavailable => v1::FailureKind::Unavailable,
            FailureKind::Overloaded => v1::FailureKind::Overloaded,
            FailureKind::Unknown => v1::FailureKind::Unknown,
            FailureKind::NoSpace => v1::FailureKind::NoSpace,
            FailureKind::UnsupportedVersion => v1::FailureKind::UnsupportedVersion,
            FailureKind::BadRequest => v1::FailureKind::BadRequest,
            FailureKind::NotInitialised => v1::FailureKind::NotInitialised,
            FailureKind::Behind => v1::FailureKind::Behind,
        };
        v1::Failure {
            kind: kind.into(),
            leader_addr,
            message: self.message,
        }
    }
}

/// openraft refused before it took anything in.
fn forwarded(forward: ForwardToLeader<TypeConfig>) -> Failure {
    let addr = forward.leader_node.map(|node| node.addr);
    match (forward.reason, addr) {
        (ForwardReason::LeadershipTransfer, _) => {
            Failure::unavailable("leadership is moving to another node")
        }
        (ForwardReason::LeaseExpired, _) => {
            Failure::unavailable("the leader does not hear from a majority")
        }
        (ForwardReason::NotLeader, Some(addr)) => {
            let message = format!("this node does not lead; {addr} does");
            Failure::new(FailureKind::NotLeader(Some(addr)), message)
        }
        (ForwardReason::NotLeader, None) => {
            Failure::new(FailureKind::NotLeader(None), "no leader is known")
        }
    }
}

/// A write that openraft did not answer with a reply.
pub(crate) fn of_write(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Failure {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => forwarded(forward),
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            Failure::unknown("the leader changed while the request was on its way")
        }
        // These come from membership changes and conditional writes, which a command is not.
        RaftError::APIError(
            other @ (ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_)),
        ) => Failure::unknown(format!("an unexpected answer from Raft: {other}")),
        RaftError::Fatal(fatal) => Failure::unknown(stopped(&fatal)),
    }
}

/// A read round that did not confirm leadership.
pub(crate) fn of_read(error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> Failure {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => forwarded(forward),
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => {
            Failure::unavailable("the leader does not hear from a majority")
        }
        RaftError::Fatal(fatal) => Failure::unavailable(stopped(&fatal)),
    }
}

fn stopped(fatal: &Fatal<TypeConfig>) -> String {
    format!("the node is stopping: {fatal}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discarded_entry_is_unknown_and_a_refused_one_is_not() {
        let forward = ForwardToLeader::<TypeConfig>::empty();
        let discarded = of_write(RaftError::APIError(ClientWriteError::LogEntryDiscarded(
            forward.clone(),
        )));
        assert_eq!(discarded.kind, FailureKind::Unknown);
        let refused = of_write(RaftError::APIError(ClientWriteError::ForwardToLeader(
            forward.clone(),
        )));
        assert_eq!(refused.kind, FailureKind::NotLeader(None));
        let leased = forward.with_reason(ForwardReason::LeaseExpired);
        let refused = of_write(RaftError::APIError(ClientWriteError::ForwardToLeader(
            leased,
        )));
        assert_eq!(refused.kind, FailureKind::Unavailable);
        let stopped = of_write(RaftError::Fatal(Fatal::Stopped));
        assert_eq!(stopped.kind, FailureKind::Unknown);
    }

    #[test]
    fn the_leaders_address_travels() {
        let kind = FailureKind::NotLeader(Some("127.0.0.1:1".to_owned()));
        let message = Failure::new(kind, "elsewhere").into_message();
        assert_eq!(message.leader_addr, "127.0.0.1:1");
        assert_eq!(message.kind(), v1::FailureKind::NotLeader);
    }
}
