//! What a session may answer from memory: files under leases of the leader.
//!
//! What is cached is current until the leader asks to forget it (a recall), or the leases end by
//! time, or the stream to the leader breaks. See `docs/SEMANTICS.md`, "Leases", for the promise,
//! and `meta-server/src/leases` for the other side.

mod contents;
mod events;
mod file;
mod own;
mod paths;
mod renew;
mod totals;

pub(crate) use events::Moment;
pub(crate) use renew::renew_all;

use crate::link::Link;
use events::Events;
use file::{File, Named};
use meta_core::acl::AclKind;
use meta_core::attr::{Attr, Caller, FileKind};
use meta_core::ids::{DentryNumber, Ino, SessionId};
use meta_core::limits::READDIR_ENTRIES_MAX;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody, VolumeStat};
use meta_core::read::{may_get_xattr, may_open, may_search};
use parking_lot::{Mutex, RwLock};
use proto::convert::Convert;
use proto::v1;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use totals::{Asked, Totals};

/// Files and names cached, at most: about 250 bytes each.
const WEIGHT_MAX: usize = 262_144;

/// What is handed on is shown by somebody else for so long at most. A leader that is new waits so
/// long for it, and it bounds what a kernel shows of a mount that stands still.
const HAND_ON_MAX: Duration = Duration::from_millis(500);

/// What somebody else has to forget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// The file.
    pub ino: Ino,
    /// Its attributes.
    pub attr: bool,
    /// Names in it.
    pub names: Vec<Name>,
}

/// How long somebody else, such as a kernel, may show an answer without asking again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HandedOn {
    /// That the name leads to the file.
    pub entry: Duration,
    /// The file's attributes.
    pub attr: Duration,
}

/// Has handed on what was answered under a lease, such as to a kernel.
#[tonic::async_trait]
pub trait Forgets: Send + Sync + Debug + 'static {
    /// Forgets what was handed on of these files and names. Until this returns, or its time is
    /// over, they do not change.
    async fn forget(&self, files: Vec<Forgotten>);

    /// A file is about to change, or nothing tells of it any more. Says whether what it contains is
    /// shown, which is for longer than attributes are: then [`Self::forget`] is asked for it.
    fn changes(&self, _ino: Ino) -> bool {
        false
    }

    /// Nothing tells of changes any more, of any file: forgets what they contain.
    async fn forget_contents(&self) {}
}

/// Leases that came with an answer.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) grant: v1::LeaseGrant,
    /// The stream that it came on.
    pub(crate) link: u64,
    pub(crate) session: SessionId,
    /// Before the question was sent.
    pub(crate) asked: Instant,
}

/// What a leader tells with its reply to a change.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// A lease on the file that was made.
    pub(crate) granted: Option<Granted>,
    /// Directories that have other names now.
    pub(crate) directories: Vec<Attr>,
}

impl Told {
    /// Whether its leases are a session's.
    pub(crate) fn is_of(&self, session: SessionId) -> bool {
        let granted = self.granted.as_ref();
        granted.is_none_or(|granted| granted.session == session)
    }
}

/// How well the cache does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeaseStatus {
    /// Files that are cached now.
    pub files: u64,
    /// Questions answered from the cache.
    pub hits: u64,
    /// Recalls answered.
    pub recalls: u64,
}

/// The cache of a session.
#[derive(Debug, Default)]
pub(crate) struct LeaseCache {
    state: Mutex<State>,
    forgets: RwLock<Option<Arc<dyn Forgets>>>,
    hits: AtomicU64,
    recalls: AtomicU64,
}

/// Files and names that a change may change yet.
type Doubtful = (Vec<Ino>, Vec<(Ino, Name)>);

#[derive(Debug, Default)]
struct State {
    /// The stream that the leases were granted on.
    link: Option<u64>,
    generation: u64,
    /// They live as long, by this side's clock.
    expires: Option<Instant>,
    files: HashMap<Ino, File>,
    /// The same by age, for eviction.
    by_age: VecDeque<Ino>,
    weight: usize,
    events: Events,
    /// Until when somebody else shows what was handed on.
    shown_until: Option<Instant>,
    /// Changes that may be done as long as this stream lasts, and that nobody waits for.
    doubtful: Vec<Doubtful>,
    /// Whether leases ended without a recall, and what files contain may still be shown under them.
    lapsed: bool,
    totals: Totals,
}

impl LeaseCache {
    pub(crate) fn status(&self) -> LeaseStatus {
        LeaseStatus {
            files: self.state.lock().files.len() as u64,
            hits: self.hits.load(Ordering::Relaxed),
            recalls: self.recalls.load(Ordering::Relaxed),
        }
    }

    /// Who else has to forget.
    pub(crate) fn set_forgets(&self, forgets: Arc<dyn Forgets>) {
        *self.forgets.write() = Some(forgets);
    }

    /// A stream to a leader is there: what comes on it counts, and nothing before it.
    pub(crate) fn attach(&self, link: u64) {
        let mut state = self.state.lock();
        state.clear();
        // The leader asks before it does what came on an earlier stream.
        for (files, names) in std::mem::take(&mut state.doubtful) {
            state.events.end(&files, &names);
        }
        state.link = Some(link);
        self.tell_lapsed(state);
    }

    /// The stream broke.
    pub(crate) fn detach(&self, link: u64) {
        let mut state = self.state.lock();
        if state.link == Some(link) {
            state.clear();
            state.link = None;
            self.tell_lapsed(state);
        }
    }

    /// A question begins.
    pub(crate) fn begin(&self) -> Moment {
        self.state.lock().events.now()
    }

    /// An answer from memory, if it is known to be current.
    pub(crate) fn answer(
        &self,
        caller: &Caller,
        body: &QueryBody,
    ) -> Option<Result<Answer, Refusal>> {
        let mut state = self.state.lock();
        if !state.is_alive(Instant::now()) {
            return None;
        }
        let answer = state.answer(caller, body)?;
        drop(state);
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    }

    /// Takes in an answer to a question that began at `begun`.
    pub(crate) fn learn(
        &self,
        begun: Moment,
        body: &QueryBody,
        answer: &Result<Answer, Refusal>,
        granted: Granted,
    ) {
        let mut state = self.state.lock();
        if state.admit(&granted) && state.events.remembers(begun) {
            state.learn(begun, body, answer, granted.grant);
            state.bound();
        }
        self.tell_lapsed(state);
    }

    /// Says how long somebody else may show an answer: not at all what is not leased as it is.
    pub(crate) fn hand_on(&self, entry: Option<(Ino, &Name)>, attr: &Attr) -> HandedOn {
        let mut state = self.state.lock();
        let now = Instant::now();
        if !state.is_alive(now) {
            return HandedOn::default();
        }
        state.hand_on(entry, attr, now)
    }

    /// Says how long somebody else who keeps one of a file's ACLs is told when it changes: as of
    /// attributes, and not at all of what is not leased as it is.
    pub(crate) fn hand_on_acl(&self, ino: Ino, kind: AclKind, value: Option<&[u8]>) -> Duration {
        let mut state = self.state.lock();
        let now = Instant::now();
        if !state.is_alive(now) {
            return Duration::ZERO;
        }
        state.hand_on_acl(ino, kind, value, now)
    }

    /// How long what was handed on may be shown yet.
    pub(crate) fn shown_for(&self) -> Duration {
        let until = self.state.lock().shown_until;
        until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }

    /// Has somebody else forget a name that a rename of this client's own has moved, unless the
    /// lease of its directory says when.
    pub(crate) fn moved(&self, parent: Ino, name: &Name) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let until = now + HAND_ON_MAX;
        state.shown_until = state.shown_until.max(Some(until));
        let known = state.with(parent, |file| file.hand_on_name(name, until, now));
        drop(state);
        if known.is_none()
            && let Some(forgets) = self.forgets.read().clone()
        {
            let moved = Forgotten {
                ino: parent,
                attr: false,
                names: vec![name.clone()],
            };
            tokio::spawn(async move { forgets.forget(vec![moved]).await });
        }
    }

    /// A question for more time begins.
    pub(crate) fn ask(&self) -> Asked {
        self.state.lock().totals.ask(Instant::now())
    }

    /// The leases of a generation live longer, or are over.
    pub(crate) fn renewed(&self, link: u64, asked: Asked, of: u64, renewed: v1::LeaseRenewed) {
        let mut state = self.state.lock();
        if state.link != Some(link) || state.generation != of {
            return;
        }
        if renewed.generation == of {
            state.extend(asked.at(), renewed.ttl_ms);
            // Totals that do not fit are asked for when somebody wants them.
            if let Some(Ok(totals)) = renewed.totals.map(Convert::<VolumeStat>::convert) {
                state.totals.learn(asked, totals);
            }
        } else {
            state.clear();
        }
        self.tell_lapsed(state);
    }

    /// The leases that there are: generation, if any.
    pub(crate) fn leases(&self) -> Option<(u64, u64)> {
        let state = self.state.lock();
        let link = state.link?;
        (!state.files.is_empty()).then_some((link, state.generation))
    }

    /// The leader asks to forget some files. Must be called in the order in which the stream
    /// brings its frames.
    pub(crate) fn recall(self: &Arc<Self>, link: &Arc<Link>, recall: v1::Recall) {
        let forgets = self.forgets.read().clone();
        let mut forgotten = Vec::with_capacity(recall.files.len());
        let mut changed = Vec::new();
        let mut released = Vec::new();
        let mut state = self.state.lock();
        for file in recall.files {
            let names = file.names.into_iter();
            // What is no name can be in no cache.
            let names: Vec<Name> = names.filter_map(|name| Name::new(name).ok()).collect();
            let ino = Ino(file.ino);
            if file.all || names.is_empty() {
                changed.push(ino);
            }
            let (kept, shown) = state.recall(ino, file.all, &names);
            if !kept {
                released.push(file.ino);
            }
            forgotten.extend(shown);
        }
        drop(state);
        if let Some(forgets) = &forgets {
            changed.retain(|ino| forgets.changes(*ino));
            contents::add(&mut forgotten, &changed);
        }
        self.recalls.fetch_add(1, Ordering::Relaxed);
        let answer = v1::Recalled {
            session: recall.session,
            number: recall.number,
            released,
        };
        let link = Arc::clone(link);
        tokio::spawn(async move {
            if let Some(forgets) = forgets.filter(|_| !forgotten.is_empty()) {
                // After that time it is not shown any more.
                let told = forgets.forget(forgotten);
                let _in_time = tokio::time::timeout(HAND_ON_MAX, told).await;
            }
            // A stream that broke needs no answer: the leases ended with it.
            let _broken = link.tell(v1::client_frame::Body::Recalled(answer)).await;
        });
    }
}

impl State {
    fn is_alive(&self, now: Instant) -> bool {
        self.link.is_some() && self.expires.is_some_and(|expires| now < expires)
    }

    fn clear(&mut self) {
        self.lapsed |= !self.files.is_empty();
        self.files.clear();
        self.by_age.clear();
        self.weight = 0;
        self.expires = None;
        self.generation = 0;
        self.events.forget();
        self.totals.forget();
    }

    fn extend(&mut self, asked: Instant, ttl_ms: u32) {
        if ttl_ms > 0 {
            let until = asked + Duration::from_millis(u64::from(ttl_ms));
            self.expires = Some(self.expires.map_or(until, |expires| expires.max(until)));
        }
    }

    /// Whether leases of this grant count; extends those that there are.
    fn admit(&mut self, granted: &Granted) -> bool {
        if self.link != Some(granted.link) {
            return false;
        }
        let generation = granted.grant.generation;
        // Generations rise: an answer that was overtaken by the next one is of no use.
        if generation < self.generation {
            return false;
        }
        if generation > self.generation {
            let events = std::mem::take(&mut self.events);
            self.clear();
            // Whatever was asked before is as current as it was: the events are those of the files.
            self.events = events;
            self.generation = generation;
        }
        self.extend(granted.asked, granted.grant.ttl_ms);
        true
    }

    /// The files that are known to be behind some names.
    fn behind(&self, names: &[(Ino, Name)]) -> Vec<Ino> {
        let found =
            names
                .iter()
                .filter_map(|(parent, name)| match self.files.get(parent)?.named(name) {
                    Named::Present(ino) => Some(ino),
                    Named::Absent | Named::Unknown => None,
                });
        found.collect()
    }

    /// Works on a file, if it is known, and keeps account of its weight.
    fn with<T>(&mut self, ino: Ino, work: impl FnOnce(&mut File) -> T) -> Option<T> {
        let file = self.files.get_mut(&ino)?;
        let before = file.weight();
        let done = work(file);
        self.weight = self.weight + file.weight() - before;
        Some(done)
    }

    fn answer(&mut self, caller: &Caller, body: &QueryBody) -> Option<Result<Answer, Refusal>> {
        match body {
            QueryBody::Lookup { parent, name } => self.lookup(caller, *parent, name),
            QueryBody::GetAttr { ino } => self.attr(*ino).map(|attr| Ok(Answer::Attr(attr))),
            QueryBody::GetAttrs { inos } => self.attrs(inos),
            QueryBody::Resolve(asked) => self.resolve(caller, asked),
            QueryBody::Open { ino, read, write } => self.open(caller, *ino, *read, *write),
            QueryBody::ReadDir {
                ino,
                after,
                entries_max,
                with_attrs,
            } => self.list(*ino, *after, *entries_max, *with_attrs),
            QueryBody::GetXattr { ino, name } => self.xattr(caller, *ino, name),
            QueryBody::ListXattr { ino } => self.no_xattrs(*ino),
            QueryBody::ReadLink { ino } => self.target(*ino),
            QueryBody::StatVolume => {
                let totals = self.totals.answer(Instant::now());
                totals.map(|totals| Ok(Answer::Stat(totals)))
            }
            _ => None,
        }
    }

    fn attr(&mut self, ino: Ino) -> Option<Attr> {
        let file = self.files.get_mut(&ino)?;
        let attr = file.attr()?.clone();
        file.touch();
        Some(attr)
    }

    fn lookup(
        &mut self,
        caller: &Caller,
        parent: Ino,
        name: &Name,
    ) -> Option<Result<Answer, Refusal>> {
        let directory = self.files.get_mut(&parent)?;
        let (access, acl) = directory.guard(caller)?;
        if let Err(refusal) = may_search(access, acl.as_ref(), caller) {
            return Some(Err(refusal));
        }
        let found = match directory.named(name) {
            Named::Unknown => return None,
            Named::Absent => Err(Refusal::NotFound),
            Named::Present(ino) => Ok(ino),
        };
        directory.touch();
        match found {
            Ok(ino) => self.attr(ino).map(|attr| Ok(Answer::Attr(attr))),
            Err(refusal) => Some(Err(refusal)),
        }
    }

    fn open(
        &mut self,
        caller: &Caller,
        ino: Ino,
        read: bool,
        write: bool,
    ) -> Option<Result<Answer, Refusal>> {
        let attr = self.attr(ino)?;
        // The leader knows who may hold what has no name.
        if attr.nlink == 0 {
            return None;
        }
        let (_, acl) = self.files.get(&ino)?.guard(caller)?;
        let may = may_open(&attr, acl.as_ref(), caller, read, write);
        Some(may.map(|()| Answer::Attr(attr)))
    }

    /// Who may read which attribute is a matter of mode, owner and ACL.
    fn xattr(&mut self, caller: &Caller, ino: Ino, name: &[u8]) -> Option<Result<Answer, Refusal>> {
        let file = self.files.get_mut(&ino)?;
        let value = file.xattr(name)?;
        let (access, acl) = file.guard(caller)?;
        let value = may_get_xattr(access, acl.as_ref(), caller, name)
            .and_then(|()| value.ok_or(Refusal::NoAttribute));
        let answer = value.map(|value| Answer::Bytes(value.to_vec()));
        file.touch();
        Some(answer)
    }

    fn no_xattrs(&mut self, ino: Ino) -> Option<Result<Answer, Refusal>> {
        let file = self.files.get_mut(&ino)?;
        (file.access().is_some() && file.has_no_xattrs()).then(|| {
            file.touch();
            Ok(Answer::Names(Vec::new()))
        })
    }

    /// The target of a symlink that has a name.
    fn target(&mut self, ino: Ino) -> Option<Result<Answer, Refusal>> {
        let file = self.files.get_mut(&ino)?;
        file.attr()?;
        let target = file.target()?.to_vec();
        file.touch();
        Some(Ok(Answer::Bytes(target)))
    }

    fn list(
        &mut self,
        ino: Ino,
        after: DentryNumber,
        entries_max: u32,
        with_attrs: bool,
    ) -> Option<Result<Answer, Refusal>> {
        let directory = self.files.get_mut(&ino)?;
        // Attributes are kept only of what has a name: the leader deletes the rest without asking.
        directory.access()?;
        let listing = directory.listing()?.clone();
        directory.touch();
        let from = listing
            .entries
            .partition_point(|entry| entry.number <= after);
        let count_max = entries_max.clamp(1, READDIR_ENTRIES_MAX) as usize;
        let rest = &listing.entries[from..];
        let page = &rest[..rest.len().min(count_max)];
        let mut entries = Vec::with_capacity(page.len());
        for entry in page {
            let attr = if with_attrs {
                Some(self.attr(entry.ino)?)
            } else {
                None
            };
            entries.push(entry.entry(attr));
        }
        Some(Ok(Answer::Entries {
            parent: listing.parent,
            entries,
            end: page.len() == rest.len(),
        }))
    }

    fn learn(
        &mut self,
        begun: Moment,
        body: &QueryBody,
        answer: &Result<Answer, Refusal>,
        grant: v1::LeaseGrant,
    ) {
        let refused: HashSet<u64> = grant.refused.into_iter().collect();
        let leased = |ino: Ino| !refused.contains(&ino.0);
        if let Ok(Answer::Attr(attr)) = answer
            && leased(attr.ino)
        {
            self.learn_attr(begun, attr);
        }
        match (body, answer) {
            (QueryBody::Lookup { parent, name }, found) if leased(*parent) => {
                let directory = grant.directory.and_then(|attr| attr.convert().ok());
                self.learn_name(begun, *parent, name, found, directory);
            }
            (
                QueryBody::ReadDir { ino, after, .. },
                Ok(Answer::Entries {
                    parent,
                    entries,
                    end,
                }),
            ) => {
                let with_attrs = entries.iter().filter_map(|entry| entry.attr.as_ref());
                let with_xattrs: HashSet<u64> = grant.with_xattrs.into_iter().collect();
                for attr in with_attrs.filter(|attr| leased(attr.ino)) {
                    self.learn_attr(begun, attr);
                    if grant.xattrs_told && !with_xattrs.contains(&attr.ino.0) {
                        self.learn_more(begun, attr.ino, File::learn_no_xattrs);
                    }
                }
                if leased(*ino) && self.events.file_is_quiet(*ino, begun) {
                    self.hold(*ino);
                    self.with(*ino, |file| file.learn_page(*after, *parent, entries, *end));
                }
            }
            (_, Ok(Answer::Attrs(each))) => {
                let attrs = each.iter().flatten();
                for attr in attrs.filter(|attr| leased(attr.ino)) {
                    self.learn_attr(begun, attr);
                }
            }
            (_, Ok(Answer::Resolved(found))) => self.learn_path(begun, found, &leased),
            (QueryBody::GetXattr { ino, name }, Ok(Answer::Bytes(value))) if leased(*ino) => {
                self.learn_more(begun, *ino, |file| file.learn_xattr(name, Some(value)));
            }
            // Of the superuser's others are told that they are not there.
            (QueryBody::GetXattr { ino, name }, Err(Refusal::NoAttribute))
                if leased(*ino) && !name.starts_with(b"trusted.") =>
            {
                self.learn_more(begun, *ino, |file| file.learn_xattr(name, None));
            }
            (QueryBody::ReadLink { ino }, Ok(Answer::Bytes(target))) if leased(*ino) => {
                self.learn_more(begun, *ino, |file| file.learn_target(target));
            }
            _ => {}
        }
    }

    /// What is known of a file beyond its attributes, and only beside them: they say that it has a
    /// name, without which the leader asks nobody.
    fn learn_more(&mut self, begun: Moment, ino: Ino, learn: impl FnOnce(&mut File)) {
        if self.events.file_is_quiet(ino, begun) {
            self.with(ino, |file| {
                if file.access().is_some() {
                    learn(file);
                }
            });
        }
    }

    /// A file that a change of this client's own has made or opened.
    fn learn_made(&mut self, begun: Moment, attr: &Attr, created: bool, grant: &v1::LeaseGrant) {
        if grant.refused.contains(&attr.ino.0) {
            return;
        }
        self.learn_attr(begun, attr);
        if grant.xattrs_told {
            self.learn_more(begun, attr.ino, File::learn_no_xattrs);
        }
        if created && attr.kind == FileKind::Directory {
            self.learn_more(begun, attr.ino, File::learn_empty);
        }
    }

    fn learn_attr(&mut self, begun: Moment, attr: &Attr) {
        // The leader deletes what has no name without asking.
        if attr.nlink > 0 && self.events.file_is_quiet(attr.ino, begun) {
            self.hold(attr.ino);
            self.with(attr.ino, |file| file.learn_attr(attr));
        }
    }

    fn learn_name(
        &mut self,
        begun: Moment,
        parent: Ino,
        name: &Name,
        found: &Result<Answer, Refusal>,
        directory: Option<Attr>,
    ) {
        let quiet = self.events.file_is_quiet(parent, begun);
        if quiet && let Some(directory) = &directory {
            self.learn_attr(begun, directory);
            if directory.length == 0 {
                self.with(parent, File::learn_empty);
            }
        }
        // A directory that was given up meanwhile is not leased any more.
        let kept = self.files.contains_key(&parent) && self.events.file_is_kept(parent, begun);
        if !(quiet || kept) || !self.events.name_is_quiet(parent, name, begun) {
            return;
        }
        let named = match found {
            Ok(Answer::Attr(attr)) => Named::Present(attr.ino),
            Err(Refusal::NotFound) => Named::Absent,
            Ok(_) | Err(_) => return,
        };
        self.hold(parent);
        self.with(parent, |file| file.learn_name(name.clone(), named));
    }

    fn hold(&mut self, ino: Ino) {
        if let Entry::Vacant(free) = self.files.entry(ino) {
            free.insert(File::default());
            self.by_age.push_back(ino);
            self.weight += 1;
        }
    }

    fn drop_file(&mut self, ino: Ino) {
        if let Some(file) = self.files.remove(&ino) {
            self.weight -= file.weight();
        }
    }

    fn hand_on(&mut self, entry: Option<(Ino, &Name)>, attr: &Attr, now: Instant) -> HandedOn {
        let left = self.expires.map(|expires| expires - now);
        let left = left.unwrap_or_default().min(HAND_ON_MAX);
        let until = now + left;
        let mut handed = HandedOn::default();
        if let Some((parent, name)) = entry
            && let Some(directory) = self.files.get_mut(&parent)
            && directory.named(name) == Named::Present(attr.ino)
        {
            directory.hand_on_name(name, until, now);
            handed.entry = left;
        }
        if let Some(file) = self.files.get_mut(&attr.ino)
            && file.attr() == Some(attr)
        {
            file.hand_on_attr(until);
            handed.attr = left;
        }
        if handed != HandedOn::default() {
            self.shown_until = self.shown_until.max(Some(until));
        }
        handed
    }

    fn hand_on_acl(
        &mut self,
        ino: Ino,
        kind: AclKind,
        value: Option<&[u8]>,
        now: Instant,
    ) -> Duration {
        let left = self.expires.map(|expires| expires - now);
        let left = left.unwrap_or_default().min(HAND_ON_MAX);
        let until = now + left;
        match self.files.get_mut(&ino) {
            Some(file) if file.xattr(kind.name()) == Some(value) => file.hand_on_attr(until),
            _ => return Duration::ZERO,
        }
        self.shown_until = self.shown_until.max(Some(until));
        left
    }

    /// Forgets what a recall is about. Says whether the lease is kept, and what somebody else
    /// has to forget.
    fn recall(&mut self, ino: Ino, all: bool, names: &[Name]) -> (bool, Option<Forgotten>) {
        self.events.file_changed(ino);
        for name in names {
            self.events.name_changed(ino, name.clone());
        }
        let kept = self.with(ino, |file| {
            file.names_change(names.iter());
            if names.is_empty() {
                file.attr_changes();
            }
            file.recalled()
        });
        let kept = !all && kept == Some(true);
        let now = Instant::now();
        let shown = self.files.get_mut(&ino).and_then(|file| {
            let (attr, names) = file.take_shown(kept.then_some(names), now);
            (attr || !names.is_empty()).then_some(Forgotten { ino, attr, names })
        });
        if !kept {
            self.drop_file(ino);
            self.events.file_released(ino);
        }
        (kept, shown)
    }

    /// Forgets files that were of no use for longest, down to the bound.
    fn bound(&mut self) {
        let now = Instant::now();
        // Twice around at most: what is used, or shown by somebody else, stays.
        for _ in 0..2 * self.by_age.len() {
            if self.weight <= WEIGHT_MAX {
                break;
            }
            let Some(ino) = self.by_age.pop_front() else {
                break;
            };
            let file = self.files.get_mut(&ino);
            let keep = |file: &mut File| std::mem::take(&mut file.used) || file.is_shown(now);
            if file.is_some_and(keep) {
                self.by_age.push_back(ino);
            } else {
                self.drop_file(ino);
            }
        }
        if self.by_age.len() > 2 * self.files.len() + 1024 {
            let mut known = HashSet::new();
            let files = &self.files;
            self.by_age
                .retain(|ino| files.contains_key(ino) && known.insert(*ino));
        }
    }
}

#[cfg(test)]
#[path = "cache_test.rs"]
mod tests;
