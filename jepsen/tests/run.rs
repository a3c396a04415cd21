//! `jepsen run` itself, for a short time: it starts and ends its own cluster, and its last line is
//! the verdict.

use jepsen::alone::alone;
use jepsen::scratch::notice;
use std::process::Command;

fn run(workload: &str, nemesis: &str, seconds: &str) {
    let _alone = alone().expect("the turn");
    let seed = jepsen::seed::seed("run").expect("a seed").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_jepsen"))
        .args(["run", "--workload", workload, "--nemesis", nemesis])
        .args(["--time", seconds, "--seed", &seed])
        .output()
        .expect("jepsen runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().last(), Some("verdict: ok"), "{said}\n{errors}");
    assert!(output.status.success(), "{said}\n{errors}");
    let calls = said
        .lines()
        .find(|line| line.starts_with("calls:"))
        .unwrap_or_default();
    notice(&format!("run: {workload} under {nemesis}: {calls}"));
}

#[test]
fn a_directory_is_a_set_under_kills() {
    run("directory-set", "kill", "20");
}

#[test]
fn an_inode_is_a_register_under_pauses() {
    run("inode-register", "pause", "20");
}

#[test]
fn an_inode_is_a_register_under_partitions() {
    run("inode-register", "partition", "20");
}

#[test]
fn a_directory_is_a_set_under_partitions() {
    run("directory-set", "partition", "20");
}

#[test]
fn a_name_that_is_created_exclusively_is_a_lock_under_kills() {
    run("exclusive-create", "kill", "20");
}

#[test]
fn a_rename_is_one_step_under_partitions() {
    run("rename", "partition", "20");
}

#[test]
fn a_rename_is_one_step_under_kills() {
    run("rename", "kill", "20");
}

#[test]
fn records_are_appended_in_one_order_under_kills() {
    run("append", "kill", "20");
}

#[test]
fn records_are_appended_in_one_order_under_partitions() {
    run("append", "partition", "20");
}

#[test]
fn links_are_counted_under_restarts() {
    run("hard-links", "restart", "20");
}

#[test]
fn what_does_not_exist_is_wrong_usage() {
    for arguments in [
        &[
            "run",
            "--workload",
            "directory-set",
            "--nemesis",
            "flood",
            "--time",
            "1",
        ][..],
        &[
            "run",
            "--workload",
            "nonsense",
            "--nemesis",
            "none",
            "--time",
            "1",
            "--seed",
            "1",
        ],
        &[
            "run",
            "--workload",
            "directory-set",
            "--nemesis",
            "none",
            "--time",
            "0",
            "--seed",
            "1",
        ],
        &["demo"],
    ] {
        let jepsen = Command::new(env!("CARGO_BIN_EXE_jepsen"))
            .args(arguments)
            .output();
        assert_eq!(
            jepsen.expect("jepsen runs").status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}
