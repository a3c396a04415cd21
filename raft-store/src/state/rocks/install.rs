//! Replaces the state by a snapshot. A crash at any step leaves the old state or the new one.

use super::RocksState;
use super::build::is_table;
use super::generation::Generation;
use crate::durable;
use crate::error::StoreError;
use crate::poison::Poison;
use crate::snapshot::{MANIFEST_FILE, SnapshotDir, SnapshotFiles, Source};
use crate::state::AppliedState;
use meta_core::failpoint::Point;
use std::fs;
use std::path::Path;
use std::sync::Arc;

impl RocksState {
    /// Verifies the files, opens a copy of them as the next generation, and makes that current.
    pub(crate) fn install(
        &self,
        poison: &Poison,
        files: SnapshotFiles,
    ) -> Result<AppliedState, StoreError> {
        let files = self.adopt(files)?;
        let number = self.generation().number() + 1;
        let dir = self.layout.generation(number);
        durable::remove_dir(&dir)?;
        let opened = self.open_copy(number, &dir, &files, poison);
        let (generation, state) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // The old state stays; what is left of the copy would be removed at start, too.
                durable::remove_dir(&dir)?;
                return Err(error);
            }
        };
        // From here on the old state may be gone after a crash: a failure must stop the node.
        let pointed = self
            .layout
            .write_current(number)
            .and_then(|()| self.hit(Point::InstallCurrent));
        poison.guard(pointed)?;
        let old = std::mem::replace(&mut *self.current.write(), Arc::new(generation));
        old.set_obsolete();
        drop(old);
        self.keep_snapshot(files);
        poison.guard(self.hit(Point::InstallSwapped))?;
        Ok(state)
    }

    /// The snapshot as one of this store's own. It is verified, whoever made it.
    fn adopt(&self, files: SnapshotFiles) -> Result<SnapshotFiles, StoreError> {
        if files.manifest().source != Source::Checkpoint {
            let why = "it was not made by a store on RocksDB";
            return Err(StoreError::Snapshot(String::from(why)));
        }
        files.verify()?;
        self.hit(Point::InstallVerified)?;
        let Some(source) = files.dir().filter(|dir| !self.layout.owns(dir.path())) else {
            return Ok(files);
        };
        let number = self.take_number();
        let incoming = SnapshotDir::new(self.layout.incoming(number));
        incoming.set_obsolete(true);
        copy_files(&files, source.path(), incoming.path())?;
        let manifest = fs::read(source.path().join(MANIFEST_FILE));
        let manifest = manifest.map_err(StoreError::file("read", source.path()))?;
        durable::write_file(&incoming.path().join(MANIFEST_FILE), &manifest)?;
        durable::sync_dir(incoming.path())?;
        let complete = self.layout.snapshot(number);
        fs::rename(incoming.path(), &complete)
            .map_err(StoreError::file("rename", incoming.path()))?;
        durable::sync_parent(&complete)?;
        let adopted = SnapshotDir::new(complete);
        adopted.set_obsolete(true);
        Ok(SnapshotFiles::in_dir(files.manifest().clone(), adopted))
    }

    fn open_copy(
        &self,
        number: u64,
        dir: &Path,
        files: &SnapshotFiles,
        poison: &Poison,
    ) -> Result<(Generation, AppliedState), StoreError> {
        let source = files.dir().ok_or_else(|| {
            StoreError::Snapshot(String::from("it was not made by a store on RocksDB"))
        })?;
        copy_files(files, source.path(), dir)?;
        durable::sync_parent(dir)?;
        self.hit(Point::InstallCopied)?;
        let generation = Generation::open(&self.layout, number, &self.settings)?;
        let state = AppliedState::read(&generation.latest(poison))?;
        files.manifest().check_state(&state)?;
        self.hit(Point::InstallOpened)?;
        Ok((generation, state))
    }
}

/// Makes a directory with the snapshot's files: links for those that never change, durable
/// copies of those that RocksDB may write to.
fn copy_files(files: &SnapshotFiles, from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::create_dir(to).map_err(StoreError::file("create", to))?;
    for file in &files.manifest().files {
        let (source, target) = (from.join(&file.name), to.join(&file.name));
        if is_table(&file.name) && fs::hard_link(&source, &target).is_ok() {
            continue;
        }
        fs::copy(&source, &target).map_err(StoreError::file("copy", &source))?;
        let synced = fs::File::open(&target).and_then(|file| file.sync_all());
        synced.map_err(StoreError::file("sync", &target))?;
    }
    durable::sync_dir(to)
}
