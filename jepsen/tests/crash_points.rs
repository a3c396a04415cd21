//! Processes end at every named place, and nothing that was acknowledged is lost.

use jepsen::alone::beside_others;
use jepsen::crash_points::{backup, covered, founding, mirror, mount, node};
use jepsen::fuse::skip_unless_fuse;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use meta_client::meta_core::failpoint::Point;
use std::collections::BTreeSet;

#[test]
fn every_place_is_one_at_which_a_process_ends() {
    let covered: BTreeSet<Point> = covered().into_iter().collect();
    let all: BTreeSet<Point> = Point::ALL.iter().copied().collect();
    assert_eq!(covered, all);
    assert!(all.len() >= 40, "{}", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_ends_at_every_place_of_a_running_cluster() {
    let _turn = beside_others().expect("the turn");
    let seed = seed("crash_points").expect("a seed");
    let checked = node::run(seed).await.unwrap_or_else(|e| panic!("{e:#}"));
    notice(&format!(
        "crash_points: {} ends; {checked:?}",
        node::points().len()
    ));
    assert_eq!(checked.unknown, 0, "sessions live through ends of nodes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_ends_at_every_place_of_its_first_start_and_its_recovery() {
    let _turn = beside_others().expect("the turn");
    let seed = seed("crash_points").expect("a seed");
    let checked = founding::run(seed)
        .await
        .unwrap_or_else(|e| panic!("{e:#}"));
    notice(&format!(
        "crash_points: {} ends; {checked:?}",
        founding::points().len()
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_of_a_mirror_ends_at_every_place() {
    let _turn = beside_others().expect("the turn");
    let seed = seed("crash_points").expect("a seed");
    let checked = mirror::run(seed).await.unwrap_or_else(|e| panic!("{e:#}"));
    notice(&format!(
        "crash_points: {} ends; {checked:?}",
        mirror::points().len()
    ));
    assert_eq!(checked.unknown, 0, "sessions live through ends of nodes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_ends_at_every_place() {
    if skip_unless_fuse("a_mount_ends_at_every_place") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let seed = seed("crash_points").expect("a seed");
    let survived = mount::run(seed).await.unwrap_or_else(|e| panic!("{e:#}"));
    notice(&format!("crash_points: {survived:?}"));
    assert_eq!(survived.ends, mount::POINTS.len());
    assert!(survived.synced >= 2 * 4, "{survived:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount_ends_at_every_place_of_a_backup() {
    if skip_unless_fuse("a_mount_ends_at_every_place_of_a_backup") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let whole = backup::run().await.unwrap_or_else(|e| panic!("{e:#}"));
    notice(&format!(
        "crash_points: {} ends within a backup, {whole} backups are whole",
        backup::POINTS.len()
    ));
    // Each end but the first leaves one, and so does each mount that comes after an end.
    assert!(whole >= 2 * backup::POINTS.len() - 1, "{whole}");
}
