//! Which bugs that were put in on purpose are found, and by how many seeds.

use crate::campaign::{CampaignOptions, NO_REPORT, campaign_with};
use crate::run::RunReport;
use anyhow::{Result, ensure};
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
            // It says nothing of the bug: the program may not even have it.
            let ran = !violation.starts_with(NO_REPORT);
            ensure!(ran, "seed {} of `{}` {violation}", report.seed, bug.name());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_run_finds_no_bug() {
        let found = look_for(Path::new("false"), Bug::ALL[0], 2, 2, 1);
        let error = found.expect_err("no report").to_string();
        assert!(error.contains(NO_REPORT), "{error}");
    }
}
