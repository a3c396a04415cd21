//! Executes a plan on all sides and compares them.

use super::facts::{Seen, Tree};
use super::op::{Act, LockKind, Name, Op, PROCESSES, Phase, Step};
use super::outcome::{Failure, Outcome};
use super::plan::Aim;
use super::worker::{Crew, Request, Task};
use anyhow::{Context, Result, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
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
    /// Whether the second mount reads at the nearest member: nothing tells it when a file that it has
    /// open changes.
    nearest: bool,
    /// Reads there of what was opened before the other mount changed it, that told an earlier state.
    pub(super) stale_reads: usize,
    /// Reads of what is open, of all.
    pub(super) held_reads: usize,
}

/// What a process has open.
#[derive(Clone, Debug)]
struct Held {
    /// The path that it was opened by.
    path: Name,
    flags: i32,
    /// On which side, beside the other file system.
    side: usize,
    /// Names that came or went since.
    touched: Vec<String>,
    /// Whether something was written through it that may not be stored yet.
    unstored: bool,
}

/// One plan under way.
struct Execution<'a> {
    executor: &'a mut Executor,
    roots: Vec<PathBuf>,
    held: BTreeMap<(usize, u8), Held>,
    phase: usize,
}

/// What this version refuses although the other file system does it. It must refuse it, so that nobody
/// relies on what is not there.
fn is_offered(op: &Op) -> bool {
    match op {
        // All but: room, holes, and zeros inside and beyond the end.
        Op::On {
            act: Act::Fallocate { mode, .. },
            ..
        } => matches!(mode, 0 | 3 | 16 | 17),
        Op::Rename { flags, .. } => flags & RENAME_WHITEOUT == 0,
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

/// Whether room is asked for that may be there: ext4 sets times also if it is.
fn allocates(op: &Op) -> bool {
    matches!(
        op,
        Op::On {
            act: Act::Fallocate { mode: 0, .. },
            ..
        }
    )
}

/// What was seen before a step of which times are compared.
#[derive(Debug, Default)]
struct Before {
    /// Of each path, on each side. Nothing where times are not compared.
    looks: Vec<Vec<Result<Seen, i32>>>,
    /// Whether bytes may wait in the memory of a mount to be stored.
    unstored: bool,
    /// When the step began.
    at: i128,
}

impl Before {
    /// Whether a side differs only by a file's ctime, which moves once more when a mount stores what was
    /// written before the step: the metadata engine says when, and it orders all changes by that time.
    fn is_of_storing(
        &self,
        before: &Result<Seen, i32>,
        after: &Result<Seen, i32>,
        wanted: Option<[bool; 4]>,
        change: Option<[bool; 4]>,
    ) -> bool {
        let (Ok(before), Ok(after)) = (before, after) else {
            return false;
        };
        let but_ctime = |change: [bool; 4]| (change[0], change[1], change[3]);
        let is_file = after.facts.kind == 'f';
        let later = after.times.ctime > before.times.ctime;
        let same = wanted.map(but_ctime) == change.map(but_ctime);
        self.unstored && is_file && later && same
    }

    /// Whether times that changed, and were not set, are those of the step.
    fn was_between(
        &self,
        before: &Result<Seen, i32>,
        after: &Result<Seen, i32>,
        until: i128,
    ) -> bool {
        let (Ok(before), Ok(after)) = (before, after) else {
            return true;
        };
        if before.ino != after.ino {
            return true;
        }
        let of_now = |was: i128, is: i128| was == is || (self.at..=until).contains(&is);
        let (was, is) = (before.times, after.times);
        let stored_before = self.unstored && after.facts.kind == 'f';
        (after.facts.mtime.is_some() || of_now(was.mtime, is.mtime))
            && (stored_before || of_now(was.ctime, is.ctime))
    }
}

/// The system's time in nanoseconds.
fn now() -> i128 {
    let now = clock_gettime(ClockId::Realtime);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn is_whiteout(op: &Op) -> bool {
    matches!(op, Op::Rename { flags, .. } if flags & RENAME_WHITEOUT != 0)
}

/// The flag of a rename that leaves a device of its own behind.
const RENAME_WHITEOUT: u32 = 4;

/// Whether an operation may leave bytes in the memory of its mount. Those of a map are synced.
fn writes(act: &Act) -> bool {
    matches!(act, Act::Write { .. } | Act::WriteAt { .. })
}

/// What stores at once what is written through a handle.
fn is_synchronous(flags: i32) -> bool {
    flags & (libc::O_DSYNC | libc::O_DIRECT) != 0
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
    pub(super) fn new(bases: Vec<PathBuf>, aim: Aim, nearest: bool) -> Result<Self> {
        Ok(Self {
            crew: Crew::start()?,
            bases,
            aim,
            executed: 0,
            ends: Ends::new(),
            nearest,
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
            held: BTreeMap::new(),
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
        self.held.clear();
        let roots = self.roots.clone();
        self.executor.crew.begin(&roots)
    }

    /// On which sides a step is done: the other file system, and one mount. What is open is used where
    /// it was opened.
    fn sides_of(&self, step: &Step) -> Vec<usize> {
        let held = match &step.op {
            Op::On { slot, .. } | Op::Close { slot } => self.held.get(&(step.process, *slot)),
            _ => None,
        };
        let mount = held.map_or(1 + step.mount % (self.roots.len() - 1), |held| held.side);
        if is_offered(&step.op) {
            vec![0, mount]
        } else {
            vec![mount]
        }
    }

    fn task(&mut self, step: &Step) -> Task {
        let sides = self.sides_of(step);
        let touched = match &step.op {
            Op::On { slot, .. } => {
                let held = self.held.get(&(step.process, *slot));
                held.map(|held| held.touched.clone()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if changes_names(&step.op) {
            let names: Vec<String> = step.op.paths().into_iter().map(Name::last).collect();
            for held in self.held.values_mut() {
                held.touched.extend_from_slice(&names);
            }
        }
        self.note(step, &sides);
        Task {
            op: step.op.clone(),
            sides,
            touched,
        }
    }

    /// Keeps account of what is open, and what may wait to be stored.
    fn note(&mut self, step: &Step, sides: &[usize]) {
        match &step.op {
            Op::Open {
                slot, path, flags, ..
            } => {
                let begun = Held {
                    path: path.clone(),
                    flags: *flags,
                    side: sides.last().copied().unwrap_or(1),
                    touched: Vec::new(),
                    unstored: false,
                };
                self.held.insert((step.process, *slot), begun);
            }
            Op::Close { slot } => {
                self.held.remove(&(step.process, *slot));
            }
            Op::On { slot, act } => {
                if let Some(held) = self.held.get_mut(&(step.process, *slot)) {
                    let stays = held.unstored && !matches!(act, Act::Sync { .. });
                    held.unstored = stays || (writes(act) && !is_synchronous(held.flags));
                }
            }
            Op::Copy { to, .. } => {
                if let Some(held) = self.held.get_mut(&(step.process, *to)) {
                    held.unstored = true;
                }
            }
            _ => {}
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
            let refused = matches!(last, Outcome::Failed(_) | Outcome::Nothing)
                || sets_aside(&step.op)
                || is_whiteout(&step.op);
            return match refused {
                true => None,
                false => self.differs(format!("{step:?} is not offered, and gave {last:?}")),
            };
        }
        let agree = |outcome: &Outcome| outcome == last || is_of_who_asked(&step.op, outcome, last);
        if outcomes.iter().all(agree) {
            return None;
        }
        if self.executor.nearest && self.is_held_read(step) && self.side_of(step) == 2 {
            self.executor.stale_reads += 1;
            return None;
        }
        self.differs(format!("{step:?}: wanted {:?}, got {last:?}", outcomes[0]))
    }

    fn is_held_read(&self, step: &Step) -> bool {
        let act = match &step.op {
            Op::On { act, .. } => act,
            _ => return false,
        };
        matches!(act, Act::ReadAt { .. } | Act::Read { .. })
    }

    fn side_of(&self, step: &Step) -> usize {
        self.sides_of(step).last().copied().unwrap_or(1)
    }

    /// Which paths show what a step did.
    fn paths(&self, step: &Step) -> Vec<Name> {
        let mut paths: Vec<Name> = step.op.paths().into_iter().cloned().collect();
        if let Op::On { slot, .. } = &step.op {
            let held = self.held.get(&(step.process, *slot));
            paths.extend(held.map(|held| held.path.clone()));
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

    /// A step, and what is asked of its handle afterwards.
    fn tasks(&mut self, step: &Step) -> Vec<Task> {
        let mut tasks = vec![self.task(step)];
        let Op::On { slot, act } = &step.op else {
            return tasks;
        };
        let slot = *slot;
        let flags = self.held.get(&(step.process, slot)).map(|held| held.flags);
        let sides = vec![0, self.side_of(step)];
        let mut then = |act: Act| {
            tasks.push(Task {
                op: Op::On { slot, act },
                sides: sides.clone(),
                touched: Vec::new(),
            });
        };
        // The other mount shows it when it is stored.
        if self.executor.aim == Aim::Pair && writes(act) && !flags.is_some_and(is_synchronous) {
            then(Act::Sync { data_only: false });
        }
        if !matches!(act, Act::Stat) {
            then(Act::Stat);
        }
        tasks
    }

    /// An open takes the place of what its process had open at another mount.
    fn leave(&mut self, step: &Step) -> Result<()> {
        let Op::Open { slot, .. } = &step.op else {
            return Ok(());
        };
        let slot = *slot;
        let Some(held) = self.held.get(&(step.process, slot)) else {
            return Ok(());
        };
        let close = Task {
            op: Op::Close { slot },
            sides: vec![held.side],
            touched: Vec::new(),
        };
        self.executor.crew.act(step.process, vec![close])?;
        Ok(())
    }

    fn ordered(&mut self, step: &Step) -> Result<Option<Difference>> {
        let paths = self.paths(step);
        let sides = self.sides();
        self.leave(step)?;
        let timed = step.timed && is_offered(&step.op) && !allocates(&step.op);
        let mut before = Before::default();
        if timed {
            before.looks = self.executor.crew.look(&paths, &sides)?;
            before.unstored = self.held.values().any(|held| held.unstored);
            self.executor.crew.ask(0, &Request::Tick)?;
            before.at = now();
        }
        self.executor.held_reads += usize::from(self.is_held_read(step));
        let tasks = self.tasks(step);
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
        let done = outcomes.first().and_then(|outcomes| outcomes.last());
        Ok(self
            .moved_nothing(step, done, &after)
            .or_else(|| self.compare_looks(step, &paths, &before, &after)))
    }

    /// A whiteout succeeds only where the system has nothing to do, as both names are of one file.
    fn moved_nothing(
        &self,
        step: &Step,
        done: Option<&Outcome>,
        after: &[Vec<Result<Seen, i32>>],
    ) -> Option<Difference> {
        if !is_whiteout(&step.op) || done != Some(&Outcome::Done) {
            return None;
        }
        let mut inos = after.iter().map(|looks| match looks.first() {
            Some(Ok(seen)) => Some(seen.ino),
            _ => None,
        });
        let (from, to) = (inos.next().flatten(), inos.next().flatten());
        if from.is_some() && from == to {
            return None;
        }
        self.differs(format!("{step:?} is not offered, and succeeded"))
    }

    fn compare_looks(
        &self,
        step: &Step,
        paths: &[Name],
        before: &Before,
        after: &[Vec<Result<Seen, i32>>],
    ) -> Option<Difference> {
        let until = now();
        for (number, (path, looks)) in paths.iter().zip(after).enumerate() {
            for (side, look) in looks.iter().enumerate() {
                if !same(&looks[0], look) {
                    let what = format!("{path:?} is {look:?} on side {side}, not {:?}", looks[0]);
                    return self.differs(format!("{step:?}, then {what}"));
                }
            }
            let Some(earlier) = before.looks.get(number) else {
                continue;
            };
            let pairs = || earlier.iter().zip(looks);
            let changes: Vec<_> = pairs()
                .map(|(before, after)| changed(before, after))
                .collect();
            let wanted = changes[0];
            let agree = pairs().zip(&changes).all(|((earlier, later), change)| {
                *change == wanted || before.is_of_storing(earlier, later, wanted, *change)
            });
            let recent = pairs()
                .skip(1)
                .all(|(earlier, later)| before.was_between(earlier, later, until));
            if !agree || !recent {
                let what = format!("{path:?}: what changed is {changes:?}");
                let times = format!(
                    "before {earlier:?}, from {} to {until}, after {looks:?}",
                    before.at
                );
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
            let mut ends = steps.iter().zip(results.iter().zip(&got));
            let twice = steps[0].op == steps[1].op;
            let agree = ends.all(|(step, (wanted, got))| {
                wanted == got
                    || tells_of_the_other_name(&step.op, wanted, got)
                    || (twice && finds_it_renamed(&step.op, wanted, got))
            });
            if agree && seen.iter().all(|seen| *seen == tree) {
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

/// Whether of an operation with two names, which is refused, only the reason differs: the kernel of a mount
/// looks at the first name before another mount moves it, and at the second after.
fn tells_of_the_other_name(op: &Op, wanted: &Outcome, got: &Outcome) -> bool {
    let keeps = matches!(op, Op::Link { .. } | Op::Rename { flags: 1, .. });
    let failed = |number: i32| Outcome::Failed(Failure(number));
    let is_link = matches!(op, Op::Link { .. });
    // A directory, whose name has become free, has no links.
    let told = *got == failed(libc::EEXIST) || (is_link && *got == failed(libc::EPERM));
    keeps && *wanted == failed(libc::ENOENT) && told
}

/// Whether of a rename that both mounts do at once one finds nothing to do: its kernel looks at the first name
/// before the other mount renames it, and at the second after, which then is of the same file.
fn finds_it_renamed(op: &Op, wanted: &Outcome, got: &Outcome) -> bool {
    let replaces = matches!(op, Op::Rename { flags: 0, .. });
    replaces && *wanted == Outcome::Failed(Failure(libc::ENOENT)) && *got == Outcome::Done
}

/// Whether of a lock that an open file holds only the process differs: the kernel does not tell a mount that
/// nobody is to be named.
fn is_of_who_asked(op: &Op, wanted: &Outcome, got: &Outcome) -> bool {
    let asks = matches!(
        op,
        Op::On {
            act: Act::Lock {
                kind: LockKind::Ask,
                ..
            },
            ..
        }
    );
    match (wanted, got) {
        (Outcome::Text(wanted), Outcome::Text(got)) if asks => {
            let nobody = wanted.strip_suffix("-1");
            nobody.is_some_and(|place| got.starts_with(place))
        }
        _ => false,
    }
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
