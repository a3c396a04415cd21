use super::*;
use meta_core::attr::{FileKind, Timestamp};
use meta_core::command::SetAttr;

const LINK: u64 = 4;
const DIR: Ino = Ino(1);
const FILE: Ino = Ino(7);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn attr(ino: Ino, kind: FileKind, names: u64) -> Attr {
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
    }
}

fn cache() -> Arc<LeaseCache> {
    let cache = Arc::new(LeaseCache::default());
    cache.attach(LINK);
    cache
}

fn granted(asked: Instant, names: Option<u64>, refused: &[Ino]) -> Granted {
    Granted {
        grant: v1::LeaseGrant {
            generation: 9,
            ttl_ms: 2000,
            refused: refused.iter().map(|ino| ino.0).collect(),
            directory: names.map(|names| (&attr(DIR, FileKind::Directory, names)).into()),
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

fn recall(cache: &LeaseCache, ino: Ino, names: &[&str]) -> (bool, Option<Forgotten>) {
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
    };
    cache.renewed(LINK, Instant::now(), 9, renewed);
    assert!(look(&cache, "a").is_some(), "nobody was told otherwise");
    cache.renewed(LINK, Instant::now(), 9, v1::LeaseRenewed::default());
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
    assert!(shown.unwrap().attr);
    learn(&cache, cache.begin(), "a", true);
    cache.hand_on(Some((DIR, &a)), &file);
    tokio::time::advance(HAND_ON_MAX).await;
    assert_eq!(recall(&cache, DIR, &["a"]).1, None, "its time is over");
    assert_eq!(cache.shown_for(), Duration::ZERO);
}
