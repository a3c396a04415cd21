//! A cluster of scripted nodes over one model.

mod model;
mod node;

pub(crate) use model::{Model, operation};
pub(crate) use node::{Fault, NearestFault, Node};

use meta_client::{MetaSession, MetaUrl, SessionOptions};
use meta_core::attr::Caller;
use std::sync::Arc;
use std::time::Duration;

/// How long anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes that share a model.
pub(crate) struct Fake {
    pub(crate) model: Arc<Model>,
    pub(crate) nodes: Vec<Node>,
}

impl Fake {
    /// The first node leads.
    pub(crate) async fn start(count: u64) -> Self {
        let model = Arc::new(Model::default());
        let mut nodes = Vec::new();
        for id in 1..=count {
            nodes.push(Node::start(id, Arc::clone(&model)).await);
        }
        let fake = Self { model, nodes };
        fake.lead(0);
        fake
    }

    /// Makes one node the leader; the others know it.
    pub(crate) fn lead(&self, leader: usize) {
        let addr = self.nodes[leader].addr.clone();
        for (index, node) in self.nodes.iter().enumerate() {
            node.follow(index == leader, &addr);
        }
    }

    pub(crate) fn addrs(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.addr.clone()).collect()
    }

    pub(crate) fn url(&self) -> MetaUrl {
        MetaUrl {
            addrs: self.addrs(),
            volume: "vol".to_owned(),
        }
    }

    pub(crate) async fn open(&self, options: SessionOptions) -> MetaSession {
        MetaSession::open(&self.url(), options)
            .await
            .expect("a session")
    }

    /// A session with so many slots.
    pub(crate) async fn open_slots(&self, slots: u32) -> MetaSession {
        self.open(SessionOptions {
            slots,
            ..SessionOptions::default()
        })
        .await
    }
}

pub(crate) fn caller() -> Caller {
    Caller::root()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = tokio::time::Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
