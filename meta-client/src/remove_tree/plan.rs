//! What is known of a tree that is being removed, and what is to be asked next. It asks nobody itself.

use super::{Doomed, Stays, TreeEvent};
use crate::error::{ClientError, Failure};
use meta_core::attr::FileKind;
use meta_core::ids::{DentryNumber, Ino};
use meta_core::limits::REMOVE_ENTRIES_MAX;
use meta_core::name::Name;
use meta_core::outcome::{Refusal, Removal};
use meta_core::query::DirEntry;
use std::collections::BinaryHeap;

/// Names of one page of a listing, while few names are kept.
const PAGE: u32 = 1024;
/// Names that are kept before pages get short.
const KEPT_MAX: usize = 64 << 10;
/// Names of a short page.
const SHORT_PAGE: u32 = 16;
/// A directory in which new names appear is listed so many times more.
const AGAIN_MAX: u32 = 4;

/// A directory's place in the plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct DirectoryId(usize);

/// A directory whose names go.
#[derive(Debug)]
struct Directory {
    /// `None` for the one that holds what is to be removed.
    above: Option<DirectoryId>,
    entry: Entry,
    depth: u32,
    cursor: DentryNumber,
    /// Whether there are no pages to come.
    is_listed: bool,
    /// Whether a page was asked for, or will be at the next turn.
    page_is_coming: bool,
    /// Directories in it that were not begun.
    waiting: Vec<Entry>,
    /// Directories in it that are empty.
    emptied: Vec<Entry>,
    /// Directories in it that were begun, and its own requests that did not end.
    under_way: usize,
    /// Something in it stays, and so does it.
    stays: bool,
    /// That it cannot be searched was told.
    is_told: bool,
}

/// A directory as its own directory names it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    name: Name,
    ino: Ino,
    /// How often it was found not to be empty.
    again: u32,
    not_listed: Option<Refusal>,
}

/// Names of one directory that go together.
#[derive(Debug)]
pub(super) struct Chunk {
    directory: DirectoryId,
    pub(super) parent: Ino,
    what: What,
}

#[derive(Debug)]
enum What {
    Files(Vec<Name>),
    Directories(Vec<Entry>),
}

impl Chunk {
    pub(super) fn names(&self) -> Vec<Name> {
        match &self.what {
            What::Files(names) => names.clone(),
            What::Directories(entries) => entries.iter().map(|entry| entry.name.clone()).collect(),
        }
    }

    pub(super) fn is_of_directories(&self) -> bool {
        matches!(self.what, What::Directories(_))
    }

    fn len(&self) -> usize {
        match &self.what {
            What::Files(names) => names.len(),
            What::Directories(entries) => entries.len(),
        }
    }
}

/// A page of a listing.
pub(super) struct Page {
    pub(super) entries: Vec<DirEntry>,
    pub(super) end: bool,
}

/// A request to make.
#[derive(Debug)]
pub(super) enum Step {
    List {
        directory: DirectoryId,
        ino: Ino,
        after: DentryNumber,
        entries_max: u32,
    },
    Remove(Chunk),
}

/// What a directory can go on with. Of equal depth, one that is begun takes away what is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Turn {
    NextPage,
    Begin,
}

/// The whole removal.
#[derive(Debug)]
pub(super) struct Plan {
    directories: Vec<Directory>,
    /// Places of directories that are done with.
    free: Vec<DirectoryId>,
    /// The deepest directory first.
    turns: BinaryHeap<(u32, Turn, DirectoryId)>,
    chunks: Vec<Chunk>,
    /// Names in `chunks`, and of directories that wait.
    kept: usize,
}

const TOP: DirectoryId = DirectoryId(0);

impl Plan {
    /// Of a name of anything but a directory.
    pub(super) fn of_file(doomed: Doomed) -> Self {
        let mut plan = Self::new(&doomed);
        plan.push_chunk(TOP, What::Files(vec![doomed.name]));
        plan
    }

    pub(super) fn of_directory(doomed: Doomed, ino: Ino) -> Self {
        let mut plan = Self::new(&doomed);
        plan.wait(TOP, Entry::new(doomed.name, ino));
        plan
    }

    fn new(doomed: &Doomed) -> Self {
        let mut top = Directory::new(None, Entry::new(doomed.name.clone(), doomed.parent), 0);
        top.is_listed = true;
        Self {
            directories: vec![top],
            free: Vec::new(),
            turns: BinaryHeap::new(),
            chunks: Vec::new(),
            kept: 0,
        }
    }

    fn at(&mut self, id: DirectoryId) -> &mut Directory {
        &mut self.directories[id.0]
    }

    /// What to ask next. `None` until something ends, or for good when nothing is under way.
    pub(super) fn next(&mut self) -> Option<Step> {
        if let Some(chunk) = self.chunks.pop() {
            self.kept -= chunk.len();
            return Some(Step::Remove(chunk));
        }
        let (_, turn, id) = self.turns.pop()?;
        Some(match turn {
            Turn::NextPage => self.list(id),
            Turn::Begin => {
                let begun = self.begin(id)?;
                self.list(begun)
            }
        })
    }

    /// Begins the last of the directories that wait in another one.
    fn begin(&mut self, above: DirectoryId) -> Option<DirectoryId> {
        let holder = self.at(above);
        let depth = holder.depth + 1;
        let entry = holder.waiting.pop()?;
        holder.under_way += 1;
        self.kept -= 1;
        self.take_turn(above);
        let mut directory = Directory::new(Some(above), entry, depth);
        directory.page_is_coming = true;
        directory.under_way = 1;
        let id = match self.free.pop() {
            Some(id) => {
                *self.at(id) = directory;
                id
            }
            None => {
                self.directories.push(directory);
                DirectoryId(self.directories.len() - 1)
            }
        };
        Some(id)
    }

    fn list(&mut self, id: DirectoryId) -> Step {
        let few = self.kept < KEPT_MAX;
        let directory = self.at(id);
        Step::List {
            directory: id,
            ino: directory.entry.ino,
            after: directory.cursor,
            entries_max: if few { PAGE } else { SHORT_PAGE },
        }
    }

    /// Notes what a directory can go on with by itself.
    fn take_turn(&mut self, id: DirectoryId) {
        let directory = self.at(id);
        let turn = if !directory.waiting.is_empty() {
            Turn::Begin
        } else if !directory.is_listed && !directory.page_is_coming {
            directory.page_is_coming = true;
            directory.under_way += 1;
            Turn::NextPage
        } else {
            return;
        };
        let depth = directory.depth;
        self.turns.push((depth, turn, id));
    }

    /// Has a directory wait in the one that holds it.
    fn wait(&mut self, holder: DirectoryId, entry: Entry) {
        self.kept += 1;
        let waiting = &mut self.at(holder).waiting;
        waiting.push(entry);
        // With others before it, its holder has a turn already.
        if waiting.len() == 1 {
            self.take_turn(holder);
        }
    }

    fn push_chunk(&mut self, id: DirectoryId, what: What) {
        let directory = self.at(id);
        directory.under_way += 1;
        let chunk = Chunk {
            directory: id,
            parent: directory.entry.ino,
            what,
        };
        self.kept += chunk.len();
        self.chunks.push(chunk);
    }

    /// Takes in a page of a directory, or why there is none.
    pub(super) fn listed(&mut self, id: DirectoryId, page: Result<Page, Refusal>) {
        let directory = self.at(id);
        directory.page_is_coming = false;
        directory.under_way -= 1;
        match page {
            Ok(Page { entries, end }) => {
                match entries.last() {
                    Some(last) if !end => directory.cursor = last.number,
                    _ => directory.is_listed = true,
                }
                self.sort(id, entries);
            }
            // It went meanwhile.
            Err(Refusal::NotFound | Refusal::Stale | Refusal::NotDirectory) => {
                directory.is_listed = true;
            }
            Err(refusal) => {
                directory.is_listed = true;
                directory.entry.not_listed = Some(refusal);
            }
        }
        self.settle(id);
    }

    fn sort(&mut self, id: DirectoryId, entries: Vec<DirEntry>) {
        let mut files = Vec::new();
        let mut directories = Vec::new();
        for entry in entries {
            if entry.kind == FileKind::Directory {
                directories.push(Entry::new(entry.name, entry.ino));
            } else {
                files.push(entry.name);
            }
            if files.len() == REMOVE_ENTRIES_MAX {
                self.push_chunk(id, What::Files(std::mem::take(&mut files)));
            }
        }
        if !files.is_empty() {
            self.push_chunk(id, What::Files(files));
        }
        self.kept += directories.len();
        // One that was found not to be empty may wait there, and has the turn.
        let had_turn = !self.at(id).waiting.is_empty();
        self.at(id).waiting.extend(directories);
        if !had_turn {
            self.take_turn(id);
        }
    }

    /// Takes in what came of a chunk.
    ///
    /// # Errors
    /// If the answer is not of its names.
    pub(super) fn removed(
        &mut self,
        chunk: Chunk,
        removals: Result<Vec<Removal>, Refusal>,
        tell: &mut dyn FnMut(TreeEvent),
    ) -> Result<(), ClientError> {
        let id = chunk.directory;
        match removals {
            Ok(removals) if removals.len() != chunk.len() => {
                let why = "an answer about other names".to_owned();
                return Err(Failure::BadReply(why).into());
            }
            Ok(removals) => self.judge(chunk, &removals, tell),
            // The directory went meanwhile, and all in it.
            Err(Refusal::NotFound | Refusal::Stale | Refusal::NotDirectory) => {}
            Err(refusal) => {
                let directory = self.at(id);
                directory.stays = true;
                if !std::mem::replace(&mut directory.is_told, true) {
                    let (path, why) = (self.path(id, None), Stays::Refused(refusal));
                    tell(TreeEvent::Stays { path, why });
                }
            }
        }
        self.at(id).under_way -= 1;
        self.settle(id);
        Ok(())
    }

    fn judge(&mut self, chunk: Chunk, removals: &[Removal], tell: &mut dyn FnMut(TreeEvent)) {
        let is_gone = |removal: &&Removal| matches!(removal, Removal::Removed { .. });
        let gone = removals.iter().filter(is_gone).count() as u64;
        let (files, directories) = if chunk.is_of_directories() {
            (0, gone)
        } else {
            (gone, 0)
        };
        if gone > 0 {
            tell(TreeEvent::Removed { files, directories });
        }
        let id = chunk.directory;
        let refusals = removals.iter().map(|removal| match removal {
            Removal::Removed { .. } | Removal::Refused(Refusal::NotFound) => None,
            Removal::Refused(refusal) => Some(*refusal),
        });
        match chunk.what {
            What::Files(names) => {
                for (name, refusal) in names.into_iter().zip(refusals) {
                    match refusal {
                        None => {}
                        // A directory took its place. Its own will be found not to be empty, and be
                        // listed again.
                        Some(Refusal::NotEmpty) if id != TOP => {}
                        Some(refusal) => self.stays(id, name, Stays::Refused(refusal), tell),
                    }
                }
            }
            What::Directories(entries) => {
                for (entry, refusal) in entries.into_iter().zip(refusals) {
                    if let Some(refusal) = refusal {
                        self.directory_stays(id, entry, refusal, tell);
                    }
                }
            }
        }
    }

    fn directory_stays(
        &mut self,
        id: DirectoryId,
        mut entry: Entry,
        refusal: Refusal,
        tell: &mut dyn FnMut(TreeEvent),
    ) {
        let why = match (refusal, entry.not_listed) {
            (Refusal::NotEmpty, Some(refusal)) => Stays::NotListed(refusal),
            (Refusal::NotEmpty, None) if entry.again < AGAIN_MAX => {
                // Names have come since it was listed.
                entry.again += 1;
                return self.wait(id, entry);
            }
            (refusal, _) => Stays::Refused(refusal),
        };
        self.stays(id, entry.name, why, tell);
    }

    fn stays(&mut self, id: DirectoryId, name: Name, why: Stays, tell: &mut dyn FnMut(TreeEvent)) {
        self.at(id).stays = true;
        let path = self.path(id, Some(name));
        tell(TreeEvent::Stays { path, why });
    }

    /// The names from the one that was to be removed to a name in a directory, or to the directory.
    fn path(&self, id: DirectoryId, name: Option<Name>) -> Vec<Name> {
        let mut path: Vec<Name> = name.into_iter().collect();
        let mut at = &self.directories[id.0];
        while let Some(above) = at.above {
            path.push(at.entry.name.clone());
            at = &self.directories[above.0];
        }
        if path.is_empty() {
            // The directory above all cannot be searched: then what was to be removed stays.
            path.push(at.entry.name.clone());
        }
        path.reverse();
        path
    }

    /// Goes on with a directory whose own requests may have ended, and then with those above it.
    fn settle(&mut self, mut id: DirectoryId) {
        loop {
            let directory = self.at(id);
            if directory.under_way > 0 || !directory.waiting.is_empty() || !directory.is_listed {
                return;
            }
            if !directory.emptied.is_empty() {
                let emptied = std::mem::take(&mut directory.emptied);
                return self.push_chunk(id, What::Directories(emptied));
            }
            let Some(above) = directory.above else { return };
            let (entry, stays) = (directory.entry.clone(), directory.stays);
            self.free.push(id);
            let holder = self.at(above);
            holder.under_way -= 1;
            holder.stays |= stays;
            if !stays {
                holder.emptied.push(entry);
            }
            if holder.emptied.len() == REMOVE_ENTRIES_MAX {
                let emptied = std::mem::take(&mut holder.emptied);
                self.push_chunk(above, What::Directories(emptied));
            }
            id = above;
        }
    }
}

impl Entry {
    fn new(name: Name, ino: Ino) -> Self {
        Self {
            name,
            ino,
            again: 0,
            not_listed: None,
        }
    }
}

impl Directory {
    fn new(above: Option<DirectoryId>, entry: Entry, depth: u32) -> Self {
        Self {
            above,
            entry,
            depth,
            cursor: DentryNumber(0),
            is_listed: false,
            page_is_coming: false,
            waiting: Vec::new(),
            emptied: Vec::new(),
            under_way: 0,
            stays: false,
            is_told: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    /// A page of `kind` after a cursor, of a directory with so many names.
    fn page(after: DentryNumber, count_max: u32, of: u64, kind: FileKind) -> Page {
        let last = of.min(after.0 + u64::from(count_max));
        let entry = |number| DirEntry {
            number: DentryNumber(number),
            name: name(&number.to_string()),
            ino: Ino(1_000 + number),
            kind,
            attr: None,
        };
        Page {
            entries: (after.0 + 1..=last).map(entry).collect(),
            end: last == of,
        }
    }

    /// Removes a tree of `names` at each of `levels` levels, of which the last is of files, with so
    /// many requests in flight, answered oldest first. Gives what went, and the most that was kept.
    fn remove(names: u64, levels: u32, in_flight: usize) -> ([u64; 2], usize, usize) {
        let doomed = Doomed {
            parent: Ino::ROOT,
            name: name("top"),
            skip_trash: false,
        };
        let mut plan = Plan::of_directory(doomed, Ino(2));
        let mut running = std::collections::VecDeque::new();
        let (mut gone, mut kept, mut directories_max) = ([0, 0], 0, 0);
        let mut tell = |event| match event {
            TreeEvent::Removed { files, directories } => {
                gone[0] += files;
                gone[1] += directories;
            }
            other => panic!("{other:?}"),
        };
        loop {
            while running.len() < in_flight
                && let Some(step) = plan.next()
            {
                running.push_back(step);
            }
            kept = kept.max(plan.kept);
            directories_max = directories_max.max(plan.directories.len());
            match running.pop_front() {
                None => break,
                Some(Step::List {
                    directory,
                    after,
                    entries_max,
                    ..
                }) => {
                    let is_last = plan.at(directory).depth == levels;
                    let kind = [FileKind::Directory, FileKind::Regular][usize::from(is_last)];
                    plan.listed(directory, Ok(page(after, entries_max, names, kind)));
                }
                Some(Step::Remove(chunk)) => {
                    let removed = vec![Removal::Removed { nlink: 0 }; chunk.len()];
                    plan.removed(chunk, Ok(removed), &mut tell).expect("of it");
                }
            }
        }
        (gone, kept, directories_max)
    }

    #[test]
    fn what_is_kept_does_not_grow_with_the_names_of_a_directory() {
        for in_flight in [1, 50] {
            let (gone, kept, directories) = remove(1_000_000, 1, in_flight);
            assert_eq!(gone, [1_000_000, 1]);
            assert!(kept <= 60 * PAGE as usize, "{kept} names");
            assert_eq!(directories, 2);
            let (gone, kept, directories) = remove(3_000, 2, in_flight);
            assert_eq!(gone, [3_000 * 3_000, 3_001]);
            assert!(kept <= 120 * PAGE as usize, "{kept} names");
            assert!(directories <= 2 + in_flight, "{directories} directories");
        }
    }

    #[test]
    fn what_is_kept_grows_with_the_depth_of_a_tree() {
        for in_flight in [1, 50] {
            let (gone, kept, directories) = remove(4, 9, in_flight);
            assert_eq!(gone, [4_u64.pow(9), (4_u64.pow(9) - 1) / 3]);
            assert!(kept <= 4 * 9 * (in_flight + 1), "{kept} names");
            assert!(directories <= 10 * (in_flight + 1), "{directories}");
        }
    }
}
