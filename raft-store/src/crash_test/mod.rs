//! What is left after a crash. A crash is either a copy of the directory taken while the store
//! is open, which is what a killed process leaves, or a child process that is really killed.
#![cfg(feature = "rocksdb")]

mod anywhere;
mod convert;
mod damage;
mod install;
mod kill;
mod replay;
mod snapshot;

use crate::error::StoreError;
use crate::options::StoreOptions;
use crate::store::{Parts, Store, open_with};
pub(crate) use crate::testing::copy_tree;
use crate::testing::parts;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn options(dir: &Path) -> StoreOptions {
    let mut options = StoreOptions::new(dir);
    options.cache_bytes = 1 << 20;
    // Small, so that reads go to the disk.
    options.log_tail_bytes = 4 << 10;
    // Small, so that several are used, and that a copy is made soon.
    options.log_file_bytes = 16 << 10;
    options
}

fn try_open_with(dir: &Path, parts: &Parts) -> Result<Store, StoreError> {
    open_with(&options(dir), parts)
}

fn try_open(dir: &Path) -> Result<Store, StoreError> {
    try_open_with(dir, &parts())
}

fn open(dir: &Path) -> Store {
    try_open(dir).unwrap()
}

/// What a process killed now would leave.
fn image(dir: &Path) -> TempDir {
    let image = TempDir::new().unwrap();
    copy_tree(dir, image.path());
    image
}

/// The files in a directory whose names end so, by name.
fn files(dir: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    files
}

/// The files in a directory whose names have a part, by name.
fn files_with(dir: &Path, part: &str) -> Vec<std::path::PathBuf> {
    let mut files = files(dir, "");
    files.retain(|path| path.file_name().unwrap().to_string_lossy().contains(part));
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}
