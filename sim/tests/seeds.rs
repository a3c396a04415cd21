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

#[test]
fn nothing_that_was_promised_is_broken() {
    let reports = run(1, 200);
    let wrong: Vec<_> = reports
        .iter()
        .filter(|report| !report.violations.is_empty())
        .map(|report| (report.seed, &report.violations))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
    for report in &reports {
        for (kind, count) in &report.faults {
            *faults.entry(kind).or_default() += count;
        }
    }
    let sum = |of: fn(&RunReport) -> usize| reports.iter().map(of).sum::<usize>();
    let simulated: u64 = reports.iter().map(|report| report.simulated_ms).sum();
    println!(
        "{} seeds, {} s simulated, {} calls, {} with unknown ends, faults: {faults:?}",
        reports.len(),
        simulated / 1000,
        sum(|report| report.calls.0),
        sum(|report| report.calls.2),
    );
    // A campaign that hurts nobody proves nothing.
    for kind in sim::fault_kinds() {
        let count = faults.get(kind).copied().unwrap_or(0);
        assert!(count >= 20, "{kind}: {count}");
    }
    assert!(sum(|report| report.calls.1) > 200_000);
    assert!(sum(|report| report.calls.2) > 100, "unknown ends are rare");
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
