//! Random operations on real mounts beside ext4.

use jepsen::alone::alone;
use jepsen::fuse::skip;
use jepsen::fuzz::{self, FuzzOptions};
use jepsen::scratch::notice;
use jepsen::seed::seed;
use std::fs;
use std::path::Path;

fn skipped(name: &str) -> bool {
    let missing = fuzz::missing();
    if let Some(why) = &missing {
        skip(name, why);
    }
    missing.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_on_a_mount_end_as_on_ext4() {
    if skipped("random_operations_on_a_mount_end_as_on_ext4") {
        return;
    }
    let _alone = alone().expect("the turn");
    let options = FuzzOptions {
        seed: seed("fuzz_mount").expect("a seed"),
        plans: 100,
        operations: 50,
        pair: false,
        nearest: false,
    };
    let done = fuzz::run(options).await;
    notice(&done.unwrap_or_else(|error| panic!("{error:#}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_of_two_mounts_changed_both_show_as_ext4_does() {
    if skipped("what_one_of_two_mounts_changed_both_show_as_ext4_does") {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("fuzz_pair").expect("a seed");
    for nearest in [false, true] {
        let options = FuzzOptions {
            seed,
            plans: 30,
            operations: 50,
            pair: true,
            nearest,
        };
        let done = fuzz::run(options).await;
        notice(&done.unwrap_or_else(|error| panic!("nearest: {nearest}: {error:#}")));
    }
}

/// Each was the smallest plan that showed a fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_showed_a_fault_show_none() {
    if skipped("plans_that_showed_a_fault_show_none") {
        return;
    }
    let _alone = alone().expect("the turn");
    for (dir, pair) in [("mount", false), ("pair", true)] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus/fuzz")
            .join(dir);
        let mut paths: Vec<_> = fs::read_dir(&dir)
            .expect("a corpus")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        paths.sort();
        let read = |path| fs::read_to_string(path).expect("readable");
        let plans: Vec<String> = paths.iter().map(read).collect();
        let done = fuzz::again(&plans, pair).await;
        done.unwrap_or_else(|error| panic!("of {paths:?}: {error:#}"));
    }
}
