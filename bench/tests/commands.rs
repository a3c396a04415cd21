//! The benchmarks do what they say, in small, and tell it as scripts read it.

use jepsen::alone::alone;
use jepsen::fuse::skip_unless_fuse;
use serde_json::Value;
use std::process::Command;

fn bench(arguments: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.args(arguments).arg("--json").output();
    let output = output.expect("bench runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// The names in a list of figures. Each has a rate, and no percentile is below the median.
fn told(figures: &Value, name: &str) -> Vec<String> {
    let told = figures.as_array().expect("a list").iter().map(|one| {
        assert!(one["ops_per_s"].as_f64().expect("a rate") > 0.0, "{one}");
        assert!(one["p99_us"].as_f64() >= one["p50_us"].as_f64(), "{one}");
        one[name].as_str().expect("a name").to_owned()
    });
    told.collect()
}

#[test]
fn the_engine_is_measured_beside_its_parts() {
    let _alone = alone().expect("the turn");
    let small = ["--nodes", "3", "--count", "100", "--rounds", "1"];
    let figures = bench(&[&["engine", "--threads", "8"][..], &small].concat());
    let operations = [
        "mkdir", "create", "setattr", "stat", "rename", "unlink", "rmdir",
    ];
    assert_eq!(told(&figures["operations"], "op"), operations);
    for operation in figures["operations"].as_array().expect("a list") {
        assert_eq!(operation["count"], 100, "{operation}");
    }
    let floors = told(&figures["floors"], "floor");
    let parts = ["fdatasync", "stream echo", "raft", "rocksdb batch"];
    assert_eq!(floors[..4], parts);
    assert_eq!(floors[4], "composite");
    // What several parts do one after the other is slower than each of them.
    let rate = |at: usize| figures["floors"][at]["ops_per_s"].as_f64().expect("a rate");
    assert!((1..4).all(|part| rate(4) < rate(part)), "{figures}");
}

#[test]
fn a_tree_that_is_removed_is_measured_beside_its_files() {
    let _alone = alone().expect("the turn");
    let small = ["--files", "600", "--dirs", "3", "--rounds", "1"];
    let figures = bench(&[&["rmr", "--nodes", "1"][..], &small].concat());
    assert_eq!(figures["files"], 600, "{figures}");
    for way in ["unlink", "rmr"] {
        let figure = |name: &str| figures[way][name].as_f64().expect("a figure");
        assert!(figure("files_per_s") > 0.0, "{figures}");
        assert!(
            figure("cpu_s_per_1000_deleted") >= figure("cpu_s_per_1000"),
            "{figures}"
        );
    }
    assert!(figures["rate_ratio"].as_f64().expect("a ratio") > 0.0);
}

#[test]
fn commands_are_applied_without_a_log() {
    let _alone = alone().expect("the turn");
    let figures = bench(&["floors", "--parts", "apply"]);
    let kinds = ["create", "setattr", "rename", "unlink", "reap"];
    let kinds = kinds.map(|kind| format!("apply {kind}"));
    assert_eq!(told(&figures["floors"], "floor"), kinds);
}

#[test]
fn a_log_in_files_is_measured_beside_the_database_that_it_was_in() {
    let _alone = alone().expect("the turn");
    let figures = bench(&["log", "--rounds", "1", "--ms", "50", "--in-flight", "4"]);
    let kinds = ["database", "files"];
    assert_eq!(told(&figures["figures"], "kind"), kinds);
    for figure in figures["figures"].as_array().expect("a list") {
        let written = figure["written_bytes_per_op"].as_f64();
        assert!(written.expect("bytes") > 100.0, "{figure}");
    }
}

#[test]
fn a_mount_is_measured_beside_one_that_does_nothing() {
    if skip_unless_fuse("a mount is measured beside one that does nothing") {
        return;
    }
    let _alone = alone().expect("the turn");
    let small = ["--count", "50", "--rounds", "1", "--threads", "2"];
    let figures = bench(&[&["fuse", "--pin"][..], &small].concat());
    let calls = ["create", "cold stat", "stat", "open", "readdir", "unlink"];
    assert_eq!(told(&figures["operations"], "op"), calls);
    let nulls = calls.map(|call| match call {
        "cold stat" => "null stat and echo".to_owned(),
        call => format!("null {call}"),
    });
    assert_eq!(told(&figures["floors"], "floor"), nulls);
}

#[test]
fn creates_are_measured_at_a_share_of_the_most() {
    let _alone = alone().expect("the turn");
    let figures = bench(&["steady", "--time", "1", "--load", "20", "--threads", "4"]);
    assert_eq!(told(&figures["floors"], "floor"), ["peak"]);
    assert_eq!(told(&figures["operations"], "op"), ["create"]);
    let rate = |of: &Value| of["ops_per_s"].as_f64().expect("a rate");
    let (steady, peak) = (rate(&figures["operations"][0]), rate(&figures["floors"][0]));
    assert!(steady > 0.0 && steady < peak, "{figures}");
}
