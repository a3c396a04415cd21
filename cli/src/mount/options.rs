//! The words after `-o`.

use super::args::MountArgs;
use crate::exit::Usage;
use anyhow::Result;
use fs_client::mount::MountOptions;
use meta_client::MirrorOptions;
use std::time::Duration;

/// How long a mount with a mirror tries a write, or a read that the mirror cannot answer.
const MIRROR_RETRY_FOR: Duration = Duration::from_secs(30);

/// Words of /etc/fstab that say nothing to a file system, and one that always holds here.
const WITHOUT_MEANING: [&str; 10] = [
    "auto",
    "default_permissions",
    "defaults",
    "exec",
    "noauto",
    "noatime",
    "nofail",
    "_netdev",
    "rw",
    "user",
];

/// What the words and flags of the command line mean together.
pub(super) fn parse(args: &MountArgs) -> Result<MountOptions> {
    let mut options = MountOptions {
        read_only: args.read_only,
        read_from: args.read_from.into(),
        backup_meta: Some(args.backup_meta).filter(|every| !args.no_worker && !every.is_zero()),
        ..MountOptions::default()
    };
    if let Some(url) = &args.mirror {
        options.mirror = Some(MirrorOptions {
            url: url.clone(),
            wait: args.mirror_wait,
        });
        // Reads go on without the origin, so a write to a lost one must not hang for ever.
        options.retry_for = Some(MIRROR_RETRY_FOR);
    }
    for word in &args.options {
        match word.as_str() {
            "ro" => options.read_only = true,
            "allow_other" => options.allow_other = true,
            word if WITHOUT_MEANING.contains(&word) => {}
            word => {
                return Err(Usage::error(format!(
                    "-o {word}: there is no such mount option"
                )));
            }
        }
    }
    Ok(options)
}
