//! What scripts may rely on about `curlew playground`.

use jepsen::alone::alone;
use jepsen::cluster::agree;
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::is_mounted;
use jepsen::playground::{Playground, Side, kill_node, status};
use jepsen::scratch::Scratch;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Stops what a failed test left running.
struct StopOnDrop<'a>(&'a Playground);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.must(&["--stop"]) {
            jepsen::scratch::notice(&format!("cannot stop the playground: {error:#}"));
        }
    }
}

/// Gone, or only waiting for its parent to notice.
fn has_ended(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => text
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// Keys of a JSON object, sorted.
fn keys(value: &serde_json::Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn check_shape(dir: &Path) {
    let text = fs::read(dir.join("playground.json")).expect("playground.json");
    let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(keys(&value), ["mirror", "object_store", "origin"]);
    assert_eq!(
        keys(&value["origin"]),
        ["meta_url", "mount", "mount_pid", "nodes"]
    );
    assert!(value["mirror"].is_null());
    for node in value["origin"]["nodes"].as_array().expect("nodes") {
        assert_eq!(keys(node), ["addr", "id", "metrics", "pid"]);
    }
}

/// Kills a node and starts it again; what the playground says of itself stays true.
async fn kill_and_restart(playground: &Playground, side: &Side) -> Side {
    let victim = side.node(2).expect("node 2").clone();
    kill_node(&victim).expect("killed");
    fs::write(side.mount.join("while-dead"), "x").expect("two of three are enough");
    playground.must(&["--restart", "2"]).expect("restarted");
    let after = playground.description().expect("described").origin;
    assert_ne!(after.node(2).expect("node 2").pid, victim.pid);
    let again = playground.run(&["--restart", "2"]).expect("runs");
    assert!(!again.status.success(), "a node that runs is not restarted");
    let agreement = agree(&after.addrs(), PATIENCE)
        .await
        .expect("equal digests");
    let status = status(&after.meta_url).expect("a status");
    let volume = agreement.volume(&status.volume).expect("the volume");
    assert_eq!(status.digest.as_deref(), Some(volume.digest.as_str()));
    assert_eq!(status.seq, volume.seq);
    after
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playground_keeps_its_promises_to_scripts() {
    if skip_unless_fuse("a_playground_keeps_its_promises_to_scripts") {
        return;
    }
    let _alone = alone().expect("the turn");
    let scratch = Scratch::new("playground").expect("a directory");
    let dir = scratch.path();
    fs::write(dir.join("foreign"), "mine").expect("written");
    let playground = Playground::new(dir);
    let _stop = StopOnDrop(&playground);

    let begin = Instant::now();
    playground
        .must(&["--nodes", "3", "--detach"])
        .expect("started");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(20), "--detach took {took:?}");
    check_shape(dir);
    let side = playground.description().expect("described").origin;
    assert_eq!(side.nodes.len(), 3);
    assert_eq!(
        side.mount,
        fs::canonicalize(dir).expect("a path").join("origin")
    );
    fs::write(side.mount.join("kept"), "through a stop").expect("the mount works");

    let second = playground.run(&["--nodes", "3", "--detach"]).expect("runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(
        second.status.code(),
        Some(1),
        "a second start is refused: {said}"
    );
    assert!(said.contains("--stop"), "and says what to do: {said}");

    let after = kill_and_restart(&playground, &side).await;

    playground.must(&["--stop"]).expect("stopped");
    for pid in after
        .nodes
        .iter()
        .map(|node| node.pid)
        .chain([after.mount_pid])
    {
        assert!(has_ended(pid), "process {pid} still runs after --stop");
    }
    assert!(!is_mounted(&side.mount).unwrap_or(false), "unmounted");
    playground
        .must(&["--stop"])
        .expect("stopping twice is fine");
    assert_eq!(
        fs::read_to_string(dir.join("foreign")).expect("still there"),
        "mine"
    );

    playground
        .must(&["--detach"])
        .expect("started again, with as many nodes");
    let side = playground.description().expect("described").origin;
    assert_eq!(side.nodes.len(), 3);
    let kept = fs::read_to_string(side.mount.join("kept")).expect("the data stayed");
    assert_eq!(kept, "through a stop");
    playground.must(&["--stop"]).expect("stopped");
}
