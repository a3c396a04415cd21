//! Random reads, writes, appends and truncations through several handles, against a vector of
//! bytes: on the mount itself after every step, and on a second mount at the end.

mod twin;

use bytes::Bytes;
use fs_client::vfs::{HandleId, OpenHow, Vfs, VfsOptions, WriteHow};
use meta_core::attr::Caller;
use meta_core::command::{FallocateMode, SetAttr};
use meta_core::ids::Ino;
use meta_core::limits::CHUNK_BYTES;
use meta_core::name::Name;
use proptest::prelude::*;
use std::time::Duration;
use twin::{Mishap, TwinSession};

const HANDLES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Write {
        handle: usize,
        offset: u64,
        len: usize,
        sync: bool,
    },
    Append {
        handle: usize,
        len: usize,
    },
    Read {
        handle: usize,
        offset: u64,
        len: u32,
    },
    Truncate {
        length: u64,
    },
    Hole {
        handle: usize,
        offset: u64,
        len: u64,
        zero: bool,
    },
    Fsync {
        handle: usize,
    },
    Reopen {
        handle: usize,
    },
    /// The session is lost, with all ids granted to it.
    LoseSession,
    /// The outcome of the next commit is unknown. Appends are not spared, so a flush comes first.
    LoseAnswer {
        done: bool,
    },
}

fn offsets() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..300_000u64,
        1 => CHUNK_BYTES - 150_000..CHUNK_BYTES + 150_000,
    ]
}

fn lens() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 1..5_000usize, 1 => 1..200_000usize]
}

fn steps() -> impl Strategy<Value = Step> {
    let handle = 0..HANDLES;
    prop_oneof![
        8 => (handle.clone(), offsets(), lens(), prop::bool::weighted(0.1))
            .prop_map(|(handle, offset, len, sync)| Step::Write { handle, offset, len, sync }),
        3 => (handle.clone(), lens()).prop_map(|(handle, len)| Step::Append { handle, len }),
        6 => (handle.clone(), offsets(), 1..200_000u32)
            .prop_map(|(handle, offset, len)| Step::Read { handle, offset, len }),
        2 => offsets().prop_map(|length| Step::Truncate { length }),
        3 => (handle.clone(), offsets(), 1..400_000u64, any::<bool>())
            .prop_map(|(handle, offset, len, zero)| Step::Hole { handle, offset, len, zero }),
        1 => handle.clone().prop_map(|handle| Step::Fsync { handle }),
        1 => handle.prop_map(|handle| Step::Reopen { handle }),
        1 => Just(Step::LoseSession),
        1 => any::<bool>().prop_map(|done| Step::LoseAnswer { done }),
    ]
}

struct Run {
    vfs: Vfs,
    session: std::sync::Arc<TwinSession>,
    ino: Ino,
    handles: Vec<HandleId>,
    model: Vec<u8>,
    count: u64,
}

fn both() -> OpenHow {
    OpenHow {
        read: true,
        write: true,
        ..OpenHow::default()
    }
}

impl Run {
    async fn step(&mut self, step: &Step) {
        self.count += 1;
        let root = Caller::root();
        match *step {
            Step::Write {
                handle,
                offset,
                len,
                sync,
            } => {
                let data = self.data(len);
                let how = WriteHow {
                    append: false,
                    sync,
                };
                let write = self
                    .vfs
                    .write(self.handles[handle], &root, offset, data.clone(), how);
                write.await.expect("a write");
                let offset = offset as usize;
                self.model.resize(self.model.len().max(offset + len), 0);
                self.model[offset..offset + len].copy_from_slice(&data);
            }
            Step::Append { handle, len } => {
                let data = self.data(len);
                let how = WriteHow {
                    append: true,
                    sync: false,
                };
                let write = self
                    .vfs
                    .write(self.handles[handle], &root, 0, data.clone(), how);
                write.await.expect("an append");
                self.model.extend_from_slice(&data);
            }
            Step::Read {
                handle,
                offset,
                len,
            } => self.compare(handle, offset, len).await,
            Step::Truncate { length } => self.truncate(length).await,
            Step::Hole {
                handle,
                offset,
                len,
                zero,
            } => self.hole(handle, offset, len, zero).await,
            Step::Fsync { handle } => self.vfs.fsync(self.handles[handle]).await.expect("fsync"),
            Step::Reopen { handle } => self.reopen(handle).await,
            Step::LoseSession => self.session.renew(),
            Step::LoseAnswer { done } => self.lose_answer(done).await,
        }
        let attr = self
            .vfs
            .get_attr(&root, self.ino)
            .await
            .expect("attributes");
        assert_eq!(attr.length, self.model.len() as u64);
    }

    async fn truncate(&mut self, length: u64) {
        let change = SetAttr {
            ino: self.ino,
            length: Some(length),
            ..SetAttr::default()
        };
        let changed = self.vfs.set_attr(&Caller::root(), change).await;
        assert_eq!(changed.expect("a truncation").length, length);
        self.model.resize(length as usize, 0);
    }

    async fn hole(&mut self, handle: usize, offset: u64, len: u64, zero: bool) {
        let mode = if zero {
            FallocateMode::Zero
        } else {
            FallocateMode::Punch
        };
        let root = Caller::root();
        let made = self
            .vfs
            .make_hole(self.handles[handle], &root, offset, len, mode)
            .await;
        made.expect("a hole");
        let (begin, end) = (offset as usize, (offset + len) as usize);
        if zero {
            self.model.resize(self.model.len().max(end), 0);
        }
        let length = self.model.len();
        self.model[begin.min(length)..end.min(length)].fill(0);
        // Also through a handle whose mount has not asked for anything since.
        self.compare(handle, offset.saturating_sub(100), 1000).await;
    }

    async fn reopen(&mut self, handle: usize) {
        self.vfs.flush(self.handles[handle]).await.expect("close");
        self.vfs.release(self.handles[handle]);
        let opened = self.vfs.open_file(&Caller::root(), self.ino, both()).await;
        self.handles[handle] = opened.expect("open").handle;
    }

    /// The answer of a commit is lost, after or before it was executed.
    async fn lose_answer(&mut self, done: bool) {
        self.vfs.fsync(self.handles[0]).await.expect("fsync");
        self.session.mishap(if done {
            Mishap::DoneUnknown
        } else {
            Mishap::LostUnknown
        });
        let data = self.data(10);
        let how = WriteHow {
            append: false,
            sync: true,
        };
        let root = Caller::root();
        let write = self.vfs.write(self.handles[0], &root, 5, data.clone(), how);
        write.await.expect("a repeated commit");
        self.model.resize(self.model.len().max(15), 0);
        self.model[5..15].copy_from_slice(&data);
    }

    fn data(&self, len: usize) -> Bytes {
        let count = self.count;
        (0..len as u64)
            .map(|index| (count.wrapping_mul(31) ^ (index * 7 + index / 251)) as u8 | 1)
            .collect()
    }

    async fn compare(&self, handle: usize, offset: u64, len: u32) {
        let read = self.vfs.read(self.handles[handle], offset, len).await;
        let read = read.expect("a read");
        let begin = (offset as usize).min(self.model.len());
        let end = (begin + len as usize).min(self.model.len());
        let wanted = if begin < offset as usize {
            &[][..]
        } else {
            &self.model[begin..end]
        };
        same(&read, wanted, offset);
    }
}

fn same(read: &[u8], wanted: &[u8], offset: u64) {
    assert_eq!(read.len(), wanted.len(), "bytes read at {offset}");
    if let Some(at) = read
        .iter()
        .zip(wanted)
        .position(|(read, wanted)| read != wanted)
    {
        panic!(
            "byte {} is {}, not {}",
            offset + at as u64,
            read[at],
            wanted[at]
        );
    }
}

async fn run(steps: &[Step], options: VfsOptions) {
    let engine = twin::Engine::new();
    let store = twin::memory();
    let (vfs, session) = twin::mount(&engine, &store, options);
    let root = Caller::root();
    let name = || Name::new(*b"file").expect("a name");
    let created = vfs
        .create(&root, Ino::ROOT, name(), 0o644, both())
        .await
        .expect("a file");
    let ino = created.attr.ino;
    let mut handles = vec![created.handle];
    for _ in 1..HANDLES {
        handles.push(
            vfs.open_file(&root, ino, both())
                .await
                .expect("a handle")
                .handle,
        );
    }
    let mut run = Run {
        vfs,
        session,
        ino,
        handles,
        model: Vec::new(),
        count: 0,
    };
    for step in steps {
        run.step(step).await;
    }
    for handle in &run.handles {
        run.vfs.flush(*handle).await.expect("close");
        run.vfs.release(*handle);
    }
    assert_eq!(run.vfs.pending_bytes(), 0);
    assert_eq!(run.vfs.pending_slices(), 0);
    assert!(run.vfs.held(&[ino]).await.is_empty());
    let (other, _) = twin::mount(&engine, &store, twin::options());
    let opened = other
        .open_file(&root, ino, both())
        .await
        .expect("the other mount");
    assert_eq!(opened.attr.length, run.model.len() as u64);
    for (index, wanted) in run.model.chunks(1 << 20).enumerate() {
        let offset = (index << 20) as u64;
        let read = other
            .read(opened.handle, offset, 1 << 20)
            .await
            .expect("a read");
        same(&read, wanted, offset);
    }
    engine.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_file_holds_what_was_written(steps in prop::collection::vec(steps(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(run(&steps, twin::options()));
    }

    #[test]
    fn a_file_holds_what_was_written_when_memory_is_short(
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let options = VfsOptions {
            dirty_bytes_max: 0,
            dirty_slices_max: 0,
            flush_idle: Duration::ZERO,
            readahead_bytes: 1 << 20,
            ..twin::options()
        };
        runtime.block_on(run(&steps, options));
    }
}
