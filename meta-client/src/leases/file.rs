//! What is known of one leased file.

use meta_core::attr::Attr;
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

/// A file under a lease.
#[derive(Debug, Default)]
pub(super) struct File {
    /// All attributes.
    attr: Option<Attr>,
    /// Attributes of which mode and owner are current.
    access: Option<Attr>,
    names: HashMap<Name, Named>,
    /// Whether a name that is not among `names` does not exist.
    complete: bool,
    listing: Option<Listing>,
    /// Pages of a listing that has not come to its end.
    building: Option<Listing>,
    xattrs: Xattrs,
    /// A symlink's, which never changes.
    target: Option<Vec<u8>>,
    /// Recalls since it was last of use.
    recalls: u32,
    /// Until when somebody else shows its attributes.
    attr_handed: Option<Instant>,
    /// Until when somebody else shows these names.
    names_handed: HashMap<Name, Instant>,
    /// Since it was last looked at for eviction.
    pub(super) used: bool,
}

/// Extended attributes that are known: there, or not there.
#[derive(Debug, Default)]
struct Xattrs {
    /// Whether one that is not among `values` is not there.
    complete: bool,
    values: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

/// A directory's names in their order, without attributes.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) parent: Ino,
    pub(super) entries: Arc<Vec<DirEntry>>,
}

impl File {
    pub(super) fn attr(&self) -> Option<&Attr> {
        self.attr.as_ref()
    }

    pub(super) fn access(&self) -> Option<&Attr> {
        self.access.as_ref()
    }

    pub(super) fn listing(&self) -> Option<&Listing> {
        self.listing.as_ref()
    }

    /// What is known of a name.
    pub(super) fn named(&self, name: &Name) -> Named {
        let otherwise = if self.complete {
            Named::Absent
        } else {
            Named::Unknown
        };
        self.names.get(name).copied().unwrap_or(otherwise)
    }

    /// An extended attribute, if it is known: its value, if it has one.
    pub(super) fn xattr(&self, name: &[u8]) -> Option<Option<&[u8]>> {
        match self.xattrs.values.get(name) {
            Some(value) => Some(value.as_deref()),
            None => self.xattrs.complete.then_some(None),
        }
    }

    /// Whether it is known to have no extended attributes.
    pub(super) fn has_no_xattrs(&self) -> bool {
        self.xattrs.complete && self.xattrs.values.values().all(Option::is_none)
    }

    pub(super) fn target(&self) -> Option<&[u8]> {
        self.target.as_deref()
    }

    /// Somebody else shows the attributes for so long.
    pub(super) fn hand_on_attr(&mut self, until: Instant) {
        self.attr_handed = self.attr_handed.max(Some(until));
    }

    /// Somebody else shows a name for so long.
    pub(super) fn hand_on_name(&mut self, name: &Name, until: Instant, now: Instant) {
        if self.names_handed.len() >= HANDED_LOOK && !self.names_handed.contains_key(name) {
            self.names_handed.retain(|_, until| *until > now);
        }
        self.names_handed.insert(name.clone(), until);
    }

    /// Whether somebody else still shows anything of it.
    pub(super) fn is_shown(&self, now: Instant) -> bool {
        let names = self.names_handed.values();
        names.chain(&self.attr_handed).any(|until| *until > now)
    }

    /// What somebody else still shows of it, and has to forget: the attributes, and all names or
    /// those.
    pub(super) fn take_shown(&mut self, names: Option<&[Name]>, now: Instant) -> (bool, Vec<Name>) {
        let attr = self.attr_handed.take().is_some_and(|until| until > now);
        let taken: Vec<(Name, Instant)> = match names {
            Some(names) => {
                let taken = names.iter();
                taken
                    .filter_map(|name| self.names_handed.remove_entry(name))
                    .collect()
            }
            None => self.names_handed.drain().collect(),
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
        1 + self.names.len() + self.xattrs.values.len()
    }

    pub(super) fn learn_attr(&mut self, attr: &Attr) {
        self.attr = Some(attr.clone());
        self.access = Some(attr.clone());
    }

    pub(super) fn learn_name(&mut self, name: Name, named: Named) {
        self.names.insert(name, named);
    }

    /// The directory has no names.
    pub(super) fn learn_empty(&mut self) {
        self.names.clear();
        self.complete = true;
    }

    /// An extended attribute has this value, or is not there. What is large is not kept.
    pub(super) fn learn_xattr(&mut self, name: &[u8], value: Option<&[u8]>) {
        let values = &mut self.xattrs.values;
        let small = value.is_none_or(|value| value.len() <= XATTR_MAX);
        if small && (values.len() < XATTRS_MAX || values.contains_key(name)) {
            values.insert(name.to_vec(), value.map(<[u8]>::to_vec));
        }
    }

    pub(super) fn learn_no_xattrs(&mut self) {
        self.xattrs = Xattrs {
            complete: true,
            values: HashMap::new(),
        };
    }

    pub(super) fn learn_target(&mut self, target: &[u8]) {
        if target.len() <= TARGET_MAX {
            self.target = Some(target.to_vec());
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
        let mut building = if after < DentryNumber::FIRST {
            Listing::default()
        } else {
            match self.building.take() {
                Some(building) if building.last() == Some(after) => building,
                _ => return,
            }
        };
        building.parent = parent;
        if building.entries.len() + page.len() > LISTING_MAX {
            return;
        }
        let entries = Arc::make_mut(&mut building.entries);
        entries.extend(page.iter().map(|entry| DirEntry {
            attr: None,
            ..entry.clone()
        }));
        if !end {
            self.building = Some(building);
            return;
        }
        self.names = building
            .entries
            .iter()
            .map(|entry| (entry.name.clone(), Named::Present(entry.ino)))
            .collect();
        self.complete = true;
        self.listing = Some(building);
    }

    /// Names come or go: attributes and listing are old, permissions are not.
    pub(super) fn names_change<'n>(&mut self, names: impl Iterator<Item = &'n Name>) {
        self.attr = None;
        self.listing = None;
        self.building = None;
        for name in names {
            if self.complete {
                self.names.insert(name.clone(), Named::Unknown);
            } else {
                self.names.remove(name);
            }
        }
    }

    /// Attributes change.
    pub(super) fn attr_changes(&mut self) {
        self.attr = None;
        self.access = None;
        self.xattrs = Xattrs::default();
    }

    /// It was recalled. Says whether the lease is worth keeping.
    pub(super) fn recalled(&mut self) -> bool {
        self.recalls += 1;
        let knows = self.complete || !self.names.is_empty();
        knows && self.recalls <= USELESS_RECALLS
    }
}

impl Listing {
    fn last(&self) -> Option<DentryNumber> {
        self.entries.last().map(|entry| entry.number)
    }
}
