//! The report for a terminal.

use super::state::ProofState;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Histories of one workload under one nemesis.
#[derive(Default)]
struct Row {
    ok: u64,
    violation: u64,
    unknown: u64,
    faults: u64,
    calls: u64,
}

/// The report as text.
pub(super) fn report(state: &ProofState) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(state, &mut text);
    text
}

fn write(state: &ProofState, text: &mut String) -> std::fmt::Result {
    writeln!(text, "{}", state.summary())?;
    writeln!(text, "programs: {}", state.build)?;
    for what in &state.skipped {
        writeln!(text, "SKIPPED: {what}")?;
    }
    writeln!(
        text,
        "\nsimulation: {} calls, {} with unknown ends",
        state.sim.calls, state.sim.unknown
    )?;
    for (kind, count) in &state.sim.faults {
        writeln!(text, "  {kind:<16} {count:>8}")?;
    }
    for (seed, violation) in &state.sim.violations {
        writeln!(text, "  VIOLATION, seed {seed}: {violation}")?;
    }
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    for outcome in &state.histories {
        let row = rows
            .entry((&outcome.workload, &outcome.nemesis))
            .or_default();
        match outcome.verdict.as_str() {
            "ok" => row.ok += 1,
            "violation" => row.violation += 1,
            _ => row.unknown += 1,
        }
        row.faults += outcome.faults.len() as u64;
        row.calls += outcome.calls.ok + outcome.calls.fail + outcome.calls.unknown;
    }
    writeln!(
        text,
        "\n{:<16} {:<10} {:>5} {:>9} {:>7} {:>7} {:>9}",
        "workload", "faults of", "ok", "violation", "unknown", "faults", "calls"
    )?;
    for ((workload, nemesis), row) in rows {
        let Row {
            ok,
            violation,
            unknown,
            faults,
            calls,
        } = row;
        writeln!(
            text,
            "{workload:<16} {nemesis:<10} {ok:>5} {violation:>9} {unknown:>7} {faults:>7} {calls:>9}"
        )?;
    }
    for (number, outcome) in state.wrong_histories() {
        let first = outcome.words.first().map_or("", String::as_str);
        writeln!(
            text,
            "  history {}: {}: {first}",
            number + 1,
            outcome.verdict
        )?;
    }
    writeln!(
        text,
        "\npower: {} cuts of one node, {} of all, {} acknowledged operations looked for",
        state.power.alone, state.power.all, state.power.acknowledged
    )?;
    for failure in &state.power.failures {
        writeln!(text, "  FAILURE: {failure}")?;
    }
    Ok(())
}
