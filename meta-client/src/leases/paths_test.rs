use super::super::LeaseCache;
use super::super::events::Moment;
use super::super::tests::{DIR, FILE, attr, cache, granted, name, recall};
use meta_core::attr::{Attr, Caller, FileKind};
use meta_core::command::{Operation, SetAttr};
use meta_core::ids::Ino;
use meta_core::outcome::Refusal;
use meta_core::path::{Links, PathEnd, PathStep, Resolve, Resolved};
use meta_core::query::{Answer, QueryBody};
use tokio::time::Instant;

const SUB: Ino = Ino(6);
const LINK_FILE: Ino = Ino(8);

type Told = Option<Result<Answer, Refusal>>;

fn resolve(path: &str, links: Links) -> QueryBody {
    QueryBody::Resolve(Resolve {
        from: DIR,
        path: path.into(),
        links,
        open: None,
    })
}

fn directory(ino: Ino) -> Attr {
    attr(ino, FileKind::Directory, 3)
}

fn step(parent: Ino, text: &str, attr: Attr) -> PathStep {
    PathStep {
        parent,
        name: Some(name(text)),
        attr,
    }
}

/// What the leader says of `sub/file`.
fn found() -> Resolved {
    Resolved {
        directory: directory(DIR),
        steps: vec![
            step(DIR, "sub", directory(SUB)),
            step(SUB, "file", attr(FILE, FileKind::Regular, 0)),
        ],
        end: PathEnd::Reached,
    }
}

fn learn(cache: &LeaseCache, begun: Moment, found: Resolved, refused: &[Ino]) {
    let body = resolve("asked/for", Links::Stop);
    let granted = granted(Instant::now(), None, refused);
    cache.learn(begun, &body, &Ok(Answer::Resolved(found)), granted);
}

fn asked(cache: &LeaseCache, body: &QueryBody) -> Told {
    cache.answer(&Caller::root(), body)
}

fn lookup(parent: Ino, text: &str) -> QueryBody {
    let name = name(text);
    QueryBody::Lookup { parent, name }
}

#[tokio::test(start_paused = true)]
async fn a_path_is_known_with_all_that_lies_along_it() {
    let cache = cache();
    let whole = Some(Ok(Answer::Resolved(found())));
    let path = resolve("sub/file", Links::Stop);
    assert_eq!(asked(&cache, &path), None);
    learn(&cache, cache.begin(), found(), &[]);
    assert_eq!(asked(&cache, &path), whole);
    let file = Some(Ok(Answer::Attr(attr(FILE, FileKind::Regular, 0))));
    assert_eq!(asked(&cache, &lookup(SUB, "file")), file);
    assert_eq!(asked(&cache, &QueryBody::GetAttr { ino: FILE }), file);
    let open = QueryBody::Open {
        ino: FILE,
        read: true,
        write: true,
    };
    assert_eq!(asked(&cache, &open), file, "opened without a question");
    assert_eq!(asked(&cache, &resolve("sub/x", Links::Stop)), None);
    // Who may not search a directory is refused from memory too.
    let stranger = Caller {
        uid: 6,
        gid: 6,
        groups: Vec::new(),
    };
    let Some(Ok(Answer::Resolved(refused))) = cache.answer(&stranger, &path) else {
        panic!("it is known");
    };
    let end = PathEnd::Refused {
        refusal: Refusal::AccessDenied,
        rest: b"sub/file".to_vec(),
    };
    assert_eq!((refused.end, refused.steps.len()), (end, 0));
    // One name less, and the path is asked for.
    recall(&cache, SUB, &["file"]);
    assert_eq!(asked(&cache, &path), None);
    let sub = Some(Ok(Answer::Attr(directory(SUB))));
    assert_eq!(asked(&cache, &lookup(DIR, "sub")), None, "its attributes");
    learn(&cache, cache.begin(), found(), &[]);
    assert_eq!(asked(&cache, &lookup(DIR, "sub")), sub);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_ends_a_path_is_known_not_to_be_there() {
    let cache = cache();
    let missing = Resolved {
        steps: vec![step(DIR, "sub", directory(SUB))],
        end: PathEnd::Refused {
            refusal: Refusal::NotFound,
            rest: b"gone/further".to_vec(),
        },
        ..found()
    };
    learn(&cache, cache.begin(), missing.clone(), &[]);
    let nothing = Some(Err(Refusal::NotFound));
    assert_eq!(asked(&cache, &lookup(SUB, "gone")), nothing);
    assert_eq!(asked(&cache, &lookup(SUB, "further")), None);
    let path = resolve("sub/gone/further", Links::Stop);
    let whole = Some(Ok(Answer::Resolved(missing)));
    assert_eq!(asked(&cache, &path), whole);
    // Refused for another reason, it may be there.
    let denied = Resolved {
        steps: vec![step(DIR, "sub", directory(SUB))],
        end: PathEnd::Refused {
            refusal: Refusal::AccessDenied,
            rest: b"other".to_vec(),
        },
        ..found()
    };
    learn(&cache, cache.begin(), denied, &[]);
    assert_eq!(asked(&cache, &lookup(SUB, "other")), None);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_path_is_known_that_is_not_leased_or_was_overtaken() {
    let cache = cache();
    learn(&cache, cache.begin(), found(), &[SUB]);
    assert_eq!(asked(&cache, &QueryBody::GetAttr { ino: SUB }), None);
    assert_eq!(asked(&cache, &lookup(SUB, "file")), None);
    assert!(asked(&cache, &QueryBody::GetAttr { ino: FILE }).is_some());
    assert_eq!(asked(&cache, &resolve("sub/file", Links::Stop)), None);
    // A recall came before the answer.
    let begun = cache.begin();
    recall(&cache, FILE, &[]);
    recall(&cache, DIR, &["sub"]);
    learn(&cache, begun, found(), &[]);
    assert_eq!(asked(&cache, &QueryBody::GetAttr { ino: FILE }), None);
    assert_eq!(asked(&cache, &lookup(DIR, "sub")), None);
    // A change of this client's own is under way.
    let change = cache.change(&Operation::SetAttr(SetAttr {
        ino: SUB,
        mode: Some(0),
        ..SetAttr::default()
    }));
    learn(&cache, cache.begin(), found(), &[]);
    assert_eq!(asked(&cache, &resolve("sub/file", Links::Stop)), None);
    drop(change);
    learn(&cache, cache.begin(), found(), &[]);
    assert!(asked(&cache, &resolve("sub/file", Links::Stop)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_symlink_that_ended_a_path_is_followed_from_memory() {
    let cache = cache();
    learn(&cache, cache.begin(), found(), &[]);
    let link = step(DIR, "link", attr(LINK_FILE, FileKind::Symlink, 8));
    let stopped = Resolved {
        steps: vec![link],
        end: PathEnd::Symlink {
            target: b"./sub/.".to_vec(),
            rest: b"/file".to_vec(),
        },
        ..found()
    };
    learn(&cache, cache.begin(), stopped.clone(), &[]);
    let path = |links| resolve("link/file", links);
    let whole = Some(Ok(Answer::Resolved(stopped)));
    assert_eq!(asked(&cache, &path(Links::Stop)), whole);
    let Some(Ok(Answer::Resolved(followed))) = asked(&cache, &path(Links::All)) else {
        panic!("all of it is known");
    };
    assert_eq!(followed.end, PathEnd::Reached);
    assert_eq!(followed.last().ino, FILE);
    assert_eq!(followed.steps.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_symlink_that_was_followed_is_asked_for_its_target() {
    let cache = cache();
    // The answer has the symlink, and not where it leads.
    let mut followed = found();
    let link = step(DIR, "link", attr(LINK_FILE, FileKind::Symlink, 8));
    followed.steps.insert(0, link);
    learn(&cache, cache.begin(), followed.clone(), &[]);
    let path = |links| resolve("link/file", links);
    assert_eq!(asked(&cache, &path(Links::All)), None);
    assert_eq!(asked(&cache, &path(Links::Stop)), None);
    // What else lies along it is known.
    assert!(asked(&cache, &resolve("sub/file", Links::All)).is_some());
    assert!(asked(&cache, &resolve("link", Links::Above)).is_some());
    let target = QueryBody::ReadLink { ino: LINK_FILE };
    let told = Ok(Answer::Bytes(b"sub".to_vec()));
    let leased = granted(Instant::now(), None, &[]);
    cache.learn(cache.begin(), &target, &told, leased);
    let whole = Some(Ok(Answer::Resolved(followed)));
    assert_eq!(asked(&cache, &path(Links::All)), whole);
}

#[tokio::test(start_paused = true)]
async fn many_files_are_answered_from_memory_if_all_are_known() {
    let cache = cache();
    let body = |inos: &[Ino]| QueryBody::GetAttrs {
        inos: inos.to_vec(),
    };
    let both = vec![
        Ok(directory(SUB)),
        Ok(attr(FILE, FileKind::Regular, 0)),
        Err(Refusal::Stale),
    ];
    let answer = Ok(Answer::Attrs(both.clone()));
    let leased = granted(Instant::now(), None, &[]);
    let asked_for = body(&[SUB, FILE, Ino(99)]);
    cache.learn(cache.begin(), &asked_for, &answer, leased);
    let known = Some(Ok(Answer::Attrs(both[..2].to_vec())));
    assert_eq!(asked(&cache, &body(&[SUB, FILE])), known);
    // That a file is gone is the leader's to say.
    assert_eq!(asked(&cache, &asked_for), None);
    recall(&cache, FILE, &[]);
    assert_eq!(asked(&cache, &body(&[SUB, FILE])), None);
    assert_eq!(cache.status().hits, 1);
}
