//! `curlew version`.

use crate::output;
use anyhow::Result;

/// Prints the version.
pub(crate) fn run() -> Result<()> {
    output::text_out(concat!("curlew ", env!("CARGO_PKG_VERSION"), "\n"))
}
