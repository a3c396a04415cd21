//! Runs `curlew restore`.

use super::args::RestoreArgs;
use super::listing;
use super::report::{Report, advice, shown};
use crate::caller::caller;
use crate::exit::{Finding, Usage};
use crate::progress::Progress;
use crate::troubles::Troubles;
use crate::{output, volume_path};
use anyhow::{Context, Result, anyhow, bail};
use meta_client::{ClientError, MetaSession, MetaUrl, SessionOptions, TrashEvent, Which};
use meta_core::attr::{Attr, Caller, FileKind};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody};
use std::path::Path;
use std::time::Duration;

/// How long the cluster may take for one request, elections included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(60);
/// Files between two words on how far it is, on a terminal and elsewhere.
const FILES_PER_WORD: [u64; 2] = [1_000, 100_000];

/// Runs the command.
pub(crate) async fn run(args: RestoreArgs) -> Result<Finding> {
    if args.list {
        return listing::list(&args.url, args.path.as_deref(), args.json).await;
    }
    let progress = Progress::new();
    progress.step("connecting");
    let session = connect(&args.url, args.threads).await?;
    let mut work = Restoration {
        session: session.clone(),
        caller: caller(),
        args: &args,
        progress,
        report: Report::default(),
        next_word: 0,
    };
    let restored = work.restore().await;
    session.close().await;
    let Restoration {
        report, progress, ..
    } = work;
    drop(progress);
    restored?;
    if args.json {
        output::json(&report)?;
    } else {
        output::text_out(&report.render())?;
    }
    Ok(report.troubles.finding())
}

/// A session for so many requests at once.
pub(super) async fn connect(url: &MetaUrl, in_flight: u32) -> Result<MetaSession> {
    let options = SessionOptions {
        slots: in_flight,
        queries: in_flight,
        retry_for: Some(CLUSTER_LIMIT),
        ..SessionOptions::default()
    };
    Ok(MetaSession::open(url, options).await?)
}

/// The names that lead to a path; none for the root.
pub(super) fn names_of(path: Option<&Path>) -> Result<Vec<Name>> {
    match path {
        Some(path) if path != Path::new("/") => volume_path::names(path),
        _ => Ok(Vec::new()),
    }
}

/// The file at a path, if there is one and the caller may look it up.
pub(super) async fn there(
    session: &MetaSession,
    caller: &Caller,
    names: &[Name],
) -> Result<Option<Attr>> {
    let mut at = attr(session, caller, QueryBody::GetAttr { ino: Ino::ROOT }).await?;
    for name in names {
        let Some(directory) = at else { break };
        let body = QueryBody::Lookup {
            parent: directory.ino,
            name: name.clone(),
        };
        at = attr(session, caller, body).await?;
    }
    Ok(at)
}

async fn attr(session: &MetaSession, caller: &Caller, body: QueryBody) -> Result<Option<Attr>> {
    match session.query(caller.clone(), body).await {
        Ok(Answer::Attr(attr)) => Ok(Some(attr)),
        Ok(_) => bail!("the cluster answered another question"),
        Err(ClientError::Refused(Refusal::NotFound | Refusal::NotDirectory | Refusal::Stale)) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// What is restored, and how far it is.
struct Restoration<'a> {
    session: MetaSession,
    caller: Caller,
    args: &'a RestoreArgs,
    progress: Progress,
    report: Report,
    /// So many files are back when that is said next.
    next_word: u64,
}

impl Restoration<'_> {
    async fn restore(&mut self) -> Result<()> {
        let session = self.session.clone();
        if let Some(id) = self.args.id {
            let removed = session.removed_file(&self.caller, Ino(id)).await;
            let entry = removed.map_err(|error| of_file(id, error))?;
            let to = names_of(self.args.to.as_deref())?;
            return self.put(to, None, entry.attr).await;
        }
        let names = names_of(self.args.path.as_deref())?;
        if self.args.at.is_none() && self.args.to.is_none() {
            let found = there(&session, &self.caller, &names).await?;
            if let Some(attr) = found.filter(|attr| attr.kind == FileKind::Directory) {
                return self.go_on(attr.ino, names).await;
            }
        }
        let which = Which {
            by: self.args.at,
            since: self.args.since,
            own_first: true,
        };
        let found = match session.find_removed(&self.caller, &names, which).await {
            Err(ClientError::Refused(Refusal::AccessDenied)) => bail!(
                "you may not search a directory above {}: run this as its owner or as root",
                shown(&names)
            ),
            found => found?,
        };
        let Some(found) = found else {
            bail!(
                "nothing in the trash had the path {}: see what there is with --list, on a directory \
                 above it; what was removed with --skip-trash, or too long ago, is gone",
                shown(&names)
            );
        };
        let (to, above) = match &self.args.to {
            Some(to) => (names_of(Some(to))?, None),
            None => {
                let above = session.restore_above(&self.caller, &names, &found).await;
                let above = above.map_err(|error| above_error(&names, error))?;
                (names, Some(above))
            }
        };
        self.put(to, above, found.entry.attr).await
    }

    /// What an earlier run has begun with is there, and so is what was removed from it. Without any of
    /// that, one that was there before may be meant, whose name is taken.
    async fn go_on(&mut self, directory: Ino, names: Vec<Name>) -> Result<()> {
        self.below(directory, names.clone()).await?;
        let Report {
            files,
            directories,
            taken,
            troubles: Troubles { failed, .. },
        } = self.report;
        if files + directories + taken + failed > 0 {
            return Ok(());
        }
        let which = Which::default();
        match self
            .session
            .find_removed(&self.caller, &names, which)
            .await?
        {
            Some(_) => Err(put_error(&names, Refusal::Exists.into())),
            None => Ok(()),
        }
    }

    /// Gives what was removed a name, in `parent` if it is known.
    async fn put(&mut self, to: Vec<Name>, parent: Option<Ino>, file: Attr) -> Result<()> {
        let Some(last) = to.last().cloned() else {
            return Err(Usage::error("--to must be a path below the volume's root"));
        };
        let parent = match parent {
            Some(parent) => parent,
            None => volume_path::holder(&self.session, &self.caller, &to).await?,
        };
        let restored = self
            .session
            .restore_file(&self.caller, parent, (file.ino, last));
        restored.await.map_err(|error| put_error(&to, error))?;
        if file.kind != FileKind::Directory {
            self.report.files += 1;
            return Ok(());
        }
        self.report.directories += 1;
        self.below(file.ino, to).await
    }

    async fn below(&mut self, directory: Ino, path: Vec<Name>) -> Result<()> {
        let (session, caller) = (self.session.clone(), self.caller.clone());
        let (since, threads) = (self.args.since, self.args.threads as usize);
        let mut tell = |event| self.tell(event);
        let restored = session.restore_below(&caller, (directory, path), since, threads, &mut tell);
        let restored = restored.await;
        restored.context("a part of it is back: run this again to go on")
    }

    fn tell(&mut self, event: TrashEvent) {
        match event {
            TrashEvent::Restored { files, directories } => {
                self.report.files += files;
                self.report.directories += directories;
                let all = self.report.files + self.report.directories;
                if all >= self.next_word {
                    self.progress.step(&format!("{all} files are restored"));
                    let [often, seldom] = FILES_PER_WORD;
                    let live = self.progress.is_live();
                    self.next_word = all + if live { often } else { seldom };
                }
            }
            TrashEvent::Taken(count) => self.report.taken += count,
            TrashEvent::Stays { path, why } => {
                let line = self.report.troubles.add(shown(&path), advice(why));
                self.progress.note(&line);
            }
            TrashEvent::Entry { .. } | TrashEvent::Emptied(_) => {}
        }
    }
}

fn of_file(id: u64, error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Refused(Refusal::NotFound) => {
            anyhow!("no file of the number {id} is in the trash: see what there is with --list")
        }
        ClientError::Refused(Refusal::NotPermitted) => {
            anyhow!("file {id} is another user's: run this as its owner or as root")
        }
        error => error.into(),
    }
}

fn above_error(names: &[Name], error: ClientError) -> anyhow::Error {
    let path = shown(names);
    match error {
        ClientError::Refused(Refusal::NotDirectory) => anyhow!(
            "something that is no directory has the name of one above {path}: move it away, or give \
             another place with --to"
        ),
        ClientError::Refused(refusal) => anyhow!(
            "a directory above {path} cannot be restored ({}): give another place with --to",
            advice(refusal)
        ),
        error => error.into(),
    }
}

fn put_error(to: &[Name], error: ClientError) -> anyhow::Error {
    let path = shown(to);
    match error {
        ClientError::Refused(Refusal::Exists) => {
            anyhow!("{path} exists: move it away, or give another place with --to")
        }
        ClientError::Refused(Refusal::NotFound) => {
            anyhow!("{path} is not in the trash any more: somebody restored it, or it was purged")
        }
        ClientError::Refused(refusal) => anyhow!("{path}: {}", advice(refusal)),
        error => error.into(),
    }
}
