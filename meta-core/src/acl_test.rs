use super::*;
use proptest::prelude::*;

const OWNER: u32 = 1;
const GROUP: u32 = 10;

fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

fn parse(entries: &[(u16, u16, u32)]) -> Result<Option<Acl>, Refusal> {
    Acl::parse(&value(entries))
}

const BASE: [(u16, u16, u32); 3] = [(1, 7, NO_ID), (4, 5, NO_ID), (32, 4, NO_ID)];

#[test]
fn what_is_stored_is_what_linux_reads() {
    let entries = [
        (1, 7, NO_ID),
        (2, 6, 7),
        (2, 0, 1000),
        (4, 5, NO_ID),
        (8, 4, 3),
        (16, 6, NO_ID),
        (32, 0, NO_ID),
    ];
    let acl = parse(&entries).expect("valid").expect("an ACL");
    assert_eq!(acl.encode(), value(&entries));
    assert_eq!(acl.mode(), 0o760);
    assert!(!acl.is_minimal());
    // Ids of entries that name nobody mean nothing, and named ones come in any order.
    let mut other = entries;
    other[0].2 = 0;
    other[6].2 = 5;
    other.swap(1, 2);
    assert_eq!(parse(&other), Ok(Some(acl)));
}

#[test]
fn an_acl_of_three_entries_is_the_mode() {
    let acl = parse(&BASE).expect("valid").expect("an ACL");
    assert_eq!((acl.mode(), acl.is_minimal()), (0o754, true));
    let masked = [BASE[0], BASE[1], (16, 1, NO_ID), BASE[2]];
    let acl = parse(&masked).expect("valid").expect("an ACL");
    assert_eq!((acl.mode(), acl.is_minimal()), (0o714, false));
}

#[test]
fn no_entries_are_no_acl() {
    assert_eq!(Acl::parse(b""), Ok(None));
    assert_eq!(parse(&[]), Ok(None));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let invalid = Err(Refusal::InvalidArgument);
    let [user, group, other] = BASE;
    let mask = (16, 7, NO_ID);
    let named = (2, 7, 5);
    let member = (8, 7, 5);
    for entries in [
        &[user, group][..],
        &[user, other],
        &[group, other],
        &[group, user, other],
        &[user, group, other, other],
        &[user, group, mask, mask, other],
        &[user, group, other, mask],
        &[user, named, group, other],
        &[user, group, member, other],
        &[user, named, named, group, mask, other],
        &[user, group, member, member, mask, other],
        &[user, group, named, mask, other],
        &[user, member, group, mask, other],
        &[user, (2, 7, NO_ID), group, mask, other],
        &[(1, 8, NO_ID), group, other],
        &[user, (64, 7, NO_ID), group, other],
        &[(0, 7, NO_ID), group, other],
    ] {
        assert_eq!(parse(entries), invalid, "{entries:?}");
    }
    let whole = value(&BASE);
    for length in 1..whole.len() {
        let cut = Acl::parse(&whole[..length]);
        let expected = if length == 4 {
            Ok(None)
        } else {
            invalid.clone()
        };
        assert_eq!(cut, expected, "{length} bytes");
    }
    let mut version = whole;
    version[0] = 3;
    assert_eq!(Acl::parse(&version), Err(Refusal::NotSupported));
}

#[test]
fn entries_are_bounded() {
    let of = |names: u32| {
        let mut entries = vec![BASE[0]];
        entries.extend((0..names).map(|id| (2, 4, id)));
        entries.extend([BASE[1], (16, 7, NO_ID), BASE[2]]);
        entries
    };
    let most = u32::try_from(ACL_ENTRIES_MAX - 4).expect("few");
    let acl = parse(&of(most)).expect("valid").expect("an ACL");
    assert!(acl.encode().len() <= 4096);
    assert_eq!(parse(&of(most + 1)), Err(Refusal::AttributeTooLarge));
}

/// An ACL as plain entries, in their order, and the rules as `acl(5)` has them.
#[derive(Clone, Debug)]
struct Plain(Vec<(u16, u16, u32)>);

impl Plain {
    fn find(&self, tag: u16) -> Option<u32> {
        let entry = self.0.iter().find(|entry| entry.0 == tag);
        entry.map(|entry| u32::from(entry.1))
    }

    fn named(&self, tag: u16) -> impl Iterator<Item = (u32, u32)> + '_ {
        let entries = self.0.iter().filter(move |entry| entry.0 == tag);
        entries.map(|entry| (entry.2, u32::from(entry.1)))
    }

    fn mode(&self) -> u32 {
        let group = self.find(16).or(self.find(4)).expect("a group");
        self.find(1).expect("an owner") * 64 + group * 8 + self.find(32).expect("others")
    }

    /// The access check algorithm, step by step.
    fn permits(&self, caller: &Caller, wanted: u32) -> bool {
        let has = |granted: u32| granted & wanted == wanted;
        if caller.uid == 0 {
            return true;
        }
        if caller.uid == OWNER {
            return has(self.find(1).expect("an owner"));
        }
        // Linux does not look further into an ACL that gives the group class nothing.
        let member = |id: u32| caller.gid == id || caller.groups.contains(&id);
        let mode = self.mode();
        if mode & 0o070 == 0 {
            return has(if member(GROUP) { 0 } else { mode & 7 });
        }
        let mask = self.find(16).unwrap_or(7);
        for (id, granted) in self.named(2) {
            if id == caller.uid {
                return has(granted & mask);
            }
        }
        let mut of_groups = Vec::new();
        if member(GROUP) {
            of_groups.push(self.find(4).expect("a group"));
        }
        of_groups.extend(self.named(8).filter(|(id, _)| member(*id)).map(|(_, g)| g));
        if of_groups.is_empty() {
            has(self.find(32).expect("others"))
        } else {
            of_groups.iter().any(|granted| has(granted & mask))
        }
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let named = || prop::collection::btree_map(0..6u32, 0..8u16, 0..4);
    let base = (0..8u16, 0..8u16, 0..8u16);
    (base, named(), named(), prop::option::of(0..8u16)).prop_map(|(base, users, groups, mask)| {
        let mut entries = vec![(1, base.0, NO_ID)];
        let is_named = !users.is_empty() || !groups.is_empty();
        entries.extend(users.into_iter().map(|(id, granted)| (2, granted, id)));
        entries.push((4, base.1, NO_ID));
        entries.extend(groups.into_iter().map(|(id, granted)| (8, granted, id + 8)));
        let mask = mask.or(is_named.then_some(7));
        entries.extend(mask.map(|granted| (16, granted, NO_ID)));
        entries.push((32, base.2, NO_ID));
        Plain(entries)
    })
}

fn caller() -> impl Strategy<Value = Caller> {
    let groups = prop::collection::vec(7..13u32, 0..3);
    (0..6u32, 7..13u32, groups).prop_map(|(uid, gid, groups)| Caller { uid, gid, groups })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn decisions_are_those_of_the_plain_rules(plain in plain(), caller in caller(), wanted in 0..8u32) {
        let acl = parse(&plain.0).expect("valid").expect("an ACL");
        prop_assert_eq!(acl.encode(), value(&plain.0));
        prop_assert_eq!(acl.mode(), plain.mode());
        let guard = Guard { mode: acl.mode(), uid: OWNER, gid: GROUP, has_acl: true };
        let decided = guard.check(Some(&acl), &caller, wanted).is_ok();
        prop_assert_eq!(decided, plain.permits(&caller, wanted));
        // Who does not know an ACL that is needed lets nobody pass.
        if guard.needs_acl(&caller) {
            prop_assert!(guard.check(None, &caller, wanted).is_err());
        }
        // One that says no more than the mode is decided by the mode alone.
        if acl.is_minimal() {
            let bits = Guard { has_acl: false, ..guard };
            prop_assert_eq!(bits.check(None, &caller, wanted).is_ok(), decided);
        }
    }

    #[test]
    fn a_changed_mode_is_the_mode(plain in plain(), mode in 0..0o1000u32) {
        let before = parse(&plain.0).expect("valid").expect("an ACL");
        let mut acl = before.clone();
        acl.change_mode(mode);
        prop_assert_eq!(acl.mode(), mode);
        // Who is named stays so, and with a mask the owning group does as well.
        prop_assert_eq!((&acl.users, &acl.groups), (&before.users, &before.groups));
        if before.mask.is_some() {
            prop_assert_eq!(acl.group, before.group);
        }
    }

    #[test]
    fn what_is_inherited_gives_no_more_than_was_asked_for(plain in plain(), mode in 0..0o1000u32) {
        let default = parse(&plain.0).expect("valid").expect("an ACL");
        let made = default.inherited(mode);
        prop_assert_eq!(made.mode(), default.mode() & mode);
        prop_assert_eq!((&made.users, &made.groups), (&default.users, &default.groups));
        prop_assert_eq!(default.inherited(0o777), default);
    }

    #[test]
    fn any_bytes_are_an_acl_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(Some(acl)) = Acl::parse(&bytes) {
            prop_assert_eq!(Acl::parse(&acl.encode()), Ok(Some(acl)));
        }
    }
}
