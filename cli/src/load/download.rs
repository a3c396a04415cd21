//! A backup on its way from the bucket: into a file without a name, where all of it is checked before
//! anything is made of it.

use super::bucket::{Bucket, Chosen};
use crate::progress::Progress;
use anyhow::{Context, Result, anyhow, bail};
use chunk_store::{ObjectError, ObjectStore, RetryBudget};
use meta_client::{Dump, DumpError, DumpInfo, LoadHead};
use std::fs::File;
use std::io::{BufReader, Seek as _, Write as _};
use std::time::Duration;

/// Bytes that are asked for at once.
const PIECE_BYTES: u64 = 8 << 20;
/// How long a failing store is asked again for one piece.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// A whole and sound dump in a file, at its beginning.
#[derive(Debug)]
pub(super) struct Downloaded {
    pub(super) file: File,
    pub(super) info: DumpInfo,
}

/// Brings a backup here.
pub(super) async fn download(
    bucket: &Bucket,
    chosen: &Chosen,
    progress: &Progress,
) -> Result<Downloaded> {
    let dir = std::env::temp_dir();
    let mut file = tempfile::tempfile()
        .with_context(|| format!("no file can be made in {}", dir.display()))?;
    let key = chosen.backup.key(chosen.uuid);
    let mut at = 0;
    progress.step(&format!("fetching {}", chosen.backup));
    while at < chosen.bytes {
        let end = at.saturating_add(PIECE_BYTES).min(chosen.bytes);
        let piece = piece(&*bucket.store, &key, at..end).await;
        let piece = piece.with_context(|| format!("cannot fetch {}", chosen.backup))?;
        file.write_all(&piece).with_context(|| {
            format!(
                "{} takes no more of the backup, which has {} bytes; TMPDIR says where else to \
                 put it",
                dir.display(),
                chosen.bytes
            )
        })?;
        at = end;
    }
    progress.step("checking it");
    let (head, info) = match verify(&mut file) {
        Ok(found) => found,
        Err(why @ (DumpError::Damaged(_) | DumpError::NoDump)) => {
            return Err(refused(chosen, &why));
        }
        Err(error) => return Err(error).context("the backup cannot be read again"),
    };
    if (head.volume, head.token) != (chosen.uuid, chosen.backup.token()) {
        bail!(
            "{} is of another volume or another moment than its name says: it is not loaded",
            chosen.backup
        );
    }
    Ok(Downloaded { file, info })
}

/// Says what to do instead.
fn refused(chosen: &Chosen, why: &DumpError) -> anyhow::Error {
    let name = chosen.backup;
    match chosen.older {
        Some(older) => anyhow!(
            "{name} cannot be loaded: {why}. The next older backup is {older}: load it with \
             `--backup {older}` in place of `--latest`"
        ),
        None => anyhow!("{name} cannot be loaded: {why}. There is no older one"),
    }
}

/// Reads all of a dump, and goes back to its beginning.
pub(super) fn verify(file: &mut File) -> Result<(LoadHead, DumpInfo), DumpError> {
    file.rewind()?;
    let mut dump = Dump::open(BufReader::new(&*file))?;
    while dump.page()?.is_some() {}
    let found = (*dump.head(), dump.info().clone());
    file.rewind()?;
    Ok(found)
}

/// A piece of an object, asked for again if that may help.
async fn piece(
    store: &dyn ObjectStore,
    key: &str,
    range: std::ops::Range<u64>,
) -> Result<bytes::Bytes, ObjectError> {
    let budget = RetryBudget::new(RETRY_FOR);
    let mut attempt = 1;
    loop {
        let error = match store.get(key, range.clone()).await {
            Err(error) if error.may_pass() => error,
            done => return done,
        };
        let Some(pause) = budget.pause(attempt) else {
            return Err(error);
        };
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}
