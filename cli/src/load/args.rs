//! What `curlew load` is asked for.

use crate::exit::Usage;
use crate::format::{StorageKind, storage_of};
use anyhow::Result;
use chunk_store::{BackupName, StorageConfig, parse_uuid};
use meta_client::MetaUrl;
use meta_core::ids::VolumeUuid;
use std::path::PathBuf;

/// Make a volume from a dump or a backup, in a new epoch of its own
///
/// `curlew load FILE META-URL` loads what `curlew dump` wrote, and `curlew load --storage KIND
/// --bucket BUCKET --latest META-URL` the newest backup that mounts have put into a bucket: nothing else
/// is needed when the cluster is lost. `--list` in place of `--latest META-URL` shows what is there.
///
/// The volume's files are those of the moment of the dump. Blocks are not in a dump: they must be in the
/// bucket that the volume had, or in the one that is given. The volume that was dumped must never be
/// used again beside it: both would write into one bucket.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// What `curlew dump` wrote, if nothing is loaded from the bucket; and where the volume is made:
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "[FILE] META-URL", num_args = 0..=2)]
    words: Vec<PathBuf>,
    /// The kind of object store: of the backups, or of the blocks if they are elsewhere now
    #[arg(long, value_enum, requires = "bucket")]
    storage: Option<StorageKind>,
    /// The directory or URL where the backups and the blocks are
    #[arg(long, value_name = "DIR|URL", requires = "storage")]
    bucket: Option<PathBuf>,
    /// Load the newest backup of the bucket
    #[arg(long, requires = "bucket", group = "from_bucket")]
    latest: bool,
    /// Load this backup of the bucket; `--list` tells its name
    #[arg(long, value_name = "NAME", requires = "bucket", group = "from_bucket")]
    backup: Option<String>,
    /// List the backups of the bucket, the newest of a volume last
    #[arg(long, requires = "bucket", group = "from_bucket")]
    list: bool,
    /// The volume whose backups are meant, if the bucket has those of several
    #[arg(long, value_name = "UUID", requires = "from_bucket")]
    uuid: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// What the words mean together.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A dump in a file. Its blocks are where it says, or in the store that is given.
    File {
        file: PathBuf,
        storage: Option<StorageConfig>,
        url: MetaUrl,
    },
    /// A backup of the bucket.
    Backup {
        which: Which,
        storage: StorageConfig,
        uuid: Option<VolumeUuid>,
        url: MetaUrl,
    },
    /// To see what there is.
    List {
        storage: StorageConfig,
        uuid: Option<VolumeUuid>,
    },
}

/// Which backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    Latest,
    Named(BackupName),
}

impl LoadArgs {
    pub(super) fn wanted(&self) -> Result<Wanted> {
        let storage = match (self.storage, &self.bucket) {
            (Some(kind), Some(bucket)) => Some(storage_of(kind, bucket)?),
            _ => None,
        };
        let uuid = self.uuid.as_deref().map(read_uuid).transpose()?;
        let which = match &self.backup {
            Some(name) => Some(Which::Named(read_name(name)?)),
            None => self.latest.then_some(Which::Latest),
        };
        match (self.words.as_slice(), storage, which, self.list) {
            ([], Some(storage), None, true) => Ok(Wanted::List { storage, uuid }),
            ([url], Some(storage), Some(which), false) => Ok(Wanted::Backup {
                which,
                storage,
                uuid,
                url: read_url(url)?,
            }),
            ([file, url], storage, None, false) => Ok(Wanted::File {
                file: file.clone(),
                storage,
                url: read_url(url)?,
            }),
            _ => Err(Usage::error(
                "write `curlew load FILE META-URL`, or with --storage and --bucket one of `--latest \
                 META-URL`, `--backup NAME META-URL` and `--list`",
            )),
        }
    }
}

fn read_url(word: &std::path::Path) -> Result<MetaUrl> {
    let text = word.to_string_lossy();
    let url = text.parse();
    url.map_err(|error| Usage::error(format!("{text}: {error}")))
}

fn read_uuid(text: &str) -> Result<VolumeUuid> {
    parse_uuid(text).ok_or_else(|| Usage::error(format!("--uuid {text}: that is no UUID")))
}

fn read_name(text: &str) -> Result<BackupName> {
    // With the path in the bucket it is meant as well.
    let name = text.rsplit('/').next().unwrap_or_default();
    BackupName::parse(name)
        .ok_or_else(|| Usage::error(format!("--backup {text}: that is no backup's name")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: LoadArgs,
    }

    const URL: &str = "curlew://127.0.0.1:1/v";
    const NAME: &str = "dump-2026-11-23-090000-2-4005006.dump";
    const UUID: &str = "abababab-abab-abab-abab-abababababab";

    /// What a line means; `None` if it is wrong usage.
    fn wanted(words: &[&str]) -> Option<Wanted> {
        let line = std::iter::once("load").chain(words.iter().copied());
        let args = Line::try_parse_from(line).ok()?.args;
        match args.wanted() {
            Ok(wanted) => Some(wanted),
            Err(error) => {
                assert!(error.is::<Usage>(), "{error:#}");
                None
            }
        }
    }

    #[test]
    fn a_file_or_a_backup_is_loaded_and_backups_are_listed() {
        let at = ["--storage", "file", "--bucket", "/tmp"];
        let with = |words: &[&'static str]| wanted(&[&at[..], words].concat());
        assert!(matches!(
            wanted(&["f", URL]),
            Some(Wanted::File { storage: None, .. })
        ));
        assert!(matches!(
            with(&["f", URL]),
            Some(Wanted::File {
                storage: Some(_),
                ..
            })
        ));
        assert!(matches!(
            with(&["--latest", URL]),
            Some(Wanted::Backup {
                which: Which::Latest,
                uuid: None,
                ..
            })
        ));
        let path = format!("{UUID}/meta/{NAME}");
        for name in [NAME, &path] {
            let words = ["--backup", name, "--uuid", UUID, URL];
            let named = wanted(&[&at[..], &words].concat());
            let Some(Wanted::Backup {
                which: Which::Named(named),
                uuid: Some(_),
                ..
            }) = named
            else {
                panic!("{named:?}");
            };
            assert_eq!(named.to_string(), NAME);
        }
        assert!(matches!(with(&["--list"]), Some(Wanted::List { .. })));
    }

    #[test]
    fn what_is_not_clear_is_wrong_usage() {
        let at = ["--storage", "file", "--bucket", "/tmp"];
        for words in [
            &["f"][..],
            &[],
            &["f", "not-a-url"],
            &["--latest", URL],
            &["--list"],
            &["--uuid", UUID, "f", URL],
            &["f", URL, "--bucket", "/tmp"],
        ] {
            assert!(wanted(words).is_none(), "{words:?}");
        }
        for words in [
            &["--latest"][..],
            &["--latest", "f", URL],
            &["--latest", "--list"],
            &["--latest", "--backup", NAME, URL],
            &["--list", URL],
            &["--backup", "x", URL],
            &["--latest", "--uuid", "x", URL],
        ] {
            let line = [&at[..], words].concat();
            assert!(wanted(&line).is_none(), "{words:?}");
        }
    }
}
