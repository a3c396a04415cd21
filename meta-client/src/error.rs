//! How a call ends when it does not succeed.

use meta_core::outcome::Refusal;

/// Why a call gave no result. The three kinds are never mixed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClientError {
    /// The cluster decided: nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The way to the cluster failed, and the operation was not done.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The way to the cluster failed, and the operation may or may not have been done, or may be
    /// yet.
    #[error("the answer was lost, so the operation may or may not have been done: {0}")]
    Unknown(String),
}

/// A refusal, which the cluster decided, apart from what failed.
pub(crate) fn decided<T>(
    result: Result<T, ClientError>,
) -> Result<Result<T, Refusal>, ClientError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ClientError::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error),
    }
}

/// What failed on the way. Nothing was executed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// No node answers.
    #[error("no metadata node answers ({0}); check that the nodes run and the addresses are right")]
    Unreachable(String),
    /// Nodes answer, but none leads.
    #[error("the metadata cluster has no leader ({0}); check that a majority of its nodes runs")]
    NoLeader(String),
    /// The cluster has no identity yet.
    #[error("the metadata cluster is not initialised; run `curlew-meta init` once")]
    NotInitialised,
    /// The leader has too much to do.
    #[error("the metadata cluster is overloaded ({0}); try again later")]
    Overloaded(String),
    /// The mirror has not applied what must be seen.
    #[error("the mirror is behind ({0})")]
    Behind(String),
    /// It took too long.
    #[error("the metadata cluster did not answer in time ({0})")]
    TimedOut(String),
    /// Client and cluster have no version of the protocol in common.
    #[error("this client and the metadata cluster do not understand each other ({0}); upgrade one")]
    VersionMismatch(String),
    /// Sessions are lost as fast as they are opened.
    #[error("the session with the metadata cluster was lost again and again ({0})")]
    SessionLost(String),
    /// The cluster's answer makes no sense.
    #[error("the metadata cluster's answer makes no sense ({0})")]
    BadReply(String),
    /// The cluster says that the request makes no sense.
    #[error("the metadata cluster does not understand the request ({0})")]
    BadRequest(String),
    /// The session was closed here.
    #[error("the session is closed")]
    Closed,
}
