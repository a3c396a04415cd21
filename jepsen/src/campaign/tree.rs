//! Files move among directories, and dumps of the volume show all of them at one moment: each file
//! once, where an order of all moves has it.

use super::client::{Client, Ended, execute};
use super::work::{Place, Work, Wrong};
use crate::checker::Verdict;
use crate::checker::tree::{Depth, check};
use crate::checker::wgl::Budget;
use crate::history::{Entry, Recorder, pair};
use crate::model::{Tree, TreeInput, TreeOutput};
use crate::writer::{make, name};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::command::{NewNode, Operation, RenameMode};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::key::{Ids, Table};
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::{Changelog, ChangelogError, ClientError, MetaSession, MetaUrl};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const DIRS: u64 = 3;
const FILES: u64 = 6;
/// How long a dump may take to come.
const DUMP_LIMIT: Duration = Duration::from_secs(4);
/// How long the last one may take, when all is healed.
const LAST_LIMIT: Duration = Duration::from_secs(30);

/// The workload.
#[derive(Default)]
pub(super) struct Moves {
    dirs: OnceLock<Vec<Ino>>,
    /// What the last dump showed that is wrong by itself.
    wrong: Wrong,
    /// Why all files together were not searched to the end, if they were not.
    undecided: OnceLock<String>,
}

#[async_trait]
impl Work for Moves {
    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        let mut dirs = Vec::new();
        for index in 0..DIRS {
            let dir = make(session, Ino::ROOT, &format!("d{index}"), NewNode::Directory).await?;
            dirs.push(dir.ino);
        }
        for file in 0..FILES {
            let dir = dirs[(file % DIRS) as usize];
            make(session, dir, &format!("f{file}"), NewNode::Regular).await?;
        }
        if self.dirs.set(dirs).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, _index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let changelog = Changelog::new(&place.url.parse::<MetaUrl>()?);
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let mut problems = Vec::new();
        // Where this client has seen each file last: others may have moved it since.
        let mut seen = initial();
        while Instant::now() < place.end && problems.is_empty() {
            let problem = if rng.random_bool(0.1) {
                let look = self.look(&mut client, &changelog, DUMP_LIMIT, &mut seen);
                look.await
            } else {
                let file = rng.random_range(0..FILES);
                let to = rng.random_range(0..DIRS);
                let from = seen.get(&file).copied().unwrap_or_default();
                if from == to {
                    continue;
                }
                // Moved, it is there; refused, it was somewhere else, and where is a guess.
                seen.insert(file, to);
                self.rename(&mut client, file, from, to).await
            };
            problems.extend(problem);
        }
        client.close().await;
        Ok(problems)
    }

    async fn final_read(&self, place: Place) -> Result<bool> {
        let changelog = Changelog::new(&place.url.parse::<MetaUrl>()?);
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let before = place.recorder.answered();
        let mut seen = initial();
        let look = self.look(&mut client, &changelog, LAST_LIMIT, &mut seen);
        let problem = look.await;
        client.close().await;
        self.wrong.add(problem);
        Ok(place.recorder.answered() > before)
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        let wrong = self.wrong.verdict();
        let tree = Tree { initial: initial() };
        let operations = match pair::<TreeInput>(entries) {
            Ok(operations) => operations,
            Err(error) => {
                return wrong.and(Verdict::Unknown(format!("the history is damaged: {error}")));
            }
        };
        let searched = |depth| check(&tree, &operations, depth, Budget::default());
        let apart = wrong.and(searched(Depth::Apart));
        if !apart.is_ok() {
            return apart;
        }
        self.together(searched(Depth::Together))
    }

    fn notes(&self) -> Vec<String> {
        self.undecided.get().cloned().into_iter().collect()
    }
}

fn initial() -> BTreeMap<u64, u64> {
    (0..FILES).map(|file| (file, file % DIRS)).collect()
}

impl Moves {
    /// All files have been found right apart from each other: a search for an order of all of them
    /// that comes to no end takes nothing from that, but it must be said.
    fn together(&self, verdict: Verdict) -> Verdict {
        let Verdict::Unknown(why) = verdict else {
            println!("checker: all files together are searched");
            return verdict;
        };
        let note = format!("all files apart are ok, all together not decided: {why}");
        println!("checker: {note}");
        // Of one history there is one answer.
        let _known = self.undecided.set(note);
        Verdict::Ok
    }

    fn dir(&self, index: u64) -> Ino {
        let dirs = self.dirs.get().map_or(&[][..], Vec::as_slice);
        dirs.get(index as usize).copied().unwrap_or(Ino::ROOT)
    }

    async fn rename(&self, client: &mut Client, file: u64, from: u64, to: u64) -> Option<String> {
        let name = name(&format!("f{file}")).ok()?;
        let operation = Operation::Rename {
            parent: self.dir(from),
            name: name.clone(),
            new_parent: self.dir(to),
            new_name: name,
            mode: RenameMode::NoReplace,
        };
        let input = TreeInput::Move { id: file, from, to };
        let call = client.call("", input, async |session| {
            match execute(session, operation).await {
                Ok(Success::Renamed { replaced: None, .. }) => Ended::Ok(TreeOutput::Done),
                Err(ClientError::Refused(Refusal::NotFound)) => Ended::Ok(TreeOutput::Absent),
                Err(ClientError::Failed(_)) => Ended::Fail,
                Err(ClientError::Unknown(_)) => Ended::Unknown,
                other => Ended::Wrong(format!("moving f{file} gave {other:?}")),
            }
        });
        call.await
    }

    async fn look(
        &self,
        client: &mut Client,
        changelog: &Changelog,
        limit: Duration,
        seen: &mut BTreeMap<u64, u64>,
    ) -> Option<String> {
        let call = client.call("", TreeInput::Snapshot, async |_| {
            match tokio::time::timeout(limit, self.dumped(changelog)).await {
                Ok(Ok(directories)) => {
                    for (directory, files) in &directories {
                        seen.extend(files.iter().map(|file| (*file, *directory)));
                    }
                    Ended::Ok(TreeOutput::Directories(directories))
                }
                Ok(Err(Unread::Strange(what))) => Ended::Wrong(what),
                // A read changes nothing: not answered is not done.
                Ok(Err(Unread::Failed)) | Err(_) => Ended::Fail,
            }
        });
        call.await
    }

    /// All directories as one dump has them.
    async fn dumped(&self, changelog: &Changelog) -> Result<Vec<(u64, Vec<u64>)>, Unread> {
        let (_head, mut pages) = changelog.load().await?;
        let mut found: BTreeMap<u64, Vec<u64>> = (0..DIRS).map(|dir| (dir, Vec::new())).collect();
        while let Some(page) = pages.next().await? {
            let dentries = page.rows.iter().filter_map(|(key, _)| dentry(key));
            for (parent, name) in dentries {
                let Some(dir) = (0..DIRS).find(|dir| self.dir(*dir) == parent) else {
                    continue;
                };
                let file = number(name).map_err(|why| Unread::Strange(format!("{why:#}")))?;
                found.entry(dir).or_default().push(file);
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// Why there is no snapshot.
enum Unread {
    /// It holds what nobody made, or damage.
    Strange(String),
    /// It did not come.
    Failed,
}

impl From<ChangelogError> for Unread {
    fn from(error: ChangelogError) -> Self {
        match error {
            ChangelogError::Failed(_) => Self::Failed,
            other => Self::Strange(format!("a dump is no dump: {other}")),
        }
    }
}

/// The directory and the name in the key of a dumped row, if it is a name's.
fn dentry(key: &[u8]) -> Option<(Ino, &[u8])> {
    let (tag, ids) = key.split_first()?;
    if *tag != Table::Dentry as u8 {
        return None;
    }
    let mut ids = Ids(ids);
    Some((Ino(ids.u64()?), ids.0))
}

fn number(name: &[u8]) -> Result<u64> {
    let text = String::from_utf8_lossy(name).into_owned();
    let number = text
        .strip_prefix('f')
        .and_then(|digits| digits.parse().ok());
    number.with_context(|| format!("a dump shows {text}, which nobody made"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_client::meta_core::ids::VolumeId;
    use meta_client::meta_core::key;

    #[test]
    fn what_all_files_together_did_not_decide_is_noted() {
        let work = Moves::default();
        assert!(work.together(Verdict::Ok).is_ok());
        let wrong = Verdict::of(vec!["two places".to_owned()]);
        assert!(work.together(wrong).is_violation());
        assert_eq!(work.notes(), [""; 0]);
        let endless = Verdict::Unknown("not enough steps".to_owned());
        assert!(work.together(endless).is_ok());
        let notes = work.notes();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("not enough steps"), "{notes:?}");
    }

    #[test]
    fn a_strange_last_dump_is_a_violation() {
        let work = Moves::default();
        assert!(matches!(work.check(&[]), Verdict::Unknown(_)));
        work.wrong.add(Some("a dump shows x".to_owned()));
        assert!(work.check(&[]).is_violation());
    }

    #[test]
    fn names_are_found_in_keys_of_rows() {
        let name = name("f5").expect("a name");
        let whole = key::dentry(VolumeId(3), Ino(9), &name);
        let (_, tag, ids) = key::split(&whole).expect("a key");
        let row = [&[tag][..], ids].concat();
        assert_eq!(dentry(&row), Some((Ino(9), &b"f5"[..])));
        assert_eq!(number(b"f5").ok(), Some(5));
        assert!(number(b"lost+found").is_err());
        let whole = key::by_ino(VolumeId(3), Table::Inode, Ino(9));
        let (_, tag, ids) = key::split(&whole).expect("a key");
        assert_eq!(dentry(&[&[tag][..], ids].concat()), None);
    }
}
