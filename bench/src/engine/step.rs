//! One kind of operation on numbered names in the root.

use anyhow::{Result, anyhow};
use meta_client::MetaSession;
use meta_core::attr::Caller;
use meta_core::command::{Create, Existing, NewNode, Operation, RenameMode, SetAttr};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Success;
use meta_core::query::QueryBody;
use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of operations, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Mkdir,
    Create,
    SetAttr,
    Stat,
    Rename,
    Unlink,
    Rmdir,
}

impl Step {
    pub(super) const ALL: [Self; 7] = [
        Self::Mkdir,
        Self::Create,
        Self::SetAttr,
        Self::Stat,
        Self::Rename,
        Self::Unlink,
        Self::Rmdir,
    ];
}

/// What the tasks of a step share.
pub(super) struct Work {
    session: MetaSession,
    step: Step,
    count: u64,
}

/// The inode of the newest file: files that are made one after the other have numbers in a row.
static NEWEST: AtomicU64 = AtomicU64::new(0);

impl Work {
    pub(super) fn new(session: &MetaSession, step: Step, count: usize) -> Self {
        Self {
            session: session.clone(),
            step,
            count: count as u64,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.step {
            Step::Mkdir => "mkdir",
            Step::Create => "create",
            Step::SetAttr => "setattr",
            Step::Stat => "stat",
            Step::Rename => "rename",
            Step::Unlink => "unlink",
            Step::Rmdir => "rmdir",
        }
    }

    /// Does it once.
    pub(super) async fn one(&self, number: usize) -> Result<()> {
        let parent = Ino::ROOT;
        let operation = match self.step {
            Step::Mkdir => create(named("dir", number)?, NewNode::Directory),
            Step::Create => create(named("file", number)?, NewNode::Regular),
            Step::SetAttr => Operation::SetAttr(SetAttr {
                ino: Ino(NEWEST.load(Ordering::Relaxed) - number as u64 % self.count),
                mode: Some(0o600),
                ..SetAttr::default()
            }),
            Step::Stat => {
                let name = named("file", number)?;
                let body = QueryBody::Lookup { parent, name };
                self.session.query(Caller::root(), body).await?;
                return Ok(());
            }
            Step::Rename => Operation::Rename {
                parent,
                name: named("file", number)?,
                new_parent: parent,
                new_name: named("renamed", number)?,
                mode: RenameMode::Replace,
            },
            Step::Unlink => Operation::Unlink {
                parent,
                name: named("renamed", number)?,
            },
            Step::Rmdir => Operation::Rmdir {
                parent,
                name: named("dir", number)?,
            },
        };
        let done = self.session.execute(Caller::root(), operation).await?;
        if let Success::Entry { attr, .. } = done {
            NEWEST.fetch_max(attr.ino.0, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn create(name: Name, node: NewNode) -> Operation {
    Operation::Create(Create {
        parent: Ino::ROOT,
        name,
        mode: 0o755,
        node,
        existing: Existing::Refuse,
    })
}

fn named(kind: &str, number: usize) -> Result<Name> {
    let text = format!("{kind}.{number:010}");
    Name::new(text.as_str()).map_err(|refusal| anyhow!("{text}: {refusal}"))
}
