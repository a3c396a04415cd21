//! Access control lists as POSIX 1003.1e (draft 17) has them, and as Linux keeps them: in extended
//! attributes, in version 2 of its encoding.
//!
//! A file whose access ACL says no more than its mode bits has none. A file with one has it in a row
//! of its attributes, and its inode says so. Then the owner's and the others' bits are those of the mode,
//! and the mode's group bits are the mask, or without one those of the owning group: what `chmod`
//! changes. The decisions are those of Linux, of which an application cannot tell this apart.

use crate::attr::{Attr, Caller};
use crate::ids::Level;
use crate::limits::ACL_ENTRIES_MAX;
use crate::outcome::Refusal;

/// The attribute that holds a file's access ACL.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute that holds a directory's default ACL: what files that are made in it begin with.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

/// The level from which files may have ACLs.
pub(crate) const LEVEL: Level = Level(3);

const ENCODING: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;
/// The id of an entry that names nobody.
const NO_ID: u32 = u32::MAX;
const PERMISSIONS: u16 = 7;

mod tag {
    pub(super) const USER_OBJ: u16 = 0x01;
    pub(super) const USER: u16 = 0x02;
    pub(super) const GROUP_OBJ: u16 = 0x04;
    pub(super) const GROUP: u16 = 0x08;
    pub(super) const MASK: u16 = 0x10;
    pub(super) const OTHER: u16 = 0x20;
}

/// Which of a file's two ACLs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AclKind {
    /// The one that guards it.
    Access,
    /// The one that a directory hands on.
    Default,
}

impl AclKind {
    /// The one that an attribute of this name holds.
    pub fn of(name: &[u8]) -> Option<Self> {
        match name {
            ACCESS => Some(Self::Access),
            DEFAULT => Some(Self::Default),
            _ => None,
        }
    }

    /// The attribute's name.
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Access => ACCESS,
            Self::Default => DEFAULT,
        }
    }

    /// Whether a file with these attributes has this one.
    pub const fn is_on(self, file: &Attr) -> bool {
        match self {
            Self::Access => file.access_acl,
            Self::Default => file.default_acl,
        }
    }
}

/// An access control list. Permissions are 4 to read, 2 to write and 1 to execute, added up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acl {
    owner: u32,
    /// By rising id, each once, as the groups are.
    users: Vec<(u32, u32)>,
    group: u32,
    groups: Vec<(u32, u32)>,
    mask: Option<u32>,
    other: u32,
}

impl Acl {
    /// Reads an attribute's value. No entries, or no value at all, are no ACL.
    ///
    /// Entries come as Linux wants them: owner, named users, owning group, named groups, mask, others. Named
    /// ones may come in any order among themselves.
    ///
    /// # Errors
    /// [`Refusal::NotSupported`] for another version, [`Refusal::AttributeTooLarge`] for more than
    /// [`ACL_ENTRIES_MAX`] entries, and [`Refusal::InvalidArgument`] for what makes no sense: bytes that are
    /// cut; entries out of that order, twice, or missing; named entries without a mask; unknown
    /// permissions.
    pub fn parse(value: &[u8]) -> Result<Option<Self>, Refusal> {
        if value.is_empty() {
            return Ok(None);
        }
        let Some((version, entries)) = value.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Refusal::InvalidArgument);
        };
        if u32::from_le_bytes(*version) != ENCODING {
            return Err(Refusal::NotSupported);
        }
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(Refusal::InvalidArgument);
        }
        if entries.len() > ACL_ENTRIES_MAX {
            return Err(Refusal::AttributeTooLarge);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let entries = entries.iter().map(entry);
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let mut reading = Reading(&entries);
        let acl = Self {
            owner: reading.one(tag::USER_OBJ).ok_or(Refusal::InvalidArgument)?,
            users: reading.named(tag::USER)?,
            group: reading
                .one(tag::GROUP_OBJ)
                .ok_or(Refusal::InvalidArgument)?,
            groups: reading.named(tag::GROUP)?,
            mask: reading.one(tag::MASK),
            other: reading.one(tag::OTHER).ok_or(Refusal::InvalidArgument)?,
        };
        let named = !acl.users.is_empty() || !acl.groups.is_empty();
        if reading.0.is_empty() && (acl.mask.is_some() || !named) {
            Ok(Some(acl))
        } else {
            Err(Refusal::InvalidArgument)
        }
    }

    /// The attribute's value: of equal ACLs it is equal.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = ENCODING.to_le_bytes().to_vec();
        let mut put = |tag: u16, permissions: u32, id: u32| {
            // It is 7 at most.
            let permissions = u16::try_from(permissions).unwrap_or(PERMISSIONS);
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        };
        put(tag::USER_OBJ, self.owner, NO_ID);
        for (id, permissions) in &self.users {
            put(tag::USER, *permissions, *id);
        }
        put(tag::GROUP_OBJ, self.group, NO_ID);
        for (id, permissions) in &self.groups {
            put(tag::GROUP, *permissions, *id);
        }
        if let Some(mask) = self.mask {
            put(tag::MASK, mask, NO_ID);
        }
        put(tag::OTHER, self.other, NO_ID);
        value
    }

    /// The mode's permission bits of a file with this access ACL.
    pub fn mode(&self) -> u32 {
        self.owner << 6 | self.mask.unwrap_or(self.group) << 3 | self.other
    }

    /// Whether it says no more than mode bits do.
    pub fn is_minimal(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.mask.is_none()
    }

    /// What becomes of a file's access ACL when its mode is changed.
    pub(crate) fn change_mode(&mut self, mode: u32) {
        let [owner, group, other] = classes(mode);
        self.owner = owner;
        match &mut self.mask {
            Some(mask) => *mask = group,
            None => self.group = group,
        }
        self.other = other;
    }

    /// The access ACL of a file that is made with `mode` where this is the default ACL. Its
    /// [`Self::mode`] is what the file gets.
    pub(crate) fn inherited(&self, mode: u32) -> Self {
        let [owner, group, other] = classes(mode);
        let mut acl = self.clone();
        acl.owner &= owner;
        match &mut acl.mask {
            Some(mask) => *mask &= group,
            None => acl.group &= group,
        }
        acl.other &= other;
        acl
    }

    /// Whether a caller who is neither the superuser nor the owner may do all that is wanted with a file
    /// of this group.
    ///
    /// A user that is named is decided by that entry. Else one entry of the caller's groups must allow
    /// all of it: two that do so together do not. The mask bounds both.
    fn permits(&self, gid: u32, caller: &Caller, wanted: u32) -> bool {
        let mask = self.mask.unwrap_or(u32::from(PERMISSIONS));
        if let Ok(at) = self.users.binary_search_by_key(&caller.uid, |(id, _)| *id) {
            let granted = self.users.get(at).map_or(0, |(_, granted)| *granted);
            return granted & mask & wanted == wanted;
        }
        // By the caller's groups, which may be very many: to look for each entry among them costs more.
        let entries = |id: u32| {
            let owning = (id == gid).then_some(self.group);
            let named = self.groups.binary_search_by_key(&id, |(id, _)| *id).ok();
            let named = named.and_then(|at| self.groups.get(at));
            owning.into_iter().chain(named.map(|(_, granted)| *granted))
        };
        let ids = std::iter::once(caller.gid).chain(caller.groups.iter().copied());
        let mut member = false;
        let granted = ids.flat_map(entries).any(|granted| {
            member = true;
            granted & wanted == wanted
        });
        if member {
            granted && mask & wanted == wanted
        } else {
            self.other & wanted == wanted
        }
    }
}

/// Owner's, group's and others' permissions.
fn classes(mode: u32) -> [u32; 3] {
    [6, 3, 0].map(|shift| mode >> shift & u32::from(PERMISSIONS))
}

/// Tag, permissions and id.
fn entry(bytes: &[u8; ENTRY_BYTES]) -> Result<(u16, u32, u32), Refusal> {
    let [t0, t1, p0, p1, i0, i1, i2, i3] = *bytes;
    let permissions = u16::from_le_bytes([p0, p1]);
    if permissions > PERMISSIONS {
        return Err(Refusal::InvalidArgument);
    }
    let id = u32::from_le_bytes([i0, i1, i2, i3]);
    Ok((u16::from_le_bytes([t0, t1]), permissions.into(), id))
}

/// Entries that are not read yet.
struct Reading<'e>(&'e [(u16, u32, u32)]);

impl Reading<'_> {
    /// The permissions of the next entry, if it has this tag.
    fn one(&mut self, wanted: u16) -> Option<u32> {
        let (&(tag, permissions, _), rest) = self.0.split_first()?;
        (tag == wanted).then(|| {
            self.0 = rest;
            permissions
        })
    }

    /// Ids and permissions of the next entries that have this tag.
    fn named(&mut self, wanted: u16) -> Result<Vec<(u32, u32)>, Refusal> {
        let count = self
            .0
            .iter()
            .take_while(|(tag, _, _)| *tag == wanted)
            .count();
        let (found, rest) = self.0.split_at_checked(count).unwrap_or_default();
        self.0 = rest;
        let mut named: Vec<_> = found
            .iter()
            .map(|(_, granted, id)| (*id, *granted))
            .collect();
        named.sort_unstable_by_key(|(id, _)| *id);
        let twice = named
            .array_windows()
            .any(|[(one, _), (other, _)]| one == other);
        if twice || named.iter().any(|(id, _)| *id == NO_ID) {
            return Err(Refusal::InvalidArgument);
        }
        Ok(named)
    }
}

/// What permissions of a file depend on, beside its access ACL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether the file has an access ACL.
    pub(crate) has_acl: bool,
}

impl From<&Attr> for Guard {
    fn from(file: &Attr) -> Self {
        Self {
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
            has_acl: file.access_acl,
        }
    }
}

impl Guard {
    /// Whether mode bits do not decide. They do for the superuser and the owner; and for everybody where
    /// they give the group nothing: then Linux does not look at the ACL.
    pub(crate) fn needs_acl(self, caller: &Caller) -> bool {
        let decided = caller.is_root() || caller.uid == self.uid || self.mode & 0o070 == 0;
        self.has_acl && !decided
    }

    /// Whether all that is wanted is allowed. Without an ACL that is needed, nothing is.
    ///
    /// By mode bits, the first class that fits decides alone: an owner without a bit is not saved by its
    /// group.
    pub(crate) fn check(
        self,
        acl: Option<&Acl>,
        caller: &Caller,
        wanted: u32,
    ) -> Result<(), Refusal> {
        if caller.is_root() {
            return Ok(());
        }
        let [owner, group, other] = classes(self.mode);
        let permitted = if self.needs_acl(caller) {
            acl.is_some_and(|acl| acl.permits(self.gid, caller, wanted))
        } else if caller.uid == self.uid {
            owner & wanted == wanted
        } else if caller.in_group(self.gid) {
            group & wanted == wanted
        } else {
            other & wanted == wanted
        };
        permitted.then_some(()).ok_or(Refusal::AccessDenied)
    }
}

/// Whether the mode bits of a file do not decide what a caller may do with it: its access ACL
/// ([`ACCESS`]) is to be read first.
pub fn needs_acl(file: &Attr, caller: &Caller) -> bool {
    Guard::from(file).needs_acl(caller)
}

#[cfg(test)]
#[path = "acl_test.rs"]
mod tests;
