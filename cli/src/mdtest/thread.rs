//! One thread of `curlew mdtest`: one operation after the other.

use super::args::Op;
use super::plan::Plan;
use anyhow::{Context, Result, bail};
use chunk_store::SliceStore;
use meta_client::MetaSession;
use meta_core::attr::Caller;
use meta_core::command::{Commit, Create, Existing, NewNode, NewSlice, Operation, RenameMode};
use meta_core::ids::{ChunkIndex, DentryNumber, Ino, SliceId};
use meta_core::limits::READDIR_ENTRIES_MAX;
use meta_core::name::Name;
use meta_core::outcome::Success;
use meta_core::query::{Answer, QueryBody};
use std::time::{Duration, Instant};

/// Slice ids that are asked for at once.
const GRANT: u32 = 512;

/// Files with data: where it goes, and what it is.
#[derive(Clone, Debug)]
pub(super) struct Data {
    pub(super) slices: SliceStore,
    pub(super) bytes: bytes::Bytes,
}

/// A thread's tree, and what of it is there.
#[derive(Debug)]
pub(super) struct Thread {
    session: MetaSession,
    plan: Plan,
    data: Option<Data>,
    root: Ino,
    dirs: Vec<Ino>,
    files: Vec<Ino>,
    renamed: bool,
    ids: std::ops::Range<u64>,
}

impl Thread {
    /// One whose tree will lie in `root`.
    pub(super) fn new(session: MetaSession, plan: Plan, root: Ino, data: Option<Data>) -> Self {
        Self {
            session,
            plan,
            data,
            root,
            dirs: Vec::new(),
            files: Vec::new(),
            renamed: false,
            ids: 0..0,
        }
    }

    /// Does one kind of operation with all it is for. Gives how long each took.
    pub(super) async fn run(mut self, op: Op) -> Result<(Self, Vec<Duration>)> {
        let count = match op {
            Op::Mkdir | Op::Readdir | Op::Rmdir => self.plan.dirs.len(),
            Op::Create | Op::Write | Op::Stat | Op::Rename | Op::Unlink => self.plan.files.len(),
        };
        let mut each = Vec::with_capacity(count);
        for number in 0..count {
            let begin = Instant::now();
            self.one(op, number).await.with_context(|| op.name())?;
            each.push(begin.elapsed());
        }
        self.renamed |= op == Op::Rename;
        Ok((self, each))
    }

    async fn one(&mut self, op: Op, number: usize) -> Result<()> {
        match op {
            Op::Mkdir => {
                let (parent, name) = self.plan.dirs[number].clone();
                let parent = parent.map_or(self.root, |parent| self.dirs[parent]);
                let ino = make(&self.session, parent, name, NewNode::Directory).await?;
                self.dirs.push(ino);
            }
            Op::Create => {
                let (dir, name, _) = self.plan.files[number].clone();
                let ino = make(&self.session, self.dirs[dir], name, NewNode::Regular).await?;
                self.files.push(ino);
            }
            Op::Write => self.write(self.files[number]).await?,
            Op::Stat => {
                let (parent, name) = self.named(number);
                let found = self.ask(QueryBody::Lookup { parent, name }).await?;
                let Answer::Attr(_) = found else {
                    bail!("a file is {found:?}");
                };
            }
            Op::Readdir => self.list(self.dirs[number]).await?,
            Op::Rename => {
                let (dir, name, new_name) = self.plan.files[number].clone();
                let parent = self.dirs[dir];
                self.change(Operation::Rename {
                    parent,
                    name,
                    new_parent: parent,
                    new_name,
                    mode: RenameMode::NoReplace,
                })
                .await?;
            }
            Op::Unlink => {
                let (parent, name) = self.named(number);
                self.change(Operation::Unlink { parent, name }).await?;
            }
            Op::Rmdir => {
                // Those that hold others go last.
                let number = self.plan.dirs.len() - 1 - number;
                let (parent, name) = self.plan.dirs[number].clone();
                let parent = parent.map_or(self.root, |parent| self.dirs[parent]);
                self.change(Operation::Rmdir { parent, name }).await?;
            }
        }
        Ok(())
    }

    /// Where a file is now.
    fn named(&self, number: usize) -> (Ino, Name) {
        let (dir, first, second) = &self.plan.files[number];
        let name = if self.renamed { second } else { first };
        (self.dirs[*dir], name.clone())
    }

    async fn list(&self, ino: Ino) -> Result<()> {
        let mut after = DentryNumber(0);
        loop {
            let listed = self.ask(QueryBody::ReadDir {
                ino,
                after,
                entries_max: READDIR_ENTRIES_MAX,
                with_attrs: true,
            });
            let Answer::Entries { entries, end, .. } = listed.await? else {
                bail!("a listing is something else");
            };
            match entries.last() {
                Some(last) if !end => after = last.number,
                _ => return Ok(()),
            }
        }
    }

    async fn write(&mut self, ino: Ino) -> Result<()> {
        let Some(data) = self.data.clone() else {
            return Ok(());
        };
        if self.ids.is_empty() {
            let granted = self.change(Operation::GrantSlices { count: GRANT }).await?;
            let Success::Granted { first, count } = granted else {
                bail!("granted ids are {granted:?}");
            };
            self.ids = first.0..first.0 + u64::from(count);
        }
        let id = SliceId(self.ids.start);
        self.ids.start += 1;
        let mut upload = data.slices.upload(id);
        upload.push(data.bytes).await?;
        let stored = upload.finish().await?;
        let slice = NewSlice {
            chunk: ChunkIndex(0),
            at: 0,
            id,
            len: stored.len,
            frame_crcs: stored.frame_crcs,
        };
        let commit = Commit {
            ino,
            slices: vec![slice],
            mtime: None,
        };
        self.change(Operation::Commit(commit)).await.map(drop)
    }

    async fn change(&self, operation: Operation) -> Result<Success> {
        Ok(self.session.execute(Caller::root(), operation).await?)
    }

    async fn ask(&self, body: QueryBody) -> Result<Answer> {
        Ok(self.session.query(Caller::root(), body).await?)
    }
}

/// Makes a directory or a file.
pub(super) async fn make(
    session: &MetaSession,
    parent: Ino,
    name: Name,
    node: NewNode,
) -> Result<Ino> {
    let create = Create {
        parent,
        name,
        mode: 0o755,
        node,
        masked: 0,
        existing: Existing::Refuse,
    };
    let made = session.execute(Caller::root(), Operation::Create(create));
    match made.await? {
        Success::Entry { attr, .. } => Ok(attr.ino),
        other => bail!("what was made is {other:?}"),
    }
}
