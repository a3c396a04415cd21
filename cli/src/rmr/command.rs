//! Runs `curlew rmr`.

use super::args::RmrArgs;
use super::place::{At, Place, find};
use super::report::{Report, advice, path_text};
use crate::exit::Finding;
use crate::progress::Progress;
use crate::{output, patience};
use anyhow::{Context, Result};
use meta_client::{ClientError, MetaSession, MetaUrl, SessionOptions, TreeEvent};
use meta_core::outcome::Refusal;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the cluster may take for one request, elections included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(60);
/// How long a mount may show what is gone: longer than its kernel believes in a name.
const FORGET_LIMIT: Duration = Duration::from_secs(3);
/// How long a mount may take to answer.
const MOUNT_LIMIT: Duration = Duration::from_secs(5);
/// Names between two words on how far it is, on a terminal and elsewhere.
const NAMES_PER_WORD: [u64; 2] = [1_000, 100_000];

/// Runs the command.
pub(crate) async fn run(args: RmrArgs) -> Result<Finding> {
    let places = find(&args)?;
    let mut removal = Removal {
        threads: args.threads,
        progress: Progress::new(),
        report: Report::default(),
        next_word: 0,
    };
    let mut open: Option<(MetaUrl, MetaSession)> = None;
    let mut gone = Vec::new();
    for place in &places {
        let removed = removal.remove(place, &mut open).await;
        match removed {
            Ok(true) => gone.extend(place.at.as_ref().ok().and_then(At::mounted)),
            Ok(false) => {}
            Err(error) => removal.fail(place.path.display().to_string(), format!("{error:#}")),
        }
    }
    if let Some((_, session)) = open {
        session.close().await;
    }
    for path in gone {
        forgotten(path).await;
    }
    let Removal {
        progress, report, ..
    } = removal;
    drop(progress);
    if args.json {
        output::json(&report)?;
    } else {
        output::text_out(&report.render())?;
    }
    Ok(report.troubles.finding())
}

/// The removal of all places, one after the other.
struct Removal {
    threads: u32,
    progress: Progress,
    report: Report,
    /// So many names are gone when that is said next.
    next_word: u64,
}

impl Removal {
    fn fail(&mut self, path: String, error: String) {
        let line = self.report.troubles.add(path, error);
        self.progress.note(&line);
    }

    /// Whether all of it is gone.
    async fn remove(
        &mut self,
        place: &Place,
        open: &mut Option<(MetaUrl, MetaSession)>,
    ) -> Result<bool> {
        let at = match &place.at {
            Ok(at) => at,
            Err(error) => {
                self.fail(place.path.display().to_string(), format!("{error:#}"));
                return Ok(false);
            }
        };
        let session = self.session(&at.url, open).await?;
        let doomed = at.doomed(&session).await?;
        let failed = self.report.troubles.failed;
        let threads = self.threads as usize;
        let mut tell = |event| self.tell(&place.path, event);
        match session
            .remove_tree(&at.caller, doomed, threads, &mut tell)
            .await
        {
            Ok(()) => Ok(self.report.troubles.failed == failed),
            Err(ClientError::Refused(refusal)) => Err(refused(refusal)),
            Err(error) => Err(error).context("a part of it may be left: run this again"),
        }
    }

    /// A session on the place's volume: most places are of one.
    async fn session(
        &self,
        url: &MetaUrl,
        open: &mut Option<(MetaUrl, MetaSession)>,
    ) -> Result<MetaSession> {
        if let Some((of, session)) = open {
            if of == url {
                return Ok(session.clone());
            }
            session.close().await;
        }
        self.progress.step("connecting");
        let options = SessionOptions {
            slots: self.threads,
            queries: self.threads,
            retry_for: Some(CLUSTER_LIMIT),
            ..SessionOptions::default()
        };
        let session = MetaSession::open(url, options).await?;
        *open = Some((url.clone(), session.clone()));
        Ok(session)
    }

    fn tell(&mut self, named: &Path, event: TreeEvent) {
        match event {
            TreeEvent::Removed { files, directories } => {
                self.report.files += files;
                self.report.directories += directories;
                let all = self.report.files + self.report.directories;
                if all >= self.next_word {
                    self.progress.step(&format!("{all} names are removed"));
                    let [often, seldom] = NAMES_PER_WORD;
                    let pause = if self.progress.is_live() {
                        often
                    } else {
                        seldom
                    };
                    self.next_word = all + pause;
                }
            }
            TreeEvent::Stays { path, why } => self.fail(path_text(named, &path), advice(why)),
            TreeEvent::OneByOne { why } => self.progress.note(&format!(
                "curlew: names are removed one at a time, which takes longer: {why}"
            )),
        }
    }
}

fn refused(refusal: Refusal) -> anyhow::Error {
    match refusal {
        Refusal::AccessDenied => anyhow::Error::new(refusal)
            .context("you may not search its directory: run this as its owner or as root"),
        // The directory that held it is gone, which is the same to the user.
        Refusal::Stale | Refusal::NotDirectory => Refusal::NotFound.into(),
        refusal => refusal.into(),
    }
}

/// Waits until a mount shows no more what is gone, so that what comes next finds it as it is. The
/// kernel believes in a name for a moment, and nobody tells it otherwise.
async fn forgotten(path: &Path) {
    let look = || {
        let at: PathBuf = path.to_owned();
        let seen = patience::bounded(MOUNT_LIMIT, move || at.symlink_metadata())?;
        let missing = seen.is_err_and(|error| error.kind() == ErrorKind::NotFound);
        missing.then_some(())
    };
    // Somebody may have made it anew.
    let _forgotten_or_new = patience::until(FORGET_LIMIT, look).await;
}
