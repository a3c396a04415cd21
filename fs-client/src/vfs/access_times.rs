//! When files were read last, on mounts that keep that.
//!
//! A reader notes in memory that it has read, and waits for nothing. Whoever asks this mount for attributes
//! is shown what is noted. The engine is told in the background, within about a second and of many files at
//! a time; it takes in later times only, and changes nothing else of a file.
//!
//! What the kernel answers from its page cache, or from the targets of symlinks that it keeps, the mount does
//! not see.

use super::handle::FileHandle;
use super::vfs_core::Core;
use super::writer::now;
use super::{VfsError, VfsOptions};
use meta_core::attr::{Attr, Caller, Timestamp};
use meta_core::command::Operation;
use meta_core::ids::Ino;
use meta_core::limits::ACCESSED_MAX;
use meta_core::outcome::Refusal;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Files of which an access may be noted that the engine was not told of.
const FILES_MAX: usize = 4096;
/// A time that is so old is moved by the next read, whatever happened since.
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// How long the end of a mount waits for the engine to take in the last ones.
const LAST_WITHIN: Duration = Duration::from_secs(2);
/// After an engine did not take any in, it is asked again so much later.
const REST: Duration = Duration::from_secs(60);

/// How reads move a file's time of access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AtimeMode {
    /// Not at all.
    #[default]
    Noatime,
    /// To now, if the file was changed since it was read last, or that is a day ago.
    Relatime,
    /// To now, each of them.
    Strictatime,
}

impl AtimeMode {
    /// Its name as a mount option.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noatime => "noatime",
            Self::Relatime => "relatime",
            Self::Strictatime => "strictatime",
        }
    }

    fn moves(self, times: Times, now: Timestamp) -> bool {
        match self {
            Self::Noatime => false,
            Self::Relatime => {
                let age = now.seconds.saturating_sub(times.atime.seconds);
                times.atime <= times.changed || age >= DAY_SECONDS
            }
            Self::Strictatime => true,
        }
    }
}

/// What decides whether a read moves a file's time of access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Times {
    /// The time of access.
    pub(super) atime: Timestamp,
    /// When the content, or anything, was changed last, also by a write that waits.
    pub(super) changed: Timestamp,
    /// The state that is committed, by its ctime.
    pub(super) version: Timestamp,
}

impl Times {
    pub(super) fn of(attr: &Attr) -> Self {
        Self {
            atime: attr.atime,
            changed: attr.mtime.max(attr.ctime),
            version: attr.ctime,
        }
    }
}

/// What is remembered of the accesses of one open file or directory, so that most reads look no further.
#[derive(Debug, Default)]
pub(super) struct Accesses {
    /// The time of access after the last read, and the state that the file was in.
    last: Option<(Timestamp, Timestamp)>,
    /// How often a program of this mount began or ended to set the time itself.
    sets: u64,
}

impl Accesses {
    /// For who begins to read: as many then as now say that the time was not set meanwhile.
    pub(super) fn sets(&self) -> u64 {
        self.sets
    }

    /// The times as this mount knows them. What was noted in an earlier state says nothing: a change moves
    /// the next time anyway, and may have set it back.
    fn known(&self, times: Times) -> Times {
        let same = self.last.filter(|(_, version)| *version == times.version);
        let atime = same.map_or(times.atime, |(at, _)| at.max(times.atime));
        Times { atime, ..times }
    }
}

/// Accesses by file. A file may be among both.
#[derive(Debug, Default)]
struct Noted {
    /// Those that the engine is to be told of.
    waiting: HashMap<Ino, Timestamp>,
    /// Those that it is being told of, and has been told of in the last round: attributes that were asked
    /// for before may be answered after it.
    told: HashMap<Ino, Timestamp>,
}

impl Noted {
    /// A file's time of access with what is noted.
    fn over(&self, ino: Ino, atime: Timestamp) -> Timestamp {
        let noted = [&self.told, &self.waiting];
        let noted = noted.into_iter().filter_map(|noted| noted.get(&ino));
        noted.copied().fold(atime, Timestamp::max)
    }

    /// Gives whether one more command is full, if there was room.
    ///
    /// Files are told as soon as a command is full of them, so there is none only while the engine does not
    /// answer. Then the new access is left out, as no reader may wait for it; the file's next one is noted.
    fn note(&mut self, ino: Ino, at: Timestamp) -> Option<bool> {
        let has_room = self.waiting.len() < FILES_MAX;
        if let Some(known) = self.waiting.get_mut(&ino) {
            *known = at.max(*known);
            return Some(false);
        }
        has_room.then(|| {
            self.waiting.insert(ino, at);
            self.waiting.len().is_multiple_of(ACCESSED_MAX)
        })
    }
}

/// The accesses of all files that the engine may not know of.
#[derive(Debug)]
pub(super) struct AccessTimes {
    mode: AtimeMode,
    /// Whether listings move the times of directories.
    of_directories: bool,
    noted: Mutex<Noted>,
    /// Held while the engine is told.
    telling: tokio::sync::Mutex<()>,
    /// The engine did not take them in: until then it is not asked again.
    rests_until: Mutex<Option<Instant>>,
    /// Whether the log says so.
    is_told: AtomicBool,
}

impl AccessTimes {
    pub(super) fn new(options: &VfsOptions) -> Self {
        let mode = match options.read_only {
            true => AtimeMode::Noatime,
            false => options.atime_mode,
        };
        Self {
            mode,
            of_directories: options.directory_atimes,
            noted: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            rests_until: Mutex::default(),
            is_told: AtomicBool::new(false),
        }
    }

    /// Whether reads move times at all.
    pub(super) fn are_kept(&self) -> bool {
        self.mode != AtimeMode::Noatime && !self.rests()
    }

    fn rests(&self) -> bool {
        let mut until = self.rests_until.lock();
        let rests = until.is_some_and(|until| until > Instant::now());
        if !rests {
            *until = None;
        }
        rests
    }

    /// Whether listings do.
    pub(super) fn are_kept_of_directories(&self) -> bool {
        self.of_directories && self.are_kept()
    }

    /// Attributes with what is noted: all that this mount shows come through here.
    pub(super) fn over(&self, attr: Attr) -> Attr {
        if !self.are_kept() {
            return attr;
        }
        let atime = self.noted.lock().over(attr.ino, attr.atime);
        Attr { atime, ..attr }
    }

    /// A file was read. Gives whether so many wait that the engine is to be told now.
    fn access(&self, ino: Ino, accesses: &mut Accesses, times: Times, now: Timestamp) -> bool {
        let times = accesses.known(times);
        if !self.mode.moves(times, now) {
            return false;
        }
        let mut noted = self.noted.lock();
        if self.rests() {
            return false;
        }
        // Through another handle it may have been noted already.
        let atime = noted.over(ino, times.atime);
        let times = Times { atime, ..times };
        if !self.mode.moves(times, now) {
            accesses.last = Some((times.atime, times.version));
            return false;
        }
        // What is read after a change is read later than that, also where the clocks of this machine and of
        // the engine differ.
        let at = now.max(times.version.next());
        let is_full = noted.note(ino, at);
        if is_full.is_some() {
            accesses.last = Some((at, times.version));
        }
        is_full == Some(true)
    }

    /// Takes back what is noted of a file, and waits for what is on its way.
    async fn withdraw(&self, ino: Ino) -> Option<Timestamp> {
        let withdrawn = {
            let mut noted = self.noted.lock();
            let waiting = noted.waiting.remove(&ino);
            if !noted.told.contains_key(&ino) {
                return waiting;
            }
            waiting
        };
        let _nobody_tells = self.telling.lock().await;
        let mut noted = self.noted.lock();
        noted.told.remove(&ino);
        // What could not be told waits again.
        let again = noted.waiting.remove(&ino);
        withdrawn.max(again)
    }

    /// Whether there is something to tell, or to forget that was told.
    fn are_some(&self) -> bool {
        let noted = self.noted.lock();
        !noted.waiting.is_empty() || !noted.told.is_empty()
    }

    /// All that wait, for who tells the engine. What it was told of before is forgotten.
    fn take(&self) -> Vec<(Ino, Timestamp)> {
        let mut noted = self.noted.lock();
        noted.told = std::mem::take(&mut noted.waiting);
        noted.told.iter().map(|(ino, at)| (*ino, *at)).collect()
    }

    /// These could not be told: they wait for the next round, as far as there is room.
    fn put_back(&self, files: &[(Ino, Timestamp)]) {
        let mut noted = self.noted.lock();
        for (ino, at) in files {
            noted.note(*ino, *at);
        }
    }

    /// The engine does not take them in, which is said once. For a while the mount is one without: the
    /// volume may come to another level.
    fn rest(&self, error: &VfsError) {
        let mut noted = self.noted.lock();
        *self.rests_until.lock() = Some(Instant::now() + REST);
        *noted = Noted::default();
        drop(noted);
        if !self.is_told.swap(true, Relaxed) {
            tracing::warn!(
                %error,
                mode = self.mode.name(),
                "reads move no access times on this mount as long as the engine does not take them in; if it \
                 or the volume is of an earlier version, upgrade"
            );
        }
    }
}

impl Core {
    /// A file was read by who began to when its times had been set so often.
    pub(super) fn accessed(self: &Arc<Self>, handle: &FileHandle, sets: u64) {
        if handle.noatime || !self.access_times.are_kept() {
            return;
        }
        let mut state = handle.inode.lock();
        // The kernel reads ahead in the background: a program may have read what it wanted, and set the
        // time back, before that ends.
        if state.accesses.sets() != sets {
            return;
        }
        let times = state.times();
        let accesses = &mut state.accesses;
        let are_many = self
            .access_times
            .access(handle.inode.ino, accesses, times, now());
        drop(state);
        if are_many {
            self.tell_accesses_soon();
        }
    }

    /// A file was read that is open no longer than that, or a directory.
    pub(super) fn accessed_as(self: &Arc<Self>, attr: &Attr, accesses: &mut Accesses) {
        let times = Times::of(attr);
        if self.access_times.access(attr.ino, accesses, times, now()) {
            self.tell_accesses_soon();
        }
    }

    /// A program is about to set a file's time of access. What was read before is not told after that: gives
    /// what was taken back.
    pub(super) async fn atime_is_set(&self, ino: Ino) -> Option<Timestamp> {
        if !self.access_times.are_kept() {
            return None;
        }
        self.count_set(ino);
        self.access_times.withdraw(ino).await
    }

    /// It has, or was refused: then what was taken back holds.
    pub(super) fn atime_was_set(
        &self,
        ino: Ino,
        taken_back: Option<Timestamp>,
        ended: &Result<Attr, VfsError>,
    ) {
        if !self.access_times.are_kept() {
            return;
        }
        self.count_set(ino);
        if let (Some(at), Err(VfsError::Refused(_))) = (taken_back, ended) {
            self.access_times.put_back(&[(ino, at)]);
        }
    }

    fn count_set(&self, ino: Ino) {
        if let Some(inode) = self.inodes.get(ino) {
            inode.lock().accesses.sets += 1;
        }
    }

    /// Tells the engine in the background, if there is something to tell.
    pub(super) fn tell_accesses_soon(self: &Arc<Self>) {
        if !self.access_times.are_some() {
            return;
        }
        let core = Arc::clone(self);
        tokio::spawn(async move {
            // If somebody tells already, the rest comes with the next round.
            if let Ok(_telling) = core.access_times.telling.try_lock() {
                core.tell_accesses().await;
            }
        });
    }

    /// Tells the engine before the session ends, if it answers soon.
    pub(super) async fn tell_last_accesses(&self) {
        if !self.access_times.are_some() {
            return;
        }
        let last = async {
            let _telling = self.access_times.telling.lock().await;
            self.tell_accesses().await;
        };
        if tokio::time::timeout(LAST_WITHIN, last).await.is_err() {
            tracing::warn!("the engine was not told in time when files were read last");
        }
    }

    /// Tells the engine all that wait now.
    async fn tell_accesses(&self) {
        let round = self.access_times.take();
        let mut rest = round.as_slice();
        while !rest.is_empty() {
            let (files, later) = rest.split_at(rest.len().min(ACCESSED_MAX));
            let operation = Operation::Accessed {
                files: files.to_vec(),
            };
            match self.meta.execute(&Caller::root(), operation).await {
                Ok(_done) => {}
                Err(
                    error @ (VfsError::NotUnderstood(_)
                    | VfsError::Refused(Refusal::NotSupported | Refusal::Mirror)),
                ) => return self.access_times.rest(&error),
                Err(VfsError::Refused(refusal)) => {
                    tracing::warn!(%refusal, "the engine did not take in when files were read");
                }
                // To tell it twice does no harm.
                Err(error) => {
                    tracing::debug!(%error, "the engine is told later when files were read");
                    return self.access_times.put_back(rest);
                }
            }
            rest = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::FileKind;

    const FILE: Ino = Ino(7);

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    fn times(atime: i64, changed: i64) -> Times {
        Times {
            atime: at(atime),
            changed: at(changed),
            version: at(changed),
        }
    }

    fn attr(atime: i64, changed: i64) -> Attr {
        Attr {
            ino: FILE,
            kind: FileKind::Regular,
            mode: 0o644,
            uid: 0,
            gid: 0,
            rdev: 0,
            nlink: 1,
            length: 0,
            atime: at(atime),
            mtime: at(changed),
            ctime: at(changed),
            parent: Ino::ROOT,
            btime: None,
            access_acl: false,
            default_acl: false,
        }
    }

    fn kept(atime_mode: AtimeMode) -> AccessTimes {
        AccessTimes::new(&VfsOptions {
            atime_mode,
            ..VfsOptions::default()
        })
    }

    /// A file is read that has been open since.
    fn read(access_times: &AccessTimes, accesses: &mut Accesses, attr: &Attr, now: i64) -> bool {
        access_times.access(attr.ino, accesses, Times::of(attr), at(now))
    }

    #[test]
    fn reads_move_the_time_where_linux_moves_it() {
        use AtimeMode::{Noatime, Relatime, Strictatime};
        let day = DAY_SECONDS;
        for (mode, atime, changed, now, moves) in [
            (Noatime, 1, 2, 3, false),
            (Strictatime, 2, 1, 3, true),
            (Relatime, 1, 2, 3, true),
            (Relatime, 2, 2, 3, true),
            (Relatime, 3, 2, 4, false),
            (Relatime, 3, 2, 2 + day, false),
            (Relatime, 3, 2, 3 + day, true),
            (Relatime, i64::MAX, 2, 3, false),
            (Relatime, i64::MIN, i64::MIN, i64::MAX, true),
        ] {
            let case = (mode, atime, changed, now);
            let times = times(atime, changed);
            assert_eq!(mode.moves(times, at(now)), moves, "{case:?}");
        }
    }

    #[test]
    fn what_is_noted_is_shown_until_the_round_after_it_was_told() {
        let kept = kept(AtimeMode::Relatime);
        let (mut accesses, file) = (Accesses::default(), attr(10, 10));
        read(&kept, &mut accesses, &file, 20);
        assert_eq!(kept.over(file.clone()).atime, at(20));
        assert_eq!(kept.over(attr(30, 10)).atime, at(30), "never back");
        assert_eq!(kept.take(), [(FILE, at(20))]);
        assert_eq!(kept.over(file.clone()).atime, at(20), "it is on its way");
        // Neither the same handle nor another one moves it again.
        read(&kept, &mut accesses, &file, 21);
        read(&kept, &mut Accesses::default(), &file, 22);
        assert!(kept.take().is_empty());
        assert_eq!(kept.over(file.clone()).atime, at(10), "the engine shows it");
        read(&kept, &mut accesses, &file, 23);
        assert!(!kept.are_some(), "the handle knows of it");
        read(&kept, &mut accesses, &attr(20, 24), 25);
        assert_eq!(kept.take(), [(FILE, at(25))], "it was changed");
    }

    #[test]
    fn what_is_read_after_a_change_is_read_later_by_any_clock() {
        let kept = kept(AtimeMode::Relatime);
        let file = attr(100, 100);
        read(&kept, &mut Accesses::default(), &file, 5);
        assert_eq!(kept.take(), [(FILE, at(100).next())]);
    }

    #[test]
    fn one_mount_notes_so_many_files_and_not_more() {
        let kept = kept(AtimeMode::Strictatime);
        let read = |ino: u64| {
            let mut accesses = Accesses::default();
            let are_many = kept.access(Ino(ino), &mut accesses, times(1, 1), at(9));
            (are_many, accesses.last.is_some())
        };
        let max = FILES_MAX as u64;
        let told = (1..=max).filter(|ino| read(*ino).0);
        assert_eq!(told.count(), FILES_MAX / ACCESSED_MAX);
        assert_eq!(read(max + 1), (false, false), "its next read is noted");
        assert_eq!(kept.take().len(), FILES_MAX);
        assert_eq!(read(max + 1), (false, true));
    }

    #[tokio::test]
    async fn what_a_program_sets_is_not_followed_by_what_was_read_before() {
        use futures::FutureExt as _;
        let kept = kept(AtimeMode::Strictatime);
        let file = attr(10, 10);
        read(&kept, &mut Accesses::default(), &file, 20);
        assert_eq!(kept.withdraw(FILE).await, Some(at(20)));
        assert_eq!(kept.withdraw(FILE).await, None);
        assert_eq!(kept.over(file.clone()).atime, at(10));

        read(&kept, &mut Accesses::default(), &file, 21);
        let telling = kept.telling.lock().await;
        let round = kept.take();
        read(&kept, &mut Accesses::default(), &file, 22);
        let mut withdrawn = Box::pin(kept.withdraw(FILE));
        assert!(withdrawn.as_mut().now_or_never().is_none(), "it waits");
        kept.put_back(&round);
        drop(telling);
        assert_eq!(withdrawn.await, Some(at(22)));
        assert_eq!(kept.over(file).atime, at(10));
        assert!(!kept.are_some());
    }

    #[test]
    fn who_was_refused_notes_and_shows_nothing() {
        let kept = kept(AtimeMode::Strictatime);
        let file = attr(10, 10);
        read(&kept, &mut Accesses::default(), &file, 20);
        kept.rest(&Refusal::NotSupported.into());
        assert_eq!(kept.over(file.clone()).atime, at(10));
        read(&kept, &mut Accesses::default(), &file, 21);
        assert!(!kept.are_some() && !kept.are_kept());
    }

    #[test]
    fn a_mount_that_changes_nothing_moves_no_times() {
        let kept = AccessTimes::new(&VfsOptions {
            read_only: true,
            atime_mode: AtimeMode::Strictatime,
            ..VfsOptions::default()
        });
        assert!(!kept.are_kept());
        read(&kept, &mut Accesses::default(), &attr(1, 1), 2);
        assert!(!kept.are_some());
    }
}
