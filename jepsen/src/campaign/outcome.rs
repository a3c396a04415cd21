//! What a run gave, to be kept and told of later.

use super::nemesis::{Nemesis, Span};
use super::stage::CampaignOptions;
use super::work::{Workload, word};
use crate::checker::Verdict;
use crate::history::{Entry, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Milliseconds of a run that are one point of its plot.
const BUCKET_MS: u64 = 100;

/// How many calls ended how.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Calls {
    /// Answered.
    pub ok: u64,
    /// Certainly not done.
    pub fail: u64,
    /// Nobody knows.
    pub unknown: u64,
}

/// The calls that ended in one short time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bucket {
    /// Milliseconds since the history's begin.
    pub at_ms: u64,
    /// Answered calls.
    pub count: u64,
    /// The median of their times, in microseconds.
    pub p50_us: u64,
    /// The longest of their times, in microseconds.
    pub max_us: u64,
}

/// One run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What clients did.
    pub workload: String,
    /// What hurt the cluster.
    pub nemesis: String,
    /// Where randomness began.
    pub seed: u64,
    /// How long clients worked.
    pub seconds: u64,
    /// `ok`, `violation` or `unknown`.
    pub verdict: String,
    /// What is wrong, or why nothing can be said.
    pub words: Vec<String>,
    /// What no check decided, whatever the verdict: a pass does not stand for it.
    #[serde(default)]
    pub notes: Vec<String>,
    /// All calls.
    pub calls: Calls,
    /// Faults, with the time that they lasted.
    pub faults: Vec<Span>,
    /// How long calls took, in the course of the run.
    pub latency: Vec<Bucket>,
}

impl Calls {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut calls = Self::default();
        for entry in entries {
            match entry.kind {
                Kind::Invoke => {}
                Kind::Ok => calls.ok += 1,
                Kind::Fail => calls.fail += 1,
                Kind::Info => calls.unknown += 1,
            }
        }
        calls
    }
}

impl Outcome {
    pub(super) fn new(
        options: CampaignOptions,
        verdict: &Verdict,
        entries: &[Entry],
        faults: Vec<Span>,
    ) -> Self {
        let words = match verdict {
            Verdict::Ok => Vec::new(),
            Verdict::Violation(violation) => violation.problems.clone(),
            Verdict::Unknown(why) => vec![why.clone()],
        };
        Self {
            workload: format!("{:?}", options.workload),
            nemesis: format!("{:?}", options.nemesis),
            seed: options.seed,
            seconds: options.time.as_secs(),
            verdict: word(verdict).to_owned(),
            words,
            notes: Vec::new(),
            calls: Calls::of(entries),
            faults,
            latency: latency(entries),
        }
    }

    /// Of a run that could not be finished.
    pub fn unfinished(options: CampaignOptions, why: &str) -> Self {
        Self::new(options, &Verdict::Unknown(why.to_owned()), &[], Vec::new())
    }

    /// Of a run whose process ended without a word of it.
    pub(crate) fn lost(
        workload: Workload,
        nemesis: Nemesis,
        seed: u64,
        time: Duration,
        why: String,
    ) -> Self {
        let options = CampaignOptions {
            workload,
            nemesis,
            time,
            calls_min: 0,
            lease_reads: false,
            seed,
        };
        Self::unfinished(options, &why)
    }
}

/// The times of answered calls by when they ended.
fn latency(entries: &[Entry]) -> Vec<Bucket> {
    let mut begun: BTreeMap<u64, u64> = BTreeMap::new();
    let mut buckets: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for entry in entries {
        if entry.kind == Kind::Invoke {
            begun.insert(entry.process, entry.time_ns);
        } else if let (Some(begin), Kind::Ok) = (begun.remove(&entry.process), entry.kind) {
            let bucket = entry.time_ns / 1_000_000 / BUCKET_MS;
            let took_us = entry.time_ns.saturating_sub(begin) / 1_000;
            buckets.entry(bucket).or_default().push(took_us);
        }
    }
    let buckets = buckets.into_iter().map(|(bucket, mut times)| {
        times.sort_unstable();
        Bucket {
            at_ms: bucket * BUCKET_MS,
            count: times.len() as u64,
            p50_us: times[times.len() / 2],
            max_us: times.last().copied().unwrap_or(0),
        }
    });
    buckets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(process: u64, kind: Kind, time_ms: u64) -> Entry {
        Entry {
            index: 0,
            process,
            kind,
            f: "read".into(),
            key: String::new(),
            value: serde_json::Value::Null,
            time_ns: time_ms * 1_000_000,
            error: None,
        }
    }

    #[test]
    fn an_outcome_that_was_kept_before_there_were_notes_is_read() {
        let kept = serde_json::json!({
            "workload": "Tree", "nemesis": "Kill", "seed": 1, "seconds": 2, "verdict": "ok",
            "words": [], "calls": {"ok": 3, "fail": 0, "unknown": 0}, "faults": [], "latency": [],
        });
        let read: Outcome = serde_json::from_value(kept).expect("an outcome");
        assert_eq!((read.calls.ok, read.notes.len()), (3, 0));
        let noted = Outcome {
            notes: vec!["not decided".to_owned()],
            ..read
        };
        let text = serde_json::to_string(&noted).expect("JSON");
        let again: Outcome = serde_json::from_str(&text).expect("an outcome");
        assert_eq!(again, noted);
    }

    #[test]
    fn a_run_of_which_nothing_is_known_is_no_pass() {
        let time = Duration::from_secs(25);
        let lost = Outcome::lost(Workload::Rename, Nemesis::Kill, 3, time, "gone".to_owned());
        assert_eq!((lost.workload.as_str(), lost.seed), ("Rename", 3));
        assert_eq!((lost.nemesis.as_str(), lost.seconds), ("Kill", 25));
        assert_eq!(lost.verdict, "unknown");
        assert_eq!(lost.words, ["gone"]);
    }

    #[test]
    fn times_are_told_where_calls_ended() {
        let entries = [
            entry(1, Kind::Invoke, 0),
            entry(2, Kind::Invoke, 10),
            entry(2, Kind::Ok, 20),
            entry(2, Kind::Invoke, 30),
            entry(2, Kind::Info, 250),
            entry(1, Kind::Ok, 260),
        ];
        let told = latency(&entries);
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[0].at_ms, told[0].count, told[0].max_us),
            (0, 1, 10_000)
        );
        assert_eq!((told[1].at_ms, told[1].p50_us), (200, 260_000));
        let calls = Calls::of(&entries);
        assert_eq!((calls.ok, calls.fail, calls.unknown), (2, 0, 1));
    }
}
