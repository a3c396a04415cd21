//! Names of a few files come and go; each answer tells how many names a file then has, and so does
//! a look at it. No change is lost and none is done twice if these numbers have one order.

use super::client::{Client, Ended, execute, query};
use super::work::{Place, Work, linearizable};
use crate::checker::Verdict;
use crate::history::{Entry, Recorder};
use crate::model::{Counter, CounterInput};
use crate::writer::{make, name, names};
use anyhow::{Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::command::{NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::Success;
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{ClientError, MetaSession};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

const FILES: usize = 3;

/// The workload.
#[derive(Default)]
pub(super) struct HardLinks {
    /// The directory of the names, and the files, each of which keeps the name it began with.
    made: OnceLock<(Ino, Vec<Ino>)>,
}

/// The names that a client gave, which nobody else takes away.
#[derive(Default)]
struct Own {
    index: usize,
    next: u64,
    names: Vec<(Ino, String)>,
}

#[async_trait]
impl Work for HardLinks {
    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        let dir = make(session, Ino::ROOT, "links", NewNode::Directory).await?;
        let mut files = Vec::new();
        for number in 0..FILES {
            let first = format!("first{number}");
            let file = make(session, dir.ino, &first, NewNode::Regular).await?;
            files.push(file.ino);
        }
        if self.made.set((dir.ino, files)).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let mut own = Own {
            index,
            ..Own::default()
        };
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            let (_, files) = self.made();
            let ino = files[rng.random_range(0..files.len())];
            let problem = match rng.random_range(0..10) {
                0..3 => look(&mut client, ino).await,
                3..6 if !own.names.is_empty() => {
                    let taken = rng.random_range(0..own.names.len());
                    let (ino, name) = own.names.swap_remove(taken);
                    self.unlink(&mut client, ino, &name).await
                }
                _ => self.link(&mut client, ino, &mut own).await,
            };
            problems.extend(problem);
        }
        client.close().await;
        Ok(problems)
    }

    /// The numbers are read once more, and the names are counted: they must be as many.
    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let before = place.recorder.answered();
        let (dir, files) = self.made();
        for ino in files {
            look(&mut client, *ino).await;
        }
        let mut counted: BTreeMap<Ino, i64> = BTreeMap::new();
        for (_, ino) in names(client.session(), *dir).await? {
            *counted.entry(ino).or_default() += 1;
        }
        for ino in files {
            let there = counted.get(ino).copied().unwrap_or_default();
            let counting = client.call(ino.to_string(), CounterInput::Read, async |_| {
                Ended::Ok(there)
            });
            counting.await;
        }
        client.close().await;
        Ok(place.recorder.answered() >= before + 2 * files.len())
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        linearizable(&Counter { initial: 1 }, entries)
    }
}

impl HardLinks {
    fn made(&self) -> (&Ino, &[Ino]) {
        static NOTHING: (Ino, Vec<Ino>) = (Ino::ROOT, Vec::new());
        let (dir, files) = self.made.get().unwrap_or(&NOTHING);
        (dir, files)
    }

    async fn link(&self, client: &mut Client, ino: Ino, own: &mut Own) -> Option<String> {
        own.next += 1;
        let text = format!("l{}-{}", own.index, own.next);
        let (parent, name) = (*self.made().0, name(&text).ok()?);
        let call = client.call(ino.to_string(), CounterInput::Add(1), async |session| {
            match execute(session, Operation::Link { ino, parent, name }).await {
                Ok(Success::Entry { attr, .. }) if attr.ino == ino => {
                    own.names.push((ino, text));
                    Ended::Ok(i64::from(attr.nlink))
                }
                Err(ClientError::Failed(_)) => Ended::Fail,
                // The name may be there or come: nobody uses it any more.
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                other => Ended::Wrong(format!("a link was answered with {other:?}")),
            }
        });
        call.await
    }

    async fn unlink(&self, client: &mut Client, ino: Ino, text: &str) -> Option<String> {
        let (parent, name) = (*self.made().0, name(text).ok()?);
        let call =
            client.call(
                ino.to_string(),
                CounterInput::Add(-1),
                async |session| match execute(session, Operation::Unlink { parent, name }).await {
                    Ok(Success::Removed { ino: gone, nlink }) if gone == ino => {
                        Ended::Ok(i64::from(nlink))
                    }
                    Err(ClientError::Failed(_)) => Ended::Fail,
                    Err(ClientError::Unknown(_)) => Ended::Unknown,
                    other => Ended::Wrong(format!("an unlink was answered with {other:?}")),
                },
            );
        call.await
    }
}

async fn look(client: &mut Client, ino: Ino) -> Option<String> {
    let call = client.call(
        ino.to_string(),
        CounterInput::Read,
        async |session| match query(session, QueryBody::GetAttr { ino }).await {
            Ok(Answer::Attr(attr)) => Ended::Ok(i64::from(attr.nlink)),
            Ok(other) => Ended::Wrong(format!("a look at {ino} gave {other:?}")),
            Err(ClientError::Refused(refusal)) => {
                Ended::Wrong(format!("a look at {ino} was refused: {refusal}"))
            }
            Err(_) => Ended::Fail,
        },
    );
    call.await
}
