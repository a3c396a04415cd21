//! ACLs under leases: clients that know them, and clients that do not.

use crate::cluster::{PATIENCE, Stream, Three, create, lookup, until};
use meta_client::meta_core::acl;
use meta_client::meta_core::attr::{Attr, Caller};
use meta_client::meta_core::command::{Create, NewNode, Operation, SetAttr, XattrMode};
use meta_client::meta_core::ids::{DentryNumber, Ino, Level};
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::meta_core::query::{Answer, Query, QueryBody};
use meta_client::{ClientError, Cluster, MetaSession, SessionOptions};
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use tokio::time::Instant;

fn caller(uid: u32) -> Caller {
    Caller {
        uid,
        gid: 9,
        groups: Vec::new(),
    }
}

/// The value of an ACL of one named user.
fn acl_of(user: u32, granted: u16) -> Vec<u8> {
    let entries = [
        (1, 7, 0),
        (2, granted, user),
        (4, 0, 0),
        (16, 7, 0),
        (32, 0, 0),
    ];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, granted, id) in entries {
        value.extend(u16::to_le_bytes(tag));
        value.extend(u16::to_le_bytes(granted));
        value.extend(u32::to_le_bytes(id));
    }
    value
}

async fn set_acl(session: &MetaSession, ino: Ino, value: Vec<u8>) -> Result<(), ClientError> {
    let set = Operation::SetXattr {
        ino,
        name: acl::ACCESS.to_vec(),
        value,
        mode: XattrMode::Set,
    };
    session.execute(Caller::root(), set).await.map(|_| ())
}

async fn make(session: &MetaSession, name: &str) -> Ino {
    match session.execute(Caller::root(), create(name)).await {
        Ok(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{other:?}"),
    }
}

/// Waits until the volume may have ACLs.
async fn raised(three: &Three) {
    let cluster = Cluster::connect(&three.addrs, PATIENCE)
        .await
        .expect("a leader");
    until("the volume to be raised", async || {
        let volumes = cluster.volumes().await.expect("answered");
        volumes.iter().all(|volume| volume.level >= Level(3))
    })
    .await;
}

fn open(ino: Ino) -> QueryBody {
    QueryBody::Open {
        ino,
        read: true,
        write: false,
    }
}

async fn may(session: &MetaSession, uid: u32, ino: Ino) -> bool {
    match session.query(caller(uid), open(ino)).await {
        Ok(_) => true,
        Err(ClientError::Refused(Refusal::AccessDenied)) => false,
        other => panic!("{other:?}"),
    }
}

/// The answer to a question for a lease, and the files that none was given on.
async fn leased(stream: &mut Stream, query: Query, session: u64) -> (v1::QueryAnswer, Vec<u64>) {
    let query = Some(v1::Query::from(&query));
    let begin = Instant::now();
    loop {
        let query = query.clone();
        let asked = Ask::LeasedQuery(v1::LeasedQuery { query, session });
        match stream.ask(asked).await {
            Tell::LeasedAnswer(leased) => {
                if let (Some(answer), Some(grant)) = (leased.answer, leased.grant) {
                    return (answer, grant.refused);
                }
            }
            other => panic!("{other:?}"),
        }
        assert!(begin.elapsed() < PATIENCE, "no lease is given");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_session_sets_another_with_leases_obeys_at_once() {
    let three = Three::start("").await;
    let options = || SessionOptions {
        leases: true,
        ..SessionOptions::default()
    };
    let (one, other) = (
        three.session(options()).await,
        three.session(options()).await,
    );
    raised(&three).await;
    let ino = make(&one, "f").await;
    for round in 0..20 {
        let (setter, asker) = if round % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        set_acl(setter, ino, acl_of(1001, 0)).await.expect("set");
        assert!(
            !may(asker, 1001, ino).await && !may(setter, 1001, ino).await,
            "{round}"
        );
        set_acl(setter, ino, acl_of(1001, 4)).await.expect("set");
        // As a kernel does, which asks for the ACL before it lets anybody pass.
        let name = acl::ACCESS.to_vec();
        let told = asker
            .query(caller(1001), QueryBody::GetXattr { ino, name })
            .await;
        assert!(matches!(told, Ok(Answer::Bytes(_))), "{told:?}");
        for _again in 0..3 {
            assert!(may(asker, 1001, ino).await, "{round}");
            assert!(!may(asker, 1002, ino).await, "{round}");
        }
        let change = SetAttr {
            ino,
            mode: Some(0o704),
            ..SetAttr::default()
        };
        let change = Operation::SetAttr(change);
        setter.execute(Caller::root(), change).await.expect("chmod");
        // A mode that gives the group nothing leaves all who are no members to the others' bits.
        assert!(may(asker, 1002, ino).await, "{round}");
    }
}

/// It would answer by mode bits.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_acls_gets_no_lease_where_they_decide() {
    let three = Three::start("").await;
    let session = three.session(SessionOptions::default()).await;
    raised(&three).await;
    let (plain, guarded) = (
        make(&session, "plain").await,
        make(&session, "guarded").await,
    );
    set_acl(&session, guarded, acl_of(1001, 4))
        .await
        .expect("set");
    let addr = &three.addrs[three.leader().await];
    for (features, knows) in [(v1::Feature::Leases as u64, false), (33, true)] {
        let lessee = three.session(SessionOptions::default()).await;
        let id = lessee.id().0;
        let (mut stream, _) = Stream::open_with(addr, features).await;
        let ask = |body| Query {
            volume: three.volume,
            caller: Caller::root(),
            body,
        };
        let list = QueryBody::ReadDir {
            ino: Ino::ROOT,
            after: DentryNumber(0),
            entries_max: 100,
            with_attrs: true,
        };
        let inos = vec![plain, guarded];
        for body in [
            lookup("guarded"),
            open(guarded),
            list,
            QueryBody::GetAttrs { inos },
        ] {
            let what = format!("{body:?}, {knows}");
            let (_, refused) = leased(&mut stream, ask(body), id).await;
            let expected = if knows { Vec::new() } else { vec![guarded.0] };
            assert_eq!(refused, expected, "{what}");
        }
        let (_, refused) = leased(&mut stream, ask(lookup("plain")), id).await;
        assert_eq!(refused, Vec::<u64>::new());
    }
}

/// Not every answer about a directory has its attributes.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_acls_gets_no_lease_on_names_of_a_directory_with_one() {
    let three = Three::start("").await;
    let session = three.session(SessionOptions::default()).await;
    raised(&three).await;
    let Operation::Create(file) = create("d") else {
        panic!("a create");
    };
    let directory = Operation::Create(Create {
        node: NewNode::Directory,
        ..file
    });
    let ino = match session.execute(Caller::root(), directory).await {
        Ok(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{other:?}"),
    };
    set_acl(&session, ino, acl_of(1001, 5)).await.expect("set");
    let addr = &three.addrs[three.leader().await];
    let list = |with_attrs| QueryBody::ReadDir {
        ino,
        after: DentryNumber(0),
        entries_max: 100,
        with_attrs,
    };
    let get = |name: &[u8]| QueryBody::GetXattr {
        ino,
        name: name.to_vec(),
    };
    for (features, knows) in [(v1::Feature::Leases as u64, false), (33, true)] {
        let lessee = three.session(SessionOptions::default()).await;
        let (mut stream, _) = Stream::open_with(addr, features).await;
        for body in [
            list(true),
            list(false),
            get(acl::ACCESS),
            get(b"user.none"),
            QueryBody::ListXattr { ino },
        ] {
            let what = format!("{body:?}, {knows}");
            let query = Query {
                volume: three.volume,
                caller: Caller::root(),
                body,
            };
            let (_, refused) = leased(&mut stream, query, lessee.id().0).await;
            let expected = if knows { Vec::new() } else { vec![ino.0] };
            assert_eq!(refused, expected, "{what}");
        }
    }
}

/// What a mark in the attributes says is what it looks like to everybody.
#[tokio::test(flavor = "multi_thread")]
async fn below_level_3_nothing_is_set_and_nothing_marked() {
    let three = Three::staying().await;
    let session = three.session(SessionOptions::default()).await;
    let ino = make(&session, "f").await;
    let refused = set_acl(&session, ino, acl_of(1001, 4)).await;
    let is_refused = matches!(refused, Err(ClientError::Refused(Refusal::NotSupported)));
    assert!(is_refused, "{refused:?}");
    let attr = |answer| match answer {
        Ok(Answer::Attr(Attr { access_acl, .. })) => access_acl,
        other => panic!("{other:?}"),
    };
    let asked = QueryBody::GetAttr { ino };
    assert!(!attr(session.query(Caller::root(), asked).await));
}
