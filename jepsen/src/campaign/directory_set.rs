//! The directory as a set: unique names come and go, listings must show them rightly.

use super::client::{Client, Ended, execute};
use super::work::{Place, Work};
use crate::checker::set_full::{self, SetInput, SetOutput};
use crate::checker::{Verdict, elements};
use crate::history::{Entry, Recorder, pair};
use crate::writer::{make, name, names};
use anyhow::{Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::{ClientError, MetaSession};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Names that a client leaves before it removes as many as it adds.
const OWN_NAMES: usize = 100;

/// The workload.
#[derive(Default)]
pub(super) struct DirectorySet {
    dir: OnceLock<Ino>,
    /// The last element that anybody added.
    last: AtomicU64,
}

#[async_trait]
impl Work for DirectorySet {
    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        let dir = make(session, Ino::ROOT, "set", NewNode::Directory).await?;
        if self.dir.set(dir.ino).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, _index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let mut own = VecDeque::new();
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            let removing = if own.len() > OWN_NAMES { 45 } else { 15 };
            let problem = match rng.random_range(0..100) {
                dice if dice < 10 => self.read(&mut client).await,
                dice if dice < 10 + removing && !own.is_empty() => {
                    let Some(element) = own.pop_front() else {
                        continue;
                    };
                    self.remove(&mut client, element).await
                }
                _ => self.add(&mut client, &mut own).await,
            };
            problems.extend(problem);
        }
        client.close().await;
        Ok(problems)
    }

    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let before = place.recorder.answered();
        let problem = self.read(&mut client).await;
        client.close().await;
        Ok(problem.is_none() && place.recorder.answered() > before)
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        match pair::<SetInput>(entries) {
            Ok(operations) => {
                let report = set_full::check(&operations);
                println!("checker: {report}");
                elements::confirmed(&operations, &report)
            }
            Err(error) => Verdict::Unknown(format!("the history is damaged: {error}")),
        }
    }
}

impl DirectorySet {
    fn dir(&self) -> Ino {
        self.dir.get().copied().unwrap_or(Ino::ROOT)
    }

    async fn add(&self, client: &mut Client, own: &mut VecDeque<u64>) -> Option<String> {
        let element = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let create = Create {
            parent: self.dir(),
            name: name(&format!("e{element}")).ok()?,
            mode: 0o644,
            node: NewNode::Regular,
            masked: 0,
            existing: Existing::Refuse,
        };
        let call = client.call("", SetInput::Add(element), async |session| {
            match execute(session, Operation::Create(create)).await {
                Ok(Success::Entry { created: true, .. }) => {
                    own.push_back(element);
                    Ended::Ok(SetOutput::Done)
                }
                Err(ClientError::Refused(Refusal::NoSpace) | ClientError::Failed(_)) => Ended::Fail,
                Err(ClientError::Refused(refusal)) => Ended::Wrong(format!(
                    "adding the unique e{element} was refused: {refusal}"
                )),
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                Ok(other) => Ended::Wrong(format!("adding e{element} was answered with {other:?}")),
            }
        });
        call.await
    }

    async fn remove(&self, client: &mut Client, element: u64) -> Option<String> {
        let (parent, name) = (self.dir(), name(&format!("e{element}")).ok()?);
        let call = client.call(
            "",
            SetInput::Remove(element),
            async |session| match execute(session, Operation::Unlink { parent, name }).await {
                Ok(Success::Removed { nlink: 0, .. }) => Ended::Ok(SetOutput::Done),
                Err(ClientError::Refused(refusal)) => Ended::Wrong(format!(
                    "removing the acknowledged e{element} was refused: {refusal}"
                )),
                Err(ClientError::Failed(_)) => Ended::Fail,
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                Ok(other) => {
                    Ended::Wrong(format!("removing e{element} was answered with {other:?}"))
                }
            },
        );
        call.await
    }

    async fn read(&self, client: &mut Client) -> Option<String> {
        let dir = self.dir();
        let call = client.call("", SetInput::Read, async |session| {
            // A read changes nothing: not answered is not done.
            let Ok(found) = names(session, dir).await else {
                return Ended::Fail;
            };
            let parse = |(name, _): &(String, Ino)| name.strip_prefix('e')?.parse().ok();
            match found.iter().map(parse).collect() {
                Some(elements) => Ended::Ok(SetOutput::Elements(elements)),
                None => Ended::Wrong(format!("a listing holds a strange name: {found:?}")),
            }
        });
        call.await
    }
}
