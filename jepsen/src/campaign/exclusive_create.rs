//! Names that only one can create, as locks: a symbolic link whose target names its holder. At most
//! one holds a lock at a time.
//!
//! Whoever does not know whether it took or freed a lock leaves it: a removal under way may remove
//! whatever has the name by then. All go on with a new name.

use super::client::{Client, Ended, execute};
use super::work::{Place, Work, Wrong, linearizable};
use crate::checker::Verdict;
use crate::history::{Entry, Recorder};
use crate::model::{Mutex, MutexInput, MutexOutput};
use crate::writer::{make, name};
use anyhow::{Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::name::Name;
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::meta_core::path::{Links, PathEnd, Resolve};
use meta_client::{ClientError, MetaSession};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const LOCKS: usize = 2;

/// The workload.
#[derive(Default)]
pub(super) struct ExclusiveCreate {
    dir: OnceLock<Ino>,
    /// Which name each lock has by now.
    names: [AtomicU64; LOCKS],
    /// The last attempt to take a lock.
    last: AtomicU64,
    /// What the last looks were told that is wrong by itself.
    wrong: Wrong,
}

#[async_trait]
impl Work for ExclusiveCreate {
    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        let dir = make(session, Ino::ROOT, "locks", NewNode::Directory).await?;
        if self.dir.set(dir.ino).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, _index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            let lock = rng.random_range(0..LOCKS);
            let turn = self.turn(&mut client, lock, rng.random_bool(0.4));
            problems.extend(turn.await);
        }
        client.close().await;
        Ok(problems)
    }

    /// Also the names that were left: whoever left one did not know what became of it, and nobody
    /// has looked since.
    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let before = place.recorder.answered();
        let keys = self.keys();
        for key in &keys {
            let looking = self.look(&mut client, key.clone(), name(key).ok());
            self.wrong.add(looking.await);
        }
        client.close().await;
        Ok(place.recorder.answered() >= before + keys.len())
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        self.wrong.verdict().and(linearizable(&Mutex, entries))
    }
}

fn key(lock: usize, number: u64) -> String {
    format!("l{lock}-{number}")
}

impl ExclusiveCreate {
    fn dir(&self) -> Ino {
        self.dir.get().copied().unwrap_or(Ino::ROOT)
    }

    /// The name that a lock has now.
    fn name(&self, lock: usize) -> (String, Option<Name>) {
        let key = key(lock, self.names[lock].load(Ordering::Relaxed));
        let name = name(&key).ok();
        (key, name)
    }

    /// All names that the locks have had, and have now.
    fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for (lock, now) in self.names.iter().enumerate() {
            keys.extend((0..=now.load(Ordering::Relaxed)).map(|number| key(lock, number)));
        }
        keys
    }

    /// One turn: looks, or takes the lock and lets it go again.
    async fn turn(&self, client: &mut Client, lock: usize, only_look: bool) -> Option<String> {
        let used = self.names[lock].load(Ordering::Relaxed);
        let (key, name) = self.name(lock);
        if only_look {
            return self.look(client, key, name).await;
        }
        let holder = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut held = None;
        let taking = self.take(client, key.clone(), name.clone()?, holder, &mut held);
        if let Some(problem) = taking.await {
            return Some(problem);
        }
        let freed = match held {
            Some(false) => return None,
            Some(true) => {
                let mut freed = None;
                let freeing = self.free(client, key, name?, holder, &mut freed);
                if let Some(problem) = freeing.await {
                    return Some(problem);
                }
                freed
            }
            None => None,
        };
        if freed.is_none() {
            // Whoever comes first moves all on.
            let next = used + 1;
            let moved =
                self.names[lock].compare_exchange(used, next, Ordering::Relaxed, Ordering::Relaxed);
            let _somebody_else_did = moved.is_err();
        }
        None
    }

    async fn take(
        &self,
        client: &mut Client,
        key: String,
        name: Name,
        holder: u64,
        held: &mut Option<bool>,
    ) -> Option<String> {
        let create = Create {
            parent: self.dir(),
            name,
            mode: 0o777,
            node: NewNode::Symlink {
                target: holder.to_string().into_bytes(),
            },
            masked: 0,
            existing: Existing::Refuse,
        };
        let call = client.call(
            key,
            MutexInput::Acquire(holder),
            async |session| match execute(session, Operation::Create(create)).await {
                Ok(Success::Entry { created: true, .. }) => {
                    *held = Some(true);
                    Ended::Ok(MutexOutput::Done)
                }
                Err(ClientError::Refused(Refusal::Exists)) => {
                    *held = Some(false);
                    Ended::Ok(MutexOutput::Refused)
                }
                Err(ClientError::Failed(_)) => {
                    *held = Some(false);
                    Ended::Fail
                }
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                other => Ended::Wrong(format!("taking a lock was answered with {other:?}")),
            },
        );
        call.await
    }

    async fn free(
        &self,
        client: &mut Client,
        key: String,
        name: Name,
        holder: u64,
        freed: &mut Option<()>,
    ) -> Option<String> {
        let parent = self.dir();
        let call = client.call(key, MutexInput::Release(holder), async |session| {
            match execute(session, Operation::Unlink { parent, name }).await {
                Ok(Success::Removed { nlink: 0, .. }) => {
                    *freed = Some(());
                    Ended::Ok(MutexOutput::Done)
                }
                Err(ClientError::Refused(Refusal::NotFound)) => {
                    *freed = Some(());
                    Ended::Ok(MutexOutput::Refused)
                }
                // It stays locked: nobody else may free it.
                Err(ClientError::Failed(_)) => Ended::Fail,
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                other => Ended::Wrong(format!("freeing a lock was answered with {other:?}")),
            }
        });
        call.await
    }

    async fn look(&self, client: &mut Client, key: String, name: Option<Name>) -> Option<String> {
        let (parent, name) = (self.dir(), name?);
        let call = client.call(key, MutexInput::Look, async |session| {
            // The slash has the walk stop at the symlink: the name and its target, of one moment.
            let asked = Resolve {
                from: parent,
                path: [name.as_bytes(), b"/"].concat(),
                links: Links::Stop,
                open: None,
            };
            let found = match session.resolve(&Caller::root(), asked).await {
                Ok(found) => found,
                Err(_) => return Ended::Fail,
            };
            match found.end {
                PathEnd::Symlink { target, .. } => match String::from_utf8_lossy(&target).parse() {
                    Ok(holder) => Ended::Ok(MutexOutput::Holder(Some(holder))),
                    Err(_) => Ended::Wrong(format!("a lock is held by {target:?}")),
                },
                PathEnd::Refused {
                    refusal: Refusal::NotFound,
                    ..
                } => Ended::Ok(MutexOutput::Holder(None)),
                // It was freed between two questions to a leader of an earlier build.
                PathEnd::Refused {
                    refusal: Refusal::Stale,
                    ..
                } => Ended::Fail,
                other => Ended::Wrong(format!("the way to a lock ends with {other:?}")),
            }
        });
        call.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_left_are_looked_at_too() {
        let work = ExclusiveCreate::default();
        assert_eq!(work.keys(), ["l0-0", "l1-0"]);
        work.names[1].store(2, Ordering::Relaxed);
        assert_eq!(work.keys(), ["l0-0", "l1-0", "l1-1", "l1-2"]);
        let (now, _) = work.name(1);
        assert_eq!(now, "l1-2");
    }

    #[test]
    fn what_the_last_looks_were_told_is_a_violation() {
        let work = ExclusiveCreate::default();
        work.wrong.add(Some("a lookup gave a directory".to_owned()));
        assert!(work.check(&[]).is_violation());
    }
}
