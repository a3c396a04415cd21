//! Each bug that is put in on purpose is found by few seeds: a simulation that finds nothing must
//! be known to find something. Needs the feature `seeded-bugs`, which no other build has.
#![cfg(feature = "seeded-bugs")]

use sim::Bug;
use sim::bugs::look_for;
use std::path::Path;

const SEEDS_MAX: u64 = 50;

#[test]
fn every_bug_is_found_within_fifty_seeds() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let found = look_for(Path::new(env!("CARGO_BIN_EXE_sim")), *bug, SEEDS_MAX, 2, 60)
            .expect("every seed gives a report");
        println!(
            "{}: {:?} seeds: {}",
            bug.name(),
            found.seeds,
            found.violation
        );
        if found.seeds.is_none() {
            missed.push(bug.name());
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
fn the_table_of_the_proof_names_every_bug() {
    let proof = include_str!("../../docs/proof.md");
    for bug in Bug::ALL {
        let row = format!("| {} | ", bug.name());
        assert!(
            proof.contains(&row),
            "docs/proof.md has no row of `{}`",
            bug.name()
        );
    }
}
