//! ACLs of the plain file system, from what acl(5) and Linux say of them: lists of entries in their
//! order, looked through one by one.

use crate::engine::Engine;
use crate::filesystem::{Errno, FileSystem, Id, Node};
use meta_core::attr::{Caller, FileKind, Timestamp};
use meta_core::command::{CommandBody, Create, Existing, NewNode, Operation, SetAttr, XattrMode};
use meta_core::ids::{Ino, Level};
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Refusal, Success};
use proptest::prelude::*;

pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Tag, permissions, id.
pub(crate) type Entry = (u16, u16, u32);

const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;
const NOBODY: u32 = u32::MAX;

/// A list that makes sense.
#[derive(Clone, Debug)]
pub(crate) struct List(Vec<Entry>);

/// The bytes of an attribute.
pub(crate) fn written(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// What was written.
pub(crate) fn read(bytes: &[u8]) -> List {
    let entries = bytes[4..].as_chunks::<8>().0.iter().map(|entry| {
        let [a, b, c, d, id @ ..] = *entry;
        (
            u16::from_le_bytes([a, b]),
            u16::from_le_bytes([c, d]),
            u32::from_le_bytes(id),
        )
    });
    List(entries.collect())
}

/// A list as it is kept, if it makes sense; none without entries.
fn valid(entries: &[Entry]) -> Result<Option<List>, Errno> {
    if entries.is_empty() {
        return Ok(None);
    }
    let count = |tag| entries.iter().filter(|entry| entry.0 == tag).count();
    let tags = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
    let once = [USER_OBJ, GROUP_OBJ, OTHER]
        .iter()
        .all(|tag| count(*tag) == 1);
    let known = entries
        .iter()
        .all(|entry| tags.contains(&entry.0) && entry.1 < 8);
    let masked = count(MASK) == 1 || count(MASK) + count(USER) + count(GROUP) == 0;
    let ordered = entries.windows(2).all(|pair| pair[0].0 <= pair[1].0);
    let mut list: Vec<Entry> = entries.to_vec();
    for entry in &mut list {
        if ![USER, GROUP].contains(&entry.0) {
            entry.2 = NOBODY;
        } else if entry.2 == NOBODY {
            return Err("EINVAL");
        }
    }
    list.sort_by_key(|entry| (entry.0, entry.2));
    let unique = list
        .windows(2)
        .all(|pair| (pair[0].0, pair[0].2) != (pair[1].0, pair[1].2));
    if once && known && masked && ordered && unique {
        Ok(Some(List(list)))
    } else {
        Err("EINVAL")
    }
}

impl List {
    fn of(&self, tag: u16) -> Option<u32> {
        let entry = self.0.iter().find(|entry| entry.0 == tag);
        entry.map(|entry| u32::from(entry.1))
    }

    fn put(&mut self, tag: u16, permissions: u32) {
        for entry in self.0.iter_mut().filter(|entry| entry.0 == tag) {
            entry.1 = permissions as u16;
        }
    }

    fn group_class(&self) -> u16 {
        if self.of(MASK).is_some() {
            MASK
        } else {
            GROUP_OBJ
        }
    }

    fn mode(&self) -> u32 {
        let of = |tag| self.of(tag).expect("an entry");
        of(USER_OBJ) << 6 | of(self.group_class()) << 3 | of(OTHER)
    }

    /// What the mode says in the list's own words.
    fn set_mode(&mut self, mode: u32) {
        self.put(USER_OBJ, mode >> 6 & 7);
        self.put(self.group_class(), mode >> 3 & 7);
        self.put(OTHER, mode & 7);
    }

    /// The access check of acl(5).
    pub(crate) fn allows(&self, (uid, gid): (u32, u32), caller: &Caller, wanted: u32) -> bool {
        let has = |granted: u32| granted & wanted == wanted;
        let mask = self.of(MASK).unwrap_or(7);
        if caller.uid == uid {
            return has(self.of(USER_OBJ).expect("an owner"));
        }
        let user = |entry: &&Entry| entry.0 == USER && entry.2 == caller.uid;
        if let Some(entry) = self.0.iter().find(user) {
            return has(u32::from(entry.1) & mask);
        }
        let member = |id: u32| caller.gid == id || caller.groups.contains(&id);
        let groups = self.0.iter().filter(|entry| match entry.0 {
            GROUP_OBJ => member(gid),
            GROUP => member(entry.2),
            _ => false,
        });
        let groups: Vec<u32> = groups.map(|entry| u32::from(entry.1)).collect();
        if groups.is_empty() {
            has(self.of(OTHER).expect("others"))
        } else {
            groups.iter().any(|granted| has(granted & mask))
        }
    }
}

fn keep(node: &mut Node, list: List) {
    node.mode = node.mode & !0o777 | list.mode();
    if list.0.len() > 3 {
        node.xattrs.insert(ACCESS.to_vec(), written(&list.0));
    } else {
        node.xattrs.remove(ACCESS);
    }
}

/// What a new node gets from its directory.
pub(crate) fn inherit(node: &mut Node, default: &[u8]) {
    let mut list = read(default);
    let mode = list.mode() & node.mode;
    list.set_mode(mode);
    keep(node, list);
    if node.kind == FileKind::Directory {
        node.xattrs.insert(DEFAULT.to_vec(), default.to_vec());
    }
}

/// A node's mode was changed.
pub(crate) fn follow_mode(node: &mut Node) {
    if let Some(list) = node.xattrs.get(ACCESS) {
        let mut list = read(list);
        list.set_mode(node.mode);
        node.xattrs.insert(ACCESS.to_vec(), written(&list.0));
    }
}

impl FileSystem {
    pub(crate) fn set_acl(
        &mut self,
        id: Id,
        default: bool,
        entries: Option<&[Entry]>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Errno> {
        let list = valid(entries.unwrap_or_default())?;
        let node = &mut self.nodes[id];
        if node.gone {
            return Err("ESTALE");
        }
        if node.kind == FileKind::Symlink {
            return Err("EOPNOTSUPP");
        }
        if default && node.kind != FileKind::Directory {
            return list.map_or(Ok(()), |_| Err("EACCES"));
        }
        if !node.owned_by(caller) {
            return Err("EPERM");
        }
        let name = if default { DEFAULT } else { ACCESS };
        match list {
            None => {
                if node.xattrs.remove(name).is_none() {
                    return Ok(());
                }
            }
            Some(list) if default => {
                node.xattrs.insert(name.to_vec(), written(&list.0));
            }
            Some(list) => {
                keep(node, list);
                let member = caller.gid == node.gid || caller.groups.contains(&node.gid);
                if caller.uid != 0 && !member {
                    node.mode &= !0o2000;
                }
            }
        }
        node.ctime = now;
        Ok(())
    }
}

/// Entries of an attribute, most of which make sense.
pub(crate) fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let granted = || prop_oneof![3 => 0..8_u16, 2 => Just(7_u16), 1 => Just(5_u16)];
    let named = |ids: Vec<u32>| {
        let one = (prop::sample::select(ids), granted());
        prop::collection::btree_map(one.0, one.1, 0..3)
    };
    let users = named(vec![1000, 1001, 1002]);
    let groups = named(vec![100, 200, 300, 400]);
    let mask = prop::option::of(granted());
    let base = (granted(), granted(), granted());
    let whole = (base, users, groups, mask).prop_map(|(base, users, groups, mask)| {
        let named = !users.is_empty() || !groups.is_empty();
        let mut entries = vec![(USER_OBJ, base.0, NOBODY)];
        entries.extend(
            users
                .into_iter()
                .rev()
                .map(|(id, granted)| (USER, granted, id)),
        );
        entries.push((GROUP_OBJ, base.1, 0));
        entries.extend(groups.into_iter().map(|(id, granted)| (GROUP, granted, id)));
        let mask = mask.or(named.then_some(7));
        entries.extend(mask.map(|granted| (MASK, granted, NOBODY)));
        entries.push((OTHER, base.2, NOBODY));
        entries
    });
    let spoilt = (
        whole,
        prop::option::weighted(0.1, any::<(prop::sample::Index, u8)>()),
    );
    spoilt.prop_map(|(mut entries, spoil)| {
        if let Some((at, how)) = spoil {
            let at = at.index(entries.len());
            match how % 5 {
                0 => drop(entries.remove(at)),
                1 => entries.insert(at, entries[at]),
                2 => entries[at].1 = 9,
                3 => entries[at].0 = 3,
                _ => entries.clear(),
            }
        }
        entries
    })
}

/// Of a volume that others may read who do not know ACLs, nothing is asked that they could not read; and
/// those that it has are what they were at a later level.
#[test]
fn below_level_3_there_are_no_acls() {
    let mut engine = Engine::at_level(Level(2));
    let dir = Ino::ROOT;
    let entries = [(1, 7, 0), (2, 7, 1000), (4, 7, 0), (16, 7, 0), (32, 7, 0)];
    let set = |name: &[u8]| Operation::SetXattr {
        ino: dir,
        name: name.to_vec(),
        value: written(&entries),
        mode: XattrMode::Set,
    };
    for name in [ACCESS, DEFAULT] {
        let (_, outcome) = engine.request(&Caller::root(), set(name));
        assert_eq!(outcome, Outcome::Refused(Refusal::NotSupported));
        let name = name.to_vec();
        let remove = Operation::RemoveXattr { ino: dir, name };
        let (_, outcome) = engine.request(&Caller::root(), remove);
        assert_eq!(outcome, Outcome::Refused(Refusal::NotSupported));
    }
    // What the umask took away stays away.
    let make = |name: &str| {
        Operation::Create(Create {
            parent: dir,
            name: Name::new(name).expect("a name"),
            mode: 0o640,
            masked: 0o026,
            node: NewNode::Regular,
            existing: Existing::Refuse,
        })
    };
    let made = |outcome: Outcome| match outcome {
        Outcome::Done(Success::Entry { attr, .. }) => (attr.mode, attr.access_acl),
        other => panic!("{other:?}"),
    };
    let (_, outcome) = engine.request(&Caller::root(), make("before"));
    assert_eq!(made(outcome), (0o640, false));
    engine.run(CommandBody::RaiseLevel { level: Level(3) });
    for name in [ACCESS, DEFAULT] {
        let (_, outcome) = engine.request(&Caller::root(), set(name));
        assert_eq!(outcome, Outcome::Done(Success::Done));
    }
    let (_, outcome) = engine.request(&Caller::root(), make("after"));
    assert_eq!(made(outcome), (0o666, true));
    let broken = meta_core::check::check(&engine.kv, engine.volume);
    assert_eq!(broken.expect("sound"), Vec::<String>::new());
}

/// Rows go a few at a time: a file may have lost its ACL, and is still asked about by its number.
#[test]
fn a_file_that_is_being_deleted_lets_nobody_in() {
    let mut engine = Engine::at_level(Level(3));
    engine.run(CommandBody::SetOptions {
        caller: Caller::root(),
        trash_seconds: 0,
    });
    let create = Operation::Create(Create {
        parent: Ino::ROOT,
        name: Name::new("f").expect("a name"),
        mode: 0o666,
        masked: 0,
        node: NewNode::Regular,
        existing: Existing::Refuse,
    });
    let (_, outcome) = engine.request(&Caller::root(), create);
    let Outcome::Done(Success::Entry { attr, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    let ino = attr.ino;
    let entries = [(1, 7, 0), (2, 7, 1000), (4, 7, 0), (16, 7, 0), (32, 7, 0)];
    let set = Operation::SetXattr {
        ino,
        name: ACCESS.to_vec(),
        value: written(&entries),
        mode: XattrMode::Set,
    };
    let (_, outcome) = engine.request(&Caller::root(), set);
    assert_eq!(outcome, Outcome::Done(Success::Done));
    let unlink = Operation::Unlink {
        parent: Ino::ROOT,
        name: Name::new("f").expect("a name"),
    };
    let (_, outcome) = engine.request(&Caller::root(), unlink);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    engine.run(CommandBody::Reap { ino, rows_max: 1 });
    assert!(engine.attr(ino).expect("its row is there").access_acl);
    let truncate = |by: u32| {
        let caller = Caller {
            uid: by,
            ..Caller::default()
        };
        let change = SetAttr {
            ino,
            length: Some(0),
            mode: (by == 0).then_some(0o600),
            ..SetAttr::default()
        };
        (caller, Operation::SetAttr(change))
    };
    let (named, change) = truncate(1000);
    let (_, outcome) = engine.request(&named, change);
    assert_eq!(outcome, Outcome::Refused(Refusal::AccessDenied));
    let (root, change) = truncate(0);
    let (_, outcome) = engine.request(&root, change);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}
