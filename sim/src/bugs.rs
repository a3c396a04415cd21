//! Which bugs that were put in on purpose are found, and by how many seeds.

use crate::campaign::{CampaignOptions, campaign_with};
use crate::run::RunReport;
use anyhow::Result;
use meta_core::seeded::Bug;
use std::path::Path;

/// What became of one bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The bug.
    pub bug: Bug,
    /// How many seeds it took, if it was found.
    pub seeds: Option<u64>,
    /// What did not hold then.
    pub violation: String,
}

/// Looks for a bug with one seed after the other, up to `seeds_max`.
///
/// # Errors
/// If a process cannot be started or ends without a report.
pub fn look_for(sim: &Path, bug: Bug, seeds_max: u64, jobs: usize, seconds: u64) -> Result<Found> {
    let options = CampaignOptions {
        first: 1,
        count: seeds_max,
        jobs,
        seconds,
    };
    let mut found = None;
    let mut runs = 0;
    campaign_with(sim, &["--bug", bug.name()], options, |report: RunReport| {
        runs += 1;
        if found.is_none()
            && let Some(violation) = report.violations.into_iter().next()
        {
            found = Some((runs, violation));
        }
        Ok(found.is_none())
    })?;
    let (seeds, violation) = match found {
        Some((seeds, violation)) => (Some(seeds), violation),
        None => (None, String::new()),
    };
    Ok(Found {
        bug,
        seeds,
        violation,
    })
}
