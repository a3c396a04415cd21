//! Arguments of `curlew playground`.

use std::path::PathBuf;

/// Start, stop or repair a whole Curlew on this machine, for trying things out
#[derive(Debug, clap::Args)]
pub(crate) struct PlaygroundArgs {
    /// Directory of the playground; its mounts are DIR/origin and, with a mirror, DIR/mirror
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// Metadata nodes: 1 at first if not given, later as many as there were
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=7),
          conflicts_with_all = ["stop", "restart"])]
    pub(super) nodes: Option<u32>,
    /// Run a second cluster that follows the first, with a mount that reads there; a playground that
    /// had one keeps it
    #[arg(long, conflicts_with_all = ["stop", "restart"])]
    pub(super) mirror: bool,
    /// Metadata nodes of the mirror: 1 at first if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=7),
          requires = "mirror")]
    pub(super) mirror_nodes: Option<u32>,
    /// Leaders answer reads under a lease, without asking the other nodes; for this start only
    #[arg(long, conflicts_with_all = ["stop", "restart"])]
    pub(super) lease_reads: bool,
    /// Leave it running and return when every mount answers
    #[arg(long, conflicts_with_all = ["stop", "restart"])]
    pub(super) detach: bool,
    /// Unmount and end everything; the data stays for the next start
    #[arg(long, conflicts_with = "restart")]
    pub(super) stop: bool,
    /// Start this metadata node again after it died
    #[arg(long, value_name = "ID")]
    pub(super) restart: Option<u64>,
}
