//! How long the kernel shows an answer without asking again, and how it is told that it must not.

use super::adapter::FILE_ATTR_TTL;
use super::kept_acls::{Kept, KeptAcls};
use super::root::Root;
use crate::vfs::{OpenFiles, Vfs};
use fuser::{INodeNo, Notifier};
use meta_client::{Forgets, Forgotten, HandedOn};
use meta_core::acl::AclKind;
use meta_core::attr::{Attr, FileKind};
use meta_core::ids::Ino;
use meta_core::name::Name;
use parking_lot::{Mutex, RwLock};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// Makes answers that the kernel may show for a while.
#[derive(Clone)]
pub(crate) struct Shows {
    vfs: Vfs,
    root: Root,
    /// How long the kernel keeps names, and attributes of directories, that nothing tells of.
    entry_ttl: Duration,
    /// Whether the kernel may keep names at all.
    keeps_names: bool,
    /// Held for reading while an answer is on its way to the kernel, so that what is to be forgotten
    /// is there when the kernel is told to forget it.
    answering: Arc<RwLock<()>>,
    kept_acls: Arc<Mutex<KeptAcls>>,
    /// Known once the mount is served.
    notifier: Arc<OnceLock<Notifier>>,
}

impl fmt::Debug for Shows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shows")
    }
}

impl Shows {
    pub(super) fn new(vfs: Vfs, root: Root, entry_ttl: Duration, keeps_names: bool) -> Self {
        Self {
            vfs,
            root,
            entry_ttl,
            keeps_names,
            answering: Arc::default(),
            kept_acls: Arc::default(),
            notifier: Arc::default(),
        }
    }

    /// Answers with a file's attributes, and with its name if there is one.
    pub(super) fn with<T>(
        &self,
        entry: Option<(Ino, &Name)>,
        attr: &Attr,
        answer: impl FnOnce(HandedOn) -> T,
    ) -> T {
        self.answering(|| answer(self.hand_on(entry, attr)))
    }

    /// Does what brings an answer to the kernel: between what says how long it is shown and the
    /// answer's end the kernel is not told to forget.
    pub(super) fn answering<T>(&self, answer: impl FnOnce() -> T) -> T {
        let _answering = self.answering.read();
        answer()
    }

    /// Answers with one of a file's ACLs; without a value, that there is none. The kernel keeps both
    /// without a time.
    pub(super) fn with_acl(
        &self,
        file: Ino,
        kind: AclKind,
        value: Option<&[u8]>,
        answer: impl FnOnce(),
    ) {
        self.answering(|| {
            if let Some(notifier) = self.notifier.get() {
                let told_for = self.vfs.hand_on_acl(file, kind, value);
                let told_for = told_for.unwrap_or(self.entry_ttl);
                let now = Instant::now();
                let kept = self.kept_acls.lock().keep(file, told_for, now);
                match kept {
                    // While the kernel asks it has a note of that; without the note it does not keep
                    // the answer.
                    Kept::Not => forget_acls(notifier, self.root.kernel(file)),
                    Kept::WithOthers => {}
                    Kept::Until(due) => self.forget_acls_at(due, notifier.clone()),
                }
            }
            answer();
        });
    }

    /// Has the kernel forget the ACLs that it will have got by then.
    fn forget_acls_at(&self, due: Instant, notifier: Notifier) {
        let (kept, answering) = (Arc::clone(&self.kept_acls), Arc::clone(&self.answering));
        let root = self.root;
        tokio::spawn(async move {
            tokio::time::sleep_until(due).await;
            let told = tokio::task::spawn_blocking(move || {
                let files = kept.lock().take();
                // Those among them that are on their way are with the kernel then.
                drop(answering.write());
                for file in files {
                    forget_acls(&notifier, root.kernel(file));
                }
            });
            if let Err(error) = told.await {
                tracing::debug!(%error, "the kernel is not told to forget ACLs any more");
            }
        });
    }

    /// Which directory the kernel has as its root.
    pub(super) fn root(&self) -> Root {
        self.root
    }

    /// How long an answer may be shown. Inside [`Self::answering`].
    pub(super) fn hand_on(&self, entry: Option<(Ino, &Name)>, attr: &Attr) -> HandedOn {
        let handed = self.vfs.hand_on(entry, attr);
        let mut handed = handed.unwrap_or_else(|| self.fixed(attr));
        if !self.keeps_names {
            handed.entry = Duration::ZERO;
        }
        handed
    }

    fn fixed(&self, attr: &Attr) -> HandedOn {
        HandedOn {
            entry: self.entry_ttl,
            attr: match attr.kind {
                FileKind::Directory => self.entry_ttl,
                _ => FILE_ATTR_TTL,
            },
        }
    }

    /// Has the kernel drop the pages and attributes that it holds of a file, after all of its own that
    /// wait to be written. What is on its way to the kernel meanwhile is as new as what comes later.
    pub(super) async fn drop_pages(&self, file: INodeNo) {
        let Some(notifier) = self.notifier.get().cloned() else {
            return;
        };
        // It waits for writes that this mount serves.
        let told = tokio::task::spawn_blocking(move || notifier.inval_inode(file, 0, 0)).await;
        match told {
            Ok(Ok(())) => {}
            // Of a file that the kernel does not hold, or of a mount that is gone.
            Ok(Err(error)) => tracing::debug!(%error, %file, "the kernel has no pages to drop"),
            Err(error) => tracing::debug!(%error, "the kernel is not told to drop pages any more"),
        }
    }

    /// Who tells the kernel to forget.
    pub(crate) fn kernel(&self, notifier: Notifier) -> Arc<dyn Forgets> {
        self.notifier.get_or_init(|| notifier.clone());
        Arc::new(Kernel {
            notifier,
            root: self.root,
            open: self.vfs.open_files(),
            answering: Arc::clone(&self.answering),
        })
    }
}

/// Has the kernel forget a file's ACLs, and its attributes with them.
fn forget_acls(notifier: &Notifier, file: INodeNo) {
    // Of a mount that is gone, or of a kernel that cannot be told: then its time for attributes decides.
    if let Err(error) = notifier.inval_inode(file, -1, 0) {
        tracing::debug!(%error, %file, "the kernel was not told to forget ACLs");
    }
}

struct Kernel {
    notifier: Notifier,
    root: Root,
    open: OpenFiles,
    answering: Arc<RwLock<()>>,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

impl Kernel {
    fn tell(
        notifier: &Notifier,
        root: Root,
        open: &OpenFiles,
        files: Vec<Forgotten>,
    ) -> io::Result<()> {
        for Forgotten { ino, attr, names } in files {
            // Pages of what is not open are compared when it is opened.
            let from = if open.has(ino) { 0 } else { -1 };
            let ino = root.kernel(ino);
            if attr {
                notifier.inval_inode(ino, from, 0)?;
            }
            for name in names {
                notifier.inval_entry(ino, OsStr::from_bytes(name.as_bytes()))?;
            }
        }
        Ok(())
    }

    /// Tells the kernel, and says whether it was told or is not there any more.
    async fn told(&self, files: Vec<Forgotten>) -> bool {
        let (notifier, answering) = (self.notifier.clone(), Arc::clone(&self.answering));
        let (root, open) = (self.root, self.open.clone());
        // The kernel may wait for the directory's lock, which a request of its own may hold.
        let told = tokio::task::spawn_blocking(move || {
            drop(answering.write());
            Self::tell(&notifier, root, &open, files)
        });
        match told.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the kernel was not told to forget");
                false
            }
            Err(error) => {
                tracing::debug!(%error, "the kernel is not told to forget any more");
                true
            }
        }
    }
}

#[async_trait::async_trait]
impl Forgets for Kernel {
    async fn forget(&self, files: Vec<Forgotten>) {
        if !self.told(files).await {
            // Then it is not shown before its time is over.
            std::future::pending::<()>().await;
        }
    }

    fn changes(&self, ino: Ino) -> bool {
        self.open.changes(ino)
    }

    async fn forget_contents(&self) {
        let files = self.open.all_change().into_iter().map(|ino| Forgotten {
            ino,
            attr: true,
            names: Vec::new(),
        });
        self.told(files.collect()).await;
    }
}
