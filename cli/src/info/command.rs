//! `curlew info`.

use super::report::{Below, DataReport, InfoReport};
use crate::caller::caller;
use crate::exit::Finding;
use crate::quota::{self, QuotaReport};
use crate::target::MountedFile;
use crate::{output, volume_path};
use anyhow::{Context, Result, bail};
use meta_client::{ClientError, Cluster};
use meta_core::attr::{Attr, FileKind};
use meta_core::ids::{ChunkIndex, Ino, VolumeId};
use meta_core::limits::CHUNK_BYTES;
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, Query, QueryBody, SliceCursor};
use meta_core::quota::{Subject, Usage};
use std::path::PathBuf;
use std::time::Duration;

/// How long the cluster may take, an election included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);

/// Show what the metadata engine knows of a file on a mounted volume
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// The file; a symlink is not followed
    path: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: InfoArgs) -> Result<Finding> {
    let file = MountedFile::find(&args.path)?;
    let url = file.mounted.url()?;
    let ino = Ino(file.inode);
    let cluster = Cluster::connect(&url.addrs, CLUSTER_LIMIT).await?;
    let info = cluster.find_volume(&url.volume).await?;
    let file = File {
        cluster,
        volume: info.id,
        has_totals: info.level.0 >= quota::LEVEL,
        ino,
    };
    let attr = file.attr().await?;
    let path = file.path().await?;
    let data = match attr.kind {
        FileKind::Regular => Some(file.data(attr.length).await?),
        _ => None,
    };
    let mut report = InfoReport::new(&url.volume, path, &attr, data);
    if attr.kind == FileKind::Directory {
        file.totals(&mut report).await?;
    }
    if args.json {
        output::json(&report)?;
    } else {
        output::text_out(&report.render())?;
    }
    Ok(Finding::Fine)
}

/// One file of a volume.
struct File {
    cluster: Cluster,
    volume: VolumeId,
    /// Whether the volume's level has totals.
    has_totals: bool,
    ino: Ino,
}

impl File {
    async fn ask(&self, body: QueryBody) -> Result<Answer, ClientError> {
        self.cluster
            .query(Query {
                volume: self.volume,
                caller: caller(),
                body,
            })
            .await
    }

    async fn attr(&self) -> Result<Attr> {
        match self.ask(QueryBody::GetAttr { ino: self.ino }).await {
            Ok(Answer::Attr(attr)) => Ok(attr),
            Ok(_other) => bail!("the cluster answered something else than attributes"),
            Err(error) => Err(error).with_context(|| {
                format!(
                    "the cluster does not tell the attributes of inode {}",
                    self.ino
                )
            }),
        }
    }

    /// A path from the volume's root, if the file has a name.
    async fn path(&self) -> Result<Option<String>> {
        match self.ask(QueryBody::PathOf { ino: self.ino }).await {
            Ok(Answer::Path(names)) => Ok(Some(volume_path::shown(&names))),
            Ok(_other) => bail!("the cluster answered something else than a path"),
            Err(ClientError::Refused(Refusal::NotFound | Refusal::Stale)) => Ok(None),
            Err(error) => Err(error).context("the cluster does not tell the file's path"),
        }
    }

    /// Tells what lies below the directory, and its limit.
    async fn totals(&self, report: &mut InfoReport) -> Result<()> {
        if !self.has_totals {
            report.tell_below(Below::NotKept);
            return Ok(());
        }
        let usage = self.usage(Subject::Directory(self.ino)).await?;
        report.tell_below(match usage.is_counted {
            true => Below::Known(usage.amount),
            false => Below::BeingCounted,
        });
        // What the root may be, the whole volume may be.
        let limited = match self.ino {
            Ino::ROOT => self.usage(Subject::Volume).await?,
            _ => usage,
        };
        if !limited.limit.is_none() {
            report.quota = Some(QuotaReport::new(&limited, report.path_of(limited.subject)));
        }
        Ok(())
    }

    async fn usage(&self, subject: Subject) -> Result<Usage> {
        let usage = self.cluster.usage(self.volume, caller(), subject).await;
        usage.context("the cluster does not tell what lies below the directory")
    }

    async fn data(&self, length: u64) -> Result<DataReport> {
        let end = ChunkIndex(u32::try_from(length.div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX));
        let mut data = DataReport::default();
        let mut chunk = (None, 0);
        let mut next = Some(SliceCursor::default());
        while let Some(from) = next {
            let body = QueryBody::ReadSlices {
                ino: self.ino,
                from,
                end,
            };
            let Answer::Slices {
                slices, next: then, ..
            } = self.ask(body).await?
            else {
                bail!("the cluster answered something else than slices");
            };
            for slice in &slices {
                if chunk.0 != Some(slice.chunk) {
                    chunk = (Some(slice.chunk), 0);
                    data.chunks += 1;
                }
                chunk.1 += 1;
                data.slices += 1;
                data.slices_in_a_chunk_max = data.slices_in_a_chunk_max.max(chunk.1);
                data.slice_bytes += u64::from(slice.len);
            }
            if then.is_some_and(|then| then <= from) {
                bail!("the cluster's list of slices does not move on");
            }
            next = then;
        }
        Ok(data)
    }
}
