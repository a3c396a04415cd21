//! A hundred thousand files, removed.

use crate::{AT_ONCE, PATIENCE, directory, mount, one_node, session};
use anyhow::{Context as _, Result, bail, ensure};
use jepsen::alone::alone;
use jepsen::fuse::skip_unless_fuse;
use jepsen::many::each;
use jepsen::scratch::notice;
use jepsen::wait;
use jepsen::writer::make;
use meta_client::MetaSession;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::{Append, AppendSlice, NewNode, Operation};
use meta_client::meta_core::ids::{Ino, SliceId};
use meta_client::meta_core::outcome::Success;
use meta_client::meta_core::query::{Answer, QueryBody, VolumeStat};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Trees, each removed by a program of its own; what is in each: files in one directory, and in some others.
const TREES: usize = 8;
const TOGETHER: usize = 10_500;
const DIRS: usize = 2;
const IN_EACH: usize = 1_000;
const FILES: usize = TREES * (TOGETHER + DIRS * IN_EACH);
/// One in so many of them has data.
const WITH_DATA: usize = 10;

async fn stat(session: &MetaSession) -> VolumeStat {
    match session.query(Caller::root(), QueryBody::StatVolume).await {
        Ok(Answer::Stat(stat)) => stat,
        other => panic!("{other:?}"),
    }
}

/// Puts a slice into a file. Nobody reads it, so it has no blocks.
async fn append(session: &MetaSession, ino: Ino) -> Result<()> {
    let grant = Operation::GrantSlices { count: 1 };
    let id = match session.execute(Caller::root(), grant).await? {
        Success::Granted { first, count: 1 } => SliceId(first.0),
        other => bail!("{other:?}"),
    };
    let slices = vec![AppendSlice {
        id,
        len: 100,
        frame_crcs: vec![0],
    }];
    let append = Operation::Append(Append { ino, slices });
    session.execute(Caller::root(), append).await?;
    Ok(())
}

/// Makes the trees that are removed.
async fn plant(session: &MetaSession) -> Result<()> {
    let mut dirs = Vec::new();
    for tree in 0..TREES {
        let top = directory(session, &format!("tree {tree}")).await;
        dirs.push((top, TOGETHER));
        for number in 0..DIRS {
            let text = format!("dir {number}");
            let dir = make(session, top, &text, NewNode::Directory).await?;
            dirs.push((dir.ino, IN_EACH));
        }
    }
    let in_each = |(dir, count)| (0..count).map(move |number| (dir, number));
    let session = session.clone();
    each(
        dirs.into_iter().flat_map(in_each),
        AT_ONCE,
        move |(dir, number): (Ino, usize)| {
            let session = session.clone();
            async move {
                let text = format!("file {number}");
                let made = make(&session, dir, &text, NewNode::Regular).await?;
                if number % WITH_DATA == 0 {
                    append(&session, made.ino).await?;
                }
                Ok(())
            }
        },
    )
    .await
}

/// Removes all trees at once.
fn remove(dir: &Path) -> Result<()> {
    let mut removing = Vec::new();
    for tree in 0..TREES {
        let mut command = Command::new("rm");
        command.arg("-rf").arg(dir.join(format!("tree {tree}")));
        let child = command.stderr(Stdio::piped()).spawn();
        removing.push(child.context("cannot start rm")?);
    }
    for child in removing {
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success() && said.is_empty(), "{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_files_are_removed_by_rm_and_nothing_is_left() {
    let name = "a_hundred_thousand_files_are_removed_by_rm_and_nothing_is_left";
    if skip_unless_fuse(name) {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut cluster = one_node("rm").await;
    let session = session(&cluster).await;
    let files = FILES as u64;
    let before = stat(&session).await;
    plant(&session).await.expect("planted");
    let planted = stat(&session).await;
    let made = files + (TREES * (1 + DIRS)) as u64;
    assert_eq!(planted.inodes, before.inodes + made);
    assert_eq!(
        planted.bytes,
        before.bytes + (files / WITH_DATA as u64) * 4096
    );

    let mount = mount(&cluster, "mnt");
    let begun = Instant::now();
    remove(mount.path()).expect("removed");
    let rate = made as f64 / begun.elapsed().as_secs_f64();
    notice(&format!("{name}: {rate:.0} were removed a second"));
    let left = fs::read_dir(mount.path()).expect("listed").count();
    assert_eq!(left, 0, "the trees are gone");
    let after = wait::until("what was removed to be deleted", PATIENCE, async || {
        let now = stat(&session).await;
        let is_done = now.inodes == before.inodes && now.orphans == 0;
        Ok(is_done.then_some(now).ok_or("files are left".to_owned()))
    })
    .await
    .expect("deleted");
    assert_eq!(after.bytes, before.bytes);
    assert_eq!(
        after.pending_delete_slices,
        before.pending_delete_slices + files / WITH_DATA as u64
    );
    session.close().await;
    mount.unmount().expect("unmounted");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}
