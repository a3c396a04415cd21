//! Records are appended to files, and files are read as a whole: all who read must see the records
//! in one order, each once. A file is left for a new one before it grows long.

use super::client::{Client, Ended, execute};
use super::work::{Place, Work, linearizable};
use crate::checker::Verdict;
use crate::history::{Entry, Recorder};
use crate::model::{AppendInput, AppendList, AppendOutput};
use crate::writer::{appended, make};
use anyhow::{Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::command::{Append, AppendSlice, NewNode, Operation};
use meta_client::meta_core::ids::{Ino, SliceId};
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::{ClientError, MetaSession};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Files that are written to at a time.
const OPEN: usize = 3;
/// Files that there are. When each was written to, the first ones come again.
const FILES: usize = 900;
/// Attempts to append to a file before it is left. One answer must hold all of its records, so that
/// a read is of one moment.
const APPENDS: usize = 40;
/// Slice ids asked for at once.
const GRANT: u32 = 64;

/// The workload.
#[derive(Default)]
pub(super) struct AppendRecords {
    files: OnceLock<Vec<Ino>>,
    /// Attempts so far, of all clients together.
    attempts: AtomicUsize,
}

#[async_trait]
impl Work for AppendRecords {
    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        let dir = make(session, Ino::ROOT, "records", NewNode::Directory).await?;
        let mut files = Vec::new();
        for number in 0..FILES {
            let file = make(session, dir.ino, &number.to_string(), NewNode::Regular).await?;
            files.push(file.ino);
        }
        if self.files.set(files).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, _index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let mut granted = VecDeque::new();
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            let ino = self.file(rng.random_range(0..OPEN));
            let problem = if rng.random_bool(0.4) {
                read(&mut client, ino).await
            } else {
                self.append(&mut client, ino, &mut granted, &mut rng).await
            };
            problems.extend(problem);
        }
        client.close().await;
        Ok(problems)
    }

    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let before = place.recorder.answered();
        let used = self.used();
        for ino in used {
            read(&mut client, *ino).await;
        }
        client.close().await;
        Ok(place.recorder.answered() >= before + used.len())
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        linearizable(&AppendList::default(), entries)
    }
}

impl AppendRecords {
    /// One of the files that are written to now.
    fn file(&self, which: usize) -> Ino {
        let round = self.attempts.load(Ordering::Relaxed) / (APPENDS * OPEN);
        let files = self.files.get().map_or(&[][..], Vec::as_slice);
        let file = files.get((round * OPEN + which) % files.len().max(1));
        file.copied().unwrap_or(Ino::ROOT)
    }

    /// All files that were written to.
    fn used(&self) -> &[Ino] {
        let files = self.files.get().map_or(&[][..], Vec::as_slice);
        let rounds = self.attempts.load(Ordering::Relaxed) / (APPENDS * OPEN) + 1;
        &files[..(rounds * OPEN).min(files.len())]
    }

    async fn append(
        &self,
        client: &mut Client,
        ino: Ino,
        granted: &mut VecDeque<SliceId>,
        rng: &mut StdRng,
    ) -> Option<String> {
        if granted.is_empty() {
            // Not answered is not granted: it is asked for again.
            match execute(client.session(), Operation::GrantSlices { count: GRANT }).await {
                Ok(Success::Granted { first, count }) => {
                    granted.extend((first.0..first.0 + u64::from(count)).map(SliceId));
                }
                Ok(other) => return Some(format!("a grant was answered with {other:?}")),
                Err(_) => return None,
            }
        }
        let id = granted.pop_front()?;
        self.attempts.fetch_add(1, Ordering::Relaxed);
        // Only metadata is looked at: no blocks are stored.
        let slices = vec![AppendSlice {
            id,
            len: rng.random_range(1..1000),
            frame_crcs: vec![0],
        }];
        let input = AppendInput::Append(id.0);
        let call = client.call(ino.to_string(), input, async |session| {
            let operation = Operation::Append(Append { ino, slices });
            match execute(session, operation).await {
                Ok(Success::Appended { .. }) => Ended::Ok(AppendOutput::Done),
                Err(ClientError::Refused(Refusal::GrantRevoked)) => {
                    granted.clear();
                    Ended::Fail
                }
                Err(ClientError::Failed(_)) => Ended::Fail,
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                other => Ended::Wrong(format!("an append was answered with {other:?}")),
            }
        });
        call.await
    }
}

async fn read(client: &mut Client, ino: Ino) -> Option<String> {
    let call = client.call(ino.to_string(), AppendInput::Read, async |session| {
        let Ok((slices, length)) = appended(session, ino).await else {
            // A read changes nothing: not answered is not done.
            return Ended::Fail;
        };
        let mut end = 0;
        for slice in &slices {
            if slice.offset != end {
                return Ended::Wrong(format!("file {ino} has a hole: {slices:?}"));
            }
            end += u64::from(slice.len);
        }
        if end != length {
            return Ended::Wrong(format!("file {ino} is {length} long: {slices:?}"));
        }
        let records = slices.iter().map(|slice| slice.id.0).collect();
        Ended::Ok(AppendOutput::Records(records))
    });
    call.await
}
