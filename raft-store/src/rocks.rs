//! What the state's database and the log's of earlier builds have in common.

use crate::error::StoreError;
use rocksdb::{DBWithThreadMode, MultiThreaded, Options};
use std::path::Path;

/// A database whose column families may be looked up from several threads.
pub(crate) type Db = DBWithThreadMode<MultiThreaded>;

/// Settings of both databases.
pub(crate) fn common_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    options.set_max_background_jobs(2);
    options.set_max_open_files(512);
    // RocksDB's own diary, not data.
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options
}

/// Makes RocksDB's error ours.
pub(crate) fn error(what: &'static str) -> impl FnOnce(rocksdb::Error) -> StoreError {
    move |error| StoreError::Rocks {
        what,
        message: error.to_string(),
    }
}

/// Tells a locked or damaged database from other failures to open one.
pub(crate) fn open_error<T>(
    dir: &Path,
    opened: Result<T, rocksdb::Error>,
) -> Result<T, StoreError> {
    opened.map_err(|error| {
        let message = error.to_string();
        if message.contains("While lock file") || message.contains("lock hold by") {
            return StoreError::Locked {
                dir: dir.to_path_buf(),
            };
        }
        match error.kind() {
            rocksdb::ErrorKind::Corruption => StoreError::damaged("RocksDB files", message),
            _ => StoreError::Rocks {
                what: "open",
                message,
            },
        }
    })
}
