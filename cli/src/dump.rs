//! `curlew dump`: a volume's metadata to a file.

use crate::exit::Finding;
use crate::progress::Progress;
use crate::{output, target};
use anyhow::{Context, Result, bail};
use meta_client::{Cluster, DumpInfo, MetaUrl, dump};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the cluster may take, an election included.
pub(crate) const CLUSTER_LIMIT: Duration = Duration::from_secs(30);
/// Rows between two words on how far it is.
const ROWS_PER_STEP: u64 = 100_000;

/// Write a volume's metadata, as it is at one moment, to a file; the volume goes on being used
#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME, or a directory on a mounted volume
    #[arg(value_name = "META-URL|MOUNTPOINT")]
    target: String,
    /// The file, which must not exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was dumped or loaded, as `--json` tells it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) volume: String,
    uuid: String,
    pub(crate) epoch: u16,
    pub(crate) seq: u64,
    digest: String,
    pub(crate) rows: u64,
}

impl Report {
    pub(crate) fn of(volume: &str, dumped: &meta_client::Dumped) -> Self {
        Self {
            volume: volume.to_owned(),
            uuid: dumped.head.volume.to_string(),
            epoch: dumped.head.token.epoch.0,
            seq: dumped.head.token.seq.0,
            digest: format!("{:032x}", dumped.head.digest),
            rows: dumped.rows,
        }
    }
}

/// Runs `curlew dump`.
pub(crate) async fn run(args: DumpArgs) -> Result<Finding> {
    let url = target::resolve(&args.target)?;
    let file = args.file.display();
    if args.file.symlink_metadata().is_ok() {
        bail!("{file} exists: choose another name, so that no dump is lost");
    }
    let progress = Progress::new();
    progress.step("asking the cluster");
    let cluster = Cluster::connect(&url.addrs, CLUSTER_LIMIT).await?;
    let info = cluster.find_volume(&url.volume).await?;
    let info = DumpInfo {
        volume: url.volume.clone(),
        storage: serde_json::from_slice(&info.storage)
            .context("where the volume's blocks lie cannot be read")?,
    };
    let partial = partial(&args.file);
    let written = write(&url, &info, &partial, &progress).await;
    let dumped = match written {
        Ok(dumped) => dumped,
        Err(error) => {
            // A part of a dump is of no use; that it cannot be removed changes nothing.
            let _left = fs::remove_file(&partial);
            return Err(error).with_context(|| format!("cannot dump to {file}"));
        }
    };
    publish(&partial, &args.file)?;
    drop(progress);
    let report = Report::of(&url.volume, &dumped);
    if args.json {
        output::json(&report)?;
    } else {
        output::text_out(&format!(
            "dumped {} at change {}:{}, {} rows, digest {}\n",
            report.volume, report.epoch, report.seq, report.rows, report.digest
        ))?;
    }
    Ok(Finding::Fine)
}

/// Where a dump is written until it is whole.
fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    PathBuf::from(name)
}

async fn write(
    url: &MetaUrl,
    info: &DumpInfo,
    path: &Path,
    progress: &Progress,
) -> Result<meta_client::Dumped> {
    let file = File::options().write(true).create_new(true).open(path)?;
    let mut out = BufWriter::new(&file);
    let dumped = dump(url, info, &mut out, steps(progress, "rows are written")).await?;
    drop(out);
    file.sync_all()?;
    Ok(dumped)
}

/// Gives a whole dump its name, and makes that durable.
fn publish(partial: &Path, file: &Path) -> Result<()> {
    // All the work is done: whatever fails, the dump is there.
    let named = match fs::hard_link(partial, file) {
        Ok(()) => fs::remove_file(partial),
        Err(error) => name_without_links(partial, file, error),
    };
    named.with_context(|| {
        let (file, partial) = (file.display(), partial.display());
        format!("cannot name the dump {file}: the whole dump is in {partial}")
    })?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let synced = File::open(dir.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
    synced.with_context(|| {
        let file = file.display();
        format!("the whole dump is in {file}, but a crash of this machine may take it away")
    })
}

/// Names a dump where there are no hard links. Like a link, and unlike a plain rename, it does not
/// replace what has come to be there meanwhile.
fn name_without_links(partial: &Path, file: &Path, no_link: io::Error) -> io::Result<()> {
    if no_link.kind() == io::ErrorKind::AlreadyExists {
        return Err(no_link);
    }
    match renameat_with(CWD, partial, CWD, file, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Errno::EXIST.into()),
        // What the link failed with says more.
        Err(_not_supported) => Err(no_link),
    }
}

/// Says now and then how many rows there are so far.
pub(crate) fn steps(progress: &Progress, what: &str) -> impl FnMut(u64) {
    let mut next = ROWS_PER_STEP;
    move |rows| {
        if rows >= next {
            progress.step(&format!("{rows} {what}"));
            next = rows + ROWS_PER_STEP;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A directory with a whole dump that has no name yet.
    fn dumped() -> (TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("vol.dump");
        let partial = partial(&file);
        fs::write(&partial, "rows").expect("written");
        (dir, partial, file)
    }

    fn no_links() -> io::Error {
        Errno::PERM.into()
    }

    #[test]
    fn a_dump_gets_its_name_with_links_and_without() {
        let (_dir, partial, file) = dumped();
        publish(&partial, &file).expect("named");
        assert_eq!(fs::read(&file).expect("there"), b"rows");
        assert!(!partial.exists());
        let (_dir, partial, file) = dumped();
        name_without_links(&partial, &file, no_links()).expect("named");
        assert_eq!(fs::read(&file).expect("there"), b"rows");
        assert!(!partial.exists());
    }

    #[test]
    fn a_dump_that_gets_no_name_is_kept_and_said_where() {
        let (_dir, partial, file) = dumped();
        fs::write(&file, "of somebody").expect("written");
        let error = publish(&partial, &file).expect_err("the name is taken");
        let told = format!("{error:#}");
        let place = format!("the whole dump is in {}", partial.display());
        assert!(told.contains(&place), "{told}");
        let taken = name_without_links(&partial, &file, no_links());
        let taken = taken.expect_err("the name is taken").kind();
        assert_eq!(taken, io::ErrorKind::AlreadyExists);
        // Where neither works, it is told why there is no link.
        let nowhere = file.with_file_name("nowhere").join("vol.dump");
        let neither = name_without_links(&partial, &nowhere, no_links());
        let neither = neither.expect_err("no directory").kind();
        assert_eq!(neither, io::ErrorKind::PermissionDenied);
        assert_eq!(fs::read(&partial).expect("kept"), b"rows");
        assert_eq!(fs::read(&file).expect("kept"), b"of somebody");
    }
}
