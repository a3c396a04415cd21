//! Readers of the changelog beside those who write: each gets every change once, in order, all the same
//! ones, from wherever it begins and however often it begins again; and what was acknowledged to a
//! writer is in the change that its answer names.

use super::client::{Client, Ended, execute};
use super::work::{Place, Work, Wrong};
use crate::checker::Verdict;
use crate::checker::changelog::{Expected, Item, Reading, check};
use crate::checker::set_full::{SetInput, SetOutput};
use crate::history::{Entry, Recorder};
use crate::writer::{make, name};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation};
use meta_client::meta_core::ids::{Ino, Seq};
use meta_client::meta_core::outcome::Success;
use meta_client::{Changelog, ChangelogError, ClientError, FollowEvent, MetaSession, MetaUrl};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Clients that read; the others write.
const READERS: usize = 2;
/// Records after which a reader may leave and begin again.
const STAY: u32 = 500;
/// How long a reader waits for what comes next, and before it asks again.
const NEXT: Duration = Duration::from_millis(100);
/// How long the readers may take to read the rest when all is healed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The workload.
#[derive(Default)]
pub(super) struct ChangelogReaders {
    dir: OnceLock<Ino>,
    last: AtomicU64,
    readings: Mutex<Vec<Reading>>,
    /// What is in which change.
    acknowledged: Mutex<BTreeMap<u64, Vec<u8>>>,
    last_seq: OnceLock<u64>,
    /// What the last write and the last readers were told that is wrong by itself.
    wrong: Wrong,
}

#[async_trait]
impl Work for ChangelogReaders {
    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        let dir = make(session, Ino::ROOT, "log", NewNode::Directory).await?;
        if self.dir.set(dir.ino).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, index: usize, place: Place, rng: StdRng) -> Result<Vec<String>> {
        if index < READERS {
            let (reading, problem) = Reader::new(index, &place)?.read(&place, rng).await;
            self.lock(&self.readings).push(reading);
            return Ok(problem.into_iter().collect());
        }
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            problems.extend(self.write(&mut client).await);
        }
        client.close().await;
        Ok(problems)
    }

    /// Each reader goes on to the end, and one more reads all from the begin.
    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let before = place.recorder.answered();
        let problem = self.write(&mut client).await;
        let last = client.session().token().seq.0;
        client.close().await;
        self.wrong.add(problem);
        if place.recorder.answered() == before {
            // Nobody knows how far there is to read.
            return Ok(false);
        }
        let mut readings = std::mem::take(&mut *self.lock(&self.readings));
        readings.push(Reading {
            reader: "the last reader".to_owned(),
            items: Vec::new(),
        });
        let finished = self.finish(&place, &mut readings, last).await;
        let items: usize = readings.iter().map(|reading| reading.items.len()).sum();
        println!("changelog: {items} items of {} readers", readings.len());
        *self.lock(&self.readings) = readings;
        finished?;
        // Only now each must have all: where one could not read on, nothing is missing yet.
        if self.last_seq.set(last).is_err() {
            bail!("read twice");
        }
        Ok(true)
    }

    fn check(&self, _entries: &[Entry]) -> Verdict {
        let readings = self.lock(&self.readings);
        let expected = Expected {
            holds: self.lock(&self.acknowledged).clone(),
            last_seq: self.last_seq.get().copied(),
            ..Expected::default()
        };
        self.wrong.verdict().and(check(&readings, &expected))
    }
}

impl ChangelogReaders {
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets each reader read on, up to `last`. What they got stays, whatever comes of it.
    async fn finish(&self, place: &Place, readings: &mut [Reading], last: u64) -> Result<()> {
        for reading in readings {
            let mut reader = Reader::new(0, place)?;
            reader.name.clone_from(&reading.reader);
            reader.reading = std::mem::take(&mut reading.items);
            let finished = reader.finish(last).await;
            reading.items = reader.reading;
            self.wrong.add(finished?);
        }
        Ok(())
    }

    /// Notes which change made a name. A change is of one operation: no two are told of the same.
    fn acknowledge(&self, seq: u64, text: String) -> Ended<SetOutput> {
        let mut acknowledged = self.lock(&self.acknowledged);
        match acknowledged.insert(seq, text.clone().into_bytes()) {
            None => Ended::Ok(SetOutput::Done),
            Some(other) => {
                let other = String::from_utf8_lossy(&other);
                Ended::Wrong(format!("{other} and {text} were both made by change {seq}"))
            }
        }
    }

    async fn write(&self, client: &mut Client) -> Option<String> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        // All of one length, so that none is a part of another.
        let text = format!("unique-{number:010}");
        let create = Create {
            parent: self.dir.get().copied().unwrap_or(Ino::ROOT),
            name: name(&text).ok()?,
            mode: 0o644,
            node: NewNode::Regular,
            masked: 0,
            existing: Existing::Refuse,
        };
        let call = client.call("", SetInput::Add(number), async |session| {
            match execute(session, Operation::Create(create)).await {
                Ok(Success::Entry { created: true, .. }) => {
                    self.acknowledge(session.token().seq.0, text)
                }
                Err(ClientError::Failed(_)) => Ended::Fail,
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                other => Ended::Wrong(format!("a unique name was answered with {other:?}")),
            }
        });
        call.await
    }
}

struct Reader {
    name: String,
    changelog: Changelog,
    reading: Vec<Item>,
}

impl Reader {
    fn new(index: usize, place: &Place) -> Result<Self> {
        let url: MetaUrl = place.url.parse().context("our own URL")?;
        Ok(Self {
            name: format!("reader {index}"),
            changelog: Changelog::new(&url),
            reading: Vec::new(),
        })
    }

    /// The last change that it has.
    fn at(&self) -> u64 {
        let last = self.reading.iter().rev().map(|item| match item {
            Item::Attach { after } => *after,
            Item::Record { seq, .. } | Item::Bookmark { seq } => *seq,
        });
        last.take(1).next().unwrap_or(0)
    }

    /// Reads until the place's end, leaves now and then, and begins again where it was, or earlier.
    /// Gives back what it got, and what is wrong by itself.
    async fn read(mut self, place: &Place, mut rng: StdRng) -> (Reading, Option<String>) {
        let mut problem = None;
        while Instant::now() < place.end && problem.is_none() {
            let at = self.at();
            let back = if rng.random_bool(0.5) {
                0
            } else {
                rng.random_range(0..200)
            };
            let after = at.saturating_sub(back);
            let records = rng.random_range(0..STAY);
            // Whatever ended it, it begins again: at once, unless nobody answers.
            if let Err(error) = self.follow(after, records, place.end).await {
                problem = wrong(&self.name, &error);
                tokio::time::sleep(NEXT).await;
            }
        }
        let reading = Reading {
            reader: self.name,
            items: self.reading,
        };
        (reading, problem)
    }

    /// Follows from behind a change, for so many records.
    async fn follow(
        &mut self,
        after: u64,
        records: u32,
        end: Instant,
    ) -> Result<(), ChangelogError> {
        let (_, mut following) = self.changelog.follow(Seq(after + 1), true).await?;
        self.reading.push(Item::Attach { after });
        let mut left = u64::from(records);
        while left > 0 && Instant::now() < end {
            let Ok(event) = tokio::time::timeout(NEXT, following.next()).await else {
                continue;
            };
            let Some(event) = event? else { break };
            left = left.saturating_sub(self.take(event)?);
        }
        Ok(())
    }

    /// Notes what came, and says how many records it was.
    fn take(&mut self, event: FollowEvent) -> Result<u64, ChangelogError> {
        match event {
            FollowEvent::Records(records, _newest) => {
                let count = records.len() as u64;
                for sealed in records {
                    let record = meta_client::read_record(&sealed)?;
                    self.reading.push(Item::Record {
                        seq: record.seq.0,
                        bytes: sealed.body.to_vec(),
                    });
                }
                Ok(count)
            }
            FollowEvent::Position(seq) => {
                self.reading.push(Item::Bookmark { seq: seq.0 });
                Ok(0)
            }
        }
    }

    /// Reads up to `last`. Gives back what is wrong by itself, and then reads no further.
    async fn finish(&mut self, last: u64) -> Result<Option<String>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let missing = u32::try_from(last.saturating_sub(self.at())).unwrap_or(u32::MAX);
            let followed = self.follow(self.at(), missing, until).await;
            if let Err(error) = &followed
                && let Some(problem) = wrong(&self.name, error)
            {
                return Ok(Some(problem));
            }
            if self.at() >= last {
                return Ok(None);
            }
            if Instant::now() >= until {
                bail!("a reader is at {} of {last}: {followed:?}", self.at());
            }
            tokio::time::sleep(NEXT).await;
        }
    }
}

/// What is wrong by itself of how a reader's stream ended. That nobody answers is what faults are
/// for, and no fault that this workload meets may cause anything else. Nothing damages what is under
/// way: `stream` is for mirrors, and no disk's damage may get so far. Both builds of `upgrade` speak
/// one version. Whoever leads has the volume, and every change that any reader got. And all changes
/// are retained: no run comes near the 1 GiB that are kept unless a cluster is told otherwise, and no
/// clock is wrong by anything near the 7 days.
fn wrong(reader: &str, error: &ChangelogError) -> Option<String> {
    match error {
        ChangelogError::Failed(_) => None,
        other => Some(format!("{reader}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_client::Failure;

    #[test]
    fn two_operations_are_not_told_of_one_change() {
        let work = ChangelogReaders::default();
        let told = |seq, text: &str| work.acknowledge(seq, text.to_owned());
        assert!(matches!(told(7, "unique-1"), Ended::Ok(_)));
        assert!(matches!(told(8, "unique-2"), Ended::Ok(_)));
        let Ended::Wrong(problem) = told(7, "unique-3") else {
            panic!("change 7 is of two operations");
        };
        assert_eq!(problem, "unique-1 and unique-3 were both made by change 7");
    }

    #[test]
    fn a_reader_may_be_told_nothing_but_not_that_changes_are_gone() {
        let nobody = Failure::NoLeader("no leader is known".to_owned());
        assert_eq!(wrong("r", &ChangelogError::Failed(nobody)), None);
        for error in [
            ChangelogError::NotRetained("record 3 is not retained any more".to_owned()),
            ChangelogError::PastEnd("record 9 is asked for".to_owned()),
            ChangelogError::UnknownVolume("no volume is called vol".to_owned()),
            ChangelogError::Damaged,
            ChangelogError::Unreadable("a second head".to_owned()),
        ] {
            let problem = wrong("r", &error).expect("a problem");
            assert!(problem.starts_with("r: "), "{problem}");
        }
    }

    #[test]
    fn what_the_last_readers_were_told_is_a_violation() {
        let work = ChangelogReaders::default();
        assert!(matches!(work.check(&[]), Verdict::Unknown(_)));
        work.wrong.add(wrong("r", &ChangelogError::Damaged));
        assert!(work.check(&[]).is_violation());
    }
}
