//! Runs `curlew quota`.

use super::args::SubjectArgs;
use super::args::{DeleteArgs, GetArgs, LimitArgs, ListArgs, QuotaArgs, QuotaCommand, SetArgs};
use super::refused::{LEVEL, no_totals, refused};
use super::report::{ListReport, OneReport, QuotaReport};
use crate::caller::caller;
use crate::exit::{Finding, Usage as WrongUsage};
use crate::{output, patience, volume_path};
use anyhow::{Context as _, Result, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use meta_client::{ClientError, Cluster, Failure, MetaUrl};
use meta_core::attr::{Caller, FileKind};
use meta_core::ids::{Ino, VolumeId};
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, Query, QueryBody, VolumeInfo};
use meta_core::quota::{Limit, Subject, Usage};
use std::time::Duration;

/// How long the cluster may take, an election included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);
/// How long a new volume may take to come to its level.
const RAISE_LIMIT: Duration = Duration::from_secs(10);
/// Paths that are asked for at once.
const PATHS_AT_ONCE: usize = 16;

const ONLY_ROOT_SETS: &str = "only root sets limits: run this as root";
const ONLY_ROOT_LISTS: &str =
    "only root lists all limits: run this as root, or ask for one of them with `curlew quota get`";
const ONLY_OWNERS_ASK: &str =
    "what a user or a group uses is told only to the user, to members of the group, and to root";

/// Runs the command.
pub(crate) async fn run(args: QuotaArgs) -> Result<Finding> {
    match args.command {
        QuotaCommand::Set(args) => set(args).await?,
        QuotaCommand::Get(args) => get(args).await?,
        QuotaCommand::List(args) => list(args).await?,
        QuotaCommand::Delete(args) => delete(args).await?,
    }
    Ok(Finding::Fine)
}

async fn set(args: SetArgs) -> Result<()> {
    let SetArgs {
        url,
        of,
        limit,
        json,
    } = args;
    check_not_root(&of)?;
    let limits = Limits::of(&url).await?;
    let named = limits.named(&of).await?;
    let had = limits.usage(named.subject, ONLY_ROOT_SETS).await?.limit;
    limits.set(named.subject, limit.over(had)).await?;
    let usage = limits.usage(named.subject, ONLY_OWNERS_ASK).await?;
    limits.tell(&usage, named, json)
}

async fn get(args: GetArgs) -> Result<()> {
    let GetArgs { url, of, json } = args;
    let limits = Limits::of(&url).await?;
    let named = limits.named(&of).await?;
    let usage = limits.usage(named.subject, ONLY_OWNERS_ASK).await?;
    limits.tell(&usage, named, json)
}

async fn delete(args: DeleteArgs) -> Result<()> {
    let DeleteArgs { url, of, json } = args;
    check_not_root(&of)?;
    let limits = Limits::of(&url).await?;
    let named = limits.named(&of).await?;
    limits.set(named.subject, Limit::NONE).await?;
    let usage = limits.usage(named.subject, ONLY_OWNERS_ASK).await?;
    limits.tell(&usage, named, json)
}

/// The root directory has no limit of its own: the engine would say so, without a word on what to do.
fn check_not_root(of: &SubjectArgs) -> Result<()> {
    let Some(path) = &of.path else { return Ok(()) };
    if volume_path::names_or_root(path)?.is_empty() {
        return Err(WrongUsage::error(format!(
            "{} is the whole volume: say --volume in place of --path",
            path.display()
        )));
    }
    Ok(())
}

async fn list(args: ListArgs) -> Result<()> {
    let limits = Limits::of(&args.url).await?;
    let found = limits.cluster.limits(limits.volume.id, &limits.caller);
    let found = found
        .await
        .map_err(|error| refused(error, ONLY_ROOT_LISTS))?;
    let reports = stream::iter(&found).map(|usage| limits.report(usage));
    let reports: Vec<Option<QuotaReport>> = reports.buffered(PATHS_AT_ONCE).try_collect().await?;
    let report = ListReport {
        volume: limits.volume.name,
        limits: reports.into_iter().flatten().collect(),
    };
    if args.json {
        output::json(&report)
    } else {
        output::text_out(&report.render())
    }
}

/// What the user named.
struct Named {
    subject: Subject,
    /// A directory's.
    path: Option<String>,
}

/// A volume whose limits are asked for.
struct Limits {
    cluster: Cluster,
    volume: VolumeInfo,
    caller: Caller,
}

impl Limits {
    async fn of(url: &MetaUrl) -> Result<Self> {
        let cluster = Cluster::connect(&url.addrs, CLUSTER_LIMIT).await?;
        let volume = cluster.find_volume(&url.volume).await?;
        if volume.level.0 < LEVEL {
            return Err(no_totals());
        }
        Ok(Self {
            cluster,
            volume,
            caller: caller(),
        })
    }

    async fn named(&self, args: &SubjectArgs) -> Result<Named> {
        let plainly = |subject| Named {
            subject,
            path: None,
        };
        match args {
            SubjectArgs { uid: Some(uid), .. } => Ok(plainly(Subject::User(*uid))),
            SubjectArgs { gid: Some(gid), .. } => Ok(plainly(Subject::Group(*gid))),
            SubjectArgs {
                path: Some(path), ..
            } => {
                let names = volume_path::names_or_root(path)?;
                let found = volume_path::file(&self.cluster, self.volume.id, &self.caller, &names);
                let found = found.await?;
                let path = volume_path::shown(&names);
                if found.kind != FileKind::Directory {
                    bail!("{path} is no directory: only directories have totals and limits");
                }
                let subject = Subject::Directory(found.ino);
                let path = Some(path);
                Ok(Named { subject, path })
            }
            SubjectArgs { .. } => Ok(plainly(Subject::Volume)),
        }
    }

    async fn usage(&self, subject: Subject, only: &str) -> Result<Usage> {
        let usage = self
            .cluster
            .usage(self.volume.id, self.caller.clone(), subject);
        usage.await.map_err(|error| refused(error, only))
    }

    async fn set(&self, subject: Subject, limit: Limit) -> Result<()> {
        let set = self
            .cluster
            .set_quota(self.volume.id, self.caller.clone(), subject, limit);
        set.await.map_err(|error| refused(error, ONLY_ROOT_SETS))
    }

    fn tell(self, usage: &Usage, named: Named, json: bool) -> Result<()> {
        let quota = QuotaReport::new(usage, named.path);
        if json {
            let volume = self.volume.name;
            output::json(&OneReport { volume, quota })
        } else {
            output::text_out(&quota.render())
        }
    }

    /// A limit with its directory's path; none if the directory was removed meanwhile.
    async fn report(&self, usage: &Usage) -> Result<Option<QuotaReport>> {
        let Subject::Directory(ino) = usage.subject else {
            return Ok(Some(QuotaReport::new(usage, None)));
        };
        let path = match self.path(ino).await {
            Ok(path) => Some(path),
            Err(ClientError::Refused(Refusal::NotFound | Refusal::Stale)) => return Ok(None),
            // It is too long to be told.
            Err(ClientError::Refused(_)) => None,
            Err(error) => {
                return Err(error).context("the cluster does not tell a directory's path");
            }
        };
        Ok(Some(QuotaReport::new(usage, path)))
    }

    async fn path(&self, ino: Ino) -> Result<String, ClientError> {
        let query = Query {
            volume: self.volume.id,
            caller: self.caller.clone(),
            body: QueryBody::PathOf { ino },
        };
        match self.cluster.query(query).await? {
            Answer::Path(names) => Ok(volume_path::shown(&names)),
            _ => Err(Failure::BadReply("an answer to another question".to_owned()).into()),
        }
    }
}

/// Gives a volume another limit; what `args` do not say stays.
pub(crate) async fn limit(cluster: &Cluster, volume: VolumeId, args: LimitArgs) -> Result<()> {
    let had = cluster.usage(volume, caller(), Subject::Volume).await;
    let had = had.map_err(|error| refused(error, ONLY_ROOT_SETS))?.limit;
    let set = cluster.set_quota(volume, caller(), Subject::Volume, args.over(had));
    set.await.map_err(|error| refused(error, ONLY_ROOT_SETS))
}

/// Gives a new volume its limit, as soon as its level has limits.
pub(crate) async fn limit_new(cluster: &Cluster, volume: VolumeId, args: LimitArgs) -> Result<()> {
    let limit = args.over(Limit::NONE);
    if limit.is_none() {
        return Ok(());
    }
    let set = || cluster.set_quota(volume, caller(), Subject::Volume, limit);
    let in_time = patience::until_answered(RAISE_LIMIT, async || match set().await {
        // Members of a new cluster tell each other first what they read.
        Err(
            ClientError::Refused(Refusal::NotSupported)
            | ClientError::Failed(Failure::BadRequest(_)),
        ) => None,
        ended => Some(ended),
    });
    let ended = match in_time.await {
        Some(ended) => ended,
        None => set().await,
    };
    ended.map_err(|error| refused(error, ONLY_ROOT_SETS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_limit_of_the_root_is_the_volumes() {
        let of = |path: Option<&str>| SubjectArgs {
            path: path.map(PathBuf::from),
            volume: path.is_none(),
            uid: None,
            gid: None,
        };
        for path in ["/", "", "/."] {
            let error = check_not_root(&of(Some(path))).expect_err(path);
            assert!(error.is::<WrongUsage>(), "{error}");
            assert!(error.to_string().contains("--volume"), "{error}");
        }
        assert!(check_not_root(&of(Some("/a"))).is_ok());
        assert!(check_not_root(&of(None)).is_ok());
    }
}
