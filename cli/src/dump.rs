//! `curlew dump` and `curlew load`: a volume's metadata to a file, and back into a cluster.

use crate::exit::Finding;
use crate::format::{StorageKind, storage_of};
use crate::progress::Progress;
use crate::{output, target};
use anyhow::{Context, Result, bail};
use meta_client::{ClientError, Cluster, Dump, DumpError, DumpInfo, MetaUrl, dump};
use meta_core::outcome::Refusal;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the cluster may take, an election included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(30);
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

/// Make a volume from a dump, in a new epoch of its own
///
/// Its files are those of the moment of the dump. Blocks are not in a dump: they must be in the
/// bucket that the volume had, or in the one that is given. The volume that was dumped must never be
/// used again beside it: both would write into one bucket.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// What `curlew dump` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the volume is made: curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    url: MetaUrl,
    /// The kind of object store, if its blocks are elsewhere now
    #[arg(long, value_enum, requires = "bucket")]
    storage: Option<StorageKind>,
    /// The directory or URL where its blocks are now
    #[arg(long, value_name = "DIR|URL", requires = "storage")]
    bucket: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    volume: String,
    uuid: String,
    epoch: u16,
    seq: u64,
    digest: String,
    rows: u64,
}

impl Report {
    fn of(volume: &str, dumped: &meta_client::Dumped) -> Self {
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
    publish(&partial, &args.file).with_context(|| format!("cannot name the dump {file}"))?;
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
fn publish(partial: &Path, file: &Path) -> std::io::Result<()> {
    // A link, and not a rename, because it does not replace what has come to be there meanwhile.
    fs::hard_link(partial, file)?;
    fs::remove_file(partial)?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

fn steps(progress: &Progress, what: &str) -> impl FnMut(u64) {
    let mut next = ROWS_PER_STEP;
    move |rows| {
        if rows >= next {
            progress.step(&format!("{rows} {what}"));
            next = rows + ROWS_PER_STEP;
        }
    }
}

/// Runs `curlew load`.
pub(crate) async fn run_load(args: LoadArgs) -> Result<Finding> {
    let name = args.file.display();
    let file = File::open(&args.file).with_context(|| format!("cannot open {name}"))?;
    let dump = Dump::open(BufReader::new(file)).with_context(|| format!("{name}"))?;
    let storage = match (args.storage, &args.bucket) {
        (Some(kind), Some(bucket)) => serde_json::to_vec(&storage_of(kind, bucket)?),
        _ => serde_json::to_vec(&dump.info().storage),
    };
    let storage = storage.context("where the blocks lie does not fit JSON")?;
    let progress = Progress::new();
    progress.step("looking for the volume's blocks");
    let _store = chunk_store::open_volume(&storage, dump.head().volume)
        .await
        .context(
            "the volume's blocks are not there: --storage and --bucket say where they are now",
        )?;
    let cluster = Cluster::connect(&args.url.addrs, CLUSTER_LIMIT).await?;
    progress.step("loading");
    let loaded = dump
        .load(
            &cluster,
            &args.url.volume,
            storage,
            steps(&progress, "rows are loaded"),
        )
        .await;
    let (_, dumped) = match loaded {
        Ok(loaded) => loaded,
        Err(DumpError::Cluster(ClientError::Refused(Refusal::VolumeExists))) => bail!(
            "the cluster has a volume `{}`, or the dumped one under another name",
            args.url.volume
        ),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot load {name}; it may be tried again"));
        }
    };
    drop(progress);
    let report = Report::of(&args.url.volume, &dumped);
    if args.json {
        output::json(&report)?;
    } else {
        output::text_out(&format!(
            "loaded {} as of change {}:{}, {} rows: mount it with\n  curlew mount {} MOUNTPOINT\n",
            report.volume, report.epoch, report.seq, report.rows, args.url
        ))?;
    }
    Ok(Finding::Fine)
}
