//! Directories of very many names on real mounts: listed whole in little memory, listed from every place
//! that was told while others change them, and removed.

mod churn;
mod listing;
mod places;
mod removal;

use anyhow::Result;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::many::each;
use jepsen::mount::Mount;
use jepsen::writer::make;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use meta_client::{MetaSession, SessionOptions};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Requests under way while a directory is filled.
const AT_ONCE: usize = 256;

async fn one_node(name: &str) -> Cluster {
    let cluster = Cluster::start(ClusterOptions::new(name, 1)).await;
    let cluster = cluster.expect("a cluster");
    cluster.format_without_trash("vol").await.expect("a volume");
    cluster
}

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let log = cluster.dir().join(format!("{name}.log"));
    let point = cluster.dir().join(name);
    Mount::start(&cluster.url("vol"), &point, &log, &[]).expect("mounted")
}

async fn session(cluster: &Cluster) -> MetaSession {
    let url = cluster.url("vol").parse().expect("a URL");
    let session = MetaSession::open(&url, SessionOptions::default()).await;
    session.expect("a session")
}

async fn directory(session: &MetaSession, name: &str) -> Ino {
    let made = make(session, Ino::ROOT, name, NewNode::Directory).await;
    made.expect("a directory").ino
}

/// Makes empty files in a directory through the engine.
async fn fill(
    session: &MetaSession,
    dir: Ino,
    names: impl Iterator<Item = String> + Send + 'static,
) -> Result<()> {
    let session = session.clone();
    each(names, AT_ONCE, move |name| {
        let session = session.clone();
        async move {
            make(&session, dir, &name, NewNode::Regular).await?;
            Ok(())
        }
    })
    .await
}
