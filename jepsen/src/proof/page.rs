//! The report for a browser: the same as the text, and a plot of each history.

use super::state::ProofState;
use super::text;
use crate::campaign::Outcome;
use std::fmt::Write as _;

/// The plots of the newest histories are shown.
const PLOTS_MAX: usize = 60;
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 160.0;
/// The longest time that a plot shows, in microseconds: 10 s. Times are drawn by their logarithm.
const TOP_US: f64 = 1e7;
/// The shortest.
const BOTTOM_US: f64 = 1e2;

const STYLE: &str = "body{font:14px sans-serif;margin:2em;max-width:60em}\
    pre{background:#f4f4f4;padding:1em;overflow:auto}\
    svg{background:#fff;border:1px solid #ccc}\
    .ok{color:#060}.violation{color:#b00}.unknown{color:#850}";

/// The report as HTML.
pub(super) fn report(state: &ProofState) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(state, &mut page);
    page
}

fn write(state: &ProofState, page: &mut String) -> std::fmt::Result {
    write!(
        page,
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Proof</title>\
         <style>{STYLE}</style></head><body><h1>Proof</h1><pre>{}</pre><h2>Histories</h2>\
         <p>Dots: the median and the longest time of the calls that ended in each 100 ms, from \
         0.1 ms at the bottom to 10 s at the top. Shaded: faults.</p>",
        escape(&text::report(state))
    )?;
    let skip = state.histories.len().saturating_sub(PLOTS_MAX);
    for (number, outcome) in state.histories.iter().enumerate().skip(skip) {
        write!(
            page,
            "<h3>{}: {} under {} <span class=\"{3}\">{3}</span></h3><p>{4} answered, {5} failed, {6} \
             unknown, {7} faults</p>",
            number + 1,
            escape(&outcome.workload),
            escape(&outcome.nemesis),
            escape(&outcome.verdict),
            outcome.calls.ok,
            outcome.calls.fail,
            outcome.calls.unknown,
            outcome.faults.len(),
        )?;
        plot(outcome, page)?;
    }
    page.push_str("</body></html>\n");
    Ok(())
}

fn plot(outcome: &Outcome, page: &mut String) -> std::fmt::Result {
    let ends = outcome.latency.iter().map(|bucket| bucket.at_ms);
    let ends = ends.chain(outcome.faults.iter().map(|fault| fault.end_ms));
    let last = ends.max().unwrap_or(1).max(1) as f64;
    let x = |ms: u64| ms as f64 / last * WIDTH;
    let y = |us: u64| {
        let us = (us as f64).clamp(BOTTOM_US, TOP_US);
        HEIGHT - (us / BOTTOM_US).log10() / (TOP_US / BOTTOM_US).log10() * HEIGHT
    };
    write!(page, "<svg width=\"{WIDTH}\" height=\"{HEIGHT}\">")?;
    for fault in &outcome.faults {
        let (begin, end) = (x(fault.begin_ms), x(fault.end_ms));
        write!(
            page,
            "<rect x=\"{begin:.1}\" y=\"0\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"#fdd\">\
             <title>{}</title></rect>",
            (end - begin).max(1.0),
            escape(&fault.kind)
        )?;
    }
    for bucket in &outcome.latency {
        for (us, colour) in [(bucket.p50_us, "#06c"), (bucket.max_us, "#c60")] {
            write!(
                page,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.5\" fill=\"{colour}\"/>",
                x(bucket.at_ms),
                y(us)
            )?;
        }
    }
    page.push_str("</svg>");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{Bucket, Calls, Span};

    #[test]
    fn a_history_is_drawn_with_its_faults() {
        let outcome = Outcome {
            workload: "Rename".to_owned(),
            nemesis: "Kill".to_owned(),
            seed: 1,
            seconds: 2,
            verdict: "violation".to_owned(),
            words: vec!["1 < 2".to_owned()],
            notes: Vec::new(),
            calls: Calls::default(),
            faults: vec![Span {
                kind: "Kill".to_owned(),
                begin_ms: 500,
                end_ms: 1_000,
            }],
            latency: vec![Bucket {
                at_ms: 2_000,
                count: 1,
                p50_us: 100,
                max_us: 10_000_000,
            }],
        };
        let mut state = ProofState::default();
        state.histories.push(outcome);
        let page = report(&state);
        assert!(
            page.contains("<rect x=\"225.0\" y=\"0\" width=\"225.0\""),
            "{page}"
        );
        assert!(
            page.contains("cx=\"900.0\" cy=\"160.0\""),
            "the fastest is at the bottom"
        );
        assert!(
            page.contains("cx=\"900.0\" cy=\"0.0\""),
            "the slowest is at the top"
        );
        assert!(page.contains("1 &lt; 2"));
        assert!(!state.is_right());
    }
}
