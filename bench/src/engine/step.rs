//! One kind of operation on numbered names in the root.

use anyhow::{Context, Result, anyhow};
use meta_client::MetaSession;
use meta_core::attr::Caller;
use meta_core::command::{Create, Existing, NewNode, Operation, RenameMode, SetAttr};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Success;
use meta_core::query::QueryBody;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    files: Arc<Files>,
}

/// The files of a round, which the steps after their making change.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<Vec<Ino>>);

impl Files {
    fn lock(&self) -> MutexGuard<'_, Vec<Ino>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    pub(super) fn new(session: &MetaSession, step: Step, files: &Arc<Files>) -> Self {
        Self {
            session: session.clone(),
            step,
            files: Arc::clone(files),
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
                ino: *self.files.lock().get(number).context("too few files")?,
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
        if let (Step::Create, Success::Entry { attr, .. }) = (self.step, done) {
            self.files.lock().push(attr.ino);
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
        masked: 0,
        existing: Existing::Refuse,
    })
}

fn named(kind: &str, number: usize) -> Result<Name> {
    let text = format!("{kind}.{number:010}");
    Name::new(text.as_str()).map_err(|refusal| anyhow!("{text}: {refusal}"))
}
