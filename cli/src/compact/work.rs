//! Compacts the files of a tree, many chunks at a time.

use super::chunks::Chunks;
use super::report::{advice, hopeless};
use super::tally::Tally;
use super::volume::Volume;
use super::walk::{File, Found, Walk};
use crate::output::file_kind;
use anyhow::{Result, bail};
use fs_client::vfs::Compacted;
use futures::StreamExt as _;
use futures::stream;
use meta_client::ClientError;
use meta_core::attr::{Attr, FileKind};
use meta_core::compaction::Effort;
use meta_core::ids::{ChunkIndex, Ino};
use meta_core::outcome::Refusal;
use std::cell::RefCell;
use std::pin::pin;
use tokio::sync::Semaphore;

/// The work on trees of one volume.
#[derive(Debug)]
pub(super) struct Work<'a> {
    volume: &'a Volume,
    tally: &'a RefCell<Tally>,
    threads: usize,
    /// One for each chunk that is compacted at a time, of whatever file.
    permits: Semaphore,
}

impl<'a> Work<'a> {
    pub(super) fn new(volume: &'a Volume, tally: &'a RefCell<Tally>, threads: usize) -> Self {
        Self {
            volume,
            tally,
            threads,
            permits: Semaphore::new(threads),
        }
    }

    /// Compacts a file, or all files below a directory.
    ///
    /// # Errors
    /// What holds up all of it. What holds up one chunk is told, and the rest goes on.
    pub(super) async fn tree(&self, top: &Attr, path: &str) -> Result<()> {
        let path = path.to_owned();
        match top.kind {
            FileKind::Regular => self.file(File { ino: top.ino, path }).await,
            FileKind::Directory => self.below(top.ino, path).await,
            kind => bail!("it is a {}, which holds no data", file_kind(kind)),
        }
    }

    async fn below(&self, ino: Ino, path: String) -> Result<()> {
        let session = &self.volume.session;
        let found = stream::try_unfold(Walk::below(ino, path), |mut walk| async move {
            let found = walk.next(session).await?;
            Ok::<_, ClientError>(found.map(|found| (found, walk)))
        });
        let working = found.map(|found| async move {
            match found? {
                Found::File(file) => self.file(file).await,
                Found::Closed(path, why) => {
                    let error = format!("it cannot be listed: {why}; run this again");
                    self.tally.borrow_mut().fail(path, error);
                    Ok(())
                }
            }
        });
        let mut working = pin!(working.buffer_unordered(self.threads));
        while let Some(done) = working.next().await {
            done?;
        }
        Ok(())
    }

    async fn file(&self, file: File) -> Result<()> {
        let mut chunks = Chunks::of(file.ino);
        loop {
            let page = match chunks.next(&self.volume.session).await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                // Nothing is to be done in a file that is gone.
                Err(ClientError::Refused(Refusal::Stale | Refusal::NotFound)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let working = stream::iter(page).map(|chunk| self.chunk(&file, chunk));
            let mut working = pin!(working.buffer_unordered(self.threads));
            while let Some(done) = working.next().await {
                done?;
            }
        }
        self.tally.borrow_mut().file();
        Ok(())
    }

    async fn chunk(&self, file: &File, chunk: ChunkIndex) -> Result<()> {
        let _permit = self.permits.acquire().await?;
        let mut done = Compacted::default();
        let compactor = &self.volume.compactor;
        let compacted = compactor.compact(file.ino, chunk, Effort::All, &mut done);
        let compacted = compacted.await;
        let mut tally = self.tally.borrow_mut();
        tally.chunk(done);
        match compacted {
            Ok(()) => Ok(()),
            Err(error) if error.is_gone() => Ok(()),
            Err(error) if error.is_of_chunk() => {
                let path = format!("{}: chunk {chunk}", file.path);
                tally.fail(path, advice(&error));
                Ok(())
            }
            Err(error) => Err(hopeless(error)),
        }
    }
}
