//! Files that the mount itself answers: `.stats`, `.config`, `.accesslog` and `.status` in the
//! root. They open by name, are never listed, and their names cannot be taken.

use crate::vfs::Vfs;
use meta_client::NearestStatus;
use meta_core::attr::{Attr, FileKind, Timestamp};
use meta_core::ids::Ino;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Inode numbers of an epoch that no volume reaches.
const FIRST_INO: u64 = 0xffff_0000_0000_0000;
/// Handles of virtual files have this bit; those of the file system count from 1.
const HANDLE_BIT: u64 = 1 << 63;
/// A reader of `.accesslog` is answered at least this often.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a mount says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// The META-URL or another name of the source.
    pub source: String,
    /// The volume's name.
    pub volume: String,
    /// What `.config` shows; never a secret.
    pub config: serde_json::Value,
}

/// Which file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum VirtualFile {
    Stats,
    Config,
    AccessLog,
    Status,
}

const ALL: [(VirtualFile, &[u8]); 4] = [
    (VirtualFile::Stats, b".stats"),
    (VirtualFile::Config, b".config"),
    (VirtualFile::AccessLog, b".accesslog"),
    (VirtualFile::Status, b".status"),
];

/// An open virtual file.
#[derive(Debug)]
pub(super) enum OpenVirtual {
    /// The text as of the open.
    Text(Vec<u8>),
    /// The number of the next line to read, and what is left of lines read but not yet handed
    /// over.
    Log(tokio::sync::Mutex<(u64, Vec<u8>)>),
}

/// The virtual files of one mount.
#[derive(Debug)]
pub(super) struct VirtualFiles {
    about: About,
    mounted: Timestamp,
    open: Mutex<HashMap<u64, Arc<OpenVirtual>>>,
    last: AtomicU64,
}

impl VirtualFile {
    /// The file of a name in the mount's root.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let found = ALL.iter().find(|(_, own)| *own == name);
        found.map(|(file, _)| *file)
    }

    pub(super) fn of(ino: Ino) -> Option<Self> {
        let index = usize::try_from(ino.0.checked_sub(FIRST_INO)?).ok()?;
        ALL.get(index).map(|(file, _)| *file)
    }

    fn ino(self) -> Ino {
        let index = ALL.iter().position(|(file, _)| *file == self).unwrap_or(0);
        Ino(FIRST_INO + index as u64)
    }
}

/// Whether a handle is one of a virtual file.
pub(super) fn is_virtual(handle: u64) -> bool {
    handle & HANDLE_BIT != 0
}

impl VirtualFiles {
    pub(super) fn new(about: About, mounted: Timestamp) -> Self {
        Self {
            about,
            mounted,
            open: Mutex::default(),
            last: AtomicU64::new(0),
        }
    }

    pub(super) fn attr(&self, file: VirtualFile) -> Attr {
        // The log shows the names that everybody works on.
        let mode = if file == VirtualFile::AccessLog {
            0o400
        } else {
            0o444
        };
        Attr {
            ino: file.ino(),
            kind: FileKind::Regular,
            mode,
            uid: 0,
            gid: 0,
            rdev: 0,
            nlink: 1,
            length: 0,
            atime: self.mounted,
            mtime: self.mounted,
            ctime: self.mounted,
            parent: Ino::ROOT,
            btime: None,
            access_acl: false,
            default_acl: false,
        }
    }

    /// Opens a file; its text is that of now.
    pub(super) fn open(&self, file: VirtualFile, vfs: &Vfs) -> u64 {
        let open = match file {
            VirtualFile::Stats => OpenVirtual::Text(stats(vfs).into_bytes()),
            VirtualFile::Config => OpenVirtual::Text(json(&self.about.config)),
            VirtualFile::Status => OpenVirtual::Text(json(&self.status(vfs))),
            VirtualFile::AccessLog => OpenVirtual::Log(tokio::sync::Mutex::default()),
        };
        let handle = HANDLE_BIT | (self.last.fetch_add(1, Relaxed) + 1);
        self.open.lock().insert(handle, Arc::new(open));
        handle
    }

    pub(super) fn get(&self, handle: u64) -> Option<Arc<OpenVirtual>> {
        self.open.lock().get(&handle).cloned()
    }

    pub(super) fn release(&self, handle: u64) {
        self.open.lock().remove(&handle);
    }

    fn status(&self, vfs: &Vfs) -> serde_json::Value {
        let meta = vfs.meta_status();
        serde_json::json!({
            "volume": self.about.volume,
            "meta_url": self.about.source,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "mounted": self.mounted.seconds,
            "leader": meta.leader,
            "connected": meta.connected,
            "session": meta.session.0,
            "token": { "epoch": meta.token.epoch.0, "seq": meta.token.seq.0 },
            "retries": meta.retries,
            "mirror": meta.mirror.as_ref().map(|mirror| serde_json::json!({
                "leader": mirror.leader,
                "trouble": mirror.trouble,
                "reads_at_mirror": mirror.counts.served,
                "reads_at_origin_behind": mirror.counts.behind,
                "reads_at_origin_unavailable": mirror.counts.unavailable,
            })),
            "nearest": meta.nearest.as_ref().map(nearest_json),
            "leases": meta.leases.map(|leases| serde_json::json!({
                "files": leases.files,
                "answers": leases.hits,
                "recalls": leases.recalls,
            })),
            "pending_bytes": vfs.pending_bytes(),
            "pending_slices": vfs.pending_slices(),
            "open_handles": vfs.open_handles(),
            "last_error": vfs.stats().last_error(),
            "locks": {
                "hold": "among all mounts of the volume",
                "owners": vfs.lock_owners(),
                "waiting": meta.lock_waits,
            },
        })
    }
}

impl OpenVirtual {
    /// Bytes at `offset`; a log goes on from where its handle is.
    pub(super) async fn read(&self, vfs: &Vfs, offset: u64, len: usize) -> Vec<u8> {
        match self {
            Self::Text(text) => {
                let from = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(text.len());
                text[from..text.len().min(from.saturating_add(len))].to_vec()
            }
            Self::Log(place) => {
                let mut place = place.lock().await;
                if place.1.is_empty() {
                    let (text, next) = vfs.access_log().read(place.0, len, PATIENCE).await;
                    // An empty answer would be the end of the file.
                    let text = if text.is_empty() {
                        "#\n".to_owned()
                    } else {
                        text
                    };
                    *place = (next, text.into_bytes());
                }
                let mut lines = std::mem::take(&mut place.1);
                place.1 = lines.split_off(len.min(lines.len()));
                lines
            }
        }
    }
}

fn nearest_json(nearest: &NearestStatus) -> serde_json::Value {
    let (node, addr) = nearest.node.clone().unzip();
    serde_json::json!({
        "node": node,
        "addr": addr,
        "round_trip_us": nearest.round_trip.map(|took| took.as_micros()),
        "reads_at_nearest": nearest.counts.served,
        "reads_at_leader_behind": nearest.counts.behind,
        "reads_at_leader_unavailable": nearest.counts.unavailable,
    })
}

fn stats(vfs: &Vfs) -> String {
    let meta = vfs.meta_status();
    let mirror = meta.mirror.map(|mirror| mirror.counts).unwrap_or_default();
    let nearest = meta
        .nearest
        .map(|nearest| nearest.counts)
        .unwrap_or_default();
    let leases = meta.leases.unwrap_or_default();
    vfs.stats().text(&[
        ("dirty_bytes", vfs.pending_bytes()),
        ("dirty_slices", vfs.pending_slices()),
        ("open_handles", vfs.open_handles()),
        ("meta_retries_total", meta.retries),
        ("meta_queries_total", meta.queries),
        ("leased_files", leases.files),
        ("lease_answers_total", leases.hits),
        ("lease_recalls_total", leases.recalls),
        ("meta_connected", u64::from(meta.connected)),
        ("mirror_reads_total", mirror.served),
        ("mirror_fallbacks_behind_total", mirror.behind),
        ("mirror_fallbacks_unavailable_total", mirror.unavailable),
        ("nearest_reads_total", nearest.served),
        ("nearest_fallbacks_behind_total", nearest.behind),
        ("nearest_fallbacks_unavailable_total", nearest.unavailable),
    ])
}

fn json(value: &serde_json::Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
