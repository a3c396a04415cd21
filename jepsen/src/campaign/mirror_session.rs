//! Sessions that write at the origin and read at a mirror: each sees what it wrote, and never an older
//! state than it has seen. What is written and read are modification times, each value once.

use super::client::{Client, Ended, execute, query};
use super::inode_register::{set, value_of};
use super::scene::Setting;
use super::work::{Place, Work};
use crate::checker::Verdict;
use crate::checker::session::{SessionInput, SessionOutput, Version, check};
use crate::history::{Entry, Recorder, pair};
use crate::writer::make;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::Success;
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{ClientError, MetaSession, MirrorOptions};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const OBJECTS: u64 = 5;
/// How long the mirror may take to apply what a session has seen, before the origin is asked.
const WAIT: Duration = Duration::from_millis(200);

/// The workload.
#[derive(Default)]
pub(super) struct MirrorSession {
    objects: OnceLock<Vec<Ino>>,
    /// The last value that anybody took for a write.
    last: AtomicU64,
    /// Reads that the mirror answered.
    at_mirror: AtomicU64,
}

#[async_trait]
impl Work for MirrorSession {
    fn setting(&self) -> Setting {
        Setting::Mirror
    }

    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        let mut objects = Vec::new();
        for index in 0..OBJECTS {
            let made = make(session, Ino::ROOT, &format!("o{index}"), NewNode::Regular).await?;
            // Before the first write of a session its time is that of no value.
            execute(session, set(made.ino, 0).context("0 is a time")?).await?;
            objects.push(made.ino);
        }
        if self.objects.set(objects).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let mut client = self.connect(&place).await?;
        let session = index as u64;
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            let objects = self.objects();
            let ino = objects[rng.random_range(0..objects.len())];
            let problem = if rng.random_bool(0.6) {
                read(&mut client, session, ino).await
            } else {
                let value = self.last.fetch_add(1, Ordering::Relaxed) + 1;
                write(&mut client, session, ino, value).await
            };
            problems.extend(problem);
        }
        let counts = client.session().status().mirror.map(|route| route.counts);
        let answered = counts.map_or(0, |counts| counts.served);
        self.at_mirror.fetch_add(answered, Ordering::Relaxed);
        client.close().await;
        Ok(problems)
    }

    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = self.connect(&place).await?;
        let before = place.recorder.answered();
        for ino in self.objects() {
            read(&mut client, u64::MAX, *ino).await;
        }
        client.close().await;
        let at_mirror = self.at_mirror.load(Ordering::Relaxed);
        println!("mirror: {at_mirror} reads were answered by it");
        let all = place.recorder.answered() >= before + self.objects().len();
        Ok(all && at_mirror > 0)
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        match pair::<SessionInput>(entries) {
            Ok(operations) => check(&operations, &[]),
            Err(error) => Verdict::Unknown(format!("the history is damaged: {error}")),
        }
    }
}

impl MirrorSession {
    fn objects(&self) -> &[Ino] {
        self.objects.get().map_or(&[], Vec::as_slice)
    }

    async fn connect(&self, place: &Place) -> Result<Client> {
        let url = place.mirror_url.as_deref().context("no mirror")?;
        let mirror = MirrorOptions {
            url: url.parse().context("our own URL")?,
            wait: WAIT,
        };
        Client::connect_by_mirror(&place.url, mirror, &place.recorder).await
    }
}

/// The newest state that a session has seen. It makes one call at a time, so after a call that is
/// the state of its answer.
fn version(session: &MetaSession) -> Version {
    let token = session.token();
    Version {
        epoch: u64::from(token.epoch.0),
        seq: token.seq.0,
    }
}

async fn write(client: &mut Client, session: u64, ino: Ino, value: u64) -> Option<String> {
    let operation = set(ino, value)?;
    let input = SessionInput::Write { session, value };
    let call = client.call(ino.to_string(), input, async |session| {
        match execute(session, operation).await {
            Ok(Success::Attr(attr)) if value_of(&attr) == Some(value) => {
                Ended::Ok(SessionOutput::Written(version(session)))
            }
            Ok(other) => Ended::Wrong(format!("writing {value} was answered with {other:?}")),
            Err(ClientError::Refused(refusal)) => {
                Ended::Wrong(format!("writing {value} was refused: {refusal}"))
            }
            Err(ClientError::Failed(_)) => Ended::Fail,
            Err(ClientError::Unknown(_)) => Ended::Unknown,
        }
    });
    call.await
}

async fn read(client: &mut Client, session: u64, ino: Ino) -> Option<String> {
    let input = SessionInput::Read { session };
    let call = client.call(ino.to_string(), input, async |session| {
        match query(session, QueryBody::GetAttr { ino }).await {
            Ok(Answer::Attr(attr)) => match value_of(&attr) {
                Some(value) => Ended::Ok(SessionOutput::Shown {
                    as_of: version(session),
                    value: (value > 0).then_some(value),
                }),
                None => Ended::Wrong(format!("inode {ino} shows {:?}", attr.mtime)),
            },
            Ok(other) => Ended::Wrong(format!("a read of {ino} was answered with {other:?}")),
            Err(ClientError::Refused(refusal)) => {
                Ended::Wrong(format!("a read of {ino} was refused: {refusal}"))
            }
            // A read changes nothing: not answered is not done.
            Err(_) => Ended::Fail,
        }
    });
    call.await
}
