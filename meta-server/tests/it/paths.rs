//! Paths and many files with one question each, under leases and without, at leaders and followers.

use crate::cluster::{PATIENCE, Stream, Three, until};
use meta_client::meta_core::attr::{Attr, Caller};
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation, RenameMode, SetAttr};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::name::Name;
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::meta_core::path::{Access, Links, PathEnd, Resolve, Resolved};
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{MetaSession, ReadFrom, SessionOptions};
use proto::v1::Feature;
use tokio::time::Instant;

const DEPTH: usize = 12;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

async fn make(session: &MetaSession, parent: Ino, text: &str, node: NewNode) -> Ino {
    let create = Operation::Create(Create {
        parent,
        name: name(text),
        mode: 0o755,
        node,
        masked: 0,
        existing: Existing::Refuse,
    });
    match session.execute(Caller::root(), create).await {
        Ok(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{text}: {other:?}"),
    }
}

/// A chain of directories `d0/d1/...` with a file `f` in the last one. Gives their inodes.
async fn deep(session: &MetaSession) -> Vec<Ino> {
    let mut inos = vec![Ino::ROOT];
    for level in 0..DEPTH {
        let parent = inos[level];
        let name = format!("d{level}");
        inos.push(make(session, parent, &name, NewNode::Directory).await);
    }
    inos.push(make(session, inos[DEPTH], "f", NewNode::Regular).await);
    inos
}

fn path() -> String {
    let dirs: Vec<String> = (0..DEPTH).map(|level| format!("d{level}")).collect();
    format!("{}/f", dirs.join("/"))
}

async fn resolve(session: &MetaSession, path: &str, links: Links) -> Resolved {
    let asked = Resolve {
        from: Ino::ROOT,
        path: path.into(),
        links,
        open: Some(Access {
            read: true,
            write: false,
        }),
    };
    let found = session.resolve(&Caller::root(), asked).await;
    found.expect("the root is there")
}

fn inos(found: &Resolved) -> Vec<Ino> {
    let steps = found.steps.iter().map(|step| step.attr.ino);
    std::iter::once(found.directory.ino).chain(steps).collect()
}

/// Questions and changes that the cluster has answered to a session.
fn answered(session: &MetaSession) -> u64 {
    session.status().answered
}

async fn walk(session: &MetaSession) -> Attr {
    let mut parent = Ino::ROOT;
    let mut last = None;
    for component in path().split('/') {
        let name = name(component);
        let body = QueryBody::Lookup { parent, name };
        match session.query(Caller::root(), body).await {
            Ok(Answer::Attr(attr)) => {
                parent = attr.ino;
                last = Some(attr);
            }
            other => panic!("{component}: {other:?}"),
        }
    }
    last.expect("a component")
}

async fn open(session: &MetaSession, ino: Ino) {
    let body = QueryBody::Open {
        ino,
        read: true,
        write: true,
    };
    let opened = session.query(Caller::root(), body).await;
    assert!(matches!(opened, Ok(Answer::Attr(_))), "{opened:?}");
}

/// Files that a session has leases on.
fn leased(session: &MetaSession) -> u64 {
    session.status().leases.map_or(0, |leases| leases.files)
}

/// A session that caches, as soon as it is given leases: the leader waits until all members have said
/// that they know of them.
async fn caching(three: &Three) -> MetaSession {
    let options = SessionOptions {
        leases: true,
        ..SessionOptions::default()
    };
    let session = three.session(options).await;
    let begin = Instant::now();
    while leased(&session) == 0 {
        assert!(begin.elapsed() < PATIENCE, "no lease is given");
        let root = QueryBody::GetAttr { ino: Ino::ROOT };
        session.query(Caller::root(), root).await.expect("answered");
    }
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_path_costs_one_question_and_none_while_it_is_leased() {
    let three = Three::start("").await;
    let writer = three.session(SessionOptions::default()).await;
    let made = deep(&writer).await;
    let plain = three.session(SessionOptions::default()).await;
    let before = answered(&plain);
    for _ in 0..3 {
        assert_eq!(inos(&resolve(&plain, &path(), Links::Stop).await), made);
    }
    assert_eq!(answered(&plain) - before, 3);
    let before = answered(&plain);
    let file = walk(&plain).await;
    open(&plain, file.ino).await;
    assert_eq!(answered(&plain) - before, DEPTH as u64 + 2);

    let cached = caching(&three).await;
    let before = answered(&cached);
    assert_eq!(inos(&resolve(&cached, &path(), Links::Stop).await), made);
    assert_eq!(answered(&cached) - before, 1);
    // All that lies along it is known: the path again, lookups, attributes, opens.
    assert_eq!(inos(&resolve(&cached, &path(), Links::All).await), made);
    assert_eq!(walk(&cached).await, file);
    open(&cached, file.ino).await;
    let each = cached.get_attrs(&Caller::root(), &made).await;
    assert_eq!(each.expect("answered").len(), made.len());
    assert_eq!(answered(&cached) - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_and_an_open_cost_one_question_under_leases() {
    let three = Three::start("").await;
    let writer = three.session(SessionOptions::default()).await;
    let cached = caching(&three).await;
    for number in 0..20 {
        let text = format!("f{number}");
        let made = make(&writer, Ino::ROOT, &text, NewNode::Regular).await;
        let before = answered(&cached);
        let body = QueryBody::Lookup {
            parent: Ino::ROOT,
            name: name(&text),
        };
        let found = cached.query(Caller::root(), body).await;
        assert!(matches!(found, Ok(Answer::Attr(_))), "{found:?}");
        open(&cached, made).await;
        assert_eq!(answered(&cached) - before, 1, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leased_path_is_never_shown_as_it_was() {
    let three = Three::start("").await;
    let writer = three.session(SessionOptions::default()).await;
    let made = deep(&writer).await;
    let cached = caching(&three).await;
    let root = Caller::root();
    let other = Caller {
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
    };
    let asked = Resolve {
        from: Ino::ROOT,
        path: path().into_bytes(),
        links: Links::Above,
        open: None,
    };
    let mut at = "d5".to_owned();
    for round in 0..40 {
        let here = at == "d5";
        let end = resolve(&cached, &path(), Links::Above).await.end;
        match end {
            PathEnd::Reached => assert!(here, "round {round}"),
            PathEnd::Refused {
                refusal: Refusal::NotFound,
                rest,
            } => assert!(!here && rest.starts_with(b"d5/"), "round {round}"),
            other => panic!("round {round}: {other:?}"),
        }
        // Somebody moves a directory in the middle, and closes one above it.
        let next = if here {
            format!("away{round}")
        } else {
            "d5".to_owned()
        };
        let rename = Operation::Rename {
            parent: made[5],
            name: name(&at),
            new_parent: made[5],
            new_name: name(&next),
            mode: RenameMode::NoReplace,
        };
        writer.execute(root.clone(), rename).await.expect("renamed");
        at = next;
        let mode = if round % 2 == 0 { 0o700 } else { 0o755 };
        let close = Operation::SetAttr(SetAttr {
            ino: made[3],
            mode: Some(mode),
            ..SetAttr::default()
        });
        writer.execute(root.clone(), close).await.expect("closed");
        let found = cached.resolve(&other, asked.clone()).await.expect("there");
        let denied = matches!(
            &found.end,
            PathEnd::Refused { refusal: Refusal::AccessDenied, rest } if rest.starts_with(b"d3")
        );
        assert_eq!(denied, mode == 0o700, "round {round}: {:?}", found.end);
        let each = cached.get_attrs(&root, &made).await.expect("answered");
        let told = each[3].as_ref().map(|attr| attr.mode);
        assert_eq!(told, Ok(mode), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_gone_are_told_one_by_one() {
    let three = Three::start("").await;
    let session = three.session(SessionOptions::default()).await;
    let mut made = deep(&session).await;
    made.insert(4, Ino(1 << 50));
    let before = answered(&session);
    let each = session.get_attrs(&Caller::root(), &made).await;
    assert_eq!(answered(&session) - before, 1);
    for (at, attr) in each.expect("answered").into_iter().enumerate() {
        let expected = match at {
            4 => Err(Refusal::Stale),
            _ => Ok(made[at]),
        };
        assert_eq!(attr.map(|attr| attr.ino), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_walks_a_path_as_it_is_now() {
    let three = Three::start("").await;
    let writer = three.session(SessionOptions::default()).await;
    let made = deep(&writer).await;
    let options = SessionOptions {
        read_from: ReadFrom::Nearest,
        ..SessionOptions::default()
    };
    let nearest = three.session(options).await;
    let status = || nearest.status().nearest.expect("it reads at the nearest");
    until("a member is chosen", async || status().node.is_some()).await;
    let before = status().counts.served;
    for round in 0..30 {
        let text = format!("new{round}");
        let path = format!("d0/d1/{text}");
        let found = resolve(&nearest, &path, Links::All).await;
        let missing = PathEnd::Refused {
            refusal: Refusal::NotFound,
            rest: text.clone().into_bytes(),
        };
        assert_eq!(found.end, missing);
        let ino = make(&writer, made[2], &text, NewNode::Regular).await;
        let found = resolve(&nearest, &path, Links::All).await;
        assert_eq!((found.last().ino, found.end), (ino, PathEnd::Reached));
    }
    assert!(status().counts.served > before, "by a member");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_say_that_they_know_paths() {
    let three = Three::start("").await;
    for addr in &three.addrs {
        let (_stream, hello) = Stream::open(addr).await;
        assert_ne!(hello.features & Feature::Paths as u64, 0);
    }
}
