//! Compiled libraries are taken over from the build of this commit: RocksDB takes long to compile.
//!
//! What cargo knows of a package of the registry (its name, version, features, profile, compiler)
//! does not say where the workspace is, so cargo takes what was copied as its own if it is what it
//! wants, and compiles it if it is not. Times of files are copied too: cargo compares them.
//! Packages of the workspace are left out. Theirs would have the same names.

use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::path::Path;

/// What a library leaves in `deps`.
const LIBRARY: [&str; 3] = ["rlib", "rmeta", "so"];

/// Fills `build` with what the build directory `release` has of packages and targets that are not
/// `ours` (written with `_`), once for each commit. Gives how many files were copied.
pub(crate) fn fill(
    release: &Path,
    build: &Path,
    commit: &str,
    ours: &BTreeSet<String>,
) -> Result<u64> {
    // Written last: what an interrupted run copied is not to be trusted.
    let done = build.join("seeded");
    if fs::read_to_string(&done).is_ok_and(|seeded| seeded == commit) {
        return Ok(0);
    }
    super::remove(build)?;
    let into = build.join("release");
    let mut copied = 0;
    for part in [".fingerprint", "build"] {
        copied += copy_some(&release.join(part), &into.join(part), &|name| {
            is_foreign(name, ours)
        })?;
    }
    copied += copy_some(&release.join("deps"), &into.join("deps"), &|name| {
        let (stem, ending) = name.rsplit_once('.').unwrap_or_default();
        let library = stem.strip_prefix("lib").unwrap_or_default();
        LIBRARY.contains(&ending) && is_foreign(library, ours)
    })?;
    fs::create_dir_all(build).with_context(|| build.display().to_string())?;
    fs::write(&done, commit).with_context(|| done.display().to_string())?;
    Ok(copied)
}

/// Whether `NAME-HASH` is none of ours.
fn is_foreign(name: &str, ours: &BTreeSet<String>) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(name, _)| !ours.contains(&name.replace('-', "_")))
}

/// Copies what is wanted by its name in `from`, which need not be there, with all below it.
fn copy_some(from: &Path, into: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<u64> {
    if !from.is_dir() {
        return Ok(0);
    }
    fs::create_dir_all(into).with_context(|| into.display().to_string())?;
    let mut copied = 0;
    let entries = fs::read_dir(from).with_context(|| from.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if !wanted(&name.to_string_lossy()) {
            continue;
        }
        let (from, into) = (entry.path(), into.join(&name));
        copied += if entry.file_type()?.is_dir() {
            copy_some(&from, &into, &|_| true)?
        } else {
            copy_file(&from, &into).with_context(|| from.display().to_string())?;
            1
        };
    }
    Ok(copied)
}

/// A copy and no second name: cargo and the compilers may write into a file that is there.
fn copy_file(from: &Path, into: &Path) -> Result<()> {
    fs::copy(from, into)?;
    let times = FileTimes::new().set_modified(fs::metadata(from)?.modified()?);
    File::options().append(true).open(into)?.set_times(times)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn libraries_of_others_are_copied_with_their_times_and_ours_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let (release, build) = (dir.path().join("release"), dir.path().join("build"));
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let wanted = [
            ".fingerprint/libc-0a/lib-libc",
            "build/librocksdb-sys-0b/out/librocksdb.a",
            "deps/liblibc-0a.rlib",
            "deps/libserde_derive-0c.so",
        ];
        let unwanted = [
            ".fingerprint/meta-core-0d/lib-meta_core",
            "build/proto-0e/out/a.rs",
            "deps/libmeta_core-0d.rlib",
            "deps/libdisk_faults.so",
            "deps/crash_points-0f",
            "curlew-meta",
        ];
        for path in wanted.iter().chain(&unwanted) {
            let path = release.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(&path, "x").expect("written");
            let file = File::options().append(true).open(&path).expect("opened");
            file.set_modified(old).expect("set");
        }
        let ours = ["meta_core", "proto", "disk_faults", "crash_points"];
        let ours = ours.map(str::to_owned).into();
        let copied = fill(&release, &build, "one", &ours).expect("filled");
        assert_eq!(copied, 4);
        for path in wanted {
            let copy = fs::metadata(build.join("release").join(path)).expect("copied");
            assert_eq!(copy.modified().expect("a time"), old, "{path}");
        }
        for path in unwanted {
            assert!(!build.join("release").join(path).exists(), "{path}");
        }
        fs::write(build.join("release/more"), "").expect("written");
        assert_eq!(fill(&release, &build, "one", &ours).expect("filled"), 0);
        assert!(build.join("release/more").exists(), "it goes on");
        assert_eq!(fill(&release, &build, "two", &ours).expect("filled"), 4);
        assert!(!build.join("release/more").exists(), "it begins anew");
        fs::remove_dir_all(&release).expect("removed");
        assert_eq!(fill(&release, &build, "three", &ours).expect("filled"), 0);
    }
}
