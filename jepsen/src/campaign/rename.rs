//! Files move between directories: a rename from one directory to another is a compare-and-set of the
//! place where the file is, and its path tells the place. At the end each file has exactly one name.

use super::client::{Client, Ended, execute, query};
use super::work::{Place, Work, linearizable};
use crate::checker::Verdict;
use crate::history::{Entry, Recorder};
use crate::model::{Register, RegisterInput, RegisterOutput};
use crate::writer::{make, name, names};
use anyhow::{Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::command::{NewNode, Operation, RenameMode};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{ClientError, MetaSession};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

const DIRS: usize = 3;
const FILES: usize = 6;

#[derive(Debug)]
struct Tree {
    dirs: Vec<Ino>,
    files: Vec<Ino>,
}

/// The workload.
#[derive(Default)]
pub(super) struct Rename {
    tree: OnceLock<Tree>,
    /// What the last listing of all directories showed to be wrong.
    wrong: Mutex<Vec<String>>,
}

#[async_trait]
impl Work for Rename {
    async fn prepare(&self, session: &MetaSession, recorder: &Recorder) -> Result<()> {
        let mut dirs = Vec::new();
        for index in 0..DIRS {
            let dir = make(session, Ino::ROOT, &format!("d{index}"), NewNode::Directory).await?;
            dirs.push(dir.ino);
        }
        let mut files = Vec::new();
        let mut process = recorder.process();
        for index in 0..FILES {
            let token = process.invoke(key(index), RegisterInput::Write(0));
            let file = make(session, dirs[0], &key(index), NewNode::Regular).await?;
            token.ok(&RegisterOutput::Done);
            files.push(file.ino);
        }
        if self.tree.set(Tree { dirs, files }).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, _index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            let file = rng.random_range(0..FILES);
            let problem = if rng.random_bool(0.4) {
                self.read(&mut client, file).await
            } else {
                let (from, to) = (rng.random_range(0..DIRS), rng.random_range(0..DIRS));
                if from == to {
                    continue;
                }
                self.rename(&mut client, file, from, to).await
            };
            problems.extend(problem);
        }
        client.close().await;
        Ok(problems)
    }

    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let before = place.recorder.answered();
        for file in 0..FILES {
            self.read(&mut client, file).await;
        }
        client.close().await;
        let session = super::client::open(&place.url).await?;
        let wrong = self.list(&session).await?;
        session.close().await;
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = wrong;
        Ok(place.recorder.answered() >= before + FILES)
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        Verdict::of(wrong.clone()).and(linearizable(&Register::default(), entries))
    }
}

fn key(file: usize) -> String {
    format!("f{file}")
}

impl Rename {
    fn dir(&self, index: usize) -> Ino {
        self.tree.get().map_or(Ino::ROOT, |tree| tree.dirs[index])
    }

    /// Every file once, and nothing else.
    async fn list(&self, session: &MetaSession) -> Result<Vec<String>> {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for index in 0..DIRS {
            for (name, _) in names(session, self.dir(index)).await? {
                *found.entry(name).or_default() += 1;
            }
        }
        let mut wrong = Vec::new();
        for file in 0..FILES {
            let times = found.remove(&key(file)).unwrap_or(0);
            if times != 1 {
                wrong.push(format!("{} has {times} names at the end", key(file)));
            }
        }
        wrong.extend(found.keys().map(|name| format!("nobody made {name}")));
        Ok(wrong)
    }

    async fn rename(
        &self,
        client: &mut Client,
        file: usize,
        from: usize,
        to: usize,
    ) -> Option<String> {
        let name = name(&key(file)).ok()?;
        let operation = Operation::Rename {
            parent: self.dir(from),
            name: name.clone(),
            new_parent: self.dir(to),
            new_name: name,
            mode: RenameMode::NoReplace,
        };
        let input = RegisterInput::CompareAndSet {
            from: from as u64,
            to: to as u64,
        };
        let call = client.call(key(file), input, async |session| {
            match execute(session, operation).await {
                Ok(Success::Renamed { replaced: None, .. }) => Ended::Ok(RegisterOutput::Done),
                Err(ClientError::Refused(Refusal::NotFound)) => Ended::Ok(RegisterOutput::Refused),
                Err(ClientError::Failed(_)) => Ended::Fail,
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                // A file that is in both places, for one.
                other => Ended::Wrong(format!("renaming {} gave {other:?}", key(file))),
            }
        });
        call.await
    }

    async fn read(&self, client: &mut Client, file: usize) -> Option<String> {
        let ino = self.tree.get()?.files[file];
        let call = client.call(key(file), RegisterInput::Read, async |session| {
            match query(session, QueryBody::PathOf { ino }).await {
                Ok(Answer::Path(path)) => match place_of(&path, file) {
                    Some(place) => Ended::Ok(RegisterOutput::Value(Some(place))),
                    None => Ended::Wrong(format!("{} is at {path:?}", key(file))),
                },
                Ok(other) => Ended::Wrong(format!("a path is {other:?}")),
                Err(ClientError::Refused(refusal)) => {
                    Ended::Wrong(format!("{} has no path: {refusal}", key(file)))
                }
                // A read changes nothing: not answered is not done.
                Err(_) => Ended::Fail,
            }
        });
        call.await
    }
}

/// The number of the directory in a file's path.
fn place_of(path: &[meta_client::meta_core::name::Name], file: usize) -> Option<u64> {
    let [dir, name] = path else { return None };
    let dir = String::from_utf8_lossy(dir.as_bytes()).into_owned();
    let place = dir.strip_prefix('d')?.parse().ok()?;
    (name.as_bytes() == key(file).as_bytes()).then_some(place)
}
