//! Changes of this client's own.

use super::events::Moment;
use super::file::{File, Named};
use super::{LeaseCache, State, Told};
use meta_core::attr::{Attr, FileKind};
use meta_core::changes::Changes;
use meta_core::command::Operation;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Success;
use std::sync::Arc;

/// A change of this client's own: until it is dropped, nothing that it changes is cached.
#[derive(Debug)]
pub(crate) struct OwnChange {
    cache: Arc<LeaseCache>,
    begun: Moment,
    /// The leases that there were when it began.
    link: Option<u64>,
    generation: u64,
    files: Vec<Ino>,
    names: Vec<(Ino, Name)>,
}

impl OwnChange {
    /// The files of which nothing is answered from the cache until the end.
    pub(crate) fn dropped(&self) -> Vec<u64> {
        self.files.iter().map(|ino| ino.0).collect()
    }

    /// It is done, and what was told with its reply is as current as the leases that it was told
    /// under.
    pub(crate) fn done(&self, success: &Success, told: Option<Told>) {
        let mut state = self.cache.state.lock();
        let Told {
            granted,
            directories,
        } = told.unwrap_or_default();
        if let Success::Entry { attr, created } = success {
            if let Some(granted) = granted
                && state.admit(&granted)
                && state.events.remembers(self.begun)
            {
                state.learn_made(self.begun, attr, *created, &granted.grant);
                state.bound();
            }
            self.learn_name(&mut state, attr.ino);
        }
        // A directory's lease outlives a recall, and the change that it was for may not be done yet: it
        // is known from what the leader tells alone.
        if let Success::Attr(attr)
        | Success::Appended { attr, .. }
        | Success::Fallocated { attr, .. }
        | Success::Copied { attr, .. } = success
            && attr.kind != FileKind::Directory
        {
            self.learn_attr(&mut state, attr);
        }
        for attr in &directories {
            self.learn_attr(&mut state, attr);
        }
    }

    /// Whether the leases are those that there were when it began: under others, what happened in
    /// between was not told.
    fn is_under_the_same(&self, state: &State) -> bool {
        state.link == self.link && state.generation == self.generation
    }

    /// The one new name leads to this file. A directory under a lease knows that from now on.
    fn learn_name(&self, state: &mut State, ino: Ino) {
        if let [(parent, name)] = self.names.as_slice() {
            let ours = state.events.name_is_ours(*parent, name, self.begun);
            let kept = state.events.file_is_kept(*parent, self.begun);
            if ours && kept && self.is_under_the_same(state) {
                let named = Named::Present(ino);
                state.with(*parent, |file| file.learn_name(name.clone(), named));
            }
        }
    }

    /// The attributes of what this alone has changed, of a file whose lease was kept.
    fn learn_attr(&self, state: &mut State, attr: &Attr) {
        let ours = state.events.file_is_ours(attr.ino, self.begun);
        let kept = state.events.file_is_kept(attr.ino, self.begun);
        if ours && kept && attr.nlink > 0 && self.is_under_the_same(state) {
            state.with(attr.ino, |file| file.learn_attr(attr));
        }
    }

    /// It may be done later yet: what it changes is not cached as long as this stream lasts.
    pub(crate) fn in_doubt(mut self) {
        let what = (
            std::mem::take(&mut self.files),
            std::mem::take(&mut self.names),
        );
        self.cache.state.lock().doubtful.push(what);
    }
}

impl Drop for OwnChange {
    fn drop(&mut self) {
        let mut state = self.cache.state.lock();
        state.events.end(&self.files, &self.names);
        state.totals.change_ends();
    }
}

impl LeaseCache {
    /// A change of this client's own begins.
    pub(crate) fn change(self: &Arc<Self>, operation: &Operation) -> OwnChange {
        let mut changes = Changes::of(operation);
        let mut state = self.state.lock();
        if changes.behind {
            changes.files = state.behind(&changes.names);
        }
        for ino in &changes.files {
            state.with(*ino, File::attr_changes);
        }
        for ino in &changes.directories {
            let names = changes.names.iter();
            let names = names.filter(|(parent, _)| parent == ino).map(|(_, n)| n);
            state.with(*ino, |file| file.names_change(names));
        }
        let Changes {
            mut files,
            directories,
            names,
            ..
        } = changes;
        files.extend(directories);
        files.sort_unstable();
        files.dedup();
        state.events.begin(&files, &names);
        state.totals.change_begins();
        OwnChange {
            cache: Arc::clone(self),
            begun: state.events.now(),
            link: state.link,
            generation: state.generation,
            files,
            names,
        }
    }
}
