//! `curlew format`: makes a volume in a cluster, after its object store has shown that it works.

use crate::exit::{Finding, Usage};
use crate::progress::Progress;
use crate::quota::{self, LimitArgs};
use crate::{config, output, size};
use anyhow::{Context, Result, bail};
use chunk_store::{LocalDir, S3Bucket, StorageConfig};
use meta_client::{ClientError, Cluster, MetaUrl};
use meta_core::command::CreateVolume;
use meta_core::ids::Uuid;
use meta_core::outcome::Refusal;
use meta_core::query::VolumeInfo;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a block if nothing else is said.
const BLOCK_BYTES: u32 = 4 << 20;
/// How long the cluster may take, an election included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(10);

/// Make a volume in a metadata cluster
#[derive(Debug, clap::Args)]
pub(crate) struct FormatArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    url: MetaUrl,
    /// The kind of object store for file data
    #[arg(long, value_enum, default_value_t = StorageKind::File)]
    storage: StorageKind,
    /// Where file data goes: with `file` a directory that every mount reaches by this path, with
    /// `s3` a URL, `http://HOST:PORT/BUCKET`, `https://BUCKET.s3.REGION.amazonaws.com` or
    /// `https://s3.REGION.amazonaws.com/BUCKET`, with /PREFIX behind it if wanted. Keys for it are
    /// read from ACCESS_KEY, SECRET_KEY and SESSION_TOKEN, else from AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, here and by each mount; they are never stored
    #[arg(long, value_name = "DIR|URL")]
    bucket: PathBuf,
    /// Size of a block, 64K to 16M; a bare number counts in KiB
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = size::parse_block)]
    block_size: u32,
    /// How long removed files stay in the trash: days, such as 7 or 0.5, or a time such as 12h; with 0
    /// they are deleted at once. A day if not given
    #[arg(long, value_name = "DAYS", value_parser = config::trash_seconds)]
    trash_days: Option<u64>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// The object stores of this version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum StorageKind {
    /// A local directory
    File,
    /// A bucket of S3, or of a store that speaks its protocol
    S3,
}

/// A volume to be made.
#[derive(Debug)]
pub(crate) struct NewVolume {
    name: String,
    storage: StorageConfig,
    block_bytes: u32,
}

impl NewVolume {
    /// One whose blocks are files below `dir`, which is made if needed.
    pub(crate) fn in_directory(name: &str, dir: &Path, block_bytes: Option<u32>) -> Result<Self> {
        LocalDir::make(dir).with_context(|| format!("cannot make the bucket {}", dir.display()))?;
        let root = dir
            .canonicalize()
            .with_context(|| format!("cannot use the bucket {}", dir.display()))?;
        let storage = StorageConfig::File { root };
        let block_bytes = block_bytes.unwrap_or(BLOCK_BYTES);
        Ok(Self {
            name: name.to_owned(),
            storage,
            block_bytes,
        })
    }

    /// What the arguments ask for. A directory is made if needed, a bucket is not.
    fn from_args(args: &FormatArgs) -> Result<Self> {
        let (name, block_bytes) = (&args.url.volume, args.block_size);
        let is_url = args.bucket.to_string_lossy().contains("://");
        match args.storage {
            // The value is not repeated: a key may stand in it.
            StorageKind::File if is_url => Err(Usage::error(
                "--bucket is a URL, and --storage is `file`: add --storage s3",
            )),
            StorageKind::File => Self::in_directory(name, &args.bucket, Some(block_bytes)),
            StorageKind::S3 => Ok(Self {
                name: name.clone(),
                storage: StorageConfig::S3(parse_bucket(&args.bucket)?),
                block_bytes,
            }),
        }
    }
}

/// An object store that is there already.
pub(crate) fn storage_of(kind: StorageKind, bucket: &Path) -> Result<StorageConfig> {
    match kind {
        StorageKind::File => {
            let root = bucket.canonicalize();
            let root = root.with_context(|| format!("no bucket at {}", bucket.display()))?;
            Ok(StorageConfig::File { root })
        }
        StorageKind::S3 => parse_bucket(bucket).map(StorageConfig::S3),
    }
}

fn parse_bucket(url: &Path) -> Result<S3Bucket> {
    // What is no text is no URL either.
    let url = url.to_str().unwrap_or_default();
    S3Bucket::parse(url).map_err(|error| Usage::error(format!("--bucket: {error}")))
}

/// Runs the command.
pub(crate) async fn run(args: FormatArgs) -> Result<Finding> {
    let progress = Progress::new();
    progress.step("asking the cluster");
    let cluster = Cluster::connect(&args.url.addrs, CLUSTER_LIMIT).await?;
    if let Some(info) = find(&cluster, &args.url.volume).await? {
        bail!("{}", exists(&args.url, Some(&info)));
    }
    let volume = NewVolume::from_args(&args)?;
    progress.step("checking the object store");
    let info = create(&cluster, &volume)
        .await
        .map_err(|error| match error.downcast_ref() {
            Some(ClientError::Refused(Refusal::VolumeExists)) => {
                anyhow::anyhow!("{}", exists(&args.url, None))
            }
            _ => error,
        })?;
    if let Some(seconds) = args.trash_days {
        let set = config::set_trash_of_new(&cluster, info.id, seconds).await;
        set.context("the volume is made, and --trash-days is not set")?;
    }
    let limited = quota::limit_new(&cluster, info.id, args.limit).await;
    limited.context("the volume is made, and has no limit: set it with `curlew config`")?;
    drop(progress);
    output::text_out(&format!(
        "volume {} ({}) is ready: mount it with\n  curlew mount {} MOUNTPOINT\n",
        info.name, info.uuid, args.url
    ))?;
    Ok(Finding::Fine)
}

/// Checks the object store, then makes the volume.
pub(crate) async fn create(cluster: &Cluster, volume: &NewVolume) -> Result<VolumeInfo> {
    let storage = serde_json::to_vec(&volume.storage).context("the storage does not fit JSON")?;
    let store = chunk_store::open_store(&storage).context("cannot open the object store")?;
    chunk_store::check_store(&store)
        .await
        .context("the object store does not work")?;
    let uuid = Uuid(*uuid::Uuid::new_v4().as_bytes());
    chunk_store::prepare_volume(&storage, uuid)
        .await
        .context("cannot prepare the object store for the volume")?;
    let command = CreateVolume {
        name: volume.name.clone(),
        uuid,
        block_bytes: volume.block_bytes,
        storage,
    };
    cluster.create_volume(command).await?;
    Ok(cluster.find_volume(&volume.name).await?)
}

/// The volume of that name, if there is one.
pub(crate) async fn find(cluster: &Cluster, name: &str) -> Result<Option<VolumeInfo>> {
    match cluster.find_volume(name).await {
        Ok(info) => Ok(Some(info)),
        Err(ClientError::Refused(Refusal::UnknownVolume)) => Ok(None),
        Err(error) => Err(error).context("cannot look for the volume"),
    }
}

fn exists(url: &MetaUrl, info: Option<&VolumeInfo>) -> String {
    let uuid = info.map_or_else(String::new, |info| format!(" ({})", info.uuid));
    format!(
        "volume `{}`{uuid} is formatted already; mount it with `curlew mount {url} MOUNTPOINT`, \
         or choose another name",
        url.volume
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: FormatArgs,
    }

    fn volume(words: &[&str]) -> Result<NewVolume> {
        let line = ["format", "curlew://127.0.0.1:1/v"];
        let line = Line::try_parse_from(line.iter().chain(words))?;
        NewVolume::from_args(&line.args)
    }

    #[test]
    fn a_bucket_is_a_directory_unless_another_storage_is_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("blocks");
        let made = volume(&["--bucket", &path.to_string_lossy()]).expect("a volume");
        assert!(matches!(made.storage, StorageConfig::File { root } if root.is_dir()));
    }

    #[test]
    fn a_bucket_of_s3_is_described_without_secrets() {
        let url = "http://127.0.0.1:9000/blocks/a";
        let made = volume(&["--storage", "s3", "--bucket", url]).expect("a volume");
        let StorageConfig::S3(bucket) = made.storage else {
            panic!("another storage");
        };
        let described = [bucket.endpoint, bucket.bucket, bucket.prefix];
        assert_eq!(described, ["http://127.0.0.1:9000", "blocks", "a/"]);
        assert_eq!(made.block_bytes, BLOCK_BYTES);
    }

    #[test]
    fn a_url_is_no_directory() {
        let url = "http://key:secret@127.0.0.1:9000/blocks";
        let error = volume(&["--bucket", url]).expect_err("wrong usage");
        assert!(error.is::<Usage>(), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_bucket_that_is_no_url_is_wrong_usage() {
        for url in ["/srv/blocks", "http://127.0.0.1:9000"] {
            let error = volume(&["--storage", "s3", "--bucket", url]).expect_err(url);
            assert!(error.is::<Usage>(), "{error}");
        }
    }
}
