//! What a benchmark tells, in both forms.

use anyhow::{Context, Result};
use meta_client::bench::Figures;
use std::process::ExitCode;

/// Prints one JSON object, or what `render` makes of it.
pub(crate) fn tell(
    figures: &Figures,
    json: bool,
    render: impl FnOnce(&Figures) -> String,
) -> Result<ExitCode> {
    if json {
        let line = serde_json::to_string(figures);
        println!("{}", line.context("the report does not fit JSON")?);
    } else {
        print!("{}", render(figures));
    }
    Ok(ExitCode::SUCCESS)
}
