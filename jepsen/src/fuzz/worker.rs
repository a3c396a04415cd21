//! The processes that do the operations: a request a line, and an answer a line.

use super::act::Side;
use super::facts::{Seen, Tree, look, tree};
use super::op::{Name, Op, PROCESSES};
use super::outcome::Outcome;
use anyhow::{Context, Result, bail};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long an operation may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One operation, on some of the sides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) op: Op,
    pub(super) sides: Vec<usize>,
    /// Names that came or went since the listing began.
    pub(super) touched: Vec<String>,
}

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Close everything, and work in these directories.
    Begin(Vec<PathBuf>),
    Do(Vec<Task>),
    /// What is at these paths, on these sides?
    Look(Vec<Name>, Vec<usize>),
    /// What is below the directory, on these sides?
    Tree(Vec<usize>),
    /// Wait until a file system that goes by the system's ticks would give another time.
    Tick,
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    /// For each task, for each side.
    Outcomes(Vec<Vec<Outcome>>),
    /// For each path, for each side.
    Looks(Vec<Vec<Result<Seen, i32>>>),
    Trees(Vec<Result<Tree, String>>),
}

/// Does what standard input says, as one of the processes of plans, until it ends.
///
/// # Errors
/// When the process may not become what it is to be, the pipes fail, or a request is none.
pub fn work(process: usize) -> Result<()> {
    become_process(process)?;
    let mut sides = Vec::new();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = answer(&mut sides, serde_json::from_str(&line?)?)?;
        serde_json::to_writer(&mut out, &answer)?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

fn become_process(process: usize) -> Result<()> {
    let (uid, gid, groups, mask) = PROCESSES.get(process).context("there is no such process")?;
    umask(Mode::from_bits_retain(*mask));
    let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    setgroups(&groups).context("cannot set groups")?;
    let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    setresgid(gid, gid, gid).context("cannot set the group")?;
    setresuid(uid, uid, uid).context("cannot set the user")
}

fn answer(sides: &mut Vec<Side>, request: Request) -> Result<Answer> {
    let root = |sides: &Vec<Side>, side: usize| {
        let found = sides.get(side).map(|side| side.root().to_owned());
        found.context("there is no such side")
    };
    Ok(match request {
        Request::Begin(roots) => {
            *sides = roots.iter().map(|root| Side::new(root)).collect();
            Answer::Done
        }
        Request::Do(tasks) => {
            let mut outcomes = Vec::new();
            for task in tasks {
                let mut of_task = Vec::new();
                for side in task.sides {
                    let side = sides.get_mut(side).context("there is no such side")?;
                    of_task.push(side.act(&task.op, &task.touched));
                }
                outcomes.push(of_task);
            }
            Answer::Outcomes(outcomes)
        }
        Request::Look(paths, on) => {
            let mut looks = vec![Vec::new(); paths.len()];
            for side in on {
                std::env::set_current_dir(root(sides, side)?)?;
                for (path, looks) in paths.iter().zip(&mut looks) {
                    looks.push(look(&path.path()));
                }
            }
            Answer::Looks(looks)
        }
        Request::Tree(on) => {
            let mut trees = Vec::new();
            for side in on {
                trees.push(tree(&root(sides, side)?));
            }
            Answer::Trees(trees)
        }
        Request::Tick => {
            let now = clock_gettime(ClockId::RealtimeCoarse);
            while clock_gettime(ClockId::RealtimeCoarse) == now {
                thread::yield_now();
            }
            Answer::Done
        }
    })
}

/// A process that does operations. It ends with this.
#[derive(Debug)]
struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<io::Result<String>>,
}

impl Worker {
    fn start(process: usize) -> Result<Self> {
        let mut command = Command::new(crate::binaries::binary("jepsen")?);
        command.args(["fuzz-worker", "--process", &process.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start a worker")?;
        let requests = child.stdin.take().context("a worker has an input")?;
        let output = child.stdout.take().context("a worker has an output")?;
        let (sender, answers) = channel();
        // Ends with the worker, or when nobody listens any more.
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            requests,
            answers,
        })
    }

    fn tell(&mut self, request: &Request) -> Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.requests
            .write_all(&line)
            .context("a worker has ended")?;
        Ok(())
    }

    fn hear(&mut self) -> Result<Answer> {
        let line = self.answers.recv_timeout(PATIENCE);
        let line = line.context("a worker has ended, or an operation does not")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            crate::scratch::notice(&format!("cannot end a worker: {error}"));
        }
    }
}

/// All processes of a plan.
#[derive(Debug)]
pub(super) struct Crew {
    workers: Vec<Worker>,
}

impl Crew {
    /// Starts them.
    pub(super) fn start() -> Result<Self> {
        let workers = (0..PROCESSES.len()).map(Worker::start);
        Ok(Self {
            workers: workers.collect::<Result<_>>()?,
        })
    }

    fn worker(&mut self, process: usize) -> Result<&mut Worker> {
        self.workers
            .get_mut(process)
            .context("there is no such process")
    }

    /// Asks one.
    pub(super) fn ask(&mut self, process: usize, request: &Request) -> Result<Answer> {
        let worker = self.worker(process)?;
        worker.tell(request)?;
        worker.hear()
    }

    /// All close what they have open, and go to other directories.
    pub(super) fn begin(&mut self, roots: &[PathBuf]) -> Result<()> {
        for process in 0..self.workers.len() {
            self.ask(process, &Request::Begin(roots.to_owned()))?;
        }
        Ok(())
    }

    /// Tells one what to do.
    pub(super) fn act(&mut self, process: usize, tasks: Vec<Task>) -> Result<Vec<Vec<Outcome>>> {
        outcomes(self.ask(process, &Request::Do(tasks))?)
    }

    /// Tells several what to do, all at once.
    pub(super) fn act_at_once(
        &mut self,
        tasks: Vec<(usize, Vec<Task>)>,
    ) -> Result<Vec<Vec<Vec<Outcome>>>> {
        let mut asked = Vec::new();
        for (process, tasks) in tasks {
            self.worker(process)?.tell(&Request::Do(tasks))?;
            asked.push(process);
        }
        let answers = asked
            .into_iter()
            .map(|process| outcomes(self.worker(process)?.hear()?));
        answers.collect()
    }

    /// What root sees at some paths.
    pub(super) fn look(
        &mut self,
        paths: &[Name],
        sides: &[usize],
    ) -> Result<Vec<Vec<Result<Seen, i32>>>> {
        match self.ask(0, &Request::Look(paths.to_owned(), sides.to_owned()))? {
            Answer::Looks(looks) => Ok(looks),
            other => bail!("{other:?} is no look"),
        }
    }

    /// What root sees of everything.
    pub(super) fn trees(&mut self, sides: &[usize]) -> Result<Vec<Result<Tree, String>>> {
        match self.ask(0, &Request::Tree(sides.to_owned()))? {
            Answer::Trees(trees) => Ok(trees),
            other => bail!("{other:?} is no tree"),
        }
    }
}

fn outcomes(answer: Answer) -> Result<Vec<Vec<Outcome>>> {
    match answer {
        Answer::Outcomes(outcomes) => Ok(outcomes),
        other => bail!("{other:?} are no outcomes"),
    }
}
