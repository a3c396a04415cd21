//! Sessions of mounts of this machine whose process is dead.
//!
//! Their locks would be held until the session's time is over. A program that finds such a lock takes its
//! owner for alive, and goes by memory that died with the mount: SQLite does so with a write-ahead log, and
//! could write over what it had stored. So whoever mounts the volume next ends them first.

use meta_client::{Cluster, MetaUrl};
use meta_core::ids::{SessionId, VolumeId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long the cluster may take for it; the sessions end by themselves later.
const LIMIT: Duration = Duration::from_secs(5);

/// Which process a session is of, so that others on this machine can tell whether it lives.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Owner {
    /// The machine's start: a number never means the same process after another.
    boot: String,
    /// In which namespace the number is one.
    pid_namespace: String,
    pid: u32,
    /// When the process began, in the kernel's ticks: numbers are given again.
    started: u64,
}

impl Owner {
    /// This process; nothing where the system does not tell.
    pub(super) fn here() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let pid = std::process::id();
        Some(Self {
            boot: boot.trim().to_owned(),
            pid_namespace: fs::read_link("/proc/self/ns/pid")
                .ok()?
                .to_string_lossy()
                .into_owned(),
            pid,
            started: started(pid)?,
        })
    }

    /// Whether it was one of this machine as `here` sees it, and is no more.
    fn is_dead(&self, here: &Self) -> bool {
        let seen = (&self.boot, &self.pid_namespace) == (&here.boot, &here.pid_namespace);
        seen && started(self.pid) != Some(self.started)
    }
}

/// When a process began. A process that has ended and was not waited for is none.
fn started(pid: u32) -> Option<u64> {
    let path = Path::new("/proc").join(pid.to_string()).join("stat");
    let stat = fs::read_to_string(path).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    // The 22nd field of all.
    fields.nth(18)?.parse().ok()
}

/// What is told of a session, as far as it matters here.
#[derive(Deserialize)]
struct Told {
    owner: Owner,
}

/// Ends the sessions of a volume whose processes were on this machine and are dead. What cannot be ended
/// now ends by itself.
pub(super) async fn end_sessions(url: &MetaUrl, volume: VolumeId) {
    let Some(here) = Owner::here() else {
        return;
    };
    match tokio::time::timeout(LIMIT, end(url, volume, &here)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "sessions of mounts that died here end later by themselves");
        }
        Err(_elapsed) => {
            tracing::warn!("sessions of mounts that died here end later by themselves")
        }
    }
}

async fn end(
    url: &MetaUrl,
    volume: VolumeId,
    here: &Owner,
) -> Result<(), meta_client::ClientError> {
    let cluster = Cluster::connect(&url.addrs, LIMIT).await?;
    for session in cluster.sessions(volume).await? {
        if is_of_the_dead(&session.info, here) {
            end_one(&cluster, volume, session.id).await?;
        }
    }
    Ok(())
}

fn is_of_the_dead(info: &[u8], here: &Owner) -> bool {
    // Other clients tell other things, and earlier versions less.
    serde_json::from_slice::<Told>(info).is_ok_and(|told| told.owner.is_dead(here))
}

async fn end_one(
    cluster: &Cluster,
    volume: VolumeId,
    session: SessionId,
) -> Result<(), meta_client::ClientError> {
    cluster.close_session(volume, session).await?;
    tracing::info!(%session, "a mount died here before: its session is ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn info(owner: &Owner) -> Vec<u8> {
        serde_json::json!({ "host": "here", "owner": owner })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn only_sessions_of_dead_processes_of_this_machine_are_ended() {
        let here = Owner::here().expect("this process");
        assert!(!is_of_the_dead(&info(&here), &here), "it lives");
        let mut child = Command::new("true").spawn().expect("a process");
        let pid = child.id();
        child.wait().expect("it ends");
        let dead = Owner {
            pid,
            ..here.clone()
        };
        assert!(is_of_the_dead(&info(&dead), &here));
        let again = Owner {
            started: here.started + 1,
            ..here.clone()
        };
        assert!(is_of_the_dead(&info(&again), &here), "another process");
        let elsewhere = Owner {
            boot: "another".to_owned(),
            ..dead.clone()
        };
        assert!(!is_of_the_dead(&info(&elsewhere), &here));
        let unseen = Owner {
            pid_namespace: "pid:[1]".to_owned(),
            ..dead
        };
        assert!(!is_of_the_dead(&info(&unseen), &here));
        assert!(!is_of_the_dead(b"{\"pid\": 1}", &here), "it does not say");
        assert!(!is_of_the_dead(b"", &here));
    }
}
