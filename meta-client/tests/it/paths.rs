//! Paths and many files with one question, and with many where nodes are of an earlier version.

use crate::fake::{Fake, Fault, PATIENCE, caller, until};
use meta_client::{ClientError, Failure, MetaSession, MirrorOptions, ReadFrom, SessionOptions};
use meta_core::ids::Ino;
use meta_core::limits::{GET_ATTRS_MAX, PATH_BYTES_MAX};
use meta_core::outcome::Refusal;
use meta_core::path::{Links, PathEnd, Resolve, Resolved};
use meta_core::query::QueryBody;
use proto::v1::FailureKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

async fn resolve(session: &MetaSession, path: &str) -> Result<Resolved, ClientError> {
    let asked = Resolve {
        from: Ino(100),
        path: path.into(),
        links: Links::Stop,
        open: None,
    };
    session.resolve(&caller(), asked).await
}

fn refused(refusal: Refusal, rest: &str) -> PathEnd {
    PathEnd::Refused {
        refusal,
        rest: rest.into(),
    }
}

fn old(fake: &Fake) {
    for node in &fake.nodes {
        node.script.paths.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_path_is_one_question_and_a_walk_of_lookups_where_the_leader_is_old() {
    let paths = ["a/b/c/d/e", "a/../b", "a/missing/c/d", "", "/a/"];
    let mut each = Vec::new();
    for is_old in [false, true] {
        let fake = Fake::start(1).await;
        if is_old {
            old(&fake);
        }
        let session = fake.open_slots(4).await;
        let mut found = Vec::new();
        let mut asked = Vec::new();
        for path in paths {
            let before = fake.model.seen().queries;
            found.push(resolve(&session, path).await.expect("it begins somewhere"));
            asked.push(fake.model.seen().queries - before);
        }
        assert_eq!(found[0].last().ino, Ino(105));
        assert_eq!(found[2].end, refused(Refusal::NotFound, "missing/c/d"));
        assert_eq!(asked, if is_old { [6, 4, 3, 1, 2] } else { [1; 5] });
        each.push(found);
    }
    assert_eq!(each[0], each[1]);
}

#[tokio::test]
async fn what_an_old_leader_does_not_know_is_told_with_a_type() {
    let fake = Fake::start(1).await;
    old(&fake);
    let session = fake.open_slots(4).await;
    let body = QueryBody::GetAttrs {
        inos: vec![Ino(100)],
    };
    let told = session.query(caller(), body).await;
    let Err(ClientError::Failed(Failure::BadRequest(why))) = told else {
        panic!("{told:?}");
    };
    assert!(why.contains("earlier version"), "{why}");
}

#[tokio::test]
async fn a_leader_that_was_replaced_by_an_old_one_meanwhile_is_walked_with() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    // So does a node answer that cannot read the question.
    fake.nodes[0].on_others([Fault::Fail(FailureKind::BadRequest)]);
    let found = resolve(&session, "a/b").await.expect("walked");
    assert_eq!(found.last().ino, Ino(102));
    fake.nodes[0].on_others([Fault::Fail(FailureKind::BadRequest)]);
    let each = session.get_attrs(&caller(), &[Ino(100), Ino(7)]).await;
    let each = each.expect("each for itself");
    assert_eq!(each[0].as_ref().map(|attr| attr.ino), Ok(Ino(100)));
    assert_eq!(each[1], Err(Refusal::NotFound));
}

#[tokio::test]
async fn attributes_of_many_files_are_asked_for_by_full_pages() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let inos: Vec<Ino> = (0..GET_ATTRS_MAX as u64 + 10).map(Ino).collect();
    let before = fake.model.seen().queries;
    let each = session.get_attrs(&caller(), &inos).await.expect("answered");
    assert_eq!(fake.model.seen().queries - before, 2);
    assert_eq!(each.len(), inos.len());
    for (ino, attr) in inos.iter().zip(each) {
        let expected = match ino.0 {
            100..=200 => Ok(*ino),
            _ => Err(Refusal::NotFound),
        };
        assert_eq!(attr.map(|attr| attr.ino), expected);
    }
}

#[tokio::test]
async fn a_path_of_any_length_is_walked_piece_by_piece() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let long = "n".repeat(200);
    let path = vec![long.as_str(); 45].join("/");
    assert!(path.len() > 2 * PATH_BYTES_MAX);
    let before = fake.model.seen().queries;
    let found = resolve(&session, &path).await.expect("walked");
    assert_eq!(fake.model.seen().queries - before, 3);
    assert_eq!(found.end, PathEnd::Reached);
    assert_eq!(found.directory.ino, Ino(100));
    let inos: Vec<u64> = found.steps.iter().map(|step| step.attr.ino.0).collect();
    assert_eq!(inos, (101..=145).collect::<Vec<_>>());
    // What is refused in one piece has all others behind it.
    let (first, last) = path.split_at(201);
    let path = format!("{first}missing/{last}");
    let found = resolve(&session, &path).await.expect("walked");
    let rest = format!("missing/{last}");
    assert_eq!(found.end, refused(Refusal::NotFound, &rest));
    let name = format!("a/{}/b", "n".repeat(PATH_BYTES_MAX + 1));
    let found = resolve(&session, &name).await.expect("walked");
    assert_eq!(found.end, refused(Refusal::NameTooLong, &name[2..]));
    assert_eq!(found.steps.len(), 1);
    let followed = Resolve {
        from: Ino(100),
        path: path.into_bytes(),
        links: Links::All,
        open: None,
    };
    let refused = session.resolve(&caller(), followed).await;
    assert_eq!(refused, Err(ClientError::Refused(Refusal::NameTooLong)));
}

#[tokio::test]
async fn a_directory_that_goes_between_two_pieces_is_refused_there() {
    let fake = Fake::start(1).await;
    let session = fake.open_slots(4).await;
    let path = vec!["n".repeat(200); 45].join("/");
    let stale = Fault::Refuse(Refusal::Stale);
    fake.nodes[0].on_others([Fault::None, stale]);
    let found = resolve(&session, &path).await.expect("the first piece");
    // As many names as the first piece has, and all others behind them.
    let first = PATH_BYTES_MAX / 201;
    assert_eq!(found.end, refused(Refusal::Stale, &path[first * 201..]));
    assert_eq!(found.directory.ino, Ino(100));
    let inos: Vec<u64> = found.steps.iter().map(|step| step.attr.ino.0).collect();
    assert_eq!(inos, (101..=100 + first as u64).collect::<Vec<_>>());
    assert_eq!(found.place(), found.last().ino);
    // Where it begins is nobody's last step.
    fake.nodes[0].on_others([stale]);
    let found = resolve(&session, &path).await;
    assert_eq!(found, Err(ClientError::Refused(Refusal::Stale)));
    // What else fails says nothing of the path.
    fake.nodes[0].on_others([Fault::None, Fault::Refuse(Refusal::UnknownVolume)]);
    let found = resolve(&session, &path).await;
    assert_eq!(found, Err(ClientError::Refused(Refusal::UnknownVolume)));
}

#[tokio::test]
async fn an_old_mirror_is_walked_with_while_the_origin_is_away() {
    let (origin, mirror) = (Fake::start(1).await, Fake::start(1).await);
    old(&mirror);
    mirror.nodes[0].script.mirrors.store(true, Ordering::SeqCst);
    let options = SessionOptions {
        mirror: Some(MirrorOptions {
            url: mirror.url(),
            wait: Duration::from_millis(100),
        }),
        ..SessionOptions::default()
    };
    let session = origin.open(options).await;
    let status = || session.status().mirror.expect("it reads at a mirror");
    until("the mirror is found", || status().leader.is_some()).await;
    // While the origin can, it answers with one question.
    let before = origin.model.seen().queries;
    resolve(&session, "a/b").await.expect("answered");
    assert_eq!(origin.model.seen().queries - before, 1);
    assert_eq!(
        (status().counts.served, status().counts.unavailable),
        (0, 1)
    );
    origin.nodes[0].follow(false, "");
    origin.nodes[0].cut();
    let inos = [Ino(100), Ino(7)];
    let root = caller();
    let both = async { tokio::join!(resolve(&session, "a/b"), session.get_attrs(&root, &inos)) };
    let (found, each) = tokio::time::timeout(PATIENCE, both)
        .await
        .expect("an end of the questions");
    let found = found.expect("walked");
    assert_eq!((found.last().ino, found.end), (Ino(102), PathEnd::Reached));
    let each = each.expect("each for itself");
    assert_eq!(each[0].as_ref().map(|attr| attr.ino), Ok(Ino(100)));
    assert_eq!(each[1], Err(Refusal::NotFound));
    // Three along the path, and two files.
    assert_eq!(status().counts.served, 5);
}

#[tokio::test]
async fn an_old_member_is_read_from_and_the_leader_is_asked_for_paths() {
    let fake = Fake::start(2).await;
    fake.nodes[1].script.paths.store(false, Ordering::SeqCst);
    let options = SessionOptions {
        read_from: ReadFrom::Nearest,
        ..SessionOptions::default()
    };
    let session = fake.open(options).await;
    let status = || session.status().nearest.expect("it reads at the nearest");
    let node = || status().node.map(|(node, _addr)| node);
    until("the follower is chosen", || node() == Some(2)).await;
    for _ in 0..3 {
        let found = resolve(&session, "a/b").await.expect("answered");
        assert_eq!(found.last().ino, Ino(102));
        let attr = QueryBody::GetAttr { ino: Ino(100) };
        session.query(caller(), attr).await.expect("answered");
    }
    assert_eq!(node(), Some(2), "it was not given up");
    assert_eq!(status().counts.unavailable, 3);
    assert_eq!(fake.nodes[1].nearest_answered(), 3);
}
