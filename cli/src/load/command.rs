//! Runs `curlew load`.

use super::args::{LoadArgs, Wanted, Which};
use super::bucket::Bucket;
use super::download::{download, verify};
use super::listing;
use crate::dump::{CLUSTER_LIMIT, Report, steps};
use crate::exit::Finding;
use crate::output;
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use chunk_store::StorageConfig;
use meta_client::{ClientError, Cluster, Dump, DumpError, MetaUrl};
use meta_core::ids::VolumeUuid;
use meta_core::outcome::Refusal;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Runs the command.
pub(crate) async fn run(args: LoadArgs) -> Result<Finding> {
    match args.wanted()? {
        Wanted::File { file, storage, url } => {
            let report = load_file(&file, storage, &url).await?;
            tell(&report, &url, args.json)?;
        }
        Wanted::Backup {
            which,
            storage,
            uuid,
            url,
        } => {
            let report = load_backup(which, &storage, uuid, &url).await?;
            tell(&report, &url, args.json)?;
        }
        Wanted::List { storage, uuid } => {
            let bucket = Bucket::look(&storage, uuid).await?;
            listing::print(&bucket, args.json)?;
        }
    }
    Ok(Finding::Fine)
}

async fn load_file(file: &Path, storage: Option<StorageConfig>, url: &MetaUrl) -> Result<Report> {
    let name = file.display().to_string();
    let mut input = File::open(file).with_context(|| format!("cannot open {name}"))?;
    let progress = Progress::new();
    // A volume of which only a part can be loaded would be in the way of the next try. What is not a
    // file, as a pipe, can be read only once.
    if input.metadata().is_ok_and(|about| about.is_file()) {
        progress.step("checking the dump");
        verify(&mut input).with_context(|| name.clone())?;
    }
    let dump = Dump::open(BufReader::new(input)).with_context(|| name.clone())?;
    let storage = match &storage {
        Some(storage) => serde_json::to_vec(storage),
        None => serde_json::to_vec(&dump.info().storage),
    };
    let storage = storage.context("where the blocks lie does not fit JSON")?;
    load(dump, &name, storage, url, &progress).await
}

async fn load_backup(
    which: Which,
    storage: &StorageConfig,
    uuid: Option<VolumeUuid>,
    url: &MetaUrl,
) -> Result<Report> {
    let progress = Progress::new();
    progress.step("looking for backups");
    let bucket = Bucket::look(storage, uuid).await?;
    let chosen = bucket.choose(which, &url.volume)?;
    let found = download(&bucket, &chosen, &progress).await?;
    progress.note(&format!(
        "{} is of volume {} at change {}:{}",
        chosen.backup,
        output::plain(&found.info.volume),
        chosen.backup.token().epoch,
        chosen.backup.token().seq
    ));
    let dump = Dump::open(BufReader::new(found.file))?;
    // The blocks are where the backup is.
    let storage = storage.to_json().context("the bucket does not fit JSON")?;
    load(dump, &chosen.backup.to_string(), storage, url, &progress).await
}

/// Makes the volume.
async fn load<R: Read>(
    dump: Dump<R>,
    name: &str,
    storage: Vec<u8>,
    url: &MetaUrl,
    progress: &Progress,
) -> Result<Report> {
    progress.step("looking for the volume's blocks");
    let _store = chunk_store::open_volume(&storage, dump.head().volume)
        .await
        .context(
            "the volume's blocks are not there: --storage and --bucket say where they are now",
        )?;
    let cluster = Cluster::connect(&url.addrs, CLUSTER_LIMIT).await?;
    progress.step("loading");
    let rows = steps(progress, "rows are loaded");
    match dump.load(&cluster, &url.volume, storage, rows).await {
        Ok((_, dumped)) => Ok(Report::of(&url.volume, &dumped)),
        Err(DumpError::Cluster(ClientError::Refused(Refusal::VolumeExists))) => bail!(
            "the cluster has a volume `{}`, or the dumped one under another name",
            url.volume
        ),
        Err(error) => {
            Err(error).with_context(|| format!("cannot load {name}; it may be tried again"))
        }
    }
}

fn tell(report: &Report, url: &MetaUrl, json: bool) -> Result<()> {
    if json {
        return output::json(report);
    }
    output::text_out(&format!(
        "loaded {} as of change {}:{}, {} rows: mount it with\n  curlew mount {url} MOUNTPOINT\n",
        report.volume, report.epoch, report.seq, report.rows
    ))
}
