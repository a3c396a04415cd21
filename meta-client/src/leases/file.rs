//! What is known of one leased file.

use meta_core::acl::{self, Acl, AclKind, needs_acl};
use meta_core::attr::{Attr, Caller, FileKind};
use meta_core::ids::{DentryNumber, Ino};
use meta_core::name::Name;
use meta_core::query::DirEntry;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant;

/// Names of a listing that is kept, at most.
const LISTING_MAX: usize = 16_384;
/// Extended attributes of a file that are kept, at most, and bytes of the value of each.
const XATTRS_MAX: usize = 16;
const XATTR_MAX: usize = 256;
/// Bytes of a symlink's target that is kept.
const TARGET_MAX: usize = 512;
/// Names that were handed on, after which those of which the time is over are looked for.
const HANDED_LOOK: usize = 1024;
/// A directory that was recalled so often without any use in between is not worth its lease.
const USELESS_RECALLS: u32 = 4;

/// A name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Named {
    Present(Ino),
    Absent,
    /// It may have changed: matters where all other names are known.
    Unknown,
}

/// A file under a lease. There may be a hundred thousand: what few have is apart.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Attributes of which mode and owner are current.
    known: Option<Attr>,
    /// Whether all of them are.
    exact: bool,
    /// Whether an extended attribute that is not known is not there.
    no_more_xattrs: bool,
    /// Since it was last looked at for eviction.
    pub(super) used: bool,
    /// Recalls since it was last of use.
    recalls: u32,
    /// Until when somebody else shows its attributes.
    attr_handed: Option<Instant>,
    directory: Option<Box<Directory>>,
    rare: Option<Box<Rare>>,
}

/// What is known of a directory's names.
#[derive(Debug, Default)]
struct Directory {
    names: HashMap<Name, Named>,
    /// Whether a name that is not among `names` does not exist.
    complete: bool,
    listing: Option<Listing>,
    /// Pages of a listing that has not come to its end.
    building: Option<Listing>,
    /// Until when somebody else shows these names.
    names_handed: HashMap<Name, Instant>,
}

/// What is known of few files.
#[derive(Debug, Default)]
struct Rare {
    /// Extended attributes: their values, or that they are not there.
    xattrs: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// A symlink's, which never changes.
    target: Option<Vec<u8>>,
}

/// A directory's names in their order, without attributes.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) parent: Ino,
    pub(super) entries: Arc<Vec<Listed>>,
}

/// A name in a listing.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) number: DentryNumber,
    name: Name,
    pub(super) ino: Ino,
    kind: FileKind,
}

impl Listed {
    fn of(entry: &DirEntry) -> Self {
        Self {
            number: entry.number,
            name: entry.name.clone(),
            ino: entry.ino,
            kind: entry.kind,
        }
    }

    /// As an answer has it.
    pub(super) fn entry(&self, attr: Option<Attr>) -> DirEntry {
        DirEntry {
            number: self.number,
            name: self.name.clone(),
            ino: self.ino,
            kind: self.kind,
            attr,
        }
    }
}

impl File {
    pub(super) fn attr(&self) -> Option<&Attr> {
        self.known.as_ref().filter(|_| self.exact)
    }

    pub(super) fn access(&self) -> Option<&Attr> {
        self.known.as_ref()
    }

    /// What decides about a caller, if it is known: attributes, and the access ACL where it is needed.
    pub(super) fn guard(&self, caller: &Caller) -> Option<(&Attr, Option<Acl>)> {
        let attr = self.access()?;
        if !needs_acl(attr, caller) {
            return Some((attr, None));
        }
        let acl = self.xattr(acl::ACCESS)??;
        Some((attr, Acl::parse(acl).ok()?))
    }

    pub(super) fn listing(&self) -> Option<&Listing> {
        self.directory.as_ref()?.listing.as_ref()
    }

    /// What is known of a name.
    pub(super) fn named(&self, name: &Name) -> Named {
        let Some(directory) = &self.directory else {
            return Named::Unknown;
        };
        let otherwise = if directory.complete {
            Named::Absent
        } else {
            Named::Unknown
        };
        directory.names.get(name).copied().unwrap_or(otherwise)
    }

    /// An extended attribute, if it is known: its value, if it has one.
    pub(super) fn xattr(&self, name: &[u8]) -> Option<Option<&[u8]>> {
        let is_missing = |acl: AclKind| self.access().is_some_and(|attr| !acl.is_on(attr));
        if AclKind::of(name).is_some_and(is_missing) {
            return Some(None);
        }
        let rare = self.rare.as_ref();
        match rare.and_then(|rare| rare.xattrs.get(name)) {
            Some(value) => Some(value.as_deref()),
            None => self.no_more_xattrs.then_some(None),
        }
    }

    /// Whether it is known to have no extended attributes.
    pub(super) fn has_no_xattrs(&self) -> bool {
        let known = self.rare.iter().flat_map(|rare| rare.xattrs.values());
        self.no_more_xattrs && known.into_iter().all(Option::is_none)
    }

    pub(super) fn target(&self) -> Option<&[u8]> {
        self.rare.as_ref()?.target.as_deref()
    }

    /// Somebody else shows the attributes for so long.
    pub(super) fn hand_on_attr(&mut self, until: Instant) {
        self.attr_handed = self.attr_handed.max(Some(until));
    }

    /// Somebody else shows a name for so long.
    pub(super) fn hand_on_name(&mut self, name: &Name, until: Instant, now: Instant) {
        let handed = &mut self.directory().names_handed;
        if handed.len() >= HANDED_LOOK && !handed.contains_key(name) {
            handed.retain(|_, until| *until > now);
        }
        handed.insert(name.clone(), until);
    }

    /// Whether somebody else still shows anything of it.
    pub(super) fn is_shown(&self, now: Instant) -> bool {
        let directory = self.directory.iter();
        let names = directory.flat_map(|directory| directory.names_handed.values());
        names.chain(&self.attr_handed).any(|until| *until > now)
    }

    /// What somebody else still shows of it, and has to forget: the attributes, and all names or
    /// those.
    pub(super) fn take_shown(&mut self, names: Option<&[Name]>, now: Instant) -> (bool, Vec<Name>) {
        let attr = self.attr_handed.take().is_some_and(|until| until > now);
        let handed = self
            .directory
            .as_mut()
            .map(|directory| &mut directory.names_handed);
        let taken: Vec<(Name, Instant)> = match (handed, names) {
            (Some(handed), Some(names)) => {
                let taken = names.iter().filter_map(|name| handed.remove_entry(name));
                taken.collect()
            }
            (Some(handed), None) => handed.drain().collect(),
            (None, _) => Vec::new(),
        };
        let alive = taken.into_iter().filter(|(_, until)| *until > now);
        (attr, alive.map(|(name, _)| name).collect())
    }

    /// It was of use.
    pub(super) fn touch(&mut self) {
        self.used = true;
        self.recalls = 0;
    }

    /// What it counts for in the bound on all files.
    pub(super) fn weight(&self) -> usize {
        let names = self.directory.as_ref().map_or(0, |known| known.names.len());
        let xattrs = self.rare.as_ref().map_or(0, |rare| rare.xattrs.len());
        1 + names + xattrs
    }

    fn directory(&mut self) -> &mut Directory {
        self.directory.get_or_insert_default()
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn learn_attr(&mut self, attr: &Attr) {
        self.known = Some(attr.clone());
        self.exact = true;
    }

    pub(super) fn learn_name(&mut self, name: Name, named: Named) {
        self.directory().names.insert(name, named);
    }

    /// The directory has no names.
    pub(super) fn learn_empty(&mut self) {
        let directory = self.directory();
        directory.names.clear();
        directory.complete = true;
    }

    /// An extended attribute has this value, or is not there. What is large is not kept.
    pub(super) fn learn_xattr(&mut self, name: &[u8], value: Option<&[u8]>) {
        let values = &mut self.rare().xattrs;
        let small = value.is_none_or(|value| value.len() <= XATTR_MAX);
        if small && (values.len() < XATTRS_MAX || values.contains_key(name)) {
            values.insert(name.to_vec(), value.map(<[u8]>::to_vec));
        }
    }

    pub(super) fn learn_no_xattrs(&mut self) {
        self.forget_xattrs();
        self.no_more_xattrs = true;
    }

    pub(super) fn learn_target(&mut self, target: &[u8]) {
        if target.len() <= TARGET_MAX {
            self.rare().target = Some(target.to_vec());
        }
    }

    /// A page of the listing, behind the number `after`.
    pub(super) fn learn_page(
        &mut self,
        after: DentryNumber,
        parent: Ino,
        page: &[DirEntry],
        end: bool,
    ) {
        let directory = self.directory();
        let mut building = if after < DentryNumber::FIRST {
            Listing::default()
        } else {
            match directory.building.take() {
                Some(building) if building.last() == Some(after) => building,
                _ => return,
            }
        };
        building.parent = parent;
        if building.entries.len() + page.len() > LISTING_MAX {
            return;
        }
        let entries = Arc::make_mut(&mut building.entries);
        entries.extend(page.iter().map(Listed::of));
        if !end {
            directory.building = Some(building);
            return;
        }
        let names = building.entries.iter();
        directory.names = names
            .map(|entry| (entry.name.clone(), Named::Present(entry.ino)))
            .collect();
        directory.complete = true;
        directory.listing = Some(building);
    }

    /// Names come or go: attributes and listing are old, permissions are not.
    pub(super) fn names_change<'n>(&mut self, names: impl Iterator<Item = &'n Name>) {
        self.exact = false;
        let Some(directory) = &mut self.directory else {
            return;
        };
        directory.listing = None;
        directory.building = None;
        for name in names {
            if directory.complete {
                directory.names.insert(name.clone(), Named::Unknown);
            } else {
                directory.names.remove(name);
            }
        }
    }

    /// Attributes change.
    pub(super) fn attr_changes(&mut self) {
        self.known = None;
        self.exact = false;
        self.forget_xattrs();
    }

    fn forget_xattrs(&mut self) {
        self.no_more_xattrs = false;
        if let Some(rare) = &mut self.rare {
            rare.xattrs.clear();
        }
    }

    /// It was recalled. Says whether the lease is worth keeping.
    pub(super) fn recalled(&mut self) -> bool {
        self.recalls += 1;
        let directory = self.directory.as_ref();
        let knows = directory.is_some_and(|known| known.complete || !known.names.is_empty());
        knows && self.recalls <= USELESS_RECALLS
    }
}

impl Listing {
    fn last(&self) -> Option<DentryNumber> {
        self.entries.last().map(|entry| entry.number)
    }
}
