//! What files add up to, and how much that may be: asked and told without a session.

use crate::cluster::{Cluster, PAGES_MAX, endless, other_answer};
use crate::error::ClientError;
use meta_core::attr::Caller;
use meta_core::command::CommandBody;
use meta_core::ids::{Ino, VolumeId};
use meta_core::limits::{AMOUNTS_MAX, LIMITS_PAGE_MAX};
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, Query, QueryBody};
use meta_core::quota::{Amount, Limit, Subject, Usage};

impl Cluster {
    /// Sets the limit of something; [`Limit::NONE`] takes it away. It may be below what there is already:
    /// then nothing more comes until enough is gone.
    ///
    /// # Errors
    /// [`Refusal::NotSupported`] if the volume is of a level without limits,
    /// [`Refusal::NotPermitted`] for others than root,
    /// [`Refusal::InvalidArgument`] for the root directory, whose limit is the volume's, and for
    /// [`u64::MAX`], [`Refusal::NotDirectory`], [`Refusal::NotFound`] and [`Refusal::Stale`] where there is
    /// no such directory, and [`crate::Failure::BadRequest`] while some members of the cluster do not know
    /// of limits.
    pub async fn set_quota(
        &self,
        volume: VolumeId,
        caller: Caller,
        subject: Subject,
        limit: Limit,
    ) -> Result<(), ClientError> {
        let body = CommandBody::SetQuota {
            caller,
            subject,
            limit,
        };
        self.again(volume, body).await.map(|_| ())
    }

    /// What something adds up to, and may.
    ///
    /// # Errors
    /// [`Refusal::NotSupported`] if the volume is of a level without totals, [`Refusal::NotPermitted`] for
    /// a user or a group that the caller is not, [`Refusal::NotDirectory`] and [`Refusal::Stale`] where
    /// there is no such directory, and [`crate::Failure::BadRequest`] from a leader of an earlier version.
    pub async fn usage(
        &self,
        volume: VolumeId,
        caller: Caller,
        subject: Subject,
    ) -> Result<Usage, ClientError> {
        match self
            .asked(volume, caller, QueryBody::Usage(subject))
            .await?
        {
            Answer::Usage(usage) => Ok(usage),
            _ => Err(other_answer()),
        }
    }

    /// What files add up to, in the order of the question, directories with all below them: with one
    /// question for each [`AMOUNTS_MAX`] of them.
    ///
    /// # Errors
    /// [`Refusal::NotSupported`] if the volume is of a level without totals, [`Refusal::BeingCounted`]
    /// while they are not complete, and [`crate::Failure::BadRequest`] from a leader of an earlier version.
    /// A file that is gone is refused by itself.
    pub async fn amounts(
        &self,
        volume: VolumeId,
        caller: &Caller,
        inos: &[Ino],
    ) -> Result<Vec<Result<Amount, Refusal>>, ClientError> {
        let mut all = Vec::with_capacity(inos.len());
        for asked in inos.chunks(AMOUNTS_MAX) {
            let body = QueryBody::Amounts {
                inos: asked.to_vec(),
            };
            match self.asked(volume, caller.clone(), body).await? {
                Answer::Amounts(page) if page.len() == asked.len() => all.extend(page),
                _ => return Err(other_answer()),
            }
        }
        Ok(all)
    }

    /// All limits, the volume's first.
    ///
    /// # Errors
    /// [`Refusal::NotSupported`] if the volume is of a level without limits, [`Refusal::NotPermitted`] for
    /// others than root, and [`crate::Failure::BadRequest`] from a leader of an earlier version.
    pub async fn limits(
        &self,
        volume: VolumeId,
        caller: &Caller,
    ) -> Result<Vec<Usage>, ClientError> {
        let mut all: Vec<Usage> = Vec::new();
        for _ in 0..PAGES_MAX {
            let body = QueryBody::Limits {
                after: all.last().map(|last| last.subject),
                count_max: LIMITS_PAGE_MAX,
            };
            match self.asked(volume, caller.clone(), body).await? {
                Answer::Limits { limits, end } => {
                    // A page with nothing on it cannot lead further.
                    let end = end || limits.is_empty();
                    all.extend(limits);
                    if end {
                        return Ok(all);
                    }
                }
                _ => return Err(other_answer()),
            }
        }
        Err(endless())
    }

    async fn asked(
        &self,
        volume: VolumeId,
        caller: Caller,
        body: QueryBody,
    ) -> Result<Answer, ClientError> {
        self.query(Query {
            volume,
            caller,
            body,
        })
        .await
    }
}
