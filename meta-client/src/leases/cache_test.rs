use super::*;
use meta_core::attr::{FileKind, Timestamp};
use meta_core::command::{Operation, SetAttr};
use meta_core::outcome::Success;
use meta_core::query::DirEntry;

pub(super) const LINK: u64 = 4;
pub(super) const DIR: Ino = Ino(1);
pub(super) const FILE: Ino = Ino(7);

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn attr(ino: Ino, kind: FileKind, names: u64) -> Attr {
    Attr {
        ino,
        kind,
        mode: 0o750,
        uid: 5,
        gid: 5,
        rdev: 0,
        nlink: 2,
        length: names,
        atime: Timestamp::default(),
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        parent: DIR,
        btime: None,
        access_acl: false,
        default_acl: false,
    }
}

pub(super) fn cache() -> Arc<LeaseCache> {
    let cache = Arc::new(LeaseCache::default());
    cache.attach(LINK);
    cache
}

pub(super) fn granted(asked: Instant, names: Option<u64>, refused: &[Ino]) -> Granted {
    Granted {
        grant: v1::LeaseGrant {
            generation: 9,
            ttl_ms: 2000,
            refused: refused.iter().map(|ino| ino.0).collect(),
            directory: names.map(|names| (&attr(DIR, FileKind::Directory, names)).into()),
            ..v1::LeaseGrant::default()
        },
        link: LINK,
        session: SessionId(1),
        asked,
    }
}

fn lookup(text: &str) -> QueryBody {
    QueryBody::Lookup {
        parent: DIR,
        name: name(text),
    }
}

/// The leader's answer to a lookup that began at `begun`.
fn learn(cache: &LeaseCache, begun: Moment, text: &str, found: bool) {
    let answer = if found {
        Ok(Answer::Attr(attr(FILE, FileKind::Regular, 0)))
    } else {
        Err(Refusal::NotFound)
    };
    let granted = granted(Instant::now(), Some(3), &[]);
    cache.learn(begun, &lookup(text), &answer, granted);
}

fn look(cache: &LeaseCache, text: &str) -> Option<Result<Answer, Refusal>> {
    cache.answer(&Caller::root(), &lookup(text))
}

pub(super) fn recall(cache: &LeaseCache, ino: Ino, names: &[&str]) -> (bool, Option<Forgotten>) {
    let names: Vec<Name> = names.iter().map(|text| name(text)).collect();
    cache.state.lock().recall(ino, false, &names)
}

#[tokio::test(start_paused = true)]
async fn names_and_missing_names_are_answered_until_the_leases_end() {
    let cache = cache();
    assert_eq!(look(&cache, "a"), None);
    learn(&cache, cache.begin(), "a", true);
    learn(&cache, cache.begin(), "b", false);
    let found = Ok(Answer::Attr(attr(FILE, FileKind::Regular, 0)));
    assert_eq!(look(&cache, "a"), Some(found.clone()));
    assert_eq!(look(&cache, "b"), Some(Err(Refusal::NotFound)));
    assert_eq!(look(&cache, "c"), None);
    let get = QueryBody::GetAttr { ino: FILE };
    assert_eq!(cache.answer(&Caller::root(), &get), Some(found));
    let stranger = Caller {
        uid: 6,
        gid: 6,
        groups: vec![],
    };
    let refused = Some(Err(Refusal::AccessDenied));
    assert_eq!(cache.answer(&stranger, &lookup("a")), refused);
    tokio::time::advance(Duration::from_millis(1999)).await;
    assert!(look(&cache, "a").is_some());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(look(&cache, "a"), None, "its time is over");
    let renewed = v1::LeaseRenewed {
        generation: 9,
        ttl_ms: 2000,
        totals: None,
    };
    cache.renewed(LINK, cache.ask(), 9, renewed);
    assert!(look(&cache, "a").is_some(), "nobody was told otherwise");
    cache.renewed(LINK, cache.ask(), 9, v1::LeaseRenewed::default());
    assert_eq!(look(&cache, "a"), None, "the leader ended them");
}

#[tokio::test(start_paused = true)]
async fn what_is_recalled_is_forgotten_and_an_answer_from_before_is_not_cached() {
    let cache = cache();
    learn(&cache, cache.begin(), "a", true);
    learn(&cache, cache.begin(), "b", false);
    let begun = cache.begin();
    let (kept, _) = recall(&cache, DIR, &["a"]);
    assert!(kept, "another name is worth the lease");
    assert_eq!(look(&cache, "a"), None);
    assert_eq!(look(&cache, "b"), Some(Err(Refusal::NotFound)));
    learn(&cache, begun, "a", true);
    assert_eq!(look(&cache, "a"), None, "overtaken by the recall");
    learn(&cache, begun, "c", false);
    assert!(look(&cache, "c").is_some(), "another name of a kept lease");
    recall(&cache, FILE, &[]);
    learn(&cache, cache.begin(), "a", true);
    assert!(look(&cache, "a").is_some());
    for _ in 0..8 {
        recall(&cache, DIR, &["z"]);
    }
    assert_eq!(look(&cache, "b"), None, "given up: recalled and never used");
    // Given up and given anew: what was asked before the release may be old.
    learn(&cache, cache.begin(), "d", false);
    learn(&cache, begun, "e", false);
    assert!(look(&cache, "d").is_some());
    assert_eq!(look(&cache, "e"), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_this_client_changes_is_answered_before_the_change_is() {
    let cache = cache();
    learn(&cache, cache.begin(), "a", true);
    let begun = cache.begin();
    let unlink = Operation::Unlink {
        parent: DIR,
        name: name("a"),
    };
    let change = cache.change(&unlink);
    assert_eq!(change.dropped(), [DIR.0, FILE.0]);
    assert_eq!(look(&cache, "a"), None);
    learn(&cache, begun, "a", true);
    learn(&cache, cache.begin(), "a", true);
    assert_eq!(look(&cache, "a"), None);
    let during = cache.begin();
    drop(change);
    learn(&cache, during, "a", true);
    assert_eq!(look(&cache, "a"), None, "asked before the end");
    learn(&cache, cache.begin(), "a", false);
    assert_eq!(look(&cache, "a"), Some(Err(Refusal::NotFound)));
    // One that may be done later yet is under way as long as the stream lasts.
    let chmod = Operation::SetAttr(SetAttr {
        ino: FILE,
        ..SetAttr::default()
    });
    cache.change(&chmod).in_doubt();
    learn(&cache, cache.begin(), "f", true);
    let get = QueryBody::GetAttr { ino: FILE };
    assert_eq!(cache.answer(&Caller::root(), &get), None);
    cache.detach(LINK);
    cache.attach(LINK);
    learn(&cache, cache.begin(), "f", true);
    assert!(cache.answer(&Caller::root(), &get).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_empty_directory_and_a_listing_tell_of_all_names() {
    let cache = cache();
    let begun = cache.begin();
    let empty = granted(Instant::now(), Some(0), &[]);
    cache.learn(begun, &lookup("a"), &Err(Refusal::NotFound), empty);
    assert_eq!(look(&cache, "other"), Some(Err(Refusal::NotFound)));
    let entry = |number, text: &str| DirEntry {
        number: DentryNumber(number),
        name: name(text),
        ino: FILE,
        kind: FileKind::Regular,
        attr: Some(attr(FILE, FileKind::Regular, 0)),
    };
    let list = |after| QueryBody::ReadDir {
        ino: DIR,
        after: DentryNumber(after),
        entries_max: 10,
        with_attrs: true,
    };
    recall(&cache, DIR, &["a"]);
    assert_eq!(look(&cache, "a"), None, "it may be there by now");
    let page = |entries: &[DirEntry], end| {
        Ok(Answer::Entries {
            parent: DIR,
            entries: entries.to_vec(),
            end,
        })
    };
    let (first, last) = (entry(4, "a"), entry(5, "b"));
    let give = || granted(Instant::now(), None, &[]);
    let begun = cache.begin();
    cache.learn(
        begun,
        &list(0),
        &page(std::slice::from_ref(&first), false),
        give(),
    );
    assert_eq!(cache.answer(&Caller::root(), &list(0)), None);
    cache.learn(
        begun,
        &list(4),
        &page(std::slice::from_ref(&last), true),
        give(),
    );
    let whole = page(&[first, last.clone()], true);
    assert_eq!(cache.answer(&Caller::root(), &list(0)), Some(whole));
    assert_eq!(
        cache.answer(&Caller::root(), &list(4)),
        Some(page(&[last], true))
    );
    recall(&cache, DIR, &["c"]);
    assert_eq!(cache.answer(&Caller::root(), &list(0)), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_comes_late_or_on_another_stream_is_not_cached() {
    let cache = cache();
    let answer = Ok(Answer::Attr(attr(FILE, FileKind::Regular, 0)));
    let get = QueryBody::GetAttr { ino: FILE };
    let known = |cache: &LeaseCache| cache.answer(&Caller::root(), &get).is_some();
    let refused = granted(Instant::now(), None, &[FILE]);
    cache.learn(cache.begin(), &get, &answer, refused);
    assert!(!known(&cache));
    let mut other = granted(Instant::now(), None, &[]);
    other.link = LINK + 1;
    cache.learn(cache.begin(), &get, &answer, other);
    assert!(!known(&cache));
    let asked = Instant::now();
    tokio::time::advance(Duration::from_secs(2)).await;
    cache.learn(cache.begin(), &get, &answer, granted(asked, None, &[]));
    assert!(!known(&cache), "its time is counted from the question");
    cache.learn(
        cache.begin(),
        &get,
        &answer,
        granted(Instant::now(), None, &[]),
    );
    assert!(known(&cache));
    cache.detach(LINK);
    assert!(!known(&cache));
    // A file without names may be deleted without a word.
    let orphan = Attr {
        nlink: 0,
        ..attr(Ino(8), FileKind::Regular, 0)
    };
    cache.attach(LINK);
    let get = QueryBody::GetAttr { ino: Ino(8) };
    let answer = Ok(Answer::Attr(orphan));
    cache.learn(
        cache.begin(),
        &get,
        &answer,
        granted(Instant::now(), None, &[]),
    );
    assert_eq!(cache.answer(&Caller::root(), &get), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_on_is_named_in_a_recall_as_long_as_it_is_shown() {
    let cache = cache();
    learn(&cache, cache.begin(), "a", true);
    let file = attr(FILE, FileKind::Regular, 0);
    let a = name("a");
    let handed = cache.hand_on(Some((DIR, &a)), &file);
    assert_eq!((handed.entry, handed.attr), (HAND_ON_MAX, HAND_ON_MAX));
    assert_eq!(cache.shown_for(), HAND_ON_MAX);
    let older = Attr {
        length: 1,
        ..file.clone()
    };
    let handed = cache.hand_on(Some((DIR, &name("x"))), &older);
    assert_eq!(handed, HandedOn::default(), "not what is leased");
    let (_, shown) = recall(&cache, DIR, &["b"]);
    assert_eq!(shown, None, "another name");
    let (_, shown) = recall(&cache, DIR, &["a"]);
    assert_eq!(shown.unwrap().names, std::slice::from_ref(&a));
    let (_, shown) = recall(&cache, FILE, &[]);
    assert!(shown.expect("it is shown").attr);
    learn(&cache, cache.begin(), "a", true);
    cache.hand_on(Some((DIR, &a)), &file);
    tokio::time::advance(HAND_ON_MAX).await;
    assert_eq!(recall(&cache, DIR, &["a"]).1, None, "its time is over");
    assert_eq!(cache.shown_for(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_acl_that_somebody_keeps_is_named_in_a_recall_as_attributes_are() {
    let cache = cache();
    learn(&cache, cache.begin(), "a", true);
    let hand_on = |value| cache.hand_on_acl(FILE, AclKind::Access, value);
    let value = Some(&b"an ACL"[..]);
    assert_eq!(hand_on(value), Duration::ZERO, "not what is leased");
    assert_eq!(recall(&cache, FILE, &[]).1, None, "nothing was handed on");
    assert_eq!(hand_on(None), Duration::ZERO, "not known any more");
    learn(&cache, cache.begin(), "a", true);
    assert_eq!(hand_on(None), HAND_ON_MAX);
    assert_eq!(cache.shown_for(), HAND_ON_MAX);
    let (_, shown) = recall(&cache, FILE, &[]);
    assert!(shown.expect("it is shown").attr);
}

fn get_xattr(name: &str) -> QueryBody {
    QueryBody::GetXattr {
        ino: FILE,
        name: name.as_bytes().to_vec(),
    }
}

fn asked_of(
    cache: &LeaseCache,
    caller: &Caller,
    body: &QueryBody,
) -> Option<Result<Answer, Refusal>> {
    cache.answer(caller, body)
}

#[tokio::test(start_paused = true)]
async fn extended_attributes_are_answered_to_those_who_may_read_them() {
    let cache = cache();
    let (root, other) = (
        Caller::root(),
        Caller {
            uid: 6,
            gid: 6,
            groups: Vec::new(),
        },
    );
    let begun = cache.begin();
    let value = Ok(Answer::Bytes(b"v".to_vec()));
    let leased = || granted(Instant::now(), None, &[]);
    // Without attributes nothing says that the file has a name.
    cache.learn(begun, &get_xattr("user.a"), &value, leased());
    assert_eq!(asked_of(&cache, &root, &get_xattr("user.a")), None);

    learn(&cache, begun, "a", true);
    cache.learn(begun, &get_xattr("user.a"), &value, leased());
    let missing = Err(Refusal::NoAttribute);
    cache.learn(begun, &get_xattr("security.b"), &missing, leased());
    cache.learn(begun, &get_xattr("trusted.c"), &missing, leased());
    assert_eq!(
        asked_of(&cache, &root, &get_xattr("user.a")),
        Some(value.clone())
    );
    let denied = Some(Err(Refusal::AccessDenied));
    assert_eq!(asked_of(&cache, &other, &get_xattr("user.a")), denied);
    assert_eq!(
        asked_of(&cache, &other, &get_xattr("security.b")),
        Some(missing)
    );
    // It may be there, for the superuser.
    assert_eq!(asked_of(&cache, &root, &get_xattr("trusted.c")), None);
    assert_eq!(asked_of(&cache, &root, &get_xattr("user.d")), None);
    let list = QueryBody::ListXattr { ino: FILE };
    assert_eq!(asked_of(&cache, &root, &list), None);

    recall(&cache, FILE, &[]);
    assert_eq!(asked_of(&cache, &root, &get_xattr("user.a")), None);
    assert_eq!(asked_of(&cache, &root, &get_xattr("security.b")), None);
}

#[tokio::test(start_paused = true)]
async fn a_listing_says_which_files_have_no_extended_attributes() {
    let cache = cache();
    let root = Caller::root();
    let begun = cache.begin();
    let entry = |number: u64, ino: u64| DirEntry {
        number: DentryNumber(number),
        name: name(&format!("f{ino}")),
        ino: Ino(ino),
        kind: FileKind::Regular,
        attr: Some(attr(Ino(ino), FileKind::Regular, 0)),
    };
    let answer = Ok(Answer::Entries {
        parent: DIR,
        entries: vec![entry(3, 7), entry(4, 8)],
        end: true,
    });
    let body = QueryBody::ReadDir {
        ino: DIR,
        after: DentryNumber(0),
        entries_max: 100,
        with_attrs: true,
    };
    let mut leased = granted(Instant::now(), None, &[]);
    leased.grant.xattrs_told = true;
    leased.grant.with_xattrs = vec![8];
    cache.learn(begun, &body, &answer, leased);
    let list = |ino: u64| QueryBody::ListXattr { ino: Ino(ino) };
    let none = Some(Ok(Answer::Names(Vec::new())));
    assert_eq!(asked_of(&cache, &root, &list(7)), none);
    assert_eq!(asked_of(&cache, &root, &list(8)), None);
    let missing = Some(Err(Refusal::NoAttribute));
    assert_eq!(
        asked_of(&cache, &root, &get_xattr("security.selinux")),
        missing
    );

    // This client's own change, and then nothing is known.
    let change = Operation::SetXattr {
        ino: FILE,
        name: b"user.a".to_vec(),
        value: b"v".to_vec(),
        mode: meta_core::command::XattrMode::Set,
    };
    drop(cache.change(&change));
    assert_eq!(asked_of(&cache, &root, &list(7)), None);
    assert_eq!(
        asked_of(&cache, &root, &get_xattr("security.selinux")),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_is_answered_while_its_symlink_has_a_name() {
    let cache = cache();
    let body = QueryBody::ReadLink { ino: FILE };
    let target = Ok(Answer::Bytes(b"to/there".to_vec()));
    let begun = cache.begin();
    learn(&cache, begun, "a", true);
    cache.learn(begun, &body, &target, granted(Instant::now(), None, &[]));
    assert_eq!(asked_of(&cache, &Caller::root(), &body), Some(target));
    let unlink = Operation::Unlink {
        parent: DIR,
        name: name("a"),
    };
    drop(cache.change(&unlink));
    assert_eq!(asked_of(&cache, &Caller::root(), &body), None);
}

fn create(text: &str) -> Operation {
    Operation::Create(meta_core::command::Create {
        parent: DIR,
        name: name(text),
        mode: 0o755,
        node: meta_core::command::NewNode::Directory,
        masked: 0,
        existing: meta_core::command::Existing::Refuse,
    })
}

/// The reply to a create of a directory, with a lease of a generation on it, and its parent.
fn made(generation: u64) -> (Success, Told) {
    let success = Success::Entry {
        attr: attr(FILE, FileKind::Directory, 0),
        created: true,
    };
    let mut granted = granted(Instant::now(), None, &[]);
    granted.grant.generation = generation;
    granted.grant.xattrs_told = true;
    let told = Told {
        granted: Some(granted),
        directories: vec![attr(DIR, FileKind::Directory, 4)],
    };
    (success, told)
}

fn get_attr(cache: &LeaseCache, ino: Ino) -> Option<u64> {
    match cache.answer(&Caller::root(), &QueryBody::GetAttr { ino }) {
        Some(Ok(Answer::Attr(attr))) => Some(attr.length),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_change_makes_is_known_with_its_directory() {
    let cache = cache();
    learn(&cache, cache.begin(), "other", false);
    let change = cache.change(&create("made"));
    assert_eq!(get_attr(&cache, DIR), None);
    let (success, told) = made(9);
    change.done(&success, Some(told));
    drop(change);
    assert_eq!(get_attr(&cache, DIR), Some(4));
    assert!(matches!(look(&cache, "made"), Some(Ok(Answer::Attr(_)))));
    let inside = QueryBody::Lookup {
        parent: FILE,
        name: name("x"),
    };
    let nothing = Some(Err(Refusal::NotFound));
    assert_eq!(cache.answer(&Caller::root(), &inside), nothing);
    let list = QueryBody::ListXattr { ino: FILE };
    let none = Some(Ok(Answer::Names(Vec::new())));
    assert_eq!(cache.answer(&Caller::root(), &list), none);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_others_change_too_is_not_known_from_the_reply_to_one() {
    let cache = cache();
    learn(&cache, cache.begin(), "other", false);
    // Two of this client's own at once: neither reply is the last.
    let (one, two) = (cache.change(&create("one")), cache.change(&create("two")));
    let (success, told) = made(9);
    one.done(&success, Some(told));
    assert_eq!(get_attr(&cache, DIR), None);
    drop((one, two));
    // One of somebody else.
    learn(&cache, cache.begin(), "other", false);
    let change = cache.change(&create("three"));
    recall(&cache, DIR, &["four"]);
    let (success, told) = made(9);
    change.done(&success, Some(told));
    drop(change);
    assert_eq!(get_attr(&cache, DIR), None);
}

#[tokio::test(start_paused = true)]
async fn a_reply_under_other_leases_than_the_change_began_under_tells_nothing_of_names() {
    let cache = cache();
    learn(&cache, cache.begin(), "other", false);
    let change = cache.change(&create("made"));
    // The stream breaks, the leader does what was asked, somebody removes the name, and the
    // directory is leased anew before the reply to a second sending is there.
    cache.attach(LINK);
    let mut anew = granted(Instant::now(), Some(3), &[]);
    anew.grant.generation = 10;
    let absent = Err(Refusal::NotFound);
    cache.learn(cache.begin(), &lookup("another"), &absent, anew);
    let (success, _) = made(10);
    change.done(&success, None);
    drop(change);
    assert_eq!(look(&cache, "made"), None);
}

#[tokio::test(start_paused = true)]
async fn attributes_that_were_set_are_known_if_the_lease_was_kept() {
    let cache = cache();
    learn(&cache, cache.begin(), "a", true);
    let set = Operation::SetAttr(SetAttr {
        ino: FILE,
        mode: Some(0o640),
        ..SetAttr::default()
    });
    let mut after = attr(FILE, FileKind::Regular, 0);
    after.mode = 0o640;
    after.length = 12;
    let success = Success::Attr(after);

    let change = cache.change(&set);
    assert_eq!(get_attr(&cache, FILE), None);
    change.done(&success, None);
    drop(change);
    assert_eq!(get_attr(&cache, FILE), Some(12));

    let change = cache.change(&set);
    recall(&cache, FILE, &[]);
    change.done(&success, None);
    drop(change);
    assert_eq!(get_attr(&cache, FILE), None);
}

/// A directory that a rename had replaced was listed, under a lease, until it was reaped; and after it.
#[tokio::test(start_paused = true)]
async fn a_directory_without_a_name_is_not_listed_from_memory() {
    let cache = cache();
    let list = QueryBody::ReadDir {
        ino: FILE,
        after: DentryNumber(0),
        entries_max: 100,
        with_attrs: false,
    };
    let empty = Ok(Answer::Entries {
        parent: DIR,
        entries: Vec::new(),
        end: true,
    });
    let learn_listing = || {
        let begun = cache.begin();
        cache.learn(begun, &list, &empty, granted(Instant::now(), None, &[]));
    };
    let get = QueryBody::GetAttr { ino: FILE };
    let learn_links = |nlink: u32| {
        let mut attr = attr(FILE, FileKind::Directory, 0);
        attr.nlink = nlink;
        let answer = Ok(Answer::Attr(attr));
        cache.learn(
            cache.begin(),
            &get,
            &answer,
            granted(Instant::now(), None, &[]),
        );
    };
    learn_links(2);
    learn_listing();
    assert!(cache.answer(&Caller::root(), &list).is_some());
    recall(&cache, FILE, &[]);
    learn_links(0);
    learn_listing();
    assert_eq!(cache.answer(&Caller::root(), &list), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_not_counted_any_more() {
    let cache = cache();
    learn(&cache, cache.begin(), "a", true);
    let missing = Err(Refusal::NoAttribute);
    for attribute in ["user.a", "user.b"] {
        let begun = cache.begin();
        let leased = granted(Instant::now(), None, &[]);
        cache.learn(begun, &get_xattr(attribute), &missing, leased);
    }
    let set = Operation::SetAttr(SetAttr {
        ino: FILE,
        mode: Some(0o640),
        ..SetAttr::default()
    });
    drop(cache.change(&set));
    let state = cache.state.lock();
    let sum: usize = state.files.values().map(|file| file.weight()).sum();
    assert_eq!(state.weight, sum);
}

#[tokio::test(start_paused = true)]
async fn totals_are_those_of_the_last_renewal_and_show_what_this_client_did() {
    let cache = cache();
    learn(&cache, cache.begin(), "a", true);
    let stat = |inodes| VolumeStat {
        inodes,
        ..VolumeStat::default()
    };
    let renew = |asked, inodes| {
        let renewed = v1::LeaseRenewed {
            generation: 9,
            ttl_ms: 2000,
            totals: Some((&stat(inodes)).into()),
        };
        cache.renewed(LINK, asked, 9, renewed);
    };
    let told = || cache.answer(&Caller::root(), &QueryBody::StatVolume);
    assert_eq!(told(), None, "nobody told them yet");
    renew(cache.ask(), 5);
    assert_eq!(told(), Some(Ok(Answer::Stat(stat(5)))));
    let before = cache.ask();
    let change = cache.change(&create("made"));
    assert_eq!(told(), None, "they are about to change");
    renew(cache.ask(), 5);
    assert_eq!(told(), None, "perhaps as they were before");
    drop(change);
    renew(before, 5);
    assert_eq!(told(), None, "as they were before");
    let asked = cache.ask();
    tokio::time::advance(Duration::from_millis(400)).await;
    renew(asked, 6);
    assert_eq!(told(), Some(Ok(Answer::Stat(stat(6)))));
    tokio::time::advance(Duration::from_millis(1600)).await;
    renew(cache.ask(), 6);
    tokio::time::advance(Duration::from_millis(1999)).await;
    assert!(told().is_some());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(told(), None, "too old");
}

/// The value of an ACL: a user with a number of its own, and its permissions.
fn acl_of(user: u32, granted: u16) -> Vec<u8> {
    let none = u32::MAX;
    let entries = [
        (1, 7, none),
        (2, granted, user),
        (4, 5, none),
        (16, 7, none),
        (32, 0, none),
    ];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, granted, id) in entries {
        value.extend(u16::to_le_bytes(tag));
        value.extend(u16::to_le_bytes(granted));
        value.extend(u32::to_le_bytes(id));
    }
    value
}

#[tokio::test(start_paused = true)]
async fn files_with_an_acl_are_never_answered_by_mode_bits() {
    let cache = cache();
    let begun = cache.begin();
    let guarded = |ino, kind| Attr {
        mode: 0o770,
        access_acl: true,
        ..attr(ino, kind, 3)
    };
    let found = Ok(Answer::Attr(guarded(FILE, FileKind::Regular)));
    let mut leased = granted(Instant::now(), None, &[]);
    leased.grant.directory = Some((&guarded(DIR, FileKind::Directory)).into());
    cache.learn(begun, &lookup("a"), &found, leased);
    let caller = |uid, gid| Caller {
        uid,
        gid,
        groups: vec![],
    };
    let (named, member, owner) = (caller(6, 6), caller(7, 5), caller(5, 9));
    let open = QueryBody::Open {
        ino: FILE,
        read: true,
        write: true,
    };
    // The owner and the superuser are decided by the mode.
    for caller in [&owner, &Caller::root()] {
        assert_eq!(cache.answer(caller, &lookup("a")), Some(found.clone()));
        assert_eq!(cache.answer(caller, &open), Some(found.clone()));
    }
    for caller in [&named, &member] {
        assert_eq!(cache.answer(caller, &lookup("a")), None);
        assert_eq!(cache.answer(caller, &open), None);
    }
    // Once the leader has told the ACLs, they decide.
    for (ino, granted_to_named) in [(DIR, 1), (FILE, 4)] {
        let body = QueryBody::GetXattr {
            ino,
            name: meta_core::acl::ACCESS.to_vec(),
        };
        let value = Ok(Answer::Bytes(acl_of(6, granted_to_named)));
        let granted = granted(Instant::now(), None, &[]);
        cache.learn(begun, &body, &value, granted);
        assert_eq!(cache.answer(&named, &body), Some(value));
    }
    let refused = Some(Err(Refusal::AccessDenied));
    assert_eq!(cache.answer(&named, &lookup("a")), Some(found.clone()));
    assert_eq!(cache.answer(&named, &open), refused);
    let read = QueryBody::Open {
        ino: FILE,
        read: true,
        write: false,
    };
    assert_eq!(cache.answer(&named, &read), Some(found.clone()));
    assert_eq!(cache.answer(&member, &read), Some(found));
    assert_eq!(cache.answer(&caller(8, 8), &lookup("a")), refused);
    recall(&cache, FILE, &[]);
    assert_eq!(cache.answer(&named, &read), None);
}

#[tokio::test(start_paused = true)]
async fn a_file_without_acls_is_known_to_have_none() {
    let cache = cache();
    learn(&cache, cache.begin(), "a", true);
    for name in [meta_core::acl::ACCESS, meta_core::acl::DEFAULT] {
        let body = QueryBody::GetXattr {
            ino: FILE,
            name: name.to_vec(),
        };
        let missing = Some(Err(Refusal::NoAttribute));
        assert_eq!(cache.answer(&Caller::root(), &body), missing);
    }
}
