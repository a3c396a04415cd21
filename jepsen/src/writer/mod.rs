//! Writers that change metadata as fast as they are answered, and remember every answer.
//!
//! Each operation is one that shows when it is done twice: a unique name is refused as taken, a
//! removed one as missing, a link count is one too high, an appended slice is there two times.

mod act;
mod crew;
mod inspect;
mod ledger;

pub use crew::{Checked, Crew, check};
pub use inspect::{appended, names};
pub use ledger::{Appended, Ledger};

use anyhow::{Context, Result, anyhow};
use meta_client::meta_core::attr::{Attr, Caller};
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::name::Name;
use meta_client::meta_core::outcome::Success;
use meta_client::{ClientError, MetaSession};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What writers and those who watch them share.
#[derive(Debug, Default)]
pub struct Watch {
    stop: AtomicBool,
    acknowledged: AtomicU64,
}

impl Watch {
    /// Asks all writers to end after the operation that they wait for.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Operations acknowledged to all writers so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// One writer, in a directory of its own.
#[derive(Debug)]
pub struct Writer {
    session: MetaSession,
    watch: Arc<Watch>,
    rng: StdRng,
    dir: Ino,
    log: Ino,
    next: u64,
    granted: VecDeque<u64>,
    ledger: Ledger,
}

/// What a writer leaves behind.
#[derive(Debug)]
pub struct Written {
    /// Its directory.
    pub dir: Ino,
    /// Its append file, which is in the directory under the name `log`.
    pub log: Ino,
    /// What it was told.
    pub ledger: Ledger,
}

impl Writer {
    /// Makes the writer's directory `name` in the root, and its append file.
    ///
    /// # Errors
    /// When that is not acknowledged.
    pub async fn begin(
        session: MetaSession,
        watch: Arc<Watch>,
        name: &str,
        seed: u64,
    ) -> Result<Self> {
        let dir = make(&session, Ino::ROOT, name, NewNode::Directory)
            .await?
            .ino;
        let log = make(&session, dir, "log", NewNode::Regular).await?.ino;
        let mut ledger = Ledger::default();
        ledger.names.insert("log".to_owned(), log);
        let rng = StdRng::seed_from_u64(seed);
        let granted = VecDeque::new();
        Ok(Self {
            session,
            watch,
            rng,
            dir,
            log,
            next: 0,
            granted,
            ledger,
        })
    }

    /// Writes until it is told to stop, or sees an answer that is wrong.
    pub async fn run(mut self) -> Written {
        while !self.watch.stop.load(Ordering::Relaxed) && self.ledger.violations.is_empty() {
            self.act().await;
        }
        Written {
            dir: self.dir,
            log: self.log,
            ledger: self.ledger,
        }
    }

    async fn execute(&mut self, operation: Operation) -> Result<Success, ClientError> {
        let answer = self.session.execute(Caller::root(), operation).await;
        if answer.is_ok() {
            self.ledger.acknowledged += 1;
            self.watch.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    fn violation(&mut self, what: &str, answer: &Result<Success, ClientError>) {
        let told = match answer {
            Ok(success) => format!("{success:?}"),
            Err(error) => format!("{error}"),
        };
        self.ledger.violations.push(format!("{what}: {told}"));
    }
}

/// A name that is made of harmless characters.
///
/// # Errors
/// When it is not.
pub fn name(text: &str) -> Result<Name> {
    Name::new(text).map_err(|refusal| anyhow!("the name {text:?}: {refusal}"))
}

/// Makes a file that must be new.
///
/// # Errors
/// When that is not acknowledged.
pub async fn make(session: &MetaSession, parent: Ino, text: &str, node: NewNode) -> Result<Attr> {
    let name = name(text)?;
    let create = Create {
        parent,
        name,
        mode: 0o755,
        node,
        masked: 0,
        existing: Existing::Refuse,
    };
    let answer = session
        .execute(Caller::root(), Operation::Create(create))
        .await;
    match answer.with_context(|| format!("cannot create {text}"))? {
        Success::Entry {
            attr,
            created: true,
        } => Ok(attr),
        other => Err(anyhow!("creating {text} was answered with {other:?}")),
    }
}
