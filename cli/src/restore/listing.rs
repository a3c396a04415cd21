//! Lists the trash, and empties it.

use super::args::TrashArgs;
use super::command::{connect, names_of, there};
use super::report::{advice, line, shown};
use crate::caller::caller;
use crate::exit::Finding;
use crate::output;
use anyhow::{Result, anyhow, bail};
use meta_client::{ClientError, MetaSession, MetaUrl, TrashEvent, Which};
use meta_core::attr::{Caller, FileKind, Timestamp};
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Runs `curlew trash`.
pub(crate) async fn run(args: TrashArgs) -> Result<Finding> {
    if !args.purge {
        return list(&args.url, args.path.as_deref(), args.json).await;
    }
    let names = names_of(args.path.as_deref())?;
    let session = connect(&args.url, 1).await?;
    let before = args.older_than.map(earlier).transpose()?;
    let purged = purge(&session, &caller(), names, before).await;
    session.close().await;
    let files = purged?;
    if args.json {
        output::json(&Purged { files })?;
    } else {
        output::text_out(&format!("{files} files left the trash\n"))?;
    }
    Ok(Finding::Fine)
}

#[derive(Debug, Serialize)]
struct Purged {
    files: u64,
}

/// So long before now, by this machine's clock.
fn earlier(age: Duration) -> Result<Timestamp> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let then = now.saturating_sub(age);
    Ok(Timestamp {
        seconds: i64::try_from(then.as_secs())?,
        nanos: then.subsec_nanos(),
    })
}

/// Tells of all that was removed under a path and below, the latest of the path first.
pub(super) async fn list(url: &MetaUrl, path: Option<&Path>, json: bool) -> Result<Finding> {
    let names = names_of(path)?;
    let session = connect(url, 1).await?;
    let mut told = Told {
        json,
        any: false,
        failed: 0,
        ended: Ok(()),
    };
    let listed = list_below(&session, &caller(), &names, &mut told).await;
    session.close().await;
    listed?;
    told.ended?;
    if !told.any && !json {
        eprintln!(
            "curlew: nothing is in the trash at {} and below",
            shown(&names)
        );
    }
    Ok(match told.failed {
        0 => Finding::Fine,
        _ => Finding::Wrong,
    })
}

/// What was printed.
struct Told {
    json: bool,
    any: bool,
    failed: u64,
    ended: Result<()>,
}

impl Told {
    fn tell(&mut self, event: TrashEvent) {
        match event {
            TrashEvent::Entry { path, entry } => {
                self.any = true;
                if self.ended.is_ok() {
                    self.ended = output::text_out(&line(&path, &entry, self.json));
                }
            }
            TrashEvent::Stays { path, why } => {
                self.failed += 1;
                eprintln!("curlew: {}: {}", shown(&path), advice(why));
            }
            TrashEvent::Restored { .. } | TrashEvent::Taken(_) | TrashEvent::Emptied(_) => {}
        }
    }
}

async fn list_below(
    session: &MetaSession,
    caller: &Caller,
    names: &[Name],
    told: &mut Told,
) -> Result<()> {
    let mut tell = |event| told.tell(event);
    // Each that was removed under the path itself, from the latest on.
    let mut by = None;
    while let Some((_, above)) = names.split_last() {
        let which = Which {
            by,
            ..Which::default()
        };
        let Some(found) = session.find_removed(caller, names, which).await? else {
            break;
        };
        let (removed, attr) = (found.entry.removed, found.entry.attr.clone());
        tell(TrashEvent::Entry {
            path: above.to_vec(),
            entry: found.entry,
        });
        if attr.kind == FileKind::Directory {
            let below = session.removed_below(caller, (attr.ino, names.to_vec()), None, &mut tell);
            below.await?;
        }
        by = Some(before(removed));
    }
    if let Some(attr) = there(session, caller, names).await?
        && attr.kind == FileKind::Directory
    {
        let below = session.removed_below(caller, (attr.ino, names.to_vec()), None, &mut tell);
        below.await?;
    }
    Ok(())
}

/// The instant before.
fn before(time: Timestamp) -> Timestamp {
    match time.nanos.checked_sub(1) {
        Some(nanos) => Timestamp { nanos, ..time },
        None => Timestamp {
            seconds: time.seconds.saturating_sub(1),
            nanos: 999_999_999,
        },
    }
}

/// Gives up what was removed under a path and below. Says how many files.
async fn purge(
    session: &MetaSession,
    caller: &Caller,
    names: Vec<Name>,
    older: Option<Timestamp>,
) -> Result<u64> {
    let mut files = 0;
    let mut refused = None;
    let mut tell = |event| match event {
        TrashEvent::Emptied(count) => files += count,
        TrashEvent::Stays { path, why } => refused = refused.take().or(Some((path, why))),
        TrashEvent::Entry { .. } | TrashEvent::Restored { .. } | TrashEvent::Taken(_) => {}
    };
    let mut own = 0;
    let which = Which {
        by: older.map(before),
        ..Which::default()
    };
    while let Some(found) = session.find_removed(caller, &names, which).await? {
        let attr = found.entry.attr;
        if attr.kind == FileKind::Directory {
            let place = (attr.ino, names.clone());
            let below = session.empty_below(caller, place, older, &mut tell);
            below.await.map_err(only_root)?;
        }
        let emptied = session.empty_files(caller, vec![attr.ino]);
        own += emptied.await.map_err(only_root)?;
    }
    if let Some(attr) = there(session, caller, &names).await?
        && attr.kind == FileKind::Directory
    {
        let below = session.empty_below(caller, (attr.ino, names), older, &mut tell);
        below.await.map_err(only_root)?;
    }
    match refused {
        Some((_, Refusal::NotPermitted)) => Err(only_root(Refusal::NotPermitted.into())),
        Some((path, why)) => bail!("{}: {}", shown(&path), advice(why)),
        None => Ok(files + own),
    }
}

fn only_root(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Refused(Refusal::NotPermitted) => {
            anyhow!("only root may empty the trash: run this as root")
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_instant_before_each() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        assert_eq!(before(at(5, 1)), at(5, 0));
        assert_eq!(before(at(5, 0)), at(4, 999_999_999));
        assert_eq!(before(at(5, 0)).next(), at(5, 0));
    }
}
