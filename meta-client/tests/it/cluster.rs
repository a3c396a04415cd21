//! Clusters without sessions, and single nodes.

use crate::fake::{Fake, Fault, PATIENCE};
use meta_client::{
    ClientError, Cluster, Failure, init, node_status, transfer_leader, trigger_snapshot,
};
use meta_core::command::CreateVolume;
use meta_core::ids::{SessionId, Uuid, VolumeId};
use meta_core::outcome::Refusal;
use proto::v1::FailureKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn create(name: &str, uuid: u8) -> CreateVolume {
    let uuid = Uuid([uuid; 16]);
    CreateVolume {
        name: name.into(),
        uuid,
        block_bytes: 4 << 20,
        storage: b"{}".to_vec(),
    }
}

#[tokio::test]
async fn a_volume_is_made_once_though_the_answer_is_lost() {
    let fake = Fake::start(1).await;
    let cluster = Cluster::connect(&fake.addrs(), PATIENCE)
        .await
        .expect("a leader");
    fake.nodes[0].on_others([Fault::DropAfter]);
    let id = cluster.create_volume(create("a", 1)).await.expect("made");
    assert_eq!(cluster.find_volume("a").await.expect("found").id, id);
    let again = cluster.create_volume(create("a", 2)).await;
    assert_eq!(again, Err(ClientError::Refused(Refusal::VolumeExists)));
    // With the doubt, but of another's volume.
    fake.nodes[0].on_others([Fault::Fail(FailureKind::Unknown)]);
    let again = cluster.create_volume(create("a", 3)).await;
    assert_eq!(again, Err(ClientError::Refused(Refusal::VolumeExists)));
}

#[tokio::test]
async fn lists_are_read_to_their_end() {
    let fake = Fake::start(1).await;
    let cluster = Cluster::connect(&fake.addrs(), PATIENCE)
        .await
        .expect("a leader");
    for (index, name) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        let uuid = u8::try_from(index).expect("few");
        cluster
            .create_volume(create(name, uuid))
            .await
            .expect("made");
    }
    let names: Vec<String> = cluster
        .volumes()
        .await
        .expect("listed")
        .into_iter()
        .map(|volume| volume.name)
        .collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(fake.open_slots(1).await);
    }
    let ids: Vec<SessionId> = cluster
        .sessions(VolumeId(7))
        .await
        .expect("listed")
        .into_iter()
        .map(|session| session.id)
        .collect();
    assert_eq!(
        ids,
        open.iter()
            .map(meta_client::MetaSession::id)
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_unknown_volume_is_not_found() {
    let fake = Fake::start(1).await;
    let cluster = Cluster::connect(&fake.addrs(), PATIENCE)
        .await
        .expect("a leader");
    for name in ["nobody", &"n".repeat(64)] {
        let answer = cluster.find_volume(name).await;
        assert_eq!(answer, Err(ClientError::Refused(Refusal::UnknownVolume)));
    }
}

#[tokio::test]
async fn a_node_tells_its_status() {
    let fake = Fake::start(2).await;
    let status = node_status(&fake.nodes[0].addr, PATIENCE)
        .await
        .expect("a status");
    assert_eq!((status.node_id, status.state.as_str()), (1, "leader"));
    assert_eq!(status.leader_id, Some(1));
    assert_eq!(status.cluster_id, Some(Uuid([5; 16])));
    assert_eq!(
        (status.volumes[0].seq, status.volumes[0].digest.as_str()),
        (9, "abc")
    );
    assert_eq!(status.members[0].addr, "a:1");
    let status = node_status(&fake.nodes[1].addr, PATIENCE)
        .await
        .expect("a status");
    assert_eq!(
        (status.state.as_str(), status.leader_id),
        ("follower", None)
    );
}

#[tokio::test]
async fn a_node_is_asked_to_act() {
    let fake = Fake::start(1).await;
    let addr = &fake.nodes[0].addr;
    fake.nodes[0]
        .script
        .initialised
        .store(false, Ordering::SeqCst);
    assert!(!init(addr, PATIENCE).await.expect("initialised").already);
    assert!(init(addr, PATIENCE).await.expect("initialised").already);
    trigger_snapshot(addr, PATIENCE).await.expect("written");
    transfer_leader(addr, 2, PATIENCE).await.expect("moved");
    let error = transfer_leader(addr, 3, PATIENCE)
        .await
        .expect_err("no voter");
    assert!(
        matches!(error, ClientError::Failed(Failure::BadRequest(_))),
        "{error:?}"
    );
    assert!(error.to_string().contains("3 is no voter"), "{error}");
}

#[tokio::test]
async fn a_node_that_is_not_there_is_unreachable() {
    let error = node_status("127.0.0.1:1", Duration::from_secs(5))
        .await
        .expect_err("nobody");
    assert!(
        matches!(error, ClientError::Failed(Failure::Unreachable(_))),
        "{error:?}"
    );
}
