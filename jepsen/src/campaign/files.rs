//! Files through mounts, each written once: what was synced and closed is there, with its bytes, for
//! whoever opens it at any mount, until it is deleted; and the directory lists what there is.

use super::client::Ended;
use super::file_worker::{Answer, Request};
use super::scene::Setting;
use super::work::{Place, Work};
use crate::binaries::binary;
use crate::checker::set_full::{self, SetInput, SetOutput};
use crate::checker::{Verdict, elements};
use crate::history::{Codec, Entry, Process, Recorder, pair};
use crate::writer::make;
use anyhow::{Context, Result};
use async_trait::async_trait;
use meta_client::MetaSession;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const DIR: &str = "files";
/// Files that a client leaves before it removes as many as it adds.
const OWN_FILES: usize = 60;
/// How long a call may take. A mount gives up on its own before that.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// How long a client waits after a call that failed: its mount may be gone for a while.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// The workload.
#[derive(Default)]
pub(super) struct Files {
    /// The last file that anybody made.
    last: AtomicU64,
    /// Files whose making was acknowledged and whose deletion was not begun.
    kept: Mutex<BTreeSet<u64>>,
    /// What was wrong at the end.
    problems: Mutex<Vec<String>>,
}

#[async_trait]
impl Work for Files {
    fn setting(&self) -> Setting {
        Setting::Mounts
    }

    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        make(session, Ino::ROOT, DIR, NewNode::Directory).await?;
        Ok(())
    }

    async fn client(&self, index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let mut client = FileClient::start(index, &place)?;
        let mut own = VecDeque::new();
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            let removing = if own.len() > OWN_FILES { 30 } else { 10 };
            let problem = match rng.random_range(0..100) {
                dice if dice < 10 => client.list().await?,
                dice if dice < 40 => self.read_some(&mut client, &mut rng).await?,
                dice if dice < 40 + removing && !own.is_empty() => {
                    let Some(file) = own.pop_front() else {
                        continue;
                    };
                    self.kept().remove(&file);
                    client.remove(file).await?
                }
                _ => self.add(&mut client, &mut own).await?,
            };
            problems.extend(problem);
        }
        client.end().await?;
        Ok(problems)
    }

    /// All files, at each mount, with nothing of them in any cache.
    async fn final_read(&self, place: Place) -> Result<bool> {
        let mounts = place.extras.mounts.clone().context("no mounts")?;
        let files: Vec<u64> = self.kept().iter().copied().collect();
        let mut listed = true;
        for number in 0..mounts.count() {
            mounts.anew(number).await?;
            let mut client = FileClient::start(number, &place)?;
            let before = place.recorder.answered();
            if let Some(problem) = client.list().await? {
                self.found(problem);
            }
            listed &= place.recorder.answered() > before;
            for file in &files {
                let answer = client.ask(Request::Read(*file)).await?;
                if answer != Answer::Done {
                    self.found(format!("at the end, file {file} gives {answer:?}"));
                }
            }
            client.end().await?;
        }
        println!("files: {} read at {} mounts", files.len(), mounts.count());
        Ok(listed)
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        let problems = self.problems.lock();
        let problems = problems.unwrap_or_else(PoisonError::into_inner).clone();
        let found = Verdict::of(problems);
        let of_the_set = entries.iter().filter(|entry| entry.f != ReadFile.f());
        let entries: Vec<Entry> = of_the_set.cloned().collect();
        match pair::<SetInput>(&entries) {
            Ok(operations) => {
                let report = set_full::check(&operations);
                println!("checker: {report}");
                found.and(elements::confirmed(&operations, &report))
            }
            Err(error) => found.and(Verdict::Unknown(format!("the history is damaged: {error}"))),
        }
    }
}

/// A read of a whole file, which is compared at once. Its answer is whether the file was there.
#[derive(Clone, Debug)]
struct ReadFile;

impl Codec for ReadFile {
    type Output = bool;

    fn f(&self) -> &'static str {
        "read-file"
    }

    fn argument(&self) -> Value {
        Value::Null
    }

    fn answer(&self, output: &bool) -> Value {
        Value::Bool(*output)
    }

    fn decode(f: &str, _argument: &Value) -> Option<Self> {
        (f == Self.f()).then_some(Self)
    }

    fn decode_answer(&self, answer: &Value) -> Option<bool> {
        answer.as_bool()
    }
}

impl Files {
    fn found(&self, problem: String) {
        let problems = self.problems.lock();
        let mut problems = problems.unwrap_or_else(PoisonError::into_inner);
        problems.push(problem);
    }

    fn kept(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn add(
        &self,
        client: &mut FileClient,
        own: &mut VecDeque<u64>,
    ) -> Result<Option<String>> {
        let file = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let ended = client.call(SetInput::Add(file), Request::Add(file)).await?;
        if matches!(ended, Ended::Ok(_)) {
            self.kept().insert(file);
            own.push_back(file);
        }
        Ok(problem(ended))
    }

    /// Reads a file that must be there.
    async fn read_some(&self, client: &mut FileClient, rng: &mut StdRng) -> Result<Option<String>> {
        let file = {
            let kept = self.kept();
            let at = rng.random_range(0..kept.len().max(1));
            kept.iter().nth(at).copied()
        };
        let Some(file) = file else { return Ok(None) };
        let token = client.process.invoke(file.to_string(), ReadFile);
        let answer = client.pipes.ask(Request::Read(file)).await?;
        match answer {
            Answer::Done => token.ok(&true),
            // Its maker may be deleting it by now.
            Answer::Absent if !self.kept().contains(&file) => token.ok(&false),
            Answer::Failed(why) => {
                token.fail(why);
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            wrong => {
                let problem = format!("reading file {file} gave {wrong:?}");
                token.info(problem.as_str());
                return Ok(Some(problem));
            }
        }
        Ok(None)
    }
}

/// What an end says by itself, if it says that something is wrong.
fn problem(ended: Ended<SetOutput>) -> Option<String> {
    match ended {
        Ended::Wrong(problem) => Some(problem),
        _ => None,
    }
}

/// A client, and the process that works on a mount for it.
struct FileClient {
    process: Process,
    child: Child,
    pipes: Pipes,
}

/// The way to that process and back: a line of JSON each.
struct Pipes {
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Pipes {
    async fn ask(&mut self, request: Request) -> Result<Answer> {
        let mut line = serde_json::to_string(&request)?;
        line.push('\n');
        self.questions.write_all(line.as_bytes()).await?;
        let answer = tokio::time::timeout(CALL_LIMIT, self.answers.next_line()).await;
        let answer = answer.with_context(|| format!("{request:?} hangs"))??;
        let answer = answer.context("a file worker has ended")?;
        Ok(serde_json::from_str(&answer)?)
    }
}

impl FileClient {
    fn start(index: usize, place: &Place) -> Result<Self> {
        let mounts = place.extras.mounts.as_ref().context("no mounts")?;
        let mut command = Command::new(binary("jepsen")?);
        let dir = mounts.point(index).join(DIR);
        command.arg("file-worker").arg("--dir").arg(dir);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.context("cannot start a file worker")?;
        let questions = child.stdin.take().context("a pipe")?;
        let answers = child.stdout.take().context("a pipe")?;
        Ok(Self {
            process: place.recorder.process(),
            child,
            pipes: Pipes {
                questions,
                answers: BufReader::new(answers).lines(),
            },
        })
    }

    async fn ask(&mut self, request: Request) -> Result<Answer> {
        self.pipes.ask(request).await
    }

    async fn call(&mut self, input: SetInput, request: Request) -> Result<Ended<SetOutput>> {
        let token = self.process.invoke("", input.clone());
        let answer = self.pipes.ask(request).await?;
        let told = format!("{answer:?}");
        let ended = match answer {
            Answer::Done => Ended::Ok(SetOutput::Done),
            Answer::Elements(elements) => Ended::Ok(SetOutput::Elements(elements)),
            Answer::Failed(_) if input == SetInput::Read => Ended::Fail,
            Answer::Failed(_) => Ended::Unknown,
            other => Ended::Wrong(format!("{request:?} gave {other:?}")),
        };
        match &ended {
            Ended::Ok(output) => token.ok(output),
            Ended::Fail => token.fail("not done"),
            Ended::Unknown | Ended::Wrong(_) => token.info(told),
        }
        if matches!(ended, Ended::Fail | Ended::Unknown) {
            tokio::time::sleep(AFTER_FAILURE).await;
        }
        Ok(ended)
    }

    async fn list(&mut self) -> Result<Option<String>> {
        let ended = self.call(SetInput::Read, Request::List).await?;
        Ok(problem(ended))
    }

    async fn remove(&mut self, file: u64) -> Result<Option<String>> {
        let request = Request::Remove(file);
        let ended = self.call(SetInput::Remove(file), request).await?;
        Ok(problem(ended))
    }

    async fn end(mut self) -> Result<()> {
        drop(self.pipes);
        let ended = tokio::time::timeout(CALL_LIMIT, self.child.wait()).await;
        ended.context("a file worker does not end")??;
        Ok(())
    }
}
