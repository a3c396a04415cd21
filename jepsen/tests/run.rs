//! `jepsen run` itself, for a short time: it starts and ends its own cluster, and its last line is
//! the verdict.

use jepsen::alone::beside_others;
use jepsen::freezer::freezer_missing;
use jepsen::fuse::{fuse_missing, skip};
use jepsen::loop_image::loop_missing;
use jepsen::network::namespaces_missing;
use jepsen::scratch::notice;
use std::process::Command;

fn run(workload: &str, nemesis: &str, seconds: &str) {
    run_in("auto", workload, nemesis, seconds);
}

/// The same in a network of a kind. What the run says of it is given.
fn run_in(network: &str, workload: &str, nemesis: &str, seconds: &str) -> String {
    run_with(&[], network, workload, nemesis, seconds)
}

fn run_with(more: &[&str], network: &str, workload: &str, nemesis: &str, seconds: &str) -> String {
    let _turn = beside_others().expect("the turn");
    let seed = jepsen::seed::seed("run").expect("a seed").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_jepsen"))
        .args(["run", "--workload", workload, "--nemesis", nemesis])
        .args(["--time", seconds, "--seed", &seed])
        .args(["--network", network])
        .args(more)
        .output()
        .expect("jepsen runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().last(), Some("verdict: ok"), "{said}\n{errors}");
    assert!(output.status.success(), "{said}\n{errors}");
    let line = |begin: &str| {
        let line = said.lines().find(|line| line.starts_with(begin));
        line.unwrap_or_default().to_owned()
    };
    let (calls, network) = (line("calls:"), line("network:"));
    notice(&format!(
        "run: {workload} under {nemesis}: {network}, {calls}"
    ));
    network
}

/// In namespaces, where they can be had.
fn run_in_namespaces(test: &str, workload: &str, nemesis: &str) {
    if let Some(why) = namespaces_missing() {
        return skip(test, &why);
    }
    let network = run_in("namespaces", workload, nemesis, "20");
    assert_eq!(network, "network: namespaces");
}

fn run_on_proxies(workload: &str, nemesis: &str) {
    let network = run_in("proxies", workload, nemesis, "20");
    assert!(network.starts_with("network: proxies"), "{network}");
}

/// A run that saw no such read would be no pass.
#[test]
fn reads_under_a_leaders_lease_are_linearizable_while_nodes_pause() {
    run_with(&["--lease-reads"], "auto", "inode-register", "pause", "20");
}

#[test]
fn a_directory_is_a_set_under_kills() {
    run("directory-set", "kill", "10");
}

#[test]
fn an_inode_is_a_register_under_pauses() {
    run("inode-register", "pause", "20");
}

#[test]
fn an_inode_is_a_register_under_partitions() {
    run_on_proxies("inode-register", "partition");
}

#[test]
fn an_inode_is_a_register_under_partitions_in_namespaces() {
    run_in_namespaces(
        "an_inode_is_a_register_under_partitions_in_namespaces",
        "inode-register",
        "partition",
    );
}

#[test]
fn a_directory_is_a_set_over_slow_links() {
    run_on_proxies("directory-set", "slow-link");
}

#[test]
fn an_inode_is_a_register_while_packets_are_lost() {
    run_in_namespaces(
        "an_inode_is_a_register_while_packets_are_lost",
        "inode-register",
        "loss",
    );
}

#[test]
fn a_directory_is_a_set_under_partitions() {
    run("directory-set", "partition", "20");
}

#[test]
fn a_name_that_is_created_exclusively_is_a_lock_when_clocks_jump() {
    run("exclusive-create", "clock", "10");
}

#[test]
fn a_rename_is_one_step_while_members_come_and_go() {
    run("rename", "churn", "20");
}

#[test]
fn a_dump_shows_one_moment_while_nodes_are_frozen() {
    if let Some(why) = freezer_missing() {
        return skip("a_dump_shows_one_moment_while_nodes_are_frozen", &why);
    }
    run("tree", "freeze", "20");
}

#[test]
fn a_rename_is_one_step_when_nodes_are_damaged() {
    run("rename", "flip", "20");
}

#[test]
fn records_are_appended_in_one_order_on_bad_disks() {
    run("append", "bad-disk", "10");
}

#[test]
fn records_are_appended_in_one_order_on_slow_disks() {
    run("append", "slow-disk", "10");
}

#[test]
fn links_are_counted_under_restarts() {
    run("hard-links", "restart", "10");
}

#[test]
fn readers_get_every_change_once_under_kills() {
    run("changelog", "kill", "20");
}

#[test]
fn sessions_at_a_mirror_never_go_back_when_its_stream_is_hurt() {
    run("mirror-session", "stream", "20");
}

#[test]
fn a_directory_is_a_set_on_full_disks() {
    if let Some(why) = loop_missing() {
        return skip("a_directory_is_a_set_on_full_disks", &why);
    }
    run("directory-set", "full-disk", "20");
}

#[test]
fn records_are_appended_in_one_order_under_power_cuts() {
    if let Some(why) = loop_missing() {
        return skip("records_are_appended_in_one_order_under_power_cuts", &why);
    }
    run("append", "power", "20");
}

#[test]
fn files_are_there_from_close_to_open_when_mounts_are_killed() {
    if let Some(why) = fuse_missing() {
        return skip(
            "files_are_there_from_close_to_open_when_mounts_are_killed",
            &why,
        );
    }
    run("files", "mount", "20");
}

#[test]
fn files_are_there_from_close_to_open_when_their_bucket_is_hurt() {
    if let Some(why) = fuse_missing() {
        return skip(
            "files_are_there_from_close_to_open_when_their_bucket_is_hurt",
            &why,
        );
    }
    run("files", "bucket", "25");
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
        &[
            "run",
            "--workload",
            "directory-set",
            "--nemesis",
            "bucket",
            "--time",
            "1",
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
