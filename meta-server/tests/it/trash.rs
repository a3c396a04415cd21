//! The trash of a cluster: what was removed is kept through a leader's end, comes back, and is deleted by
//! the leader when it is due.

use crate::cluster::{PATIENCE, Three, until};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::name::Name;
use meta_client::meta_core::outcome::Success;
use meta_client::meta_core::query::{Answer, QueryBody, VolumeStat};
use meta_client::{
    ClientError, Cluster, Doomed, Failure, HeldInodes, MetaSession, SessionOptions, TrashEvent,
    Which,
};
use std::sync::Arc;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

async fn make(session: &MetaSession, parent: Ino, text: &str, node: NewNode) -> Ino {
    let create = Operation::Create(Create {
        parent,
        name: name(text),
        mode: 0o755,
        node,
        existing: Existing::Refuse,
        masked: 0,
    });
    match session.execute(Caller::root(), create).await {
        Ok(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{text}: {other:?}"),
    }
}

async fn stat(session: &MetaSession) -> VolumeStat {
    match session.query(Caller::root(), QueryBody::StatVolume).await {
        Ok(Answer::Stat(stat)) => stat,
        other => panic!("{other:?}"),
    }
}

async fn wait_for(session: &MetaSession, what: &str, so: impl Fn(&VolumeStat) -> bool) {
    until(what, async || so(&stat(session).await)).await;
}

fn trashed(stat: &VolumeStat) -> u64 {
    stat.trash.expect("a trash").inodes
}

/// A client that has a file open.
#[derive(Debug)]
struct Holds(Ino);

#[async_trait::async_trait]
impl HeldInodes for Holds {
    async fn held(&self, asked: &[Ino]) -> Vec<Ino> {
        asked.iter().copied().filter(|ino| *ino == self.0).collect()
    }
}

async fn remove(session: &MetaSession) {
    let doomed = Doomed {
        parent: Ino::ROOT,
        name: name("top"),
        skip_trash: false,
    };
    let (root, mut tell) = (Caller::root(), |_event| {});
    let removed = session.remove_tree(&root, doomed, 4, &mut tell);
    removed.await.expect("removed");
}

/// Puts `/top` back. Gives how many files came with it.
async fn restore(session: &MetaSession) -> u64 {
    let (root, names) = (Caller::root(), [name("top")]);
    let found = session.find_removed(&root, &names, Which::default()).await;
    let found = found.expect("asked").expect("it is there");
    let parent = session.restore_above(&root, &names, &found).await;
    let top = found.entry.attr.ino;
    let restored = session.restore_file(&root, parent.expect("a root"), (top, name("top")));
    restored.await.expect("restored");
    let mut files = 0;
    let mut tell = |event| match event {
        TrashEvent::Restored { files: some, .. } => files += some,
        other => panic!("{other:?}"),
    };
    let place = (top, names.to_vec());
    let below = session.restore_below(&root, place, None, 4, &mut tell);
    below.await.expect("restored");
    files
}

/// Says how long the volume keeps what is removed, as soon as the leader has heard of all nodes.
async fn set_trash(three: &Three, seconds: u64) {
    let cluster = Cluster::connect(&three.addrs, PATIENCE)
        .await
        .expect("a leader");
    until("all nodes to be heard", async || {
        let set = cluster.set_trash(three.volume, Caller::root(), seconds);
        match set.await {
            Err(ClientError::Failed(Failure::BadRequest(_))) => false,
            ended => {
                ended.expect("set");
                true
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_comes_back_or_is_deleted_when_it_is_due() {
    let mut three = Three::start("").await;
    let session = three.session(SessionOptions::default()).await;
    wait_for(&session, "level 3", |now| now.trash.is_some()).await;
    let top = make(&session, Ino::ROOT, "top", NewNode::Directory).await;
    let mut files = Vec::new();
    for number in 0..5 {
        files.push(make(&session, top, &format!("f{number}"), NewNode::Regular).await);
    }
    remove(&session).await;
    let kept = stat(&session).await;
    assert_eq!((trashed(&kept), kept.orphans, kept.inodes), (6, 0, 7));

    let leader = three.leader().await;
    let node = three.nodes[leader].take().expect("it runs");
    node.abandon().await;
    assert_eq!(restore(&session).await, 5);
    assert_eq!(trashed(&stat(&session).await), 0);

    // What is due goes, but for what somebody has open.
    session.hold_inodes(Arc::new(Holds(files[2])));
    remove(&session).await;
    set_trash(&three, 1).await;
    wait_for(&session, "what is due to be deleted", |now| {
        (trashed(now), now.orphans, now.inodes) == (0, 1, 2)
    })
    .await;
    session.hold_inodes(Arc::new(Holds(Ino::ROOT)));
    wait_for(&session, "the last one", |now| {
        (now.orphans, now.inodes) == (0, 1)
    })
    .await;

    set_trash(&three, 0).await;
    make(&session, Ino::ROOT, "top", NewNode::Directory).await;
    remove(&session).await;
    assert_eq!(trashed(&stat(&session).await), 0, "there is none");
    wait_for(&session, "an end", |now| now.inodes == 1).await;
    session.close().await;
}
