//! Runs `curlew compact`.

use super::args::CompactArgs;
use super::place::{Place, find};
use super::tally::Tally;
use super::volume::Volume;
use super::work::Work;
use crate::exit::Finding;
use crate::output;
use anyhow::{Context as _, Result, bail};
use meta_client::MetaUrl;
use std::cell::RefCell;

/// Runs the command.
pub(crate) async fn run(args: CompactArgs) -> Result<Finding> {
    let places = find(&args)?;
    let tally = RefCell::new(Tally::new());
    let mut open: Option<Volume> = None;
    for place in &places {
        if let Err(error) = compact(place, &mut open, args.threads, &tally).await {
            let error = format!("{error:#}");
            tally.borrow_mut().fail(place.path.clone(), error);
        }
    }
    if let Some(volume) = open {
        volume.close().await;
    }
    let report = tally.into_inner().end();
    if args.json {
        output::json(&report)?;
    } else {
        output::text_out(&report.render())?;
    }
    Ok(report.troubles.finding())
}

async fn compact(
    place: &Place,
    open: &mut Option<Volume>,
    threads: u32,
    tally: &RefCell<Tally>,
) -> Result<()> {
    let at = match &place.at {
        Ok(at) => at,
        Err(error) => bail!("{error:#}"),
    };
    let volume = at_url(&at.url, open, threads, tally).await?;
    let top = volume.top(&at.way).await?;
    let work = Work::new(volume, tally, usize::try_from(threads)?);
    work.tree(&top, &place.path).await
}

/// The volume at a URL: most places are of one.
async fn at_url<'a>(
    url: &MetaUrl,
    open: &'a mut Option<Volume>,
    threads: u32,
    tally: &RefCell<Tally>,
) -> Result<&'a Volume> {
    if !open.as_ref().is_some_and(|volume| volume.is_at(url)) {
        if let Some(other) = open.take() {
            other.close().await;
        }
        tally.borrow().step("connecting");
        *open = Some(Volume::open(url, threads).await?);
    }
    open.as_ref().context("a volume is open")
}
