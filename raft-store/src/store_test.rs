//! openraft's own suite, over both back ends.

use super::*;
use crate::log::FileLog;
use crate::testing::parts;
use crate::types::TypeConfig;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

struct Memory;

/// The suite purges what it never applied, so its log has no gate.
fn ungated(store: Store, shared: &Arc<LogShared>) -> (LogStore, StateMachine) {
    drop(store.log);
    let log = LogStore::new(
        Arc::clone(shared),
        1 << 20,
        PurgeGate::Open,
        Workers::Threads,
    )
    .unwrap();
    (log, store.machine)
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, ()> for Memory {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
        let store = open_memory_with(&Parts {
            gaps: true,
            ..parts()
        })
        .unwrap();
        let shared = store.log.shared();
        let (log, machine) = ungated(store, &shared);
        Ok(((), log, machine))
    }
}

#[tokio::test]
async fn the_store_in_memory_passes_the_suite() {
    Suite::test_all(Memory).await.unwrap();
}

struct Files {
    log_tail_bytes: usize,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Files {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let parts = Parts {
            gaps: true,
            ..parts()
        };
        let store = open_memory_with(&parts).unwrap();
        let disk = LogDisk::Files(Box::new(FileLog::open(dir.path(), 0, 64 << 10).unwrap()));
        let shared = load(disk, 0, self.log_tail_bytes, &parts).unwrap();
        let (log, machine) = ungated(store, &shared);
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn the_log_in_files_passes_the_suite() {
    for log_tail_bytes in [0, 1 << 20] {
        Suite::test_all(Files { log_tail_bytes }).await.unwrap();
    }
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use super::*;

    struct Rocks {
        log_tail_bytes: usize,
    }

    impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Rocks {
        async fn build(
            &self,
        ) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
            let dir = TempDir::new().unwrap();
            let mut options = StoreOptions::new(dir.path());
            options.log_tail_bytes = self.log_tail_bytes;
            let store = open_with(
                &options,
                &Parts {
                    gaps: true,
                    ..parts()
                },
            )
            .unwrap();
            let shared = store.log.shared();
            let (log, machine) = ungated(store, &shared);
            Ok((dir, log, machine))
        }
    }

    #[tokio::test]
    async fn the_store_on_rocksdb_passes_the_suite() {
        Suite::test_all(Rocks {
            log_tail_bytes: 1 << 20,
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_log_that_reads_all_from_the_disk_passes_the_suite() {
        Suite::test_all(Rocks { log_tail_bytes: 0 }).await.unwrap();
    }
}
