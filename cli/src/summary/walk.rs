//! Goes down a tree as far as it is shown.

use super::biggest::{Biggest, Entry, Others, with_itself};
use super::report::{Line, Report, What};
use crate::quota::refused;
use anyhow::{Result, bail};
use meta_client::{ClientError, Cluster, Failure};
use meta_core::attr::{Caller, FileKind};
use meta_core::ids::{DentryNumber, Ino, VolumeId};
use meta_core::limits::READDIR_ENTRIES_MAX;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, DirEntry, Query, QueryBody};
use meta_core::quota::Amount;

/// Lines of one summary.
const LINES_MAX: usize = 100_000;

/// Who knows the tree.
pub(super) trait Source {
    /// Refuses a directory that the caller may not list; `above` is where it was found, if it has to be
    /// found again on the caller's behalf.
    async fn open(&self, above: Option<&(Ino, Name)>, ino: Ino) -> Result<(), ClientError>;

    /// Names of a directory after a cursor, and whether there are no more.
    async fn page(
        &self,
        ino: Ino,
        after: DentryNumber,
    ) -> Result<(Vec<DirEntry>, bool), ClientError>;

    /// What files add up to.
    async fn amounts(&self, inos: &[Ino]) -> Result<Vec<Result<Amount, Refusal>>, ClientError>;
}

/// A tree on a cluster.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) cluster: Cluster,
    pub(super) volume: VolumeId,
    pub(super) caller: Caller,
}

impl Tree {
    pub(super) async fn ask(&self, body: QueryBody) -> Result<Answer, ClientError> {
        let query = Query {
            volume: self.volume,
            caller: self.caller.clone(),
            body,
        };
        self.cluster.query(query).await
    }
}

fn other_answer() -> ClientError {
    Failure::BadReply("an answer to another question".to_owned()).into()
}

impl Source for Tree {
    async fn open(&self, above: Option<&(Ino, Name)>, ino: Ino) -> Result<(), ClientError> {
        // Pages are told to whoever has opened the directory, and totals to all: so who may not look is
        // sent away here.
        if self.caller.is_root() {
            return Ok(());
        }
        if let Some((parent, name)) = above {
            let (parent, name) = (*parent, name.clone());
            match self.ask(QueryBody::Lookup { parent, name }).await? {
                Answer::Attr(attr) if attr.ino == ino => {}
                // Something else has the name by now.
                Answer::Attr(_) => return Err(Refusal::NotFound.into()),
                _ => return Err(other_answer()),
            }
        }
        let (read, write) = (true, false);
        self.ask(QueryBody::Open { ino, read, write }).await?;
        Ok(())
    }

    async fn page(
        &self,
        ino: Ino,
        after: DentryNumber,
    ) -> Result<(Vec<DirEntry>, bool), ClientError> {
        let body = QueryBody::ReadDir {
            ino,
            after,
            entries_max: READDIR_ENTRIES_MAX,
            with_attrs: false,
        };
        match self.ask(body).await? {
            Answer::Entries { entries, end, .. } => Ok((entries, end)),
            _ => Err(other_answer()),
        }
    }

    async fn amounts(&self, inos: &[Ino]) -> Result<Vec<Result<Amount, Refusal>>, ClientError> {
        self.cluster.amounts(self.volume, &self.caller, inos).await
    }
}

/// Where a summary begins.
#[derive(Clone, Debug)]
pub(super) struct Top {
    pub(super) ino: Ino,
    pub(super) kind: FileKind,
    /// As it is shown.
    pub(super) path: String,
}

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) depth: u32,
    pub(super) entries: u32,
}

/// What is yet to be shown: in the order in which it is.
#[derive(Debug)]
enum Next {
    File {
        path: String,
        depth: u32,
        ino: Ino,
        kind: FileKind,
        amount: Amount,
        /// Where it was found, below the top.
        above: Option<(Ino, Name)>,
    },
    Others {
        /// The directory that they are in.
        path: String,
        depth: u32,
        others: Others,
    },
}

/// Tells what a file and the tree below it add up to. What cannot be listed is among the report's troubles.
pub(super) async fn walk<S: Source>(source: &S, top: Top, extent: Extent) -> Result<Report> {
    let amounts = source.amounts(&[top.ino]).await;
    let amounts = amounts.map_err(|error| refused(error, "run this as root"))?;
    let amount = match amounts.first() {
        Some(Ok(amount)) => with_itself(top.kind, *amount),
        _ => bail!("{} was removed meanwhile", top.path),
    };
    let mut report = Report::default();
    let mut next = vec![Next::File {
        path: top.path,
        depth: 0,
        ino: top.ino,
        kind: top.kind,
        amount,
        above: None,
    }];
    // The last comes first. It is as long as all directories on the way from the top have lines.
    while let Some(one) = next.pop() {
        if report.entries.len() >= LINES_MAX {
            bail!("it has more than {LINES_MAX} lines: give a lower --depth or fewer --entries");
        }
        match one {
            Next::Others {
                path,
                depth,
                others,
            } => report.entries.push(Line {
                path,
                depth,
                what: What::Others,
                amount: others.amount,
                names: Some(others.names),
            }),
            Next::File {
                path,
                depth,
                ino,
                kind,
                amount,
                above,
            } => {
                report.entries.push(Line {
                    path: path.clone(),
                    depth,
                    what: What::File(kind),
                    amount,
                    names: None,
                });
                if kind != FileKind::Directory || depth >= extent.depth {
                    continue;
                }
                match biggest(source, above.as_ref(), ino, extent.entries).await {
                    Ok(biggest) => push(&mut next, biggest, (ino, path, depth + 1)),
                    // Nothing is below what is gone.
                    Err(ClientError::Refused(Refusal::NotFound | Refusal::Stale)) => {}
                    Err(ClientError::Refused(Refusal::BeingCounted)) => {
                        return Err(refused(Refusal::BeingCounted.into(), ""));
                    }
                    Err(ClientError::Refused(refusal)) => report.fail(path, refusal),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(report)
}

/// Puts the names of a directory where they come next, the first of them last.
fn push(next: &mut Vec<Next>, biggest: Biggest, of: (Ino, String, u32)) {
    let (parent, path, depth) = of;
    let (kept, others) = biggest.end();
    let base = path.trim_end_matches('/').to_owned();
    if let Some(others) = others {
        next.push(Next::Others {
            path,
            depth,
            others,
        });
    }
    for entry in kept.into_iter().rev() {
        next.push(Next::File {
            path: format!("{base}/{}", entry.name),
            depth,
            ino: entry.ino,
            kind: entry.kind,
            amount: entry.amount,
            above: Some((parent, entry.name)),
        });
    }
}

/// The biggest names of a directory.
async fn biggest<S: Source>(
    source: &S,
    above: Option<&(Ino, Name)>,
    ino: Ino,
    entries_max: u32,
) -> Result<Biggest, ClientError> {
    source.open(above, ino).await?;
    let mut biggest = Biggest::new(entries_max as usize);
    let mut after = DentryNumber(0);
    loop {
        let (page, end) = source.page(ino, after).await?;
        let last = page.last().map(|entry| entry.number);
        let inos: Vec<Ino> = page.iter().map(|entry| entry.ino).collect();
        let amounts = source.amounts(&inos).await?;
        for (entry, amount) in page.into_iter().zip(amounts) {
            // One without an amount was removed meanwhile.
            if let Ok(amount) = amount {
                biggest.add(Entry {
                    name: entry.name,
                    ino: entry.ino,
                    kind: entry.kind,
                    amount: with_itself(entry.kind, amount),
                });
            }
        }
        match last {
            _ if end => return Ok(biggest),
            Some(last) if last > after => after = last,
            _ => return Err(Failure::BadReply("names that do not move on".to_owned()).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Directory 1 has the directories 11 to 15 and the file 16, and directory `n` below it the file `10 n`,
    /// of `n` bytes. Pages are of two names.
    #[derive(Debug, Default)]
    struct Fake {
        closed: Option<Ino>,
        is_counting: bool,
        pages: Cell<usize>,
    }

    impl Fake {
        fn names(ino: Ino) -> Vec<DirEntry> {
            let inos: Vec<u64> = match ino.0 {
                1 => (11..=16).collect(),
                dir => vec![dir * 10],
            };
            let entry = |(ino, number): (u64, u64)| DirEntry {
                number: DentryNumber(number),
                name: Name::new(format!("n{ino}")).expect("a name"),
                ino: Ino(ino),
                kind: match ino {
                    11..=15 => FileKind::Directory,
                    _ => FileKind::Regular,
                },
                attr: None,
            };
            inos.into_iter().zip(1..).map(entry).collect()
        }
    }

    impl Source for Fake {
        async fn open(&self, _: Option<&(Ino, Name)>, ino: Ino) -> Result<(), ClientError> {
            match self.closed {
                Some(closed) if closed == ino => Err(Refusal::AccessDenied.into()),
                _ => Ok(()),
            }
        }

        async fn page(
            &self,
            ino: Ino,
            after: DentryNumber,
        ) -> Result<(Vec<DirEntry>, bool), ClientError> {
            self.pages.set(self.pages.get() + 1);
            let mut left = Self::names(ino);
            left.retain(|entry| entry.number > after);
            let end = left.len() <= 2;
            left.truncate(2);
            Ok((left, end))
        }

        async fn amounts(&self, inos: &[Ino]) -> Result<Vec<Result<Amount, Refusal>>, ClientError> {
            if self.is_counting {
                return Err(Refusal::BeingCounted.into());
            }
            let amount = |ino: &Ino| match ino.0 {
                1 => Ok((6, 5, 1000)),
                // Gone meanwhile.
                13 => Err(Refusal::Stale),
                ino => Ok((1, 0, ino)),
            };
            let amounts = inos.iter().map(amount).map(|amount| {
                amount.map(|(files, directories, bytes)| Amount {
                    files,
                    directories,
                    bytes,
                })
            });
            Ok(amounts.collect())
        }
    }

    async fn shown(source: &Fake, depth: u32, entries: u32) -> Vec<(String, u32, u64)> {
        let report = walk(source, top(), Extent { depth, entries }).await;
        let lines = report.expect("a report").entries.into_iter();
        lines
            .map(|line| (line.shown_path(), line.depth, line.amount.bytes))
            .collect()
    }

    fn top() -> Top {
        Top {
            ino: Ino::ROOT,
            kind: FileKind::Directory,
            path: "/".to_owned(),
        }
    }

    fn line(path: &str, depth: u32, bytes: u64) -> (String, u32, u64) {
        (path.to_owned(), depth, bytes)
    }

    #[tokio::test]
    async fn each_directory_is_followed_by_its_biggest_names() {
        let lines = shown(&Fake::default(), 2, 3).await;
        let expected = [
            line("/", 0, 1000),
            line("/n16", 1, 16),
            line("/n15/", 1, 15),
            line("/n15/n150", 2, 150),
            line("/n14/", 1, 14),
            line("/n14/n140", 2, 140),
            line("/...", 1, 23),
        ];
        assert_eq!(lines, expected);
    }

    #[tokio::test]
    async fn nothing_below_the_depth_is_read() {
        let source = Fake::default();
        assert_eq!(shown(&source, 0, 10).await, [line("/", 0, 1000)]);
        assert_eq!(source.pages.get(), 0);
        assert_eq!(shown(&source, 1, 10).await.len(), 6);
        assert_eq!(source.pages.get(), 3, "those of the directory alone");
    }

    #[tokio::test]
    async fn what_may_not_be_listed_is_told_and_the_rest_is_shown() {
        let source = Fake {
            closed: Some(Ino(15)),
            ..Fake::default()
        };
        let extent = Extent {
            depth: 2,
            entries: 10,
        };
        let report = walk(&source, top(), extent).await.expect("a report");
        assert_eq!(report.troubles.failed, 1);
        assert!(report.notes[0].contains("/n15"), "{:?}", report.notes);
        assert_eq!(report.entries.len(), 9);
    }

    #[tokio::test]
    async fn a_summary_waits_for_the_totals() {
        let source = Fake {
            is_counting: true,
            ..Fake::default()
        };
        let extent = Extent {
            depth: 2,
            entries: 10,
        };
        let error = walk(&source, top(), extent).await.expect_err("counting");
        assert!(error.to_string().contains("being counted"), "{error}");
    }
}
