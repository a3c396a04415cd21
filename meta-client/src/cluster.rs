//! A cluster without a session: makes volumes and asks.

use crate::deadline::Deadline;
use crate::error::{ClientError, Failure};
use crate::lead::{Lead, Mood};
use crate::link::Hears;
use crate::precheck;
use crate::propose::Proposed;
use meta_core::attr::{Caller, Timestamp};
use meta_core::command::{
    BeginRestore, Command, CommandBody, CreateMirror, CreateVolume, LoadRows,
};
use meta_core::ids::{Level, SessionId, VolumeId};
use meta_core::outcome::{Outcome, Refusal, Success, Token};
use meta_core::query::{Answer, Query, QueryBody, SessionInfo, VolumeInfo, VolumeStat};
use std::time::Duration;
use tokio::sync::mpsc;

/// Items asked for in one page of a list.
const PAGE: u32 = 1024;
/// Pages of one list.
pub(crate) const PAGES_MAX: usize = 4096;

/// A connection to a cluster's leader.
#[derive(Debug)]
pub struct Cluster {
    lead: Lead,
    retry_for: Duration,
}

impl Cluster {
    /// Finds the leader. Each call later is tried for `retry_for`, as this one is.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if there is none within `retry_for`.
    pub async fn connect(addrs: &[String], retry_for: Duration) -> Result<Self, ClientError> {
        // Without sessions the leader asks nothing.
        let (asked, _nobody) = mpsc::channel(1);
        let cluster = Self {
            lead: Lead::start(addrs, asked, Hears::default()),
            retry_for,
        };
        cluster.lead.link(cluster.deadline(), Mood::Opening).await?;
        Ok(cluster)
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(Some(self.retry_for))
    }

    /// Makes a volume.
    ///
    /// # Errors
    /// [`Refusal::VolumeExists`] if another volume has the name.
    pub async fn create_volume(&self, create: CreateVolume) -> Result<VolumeId, ClientError> {
        check_create(&create)?;
        let command = Command {
            volume: VolumeId::CLUSTER,
            stamp: Timestamp::default(),
            read_level: Level(0),
            body: CommandBody::CreateVolume(create.clone()),
        };
        match self
            .lead
            .propose(&command, self.deadline(), Mood::Opening)
            .await
        {
            Proposed::Reply {
                reply, in_doubt, ..
            } => match reply.outcome {
                Outcome::Done(Success::Volume(id)) => Ok(id),
                Outcome::Refused(Refusal::VolumeExists) if in_doubt => self.made(&create).await,
                Outcome::Refused(refusal) => Err(refusal.into()),
                other => Err(Failure::BadReply(format!("{other:?}")).into()),
            },
            Proposed::NotRun(error) => Err(error),
            Proposed::InDoubt(why) => Err(ClientError::Unknown(why)),
        }
    }

    /// The volume exists; it is ours if an earlier sending made it.
    async fn made(&self, create: &CreateVolume) -> Result<VolumeId, ClientError> {
        let found = self.find_volume(&create.name).await?;
        if found.uuid == create.uuid {
            Ok(found.id)
        } else {
            Err(Refusal::VolumeExists.into())
        }
    }

    /// What there is to know about a volume.
    ///
    /// # Errors
    /// [`Refusal::UnknownVolume`] if no volume has the name.
    pub async fn find_volume(&self, name: &str) -> Result<VolumeInfo, ClientError> {
        match self
            .on_cluster(QueryBody::FindVolume {
                name: name.to_owned(),
            })
            .await?
        {
            Answer::Volume(info) => Ok(info),
            _ => Err(other_answer()),
        }
    }

    /// All volumes of the cluster.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn volumes(&self) -> Result<Vec<VolumeInfo>, ClientError> {
        let mut all: Vec<VolumeInfo> = Vec::new();
        for _ in 0..PAGES_MAX {
            let after = all.last().map_or(VolumeId(0), |last| last.id);
            let page = QueryBody::Volumes {
                after,
                count_max: PAGE,
            };
            match self.on_cluster(page).await? {
                Answer::Volumes(page) if page.is_empty() => return Ok(all),
                Answer::Volumes(page) => all.extend(page),
                _ => return Err(other_answer()),
            }
        }
        Err(endless())
    }

    /// All live sessions of a volume, or of the cluster.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn sessions(&self, volume: VolumeId) -> Result<Vec<SessionInfo>, ClientError> {
        let mut all: Vec<SessionInfo> = Vec::new();
        for _ in 0..PAGES_MAX {
            let after = all.last().map_or(SessionId(0), |last| last.id);
            let body = QueryBody::Sessions {
                after,
                count_max: PAGE,
            };
            match self
                .query(Query {
                    volume,
                    caller: Caller::root(),
                    body,
                })
                .await?
            {
                Answer::Sessions(page) if page.is_empty() => return Ok(all),
                Answer::Sessions(page) => all.extend(page),
                _ => return Err(other_answer()),
            }
        }
        Err(endless())
    }

    /// Takes a number of a volume's changelog at which all its copies can be compared.
    ///
    /// # Errors
    /// [`Refusal::Mirror`] where the volume is a mirror.
    pub async fn mark(&self, volume: VolumeId) -> Result<Token, ClientError> {
        // One mark too many does no harm, so what is in doubt is done again.
        let deadline = self.deadline();
        loop {
            match self.command(volume, CommandBody::Mark, deadline).await {
                Ok((token, _)) => return Ok(token),
                Err(ClientError::Unknown(_)) if !deadline.is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes a volume here that follows another cluster; again finds it.
    ///
    /// # Errors
    /// [`Refusal::VolumeExists`] if another volume has the name.
    pub async fn create_mirror(&self, create: CreateMirror) -> Result<VolumeId, ClientError> {
        let body = CommandBody::CreateMirror(create);
        match self.again(VolumeId::CLUSTER, body).await? {
            Success::Volume(id) => Ok(id),
            _ => Err(other_answer()),
        }
    }

    /// Makes a volume here that a dump is loaded into; again it begins anew.
    pub(crate) async fn begin_restore(&self, begin: BeginRestore) -> Result<VolumeId, ClientError> {
        let body = CommandBody::BeginRestore(begin);
        let begun = self.again(VolumeId::CLUSTER, body).await?;
        match begun {
            Success::Volume(id) => Ok(id),
            _ => Err(other_answer()),
        }
    }

    /// Sends rows of a dump. True if they have to be sent once more.
    pub(crate) async fn restore_rows(
        &self,
        volume: VolumeId,
        rows: LoadRows,
    ) -> Result<bool, ClientError> {
        let body = CommandBody::RestoreRows(rows);
        match self.command(volume, body, self.deadline()).await?.1 {
            Success::Maintained { more, .. } => Ok(more),
            _ => Err(other_answer()),
        }
    }

    /// Makes an origin of a volume that all rows of a dump were sent to.
    pub(crate) async fn end_restore(
        &self,
        volume: VolumeId,
        stamp: Timestamp,
        digest: u128,
    ) -> Result<(), ClientError> {
        let body = CommandBody::EndRestore { stamp, digest };
        match self.command(volume, body, self.deadline()).await {
            Ok(_ended) => Ok(()),
            // An origin answers, and what is still being restored does not.
            Err(ClientError::Unknown(why)) => match self.mark(volume).await {
                Ok(_origin) => Ok(()),
                Err(_not_ended) => Err(ClientError::Unknown(why)),
            },
            Err(error) => Err(error),
        }
    }

    /// A command that may be done twice.
    pub(crate) async fn again(
        &self,
        volume: VolumeId,
        body: CommandBody,
    ) -> Result<Success, ClientError> {
        let deadline = self.deadline();
        loop {
            match self.command(volume, body.clone(), deadline).await {
                Ok((_, success)) => return Ok(success),
                Err(ClientError::Unknown(_)) if !deadline.is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends a session of another client, which is known to be dead. One that is gone already is no error.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn close_session(
        &self,
        volume: VolumeId,
        session: SessionId,
    ) -> Result<(), ClientError> {
        let body = CommandBody::CloseSession { session };
        self.again(volume, body).await.map(|_| ())
    }

    /// Notes at the origin where a mirror of a volume is.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`] past the limit of mirrors.
    pub async fn note_follower(
        &self,
        volume: VolumeId,
        name: &str,
        info: Vec<u8>,
    ) -> Result<(), ClientError> {
        let name = name.to_owned();
        let body = CommandBody::NoteFollower { name, info };
        self.again(volume, body).await.map(|_| ())
    }

    /// Tells a volume how long removed files stay in its trash, in seconds; with 0 there is none. It goes
    /// for what is in the trash already, too.
    ///
    /// # Errors
    /// [`Refusal::NotSupported`] if the volume is of a level without a trash,
    /// [`Refusal::NotPermitted`] for others than root,
    /// [`Refusal::InvalidArgument`] past [`meta_core::limits::TRASH_SECONDS_MAX`], and
    /// [`Failure::BadRequest`] while some members of the cluster do not know of a trash.
    pub async fn set_trash(
        &self,
        volume: VolumeId,
        caller: Caller,
        seconds: u64,
    ) -> Result<(), ClientError> {
        let body = CommandBody::SetOptions {
            caller,
            trash_seconds: seconds,
        };
        self.again(volume, body).await.map(|_| ())
    }

    /// The mirrors of a volume that its origin was told of: name and info.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn followers(&self, volume: VolumeId) -> Result<Vec<(String, Vec<u8>)>, ClientError> {
        match self.of_volume(volume, QueryBody::Followers).await? {
            Answer::Followers(found) => Ok(found),
            _ => Err(other_answer()),
        }
    }

    /// A volume's totals here, once this cluster has applied `at_least`.
    ///
    /// # Errors
    /// [`Failure::Behind`] if that is not within the time of this connection.
    pub async fn reach(
        &self,
        volume: VolumeId,
        at_least: Token,
    ) -> Result<VolumeStat, ClientError> {
        let query = Query {
            volume,
            caller: Caller::root(),
            body: QueryBody::StatVolume,
        };
        let deadline = self.deadline();
        match self
            .lead
            .ask_at_least(&query, at_least, deadline)
            .await?
            .1?
        {
            Answer::Stat(stat) => Ok(stat),
            _ => Err(other_answer()),
        }
    }

    async fn command(
        &self,
        volume: VolumeId,
        body: CommandBody,
        deadline: Deadline,
    ) -> Result<(Token, Success), ClientError> {
        let command = Command {
            volume,
            stamp: Timestamp::default(),
            read_level: Level(0),
            body,
        };
        concluded(self.lead.propose(&command, deadline, Mood::Opening).await)
    }

    async fn of_volume(&self, volume: VolumeId, body: QueryBody) -> Result<Answer, ClientError> {
        self.query(Query {
            volume,
            caller: Caller::root(),
            body,
        })
        .await
    }

    async fn on_cluster(&self, body: QueryBody) -> Result<Answer, ClientError> {
        self.query(Query {
            volume: VolumeId::CLUSTER,
            caller: Caller::root(),
            body,
        })
        .await
    }

    /// Asks the leader anything.
    ///
    /// # Errors
    /// [`ClientError::Refused`] as the query's kind says, else [`ClientError::Failed`].
    pub async fn query(&self, query: Query) -> Result<Answer, ClientError> {
        let Query {
            volume,
            caller,
            body,
        } = query;
        let body = precheck::query(&caller, body)?;
        let query = Query {
            volume,
            caller,
            body,
        };
        let (_token, result) = self
            .lead
            .ask(&query, self.deadline(), Mood::Opening)
            .await?;
        Ok(result?)
    }
}

/// How a command ended. A refusal tells of the last sending alone: one before it, whose answer was
/// lost, may have been executed, and may be why this one was refused.
fn concluded(proposed: Proposed) -> Result<(Token, Success), ClientError> {
    match proposed {
        Proposed::Reply {
            reply, in_doubt, ..
        } => match reply.outcome {
            Outcome::Done(success) => Ok((reply.token, success)),
            Outcome::Refused(refusal) if in_doubt => Err(ClientError::Unknown(format!(
                "sent again, it was refused: {refusal}"
            ))),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other @ Outcome::NotExecuted(_) => Err(Failure::BadReply(format!("{other:?}")).into()),
        },
        Proposed::NotRun(error) => Err(error),
        Proposed::InDoubt(why) => Err(ClientError::Unknown(why)),
    }
}

fn check_create(create: &CreateVolume) -> Result<(), Refusal> {
    let fits = create.name.len() <= meta_core::limits::VOLUME_NAME_BYTES_MAX
        && create.storage.len() <= meta_core::limits::STORAGE_BYTES_MAX
        && create.block_bytes <= meta_core::limits::BLOCK_BYTES_MAX;
    if fits {
        Ok(())
    } else {
        Err(Refusal::InvalidArgument)
    }
}

pub(crate) fn other_answer() -> ClientError {
    Failure::BadReply("an answer to another question".into()).into()
}

pub(crate) fn endless() -> ClientError {
    Failure::BadReply("a list without an end".into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::outcome::Reply;

    fn replied(outcome: Outcome, in_doubt: bool) -> Proposed {
        let reply = Reply {
            token: Token::default(),
            stamp: Timestamp::default(),
            outcome,
        };
        Proposed::Reply {
            reply,
            told: None,
            in_doubt,
        }
    }

    #[test]
    fn a_refusal_after_a_lost_answer_is_unknown() {
        for refusal in [Refusal::MirrorGap, Refusal::InvalidArgument] {
            let plain = concluded(replied(Outcome::Refused(refusal), false));
            assert_eq!(plain, Err(ClientError::Refused(refusal)));
            let doubtful = concluded(replied(Outcome::Refused(refusal), true));
            let Err(ClientError::Unknown(why)) = &doubtful else {
                panic!("{doubtful:?}");
            };
            assert!(why.contains(&refusal.to_string()), "{why}");
        }
        let done = concluded(replied(Outcome::Done(Success::Done), true));
        assert_eq!(done, Ok((Token::default(), Success::Done)));
    }
}
