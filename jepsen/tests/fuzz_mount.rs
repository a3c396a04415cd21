//! Plans of random operations on real mounts beside ext4 (`jepsen fuzz-mount`): those that showed a
//! fault, and some under a new seed.

use jepsen::alone::alone;
use jepsen::fuse::skip;
use jepsen::fuzz::{self, FuzzOptions};
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

/// So many plans of so many operations, on a mount beside ext4, and on two mounts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_on_mounts_agree_with_ext4() {
    let name = "random_operations_on_mounts_agree_with_ext4";
    if skipped(name) {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed(name).expect("a seed");
    for pair in [false, true] {
        let options = FuzzOptions {
            seed,
            plans: 100,
            operations: 50,
            pair,
            nearest: false,
        };
        let done = fuzz::run(options).await;
        eprintln!("{}", done.unwrap_or_else(|error| panic!("{error:#}")));
    }
}
