//! Executes a plan on all sides and compares them.

use super::facts::{Seen, Tree};
use super::op::{Act, Name, Op, PROCESSES, Phase, Step, XattrAct};
use super::outcome::Outcome;
use super::plan::Aim;
use super::worker::{Crew, Request, Task};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where two sides differ.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// The phase after which it was seen.
    pub(super) phase: usize,
    what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after step {}: {}", self.phase, self.what)
    }
}

/// How often each kind of operation ended in which way.
pub(super) type Ends = BTreeMap<(String, String), usize>;

/// Workers, and file systems on which they execute plans.
#[derive(Debug)]
pub(super) struct Executor {
    crew: Crew,
    /// The other file system, then each mount.
    bases: Vec<PathBuf>,
    aim: Aim,
    executed: usize,
    pub(super) ends: Ends,
    /// Reads of what was opened before the other mount changed it, that told an earlier state.
    pub(super) stale_reads: usize,
    /// The same, of all.
    pub(super) held_reads: usize,
}

/// One plan under way.
struct Execution<'a> {
    executor: &'a mut Executor,
    roots: Vec<PathBuf>,
    /// For each handle the names that came or went since it was opened, and the path it was opened by.
    listings: BTreeMap<(usize, u8), (Name, Vec<String>)>,
    phase: usize,
}

/// What this version refuses although the other file system does it. It must refuse it, so that nobody
/// relies on what is not there.
fn is_offered(op: &Op) -> bool {
    match op {
        // FALLOC_FL_*: keep size, punch hole, collapse, zero, insert, unshare.
        Op::On {
            act: Act::Fallocate { mode, .. },
            ..
        } => *mode == 0,
        // RENAME_WHITEOUT.
        Op::Rename { flags, .. } => flags & 4 == 0,
        // ACLs. A list is of all names.
        Op::Xattr { name, act, .. } => {
            matches!(act, XattrAct::List(_)) || !name.0.starts_with("system.")
        }
        _ => true,
    }
}

/// Whether room is asked for that nobody sees: ext4 may have too little of it.
fn sets_aside(op: &Op) -> bool {
    matches!(
        op,
        Op::On {
            act: Act::Fallocate { mode: 1, .. },
            ..
        }
    )
}

fn changes_names(op: &Op) -> bool {
    !matches!(
        op,
        Op::Stat { .. }
            | Op::List { .. }
            | Op::ReadAll { .. }
            | Op::Access { .. }
            | Op::Statfs { .. }
    )
}

impl Executor {
    /// Workers for these file systems: the other one first.
    pub(super) fn new(bases: Vec<PathBuf>, aim: Aim) -> Result<Self> {
        Ok(Self {
            crew: Crew::start()?,
            bases,
            aim,
            executed: 0,
            ends: Ends::new(),
            stale_reads: 0,
            held_reads: 0,
        })
    }

    /// Executes a plan in new directories.
    ///
    /// # Errors
    /// When it cannot be executed; a difference is no error.
    pub(super) fn execute(&mut self, plan: &[Phase]) -> Result<Option<Difference>> {
        self.executed += 1;
        let name = format!("plan{}", self.executed);
        let tops: Vec<PathBuf> = self.bases.iter().map(|base| base.join(&name)).collect();
        let mut roots = Vec::new();
        for top in &tops {
            let root = top.join("w");
            prepare(&root).with_context(|| format!("cannot make {}", root.display()))?;
            roots.push(root);
        }
        self.crew.begin(&roots)?;
        let mut execution = Execution {
            executor: self,
            roots,
            listings: BTreeMap::new(),
            phase: 0,
        };
        let found = execution.all(plan)?;
        self.crew.begin(&[])?;
        for top in &tops {
            // Two mounts show one directory.
            if top.exists() {
                fs::remove_dir_all(top)
                    .with_context(|| format!("cannot remove {}", top.display()))?;
            }
        }
        Ok(found)
    }
}

fn prepare(root: &Path) -> Result<()> {
    let everybody = Permissions::from_mode(0o777);
    fs::create_dir_all(root)?;
    fs::set_permissions(root, everybody.clone())?;
    for process in 0..PROCESSES.len() {
        let own = root.join(format!("own{process}"));
        fs::create_dir_all(&own)?;
        fs::set_permissions(&own, everybody.clone())?;
    }
    Ok(())
}

impl Execution<'_> {
    fn sides(&self) -> Vec<usize> {
        (0..self.roots.len()).collect()
    }

    fn differs(&self, what: String) -> Option<Difference> {
        Some(Difference {
            phase: self.phase,
            what,
        })
    }

    fn all(&mut self, plan: &[Phase]) -> Result<Option<Difference>> {
        for (number, phase) in plan.iter().enumerate() {
            self.phase = number;
            let found = match phase {
                Phase::Ordered(step) => self.ordered(step)?,
                Phase::Apart(steps) => self.apart(steps)?,
                Phase::Race(one, other) => self.race([one, other])?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        if let Some(found) = self.compare_trees("at the end, before what is open is closed")? {
            return Ok(Some(found));
        }
        self.close_all()?;
        self.compare_trees("at the end")
    }

    fn close_all(&mut self) -> Result<()> {
        self.listings.clear();
        let roots = self.roots.clone();
        self.executor.crew.begin(&roots)
    }

    /// On which sides a step is done: the other file system, and one mount.
    fn sides_of(&self, step: &Step) -> Vec<usize> {
        let mount = 1 + step.mount % (self.roots.len() - 1);
        if is_offered(&step.op) {
            vec![0, mount]
        } else {
            vec![mount]
        }
    }

    fn task(&mut self, step: &Step) -> Task {
        let touched = match &step.op {
            Op::On { slot, .. } => {
                let listing = self.listings.get(&(step.process, *slot));
                listing.map(|(_, names)| names.clone()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if changes_names(&step.op) {
            let names: Vec<String> = step.op.paths().into_iter().map(Name::last).collect();
            for (_, touched) in self.listings.values_mut() {
                touched.extend_from_slice(&names);
            }
        }
        if let Op::Open { slot, path, .. } = &step.op {
            let begun = (path.clone(), Vec::new());
            self.listings.insert((step.process, *slot), begun);
        }
        Task {
            op: step.op.clone(),
            sides: self.sides_of(step),
            touched,
        }
    }

    fn compare(&mut self, step: &Step, outcomes: &[Outcome]) -> Option<Difference> {
        let last = outcomes.last()?;
        let ended = (step.op.kind(), last.kind());
        *self.executor.ends.entry(ended).or_default() += 1;
        if let Some(wrong) = outcomes.iter().find(|one| matches!(one, Outcome::Wrong(_))) {
            return self.differs(format!("{step:?}: {wrong:?} of {outcomes:?}"));
        }
        if !is_offered(&step.op) {
            let refused =
                matches!(last, Outcome::Failed(_) | Outcome::Nothing) || sets_aside(&step.op);
            return match refused {
                true => None,
                false => self.differs(format!("{step:?} is not offered, and gave {last:?}")),
            };
        }
        if outcomes.iter().all(|outcome| outcome == last) {
            return None;
        }
        let held_read = matches!(
            &step.op,
            Op::On {
                act: Act::ReadAt { .. },
                ..
            }
        );
        if self.executor.aim == Aim::Pair && held_read {
            // Data of what is open at both are not ordered.
            self.executor.stale_reads += 1;
            return None;
        }
        self.differs(format!("{step:?}: wanted {:?}, got {last:?}", outcomes[0]))
    }

    /// Which paths show what a step did.
    fn paths(&self, step: &Step) -> Vec<Name> {
        let mut paths: Vec<Name> = step.op.paths().into_iter().cloned().collect();
        if let Op::On { slot, .. } = &step.op {
            let opened = self.listings.get(&(step.process, *slot));
            paths.extend(opened.map(|(path, _)| path.clone()));
        }
        if step.timed {
            let parents = paths
                .clone()
                .into_iter()
                .map(|path| match path.0.rsplit_once('/') {
                    Some((parent, name)) if !parent.is_empty() && !name.is_empty() => {
                        Name(parent.to_owned())
                    }
                    _ => Name(".".to_owned()),
                });
            paths.extend(parents.collect::<Vec<_>>());
        }
        paths
    }

    fn ordered(&mut self, step: &Step) -> Result<Option<Difference>> {
        let paths = self.paths(step);
        let sides = self.sides();
        let timed = step.timed && is_offered(&step.op);
        let before = if timed {
            let before = self.executor.crew.look(&paths, &sides)?;
            self.executor.crew.ask(0, &Request::Tick)?;
            before
        } else {
            Vec::new()
        };
        let mut tasks = vec![self.task(step)];
        if let Op::On { slot, act } = &step.op
            && !matches!(act, Act::Stat)
        {
            let slot = *slot;
            let op = Op::On {
                slot,
                act: Act::Stat,
            };
            let sides = vec![0, self.sides_of(step).last().copied().unwrap_or(1)];
            tasks.push(Task {
                op,
                sides,
                touched: Vec::new(),
            });
        }
        if matches!(
            &step.op,
            Op::On {
                act: Act::ReadAt { .. },
                ..
            }
        ) {
            self.executor.held_reads += 1;
        }
        let outcomes = self.executor.crew.act(step.process, tasks)?;
        let mut found = None;
        for (number, outcomes) in outcomes.iter().enumerate() {
            if number == 0 {
                found = self.compare(step, outcomes);
            } else if outcomes.iter().any(|outcome| *outcome != outcomes[0]) {
                found =
                    found.or(self.differs(format!("{step:?}, then of the handle: {outcomes:?}")));
            }
        }
        if found.is_some() {
            return Ok(found);
        }
        let after = self.executor.crew.look(&paths, &sides)?;
        Ok(self.compare_looks(step, &paths, &before, &after))
    }

    fn compare_looks(
        &self,
        step: &Step,
        paths: &[Name],
        before: &[Vec<Result<Seen, i32>>],
        after: &[Vec<Result<Seen, i32>>],
    ) -> Option<Difference> {
        for (number, (path, looks)) in paths.iter().zip(after).enumerate() {
            for (side, look) in looks.iter().enumerate() {
                if !same(&looks[0], look) {
                    let what = format!("{path:?} is {look:?} on side {side}, not {:?}", looks[0]);
                    return self.differs(format!("{step:?}, then {what}"));
                }
            }
            let Some(before) = before.get(number) else {
                continue;
            };
            let changes = before
                .iter()
                .zip(looks)
                .map(|(before, after)| changed(before, after));
            let changes: Vec<_> = changes.collect();
            if changes.iter().any(|change| *change != changes[0]) {
                let what = format!("{path:?}: what changed is {changes:?}");
                let times = format!("before {before:?}, after {looks:?}");
                return self.differs(format!("{step:?}, then {what}; {times}"));
            }
        }
        None
    }

    fn apart(&mut self, steps: &[Step]) -> Result<Option<Difference>> {
        let mut tasks: BTreeMap<usize, Vec<Task>> = BTreeMap::new();
        let mut of_process: BTreeMap<usize, Vec<&Step>> = BTreeMap::new();
        for step in steps {
            let task = self.task(step);
            tasks.entry(step.process).or_default().push(task);
            of_process.entry(step.process).or_default().push(step);
        }
        let answers = self
            .executor
            .crew
            .act_at_once(tasks.into_iter().collect())?;
        for (steps, answers) in of_process.into_values().zip(answers) {
            for (step, outcomes) in steps.into_iter().zip(answers) {
                if let Some(found) = self.compare(step, &outcomes) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Both at once through the mounts; then in each order on a copy of the other file system.
    fn race(&mut self, steps: [&Step; 2]) -> Result<Option<Difference>> {
        // What is open there stays with the copied one.
        self.close_all()?;
        let task = |step: &Step, side: usize| Task {
            op: step.op.clone(),
            sides: vec![side],
            touched: Vec::new(),
        };
        let mounts = [1, self.roots.len() - 1];
        let tasks = steps
            .iter()
            .zip(mounts)
            .map(|(step, side)| (step.process, vec![task(step, side)]));
        let answers = self.executor.crew.act_at_once(tasks.collect())?;
        let got: Vec<Outcome> = answers.into_iter().flatten().flatten().collect();
        for (step, outcome) in steps.iter().zip(&got) {
            let ended = (format!("race {}", step.op.kind()), outcome.kind());
            *self.executor.ends.entry(ended).or_default() += 1;
        }
        let seen = self.executor.crew.trees(&mounts)?;
        let model = self.roots[0].clone();
        let mut wanted = Vec::new();
        for order in [[0, 1], [1, 0]] {
            let copy = copied(&model, self.phase, order[0])?;
            self.roots[0] = copy;
            self.close_all()?;
            let mut results = vec![Outcome::Nothing; 2];
            for index in order {
                let step = steps[index];
                let outcomes = self.executor.crew.act(step.process, vec![task(step, 0)])?;
                results[index] = outcomes
                    .into_iter()
                    .flatten()
                    .next()
                    .context("an outcome")?;
            }
            let tree = self.executor.crew.trees(&[0])?.pop().context("a tree")?;
            if results == got && seen.iter().all(|seen| *seen == tree) {
                return Ok(None);
            }
            wanted.push((order, results, tree));
        }
        let told = wanted.iter().map(|(order, results, tree)| {
            let differences: Vec<_> = seen.iter().map(|seen| between(tree, seen)).collect();
            format!("in order {order:?} {results:?} (then {differences:?})")
        });
        let told: Vec<String> = told.collect();
        let what = format!(
            "{steps:?} at once: got {got:?}; wanted {}",
            told.join(" or ")
        );
        Ok(self.differs(what))
    }

    fn compare_trees(&mut self, when: &str) -> Result<Option<Difference>> {
        let sides = self.sides();
        let trees = self.executor.crew.trees(&sides)?;
        for (side, tree) in trees.iter().enumerate() {
            if let Some(what) = between(&trees[0], tree) {
                return Ok(self.differs(format!("{when}, on side {side}: {what}")));
            }
        }
        Ok(None)
    }
}

/// The first path at which two trees differ.
fn between(wanted: &Result<Tree, String>, found: &Result<Tree, String>) -> Option<String> {
    match (wanted, found) {
        (Ok(wanted), Ok(found)) => {
            let paths = wanted.keys().chain(found.keys());
            let mut differing = paths.filter(|path| wanted.get(*path) != found.get(*path));
            differing.next().map(|path| {
                let (wanted, found) = (wanted.get(path), found.get(path));
                format!("{path:?} is {found:?}, not {wanted:?}")
            })
        }
        (Ok(_), Err(error)) => Some(error.clone()),
        (Err(error), _) => Some(format!("the other file system: {error}")),
    }
}

fn same(wanted: &Result<Seen, i32>, found: &Result<Seen, i32>) -> bool {
    match (wanted, found) {
        (Ok(wanted), Ok(found)) => {
            wanted.facts == found.facts
                && wanted.xattrs == found.xattrs
                && wanted.target == found.target
        }
        (Err(wanted), Err(found)) => wanted == found,
        _ => false,
    }
}

/// Which of a file's times are others than before, and whether it is another file.
fn changed(before: &Result<Seen, i32>, after: &Result<Seen, i32>) -> Option<[bool; 4]> {
    let (Ok(before), Ok(after)) = (before, after) else {
        return None;
    };
    let (was, is) = (before.times, after.times);
    let same = before.ino == after.ino;
    Some([
        same && was.atime != is.atime,
        same && was.mtime != is.mtime,
        same && was.ctime != is.ctime,
        !same,
    ])
}

/// A copy of a plan's directory, beside it.
fn copied(root: &Path, phase: usize, number: usize) -> Result<PathBuf> {
    let copy = root.with_file_name(format!("w{phase}-{number}"));
    let mut command = Command::new("cp");
    command.arg("-a").arg(root).arg(&copy);
    let said = command.output().context("cannot run cp")?;
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(
        said.status.success(),
        "cannot copy {}: {words}",
        root.display()
    );
    if !copy.is_dir() {
        bail!("{} was not copied", root.display());
    }
    Ok(copy)
}
