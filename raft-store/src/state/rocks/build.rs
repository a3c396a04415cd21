//! Takes a snapshot: a checkpoint shares its files with the state, so it costs little.

use super::RocksState;
use super::generation::{FAMILIES, Generation};
use super::view::RocksView;
use crate::durable;
use crate::error::StoreError;
use crate::poison::Poison;
use crate::record_files;
use crate::rocks::{self, Db};
use crate::snapshot::{
    FileEntry, MANIFEST_FILE, Manifest, SnapshotDir, SnapshotFiles, Source, hash_file,
};
use crate::state::AppliedState;
use crate::wire;
use meta_core::failpoint::{self, Point};
use rocksdb::Options;
use rocksdb::checkpoint::Checkpoint;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

impl RocksState {
    /// Takes a checkpoint while writes go on. What it holds is read from it, not from the state,
    /// which has moved on.
    pub(crate) fn build_snapshot(&self, poison: &Poison) -> Result<SnapshotFiles, StoreError> {
        let generation = self.generation();
        let number = self.take_number();
        let building = SnapshotDir::new(self.layout.building(number));
        building.set_obsolete(true);
        Checkpoint::new(generation.db())
            .and_then(|checkpoint| checkpoint.create_checkpoint(building.path()))
            .map_err(rocks::error("make a checkpoint"))?;
        self.hit(Point::SnapshotCheckpoint)?;
        let state = read_position(building.path(), poison)?;
        let files = self.hash_files(&generation, building.path())?;
        failpoint::pass(Point::SnapshotHashed);
        let manifest = Manifest::new(Source::Checkpoint, state, files);
        let bytes =
            wire::encode(&manifest).map_err(|error| StoreError::Snapshot(error.to_string()))?;
        durable::write_file(&building.path().join(MANIFEST_FILE), &bytes)?;
        durable::sync_dir(building.path())?;
        self.hit(Point::SnapshotManifest)?;
        let complete = self.layout.snapshot(number);
        fs::rename(building.path(), &complete)
            .map_err(StoreError::file("rename", building.path()))?;
        failpoint::pass(Point::SnapshotRenamed);
        durable::sync_parent(&complete)?;
        self.hit(Point::SnapshotComplete)?;
        Ok(self.keep_snapshot(SnapshotFiles::in_dir(manifest, SnapshotDir::new(complete))))
    }

    pub(super) fn hit(&self, point: Point) -> Result<(), StoreError> {
        self.faults
            .hit(point)
            .map_err(|error| StoreError::Refused(format!("{}: {error}", point.name())))
    }

    /// Lengths and crcs of a checkpoint's files. Table files never change, so those that the
    /// last snapshot had are not read again; a sender compares what it reads with the crc.
    fn hash_files(
        &self,
        generation: &Generation,
        dir: &Path,
    ) -> Result<Vec<FileEntry>, StoreError> {
        let mut known = self.hashed.lock();
        let mut hashed = BTreeMap::new();
        let mut files = Vec::new();
        for name in list_checkpoint(dir)? {
            let path = dir.join(&name);
            let key = (generation.number(), name.clone());
            let entry = match known.get(&key) {
                Some(entry) => entry.clone(),
                None => hash_file(&path, &name)?,
            };
            if is_table(&name) {
                hashed.insert(key, entry.clone());
            } else {
                let synced = File::open(&path).and_then(|file| file.sync_all());
                synced.map_err(StoreError::file("sync", &path))?;
            }
            files.push(entry);
        }
        *known = hashed;
        Ok(files)
    }
}

/// The position of the rows in a checkpoint, and nothing but data left in its directory.
fn read_position(dir: &Path, poison: &Poison) -> Result<AppliedState, StoreError> {
    let state = {
        let options = Options::default();
        record_files::check(dir)?;
        let opened = Db::open_cf_for_read_only(&options, dir, FAMILIES, false);
        let db = rocks::open_error(dir, opened)?;
        AppliedState::read(&RocksView::latest(&db, poison))?
    };
    let listed = fs::read_dir(dir).map_err(StoreError::file("list", dir))?;
    for entry in listed {
        let path = entry.map_err(StoreError::file("list", dir))?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        if !name.is_some_and(|name| is_data(&name)) {
            fs::remove_file(&path).map_err(StoreError::file("remove", &path))?;
        }
    }
    Ok(state)
}

fn list_checkpoint(dir: &Path) -> Result<Vec<String>, StoreError> {
    let listed = fs::read_dir(dir).map_err(StoreError::file("list", dir))?;
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(StoreError::file("list", dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Files that never change once written.
pub(super) fn is_table(name: &str) -> bool {
    name.ends_with(".sst") || name.ends_with(".blob")
}

fn is_data(name: &str) -> bool {
    is_table(name)
        || name == "CURRENT"
        || name == "IDENTITY"
        || name.starts_with("MANIFEST-")
        || name.starts_with("OPTIONS-")
        || name.ends_with(".log")
}
