//! Goes down a tree, file by file.

use meta_client::{ClientError, Failure, MetaSession};
use meta_core::attr::{Caller, FileKind};
use meta_core::ids::{DentryNumber, Ino};
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, DirEntry, QueryBody};
use std::collections::VecDeque;

/// Names that are read at once: what is held grows with this and with the depth of the tree.
const PAGE: u32 = 1024;

/// Who knows the tree.
pub(super) trait Source {
    /// Names of a directory after a cursor, and whether there are no more.
    async fn page(
        &self,
        ino: Ino,
        after: DentryNumber,
    ) -> Result<(Vec<DirEntry>, bool), ClientError>;
}

impl Source for MetaSession {
    async fn page(
        &self,
        ino: Ino,
        after: DentryNumber,
    ) -> Result<(Vec<DirEntry>, bool), ClientError> {
        let body = QueryBody::ReadDir {
            ino,
            after,
            entries_max: PAGE,
            with_attrs: false,
        };
        match self.query(Caller::root(), body).await? {
            Answer::Entries { entries, end, .. } => Ok((entries, end)),
            _ => Err(Failure::BadReply("an answer to another question".to_owned()).into()),
        }
    }
}

/// A regular file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct File {
    pub(super) ino: Ino,
    /// As it is shown.
    pub(super) path: String,
}

/// What a walk comes to.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Found {
    File(File),
    /// A directory that cannot be listed, by its path.
    Closed(String, Refusal),
}

/// A directory, or what is left of it.
#[derive(Clone, Debug)]
struct Directory {
    ino: Ino,
    path: String,
    after: DentryNumber,
}

/// A walk through the files of a tree. A name that is moved meanwhile may be missed, or come twice.
#[derive(Debug)]
pub(super) struct Walk {
    /// Directories that are yet to be listed, the next one last.
    next: Vec<Directory>,
    /// Files of the last page.
    files: VecDeque<File>,
}

impl Walk {
    /// Through all that lies below a directory.
    pub(super) fn below(ino: Ino, path: String) -> Self {
        let top = Directory {
            ino,
            path,
            after: DentryNumber(0),
        };
        Self {
            next: vec![top],
            files: VecDeque::new(),
        }
    }

    /// What comes next; `None` at the end.
    pub(super) async fn next<S: Source>(
        &mut self,
        source: &S,
    ) -> Result<Option<Found>, ClientError> {
        loop {
            if let Some(file) = self.files.pop_front() {
                return Ok(Some(Found::File(file)));
            }
            let Some(directory) = self.next.pop() else {
                return Ok(None);
            };
            match source.page(directory.ino, directory.after).await {
                Ok((page, end)) => self.take(directory, page, end)?,
                // Nothing is below what is gone.
                Err(ClientError::Refused(Refusal::NotFound | Refusal::Stale)) => {}
                Err(ClientError::Refused(refusal)) => {
                    return Ok(Some(Found::Closed(directory.path, refusal)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn take(
        &mut self,
        directory: Directory,
        page: Vec<DirEntry>,
        end: bool,
    ) -> Result<(), ClientError> {
        let base = directory.path.trim_end_matches('/').to_owned();
        if !end {
            // Its rest comes after the directories of this page, so that those of one page are held alone.
            let last = page.last().map(|entry| entry.number);
            let Some(after) = last.filter(|last| *last > directory.after) else {
                return Err(Failure::BadReply("names that do not move on".to_owned()).into());
            };
            self.next.push(Directory { after, ..directory });
        }
        for entry in page {
            let path = format!("{base}/{}", entry.name);
            let ino = entry.ino;
            match entry.kind {
                FileKind::Regular => self.files.push_back(File { ino, path }),
                FileKind::Directory => self.next.push(Directory {
                    ino,
                    path,
                    after: DentryNumber(0),
                }),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::name::Name;
    use std::cell::Cell;

    /// Each of the directories 1 to 9 has the directory of ten times its number, five files and a symlink;
    /// 20 is closed, 30 is gone, and others are empty. Pages are of two names.
    #[derive(Debug, Default)]
    struct Fake {
        pages: Cell<usize>,
        is_stuck: bool,
    }

    impl Fake {
        fn names(ino: Ino) -> Vec<DirEntry> {
            let entry = |number: u64, ino: u64, kind| DirEntry {
                number: DentryNumber(number),
                name: Name::new(format!("n{ino}")).expect("a name"),
                ino: Ino(ino),
                kind,
                attr: None,
            };
            let of = ino.0;
            match of {
                1 => (2..=4)
                    .map(|ino| entry(ino, ino, FileKind::Directory))
                    .collect(),
                2..10 => {
                    let mut all = vec![entry(3, of * 10, FileKind::Directory)];
                    let files = (4..9).map(|at| entry(at, of * 100 + at, FileKind::Regular));
                    all.extend(files);
                    all.push(entry(9, of * 1000, FileKind::Symlink));
                    all
                }
                _ => Vec::new(),
            }
        }
    }

    impl Source for Fake {
        async fn page(
            &self,
            ino: Ino,
            after: DentryNumber,
        ) -> Result<(Vec<DirEntry>, bool), ClientError> {
            self.pages.set(self.pages.get() + 1);
            match ino.0 {
                20 => return Err(Refusal::AccessDenied.into()),
                30 => return Err(Refusal::Stale.into()),
                _ => {}
            }
            let mut left = Self::names(ino);
            left.retain(|entry| entry.number > after || self.is_stuck);
            let end = left.len() <= 2;
            left.truncate(2);
            Ok((left, end))
        }
    }

    #[tokio::test]
    async fn every_file_is_found_once_and_what_is_closed_is_told() {
        let source = Fake::default();
        let mut walk = Walk::below(Ino(1), "/".to_owned());
        let (mut files, mut closed) = (Vec::new(), Vec::new());
        while let Some(found) = walk.next(&source).await.expect("an answer") {
            match found {
                Found::File(file) => files.push(file),
                Found::Closed(path, why) => closed.push((path, why)),
            }
            assert!(walk.next.len() <= 4 && walk.files.len() <= 2, "{walk:?}");
        }
        let mut inos: Vec<u64> = files.iter().map(|file| file.ino.0).collect();
        inos.sort_unstable();
        let expected: Vec<u64> = (2..=4)
            .flat_map(|of| (4..9).map(move |at| of * 100 + at))
            .collect();
        assert_eq!(inos, expected);
        assert_eq!(closed, [("/n2/n20".to_owned(), Refusal::AccessDenied)]);
        assert!(files.iter().any(|file| file.path == "/n4/n408"));
    }

    #[tokio::test]
    async fn names_that_do_not_move_on_end_the_walk() {
        let source = Fake {
            is_stuck: true,
            ..Fake::default()
        };
        let mut walk = Walk::below(Ino(2), "/m".to_owned());
        for _ in 0..10 {
            match walk.next(&source).await {
                Err(ClientError::Failed(Failure::BadReply(_))) => return,
                found => assert!(matches!(found, Ok(Some(_))), "{found:?}"),
            }
        }
        panic!("it walks on after {} pages", source.pages.get());
    }
}
