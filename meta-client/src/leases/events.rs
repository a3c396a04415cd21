//! When files and names last changed, as far as this client must know to cache nothing old.
//!
//! Answers arrive in any order, and a recall may overtake the answer that it is about. So each question
//! notes the time of this clock when it begins, and its answer is cached only for files and names
//! without an event since: no recall came, and no change of this client's own was under way.

use meta_core::ids::Ino;
use meta_core::name::Name;
use std::collections::HashMap;
use std::hash::Hash;

/// Files and names remembered, each; with more, all questions under way are too old to be cached.
const REMEMBERED_MAX: usize = 8192;

/// A time of the clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Moment(u64);

#[derive(Clone, Copy, Debug, Default)]
struct Event {
    /// Changes of this client's own under way.
    busy: u32,
    last: Moment,
    /// When its lease was given up last: changes since then were not told.
    released: Moment,
}

/// The clock and what happened lately.
#[derive(Debug, Default)]
pub(super) struct Events {
    now: Moment,
    /// Everything up to here is forgotten.
    forgotten: Moment,
    files: HashMap<Ino, Event>,
    names: HashMap<(Ino, Name), Event>,
}

fn tick(now: &mut Moment) -> Moment {
    now.0 += 1;
    *now
}

impl Events {
    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// Whether anything of a question that began then can be cached.
    pub(super) fn remembers(&self, begun: Moment) -> bool {
        begun >= self.forgotten
    }

    /// Whether a file had no event since.
    pub(super) fn file_is_quiet(&self, ino: Ino, begun: Moment) -> bool {
        quiet(&self.files, &ino, begun)
    }

    /// Whether a name had no event since.
    pub(super) fn name_is_quiet(&self, parent: Ino, name: &Name, begun: Moment) -> bool {
        quiet(&self.names, &(parent, name.clone()), begun)
    }

    /// Whether the lease of a file was not given up since.
    pub(super) fn file_is_kept(&self, ino: Ino, begun: Moment) -> bool {
        let event = self.files.get(&ino);
        event.is_none_or(|event| event.released <= begun)
    }

    /// Whether nothing happened to a file since but the one change that is under way.
    pub(super) fn file_is_ours(&self, ino: Ino, begun: Moment) -> bool {
        let event = self.files.get(&ino);
        event.is_some_and(|event| event.busy == 1 && event.last <= begun)
    }

    /// Whether nothing happened to a name since but the one change that is under way.
    pub(super) fn name_is_ours(&self, parent: Ino, name: &Name, begun: Moment) -> bool {
        let event = self.names.get(&(parent, name.clone()));
        event.is_some_and(|event| event.busy == 1 && event.last <= begun)
    }

    pub(super) fn file_released(&mut self, ino: Ino) {
        let at = tick(&mut self.now);
        self.files.entry(ino).or_default().released = at;
    }

    pub(super) fn file_changed(&mut self, ino: Ino) {
        let at = tick(&mut self.now);
        self.files.entry(ino).or_default().last = at;
        self.bound();
    }

    pub(super) fn name_changed(&mut self, parent: Ino, name: Name) {
        let at = tick(&mut self.now);
        self.names.entry((parent, name)).or_default().last = at;
        self.bound();
    }

    pub(super) fn begin(&mut self, files: &[Ino], names: &[(Ino, Name)]) {
        for ino in files {
            self.files.entry(*ino).or_default().busy += 1;
        }
        for name in names {
            self.names.entry(name.clone()).or_default().busy += 1;
        }
    }

    pub(super) fn end(&mut self, files: &[Ino], names: &[(Ino, Name)]) {
        let at = tick(&mut self.now);
        for ino in files {
            end(&mut self.files, ino, at);
        }
        for name in names {
            end(&mut self.names, name, at);
        }
        self.bound();
    }

    /// All that is known is void: nothing that was asked before is cached.
    pub(super) fn forget(&mut self) {
        self.forgotten = tick(&mut self.now);
        self.files.retain(|_, event| event.busy > 0);
        self.names.retain(|_, event| event.busy > 0);
    }

    fn bound(&mut self) {
        if self.files.len() > REMEMBERED_MAX || self.names.len() > REMEMBERED_MAX {
            self.forget();
        }
    }
}

fn quiet<K: Hash + Eq>(events: &HashMap<K, Event>, key: &K, begun: Moment) -> bool {
    let event = events.get(key);
    event.is_none_or(|event| event.busy == 0 && event.last <= begun)
}

fn end<K: Hash + Eq>(events: &mut HashMap<K, Event>, key: &K, at: Moment) {
    if let Some(event) = events.get_mut(key) {
        event.busy = event.busy.saturating_sub(1);
        event.last = at;
    }
}
