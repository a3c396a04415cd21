//! Each write and each sync of a node's disk fails once.

use jepsen::alone::beside_others;
use jepsen::crash_points::disk;
use jepsen::scratch::notice;
use jepsen::seed::seed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_at_each_failed_write_and_sync_and_loses_nothing() {
    let _turn = beside_others().expect("the turn");
    let seed = seed("disk_faults").expect("a seed");
    let faulted = disk::alone(seed).await.unwrap_or_else(|e| panic!("{e:#}"));
    notice(&format!(
        "disk_faults: {} sites, {} stops; {:?}",
        faulted.sites.len(),
        faulted.stops(),
        faulted.checked
    ));
    assert_eq!(faulted.checked.unknown, 0, "sessions live through ends");
    for needed in [
        "sync log",
        "sync log/slot-#",
        "write log/slot-#",
        "sync state/gen-#/#.sst",
    ] {
        let found = faulted.sites.iter().find(|(site, _)| site == needed);
        assert!(found.is_some_and(|(_, stopped)| *stopped), "{faulted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_on_a_disk_that_fails_once_is_told_and_can_be_repeated() {
    let _turn = beside_others().expect("the turn");
    let seed = seed("disk_faults").expect("a seed");
    let faulted = disk::founding(seed)
        .await
        .unwrap_or_else(|e| panic!("{e:#}"));
    let (sites, stops) = (faulted.sites.len(), faulted.stops());
    notice(&format!(
        "disk_faults: first start: {sites} sites, {stops} stops"
    ));
    assert!(stops >= 5, "{faulted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_of_a_snapshot_that_arrives_leaves_the_old_state_or_the_new() {
    let _turn = beside_others().expect("the turn");
    let seed = seed("disk_faults").expect("a seed");
    let faulted = disk::catch_up(seed)
        .await
        .unwrap_or_else(|e| panic!("{e:#}"));
    let (sites, stops) = (faulted.sites.len(), faulted.stops());
    notice(&format!(
        "disk_faults: snapshots: {sites} sites, {stops} stops"
    ));
    assert!(sites >= 5, "{faulted:?}");
}
