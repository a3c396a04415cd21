//! What `curlew compact` says.

use super::volume::LEVEL;
use crate::output::bytes;
use crate::troubles::Troubles;
use anyhow::anyhow;
use fs_client::vfs::{CompactError, Compacted, VfsError};
use meta_core::outcome::Refusal;
use serde::Serialize;

/// What was compacted and what was not, as `--json` tells it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Files that were gone through.
    pub(super) files: u64,
    /// Chunks whose slices are fewer now.
    pub(super) chunks: u64,
    slices_before: u64,
    slices_after: u64,
    /// Bytes written anew.
    bytes: u64,
    #[serde(flatten)]
    pub(super) troubles: Troubles,
}

impl Report {
    pub(super) fn add(&mut self, done: Compacted) {
        self.chunks += done.chunks;
        self.slices_before += done.slices_before;
        self.slices_after += done.slices_after;
        self.bytes += done.bytes;
    }

    pub(super) fn render(&self) -> String {
        let Self {
            files,
            chunks,
            slices_before,
            slices_after,
            bytes: written,
            troubles: Troubles { failed, .. },
        } = self;
        let mut text = match chunks {
            0 => format!("nothing was to be compacted in {files} files"),
            _ => format!(
                "compacted {chunks} chunks of {files} files: {slices_before} slices became \
                 {slices_after}, {} were written",
                bytes(*written)
            ),
        };
        if *failed > 0 {
            text += &format!("; {failed} could not be compacted");
        }
        text.push('\n');
        text
    }
}

/// What there is to say of a volume of an earlier level.
pub(super) fn no_compaction() -> anyhow::Error {
    anyhow!(
        "slices of the volume's level cannot be replaced: it comes to level {LEVEL} once all nodes and \
         mirrors read that, unless node.toml says `raise_levels = false`"
    )
}

/// Why a chunk is left as it is, and what to do.
pub(super) fn advice(why: &CompactError) -> String {
    let what_to_do = match why {
        CompactError::Unreadable { .. } => {
            "nothing was changed; restore the object, or the file from a copy"
        }
        CompactError::BadPlan(_) => "nothing was changed; upgrade the cluster and this command",
        CompactError::Changing | CompactError::Meta(_) | CompactError::Unstored(_) => {
            "run this again"
        }
    };
    format!("{why}; {what_to_do}")
}

/// Why nothing more can be compacted, and what to do.
pub(super) fn hopeless(why: CompactError) -> anyhow::Error {
    match why {
        CompactError::Meta(VfsError::Refused(Refusal::NotSupported)) => no_compaction(),
        CompactError::Meta(VfsError::Refused(Refusal::Mirror)) => {
            anyhow!("the volume is a mirror: compact it at its origin")
        }
        CompactError::Meta(VfsError::Refused(Refusal::NotPermitted)) => {
            anyhow!("only root may compact: run this as root")
        }
        CompactError::Meta(VfsError::NotUnderstood(why)) => anyhow!(
            "the metadata cluster does not know of compaction yet ({why}): upgrade all its nodes"
        ),
        why => anyhow::Error::new(why).context("what was done stays; run this again to go on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunk_store::ChunkError;
    use meta_core::ids::SliceId;

    #[test]
    fn a_report_tells_what_became_of_how_much() {
        let mut report = Report {
            files: 3,
            ..Report::default()
        };
        let text = report.render();
        assert_eq!(text, "nothing was to be compacted in 3 files\n");
        report.add(Compacted {
            chunks: 2,
            slices_before: 700,
            slices_after: 3,
            bytes: 3 << 20,
        });
        let text = report.render();
        let expected = "compacted 2 chunks of 3 files: 700 slices became 3, 3.0 MiB were written\n";
        assert_eq!(text, expected);
        report.troubles.add("/m/1".to_owned(), "no".to_owned());
        let text = report.render();
        assert!(text.ends_with("; 1 could not be compacted\n"), "{text}");
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!((&json["failed"], &json["chunks"]), (&1.into(), &2.into()));
        assert_eq!(json["slices_before"], 700);
        assert_eq!(json["errors"][0]["path"], "/m/1");
    }

    #[test]
    fn every_error_says_what_to_do() {
        let of = |refusal: Refusal| hopeless(CompactError::Meta(refusal.into())).to_string();
        assert!(of(Refusal::NotSupported).contains("level 5"));
        assert!(of(Refusal::Mirror).contains("origin"));
        assert!(of(Refusal::NotPermitted).contains("as root"));
        let old = CompactError::Meta(VfsError::NotUnderstood("n1".into()));
        assert!(hopeless(old).to_string().contains("(n1): upgrade"));
        let full = CompactError::Unstored(ChunkError::BadLength);
        assert!(hopeless(full).to_string().contains("run this again"));
        let damaged = advice(&CompactError::Unreadable {
            slice: SliceId(7),
            error: ChunkError::BadLength,
        });
        assert!(damaged.contains("slice 7") && damaged.contains("restore"));
        assert!(advice(&CompactError::Changing).ends_with("run this again"));
    }
}
