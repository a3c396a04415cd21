//! Many seeds of the real server and client logic under every fault that the simulation has: no
//! violation, and no kind of fault left out. And one seed is one run.

use sim::campaign::{CampaignOptions, campaign};
use sim::run::RunReport;
use std::collections::BTreeMap;
use std::path::Path;

const SIM: &str = env!("CARGO_BIN_EXE_sim");
/// Of a run under faults.
const SECONDS: u64 = 60;

fn run(first: u64, count: u64) -> Vec<RunReport> {
    let options = CampaignOptions {
        first,
        count,
        jobs: 2,
        seconds: SECONDS,
    };
    let mut reports = Vec::new();
    campaign(Path::new(SIM), options, |report| {
        reports.push(report);
        Ok(true)
    })
    .expect("every seed gives a report");
    reports
}

/// The counts of all reports together.
fn total(
    reports: &[RunReport],
    of: fn(&RunReport) -> &BTreeMap<String, u32>,
) -> BTreeMap<String, u32> {
    let mut total: BTreeMap<String, u32> = BTreeMap::new();
    for (name, count) in reports.iter().flat_map(of) {
        *total.entry(name.clone()).or_default() += count;
    }
    total
}

#[test]
fn nothing_that_was_promised_is_broken() {
    let reports = run(1, 200);
    let wrong: Vec<_> = reports
        .iter()
        .filter(|report| !report.violations.is_empty())
        .map(|report| (report.seed, &report.violations))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let faults = total(&reports, |report| &report.faults);
    let ends = total(&reports, |report| &report.ends);
    let sum = |of: fn(&RunReport) -> usize| reports.iter().map(of).sum::<usize>();
    let simulated: u64 = reports.iter().map(|report| report.simulated_ms).sum();
    println!(
        "{} seeds, {} s simulated, {} calls, {} with unknown ends, faults: {faults:?}, nodes that \
         ended by themselves: {ends:?}",
        reports.len(),
        simulated / 1000,
        sum(|report| report.calls.0),
        sum(|report| report.calls.2),
    );
    // A campaign that hurts nobody proves nothing. What is counted came to happen.
    let count = |kind: &str| faults.get(kind).copied().unwrap_or(0);
    for kind in sim::fault_kinds() {
        assert!(count(kind) >= 20, "{kind}: {}", count(kind));
    }
    // Each damage that was done was found, and each disk that failed ended its node.
    let damaged = count("flipped-bit") + count("forgetful-disk");
    let expected = BTreeMap::from([
        ("damaged".to_owned(), damaged),
        ("failing-disk".to_owned(), count("failing-disk")),
    ]);
    assert_eq!(ends, expected);
    assert!(sum(|report| report.calls.1) > 200_000);
    assert!(sum(|report| report.calls.2) > 100, "unknown ends are rare");
    let nearest = |of: fn(&RunReport) -> u64| reports.iter().map(of).sum::<u64>();
    assert!(nearest(|report| report.nearest.0) > 20_000, "by followers");
    assert!(nearest(|report| report.nearest.1) > 2_000, "in their place");
    let leased = reports
        .iter()
        .filter(|report| report.seed.is_multiple_of(4));
    for report in leased {
        assert!(report.lease_reads > 500, "seed {}: no lease", report.seed);
    }
    let with_mirror = reports.iter().filter(|report| report.nodes.1 > 0);
    assert!(with_mirror.count() > 60);
}

#[test]
fn a_seed_repeats_to_the_last_byte() {
    let first = run(7_001, 6);
    let second = run(7_001, 6);
    assert_eq!(first, second);
    let mut traces: Vec<_> = first.iter().map(|report| &report.trace).collect();
    traces.dedup();
    assert_eq!(traces.len(), first.len(), "all seeds are different runs");
}
