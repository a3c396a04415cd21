//! Listing directories.
//!
//! A listing goes on from the number of the last name seen. Numbers are given in the order of
//! insertion and never again, so that names which come and go meanwhile make it neither miss nor
//! repeat another; `telldir` and `seekdir` are such numbers too.

use super::VfsError;
use super::access_times::Accesses;
use super::file::OpenHow;
use super::handle::DirHandleId;
use super::vfs_core::{Core, Vfs};
use meta_core::attr::{Attr, Caller};
use meta_core::ids::{DentryNumber, Ino};
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, DirEntry, QueryBody};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Names asked for first: most directories are small.
const FIRST_PAGE: u32 = 256;
/// Names asked for when a listing goes on.
const NEXT_PAGE: u32 = 2048;
/// A page is not shown after this time: attributes in it would be older than promised.
const PAGE_AGE_MAX: Duration = Duration::from_millis(500);

/// Whether a listing carries attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ListAttrs {
    /// Names and kinds only.
    Without,
    /// Each file's attributes as well.
    With,
}

#[derive(Debug)]
pub(super) struct DirHandle {
    ino: Ino,
    /// As it was when it was opened.
    opened: Attr,
    /// Listings through it move no time of access.
    noatime: bool,
    accesses: parking_lot::Mutex<Accesses>,
    page: Mutex<Option<Arc<Page>>>,
}

#[derive(Debug)]
struct Page {
    after: DentryNumber,
    parent: Ino,
    entries: Vec<DirEntry>,
    end: bool,
    attrs: ListAttrs,
    fetched: Instant,
}

/// A part of a directory.
#[derive(Clone, Debug)]
pub struct DirListing {
    core: Arc<Core>,
    page: Arc<Page>,
    from: usize,
}

impl DirListing {
    /// The directory that holds this one.
    pub fn parent(&self) -> Ino {
        self.page.parent
    }

    /// Names behind the place asked for, at least one unless the listing is at its end.
    pub fn entries(&self) -> &[DirEntry] {
        &self.page.entries[self.from..]
    }

    /// An entry's attributes as of now, if the listing is one with attributes: what was read with
    /// the names may be behind what this mount has written since.
    pub fn attr(&self, entry: &DirEntry) -> Option<Attr> {
        let attr = entry.attr.clone()?;
        Some(self.core.shown_now(attr))
    }

    /// Whether the directory ends behind these names.
    pub fn is_end(&self) -> bool {
        self.page.end
    }
}

impl Page {
    /// Where to go on in this page behind `after`, if the page says what follows there.
    fn position(&self, after: DentryNumber, attrs: ListAttrs) -> Option<usize> {
        let last = self.entries.last().map(|entry| entry.number);
        let inside = after > self.after && last.is_some_and(|last| after < last || self.end);
        let usable = self.attrs >= attrs && self.fetched.elapsed() < PAGE_AGE_MAX;
        (inside && usable).then(|| self.entries.partition_point(|entry| entry.number <= after))
    }
}

impl Vfs {
    /// Opens a directory for listing.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn open_directory(&self, caller: &Caller, ino: Ino) -> Result<DirHandleId, VfsError> {
        self.open_directory_as(caller, ino, OpenHow::default())
            .await
    }

    /// As [`Self::open_directory`]. Of `how` only [`OpenHow::noatime`] counts: a directory is opened to be
    /// listed.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn open_directory_as(
        &self,
        caller: &Caller,
        ino: Ino,
        how: OpenHow,
    ) -> Result<DirHandleId, VfsError> {
        let _settles = self.core.opens.begin();
        let body = QueryBody::Open {
            ino,
            read: true,
            write: false,
        };
        let opened = self.core.meta.attr(caller, body).await?;
        self.core.inodes.open_directory(ino);
        Ok(self.core.handles.add_directory(DirHandle {
            ino,
            opened,
            noatime: how.noatime,
            accesses: parking_lot::Mutex::default(),
            page: Mutex::default(),
        }))
    }

    /// Names behind the number `after`; 0 begins anew.
    ///
    /// # Errors
    /// As the engine refuses; [`Refusal::NotFound`] of a directory that was removed.
    pub async fn list(
        &self,
        id: DirHandleId,
        after: DentryNumber,
        attrs: ListAttrs,
    ) -> Result<DirListing, VfsError> {
        let handle = self.core.handles.directory(id)?;
        let (page, from) = self.page(&handle, after, attrs).await?;
        self.core.listed(&handle);
        Ok(DirListing {
            core: Arc::clone(&self.core),
            page,
            from,
        })
    }

    /// The page behind `after`, and where it goes on there.
    async fn page(
        &self,
        handle: &DirHandle,
        after: DentryNumber,
        attrs: ListAttrs,
    ) -> Result<(Arc<Page>, usize), VfsError> {
        let mut page = handle.page.lock().await;
        if let Some(page) = &*page
            && let Some(from) = page.position(after, attrs)
        {
            return Ok((Arc::clone(page), from));
        }
        let fetched = Arc::new(self.fetch_page(handle.ino, after, attrs).await?);
        *page = Some(Arc::clone(&fetched));
        Ok((fetched, 0))
    }

    async fn fetch_page(
        &self,
        ino: Ino,
        after: DentryNumber,
        attrs: ListAttrs,
    ) -> Result<Page, VfsError> {
        let first = after < DentryNumber::FIRST;
        let body = QueryBody::ReadDir {
            ino,
            after,
            entries_max: if first { FIRST_PAGE } else { NEXT_PAGE },
            with_attrs: attrs == ListAttrs::With,
        };
        match self.core.meta.query(&Caller::root(), body).await? {
            Answer::Entries {
                parent,
                entries,
                end,
            } => {
                let bare = |entry: &DirEntry| entry.attr.is_none();
                if attrs == ListAttrs::With && entries.iter().any(bare) {
                    return Err(VfsError::Unexpected("names with attributes"));
                }
                if entries.is_empty() && self.is_removed(ino).await? {
                    return Err(Refusal::NotFound.into());
                }
                Ok(Page {
                    after,
                    parent,
                    entries,
                    end,
                    attrs,
                    fetched: Instant::now(),
                })
            }
            _ => Err(VfsError::Unexpected("names")),
        }
    }

    /// Whether an empty directory was removed while it is open, at whatever mount. The kernel knows only of
    /// its own.
    async fn is_removed(&self, ino: Ino) -> Result<bool, VfsError> {
        if self.core.kept.get() == Some(&ino) {
            return Ok(false);
        }
        let body = QueryBody::GetAttr { ino };
        let attr = self.core.meta.attr(&Caller::root(), body).await?;
        Ok(attr.nlink == 0)
    }

    /// Keeps a directory for as long as the mount lives, as if it were open: once nothing names it, it
    /// stays, empty, and is not deleted. A mount keeps one, its root.
    pub fn keep_directory(&self, ino: Ino) {
        if self.core.kept.set(ino).is_ok() {
            self.core.inodes.open_directory(ino);
        }
    }

    /// Ends a listing.
    pub fn close_directory(&self, id: DirHandleId) {
        if let Some(handle) = self.core.handles.remove_directory(id) {
            self.core.inodes.close_directory(handle.ino);
        }
    }
}

impl Core {
    /// A part of a directory was listed.
    fn listed(self: &Arc<Self>, handle: &DirHandle) {
        if handle.noatime || !self.access_times.are_kept_of_directories() {
            return;
        }
        // Of a change since it was opened the mount knows if somebody asked for its attributes after that:
        // a listing does not wait for the answer to one more question.
        let attr = self.meta.newest(handle.opened.clone());
        self.accessed_as(&attr, &mut handle.accesses.lock());
    }
}
