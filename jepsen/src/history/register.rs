//! Registers whose writes all have different values. Then linearizability needs no search
//! (Gibbons and Korach 1997): a value's write and the reads of it form a zone, from the earliest
//! end to the latest begin among them. A history is linearizable exactly when no read ends before
//! its write begins, no two forward zones overlap, and no backward zone lies inside a forward one.

use super::{Edn, End, Entry};
use std::collections::BTreeMap;

/// A call on one of several registers. The answer is the value, which is 0 before any write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegisterCall {
    /// Writes a value that is never written again, anywhere; not 0.
    Write {
        /// Which register.
        register: u64,
        /// The value.
        value: u64,
    },
    /// Reads.
    Read {
        /// Which register.
        register: u64,
    },
}

impl RegisterCall {
    fn register(&self) -> u64 {
        match self {
            Self::Write { register, .. } | Self::Read { register } => *register,
        }
    }
}

impl Edn<u64> for RegisterCall {
    fn function(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
        }
    }

    fn value(&self, result: Option<&u64>) -> String {
        let register = self.register();
        match (self, result) {
            (Self::Write { value, .. }, _) => format!("[{register} {value}]"),
            (Self::Read { .. }, Some(value)) => format!("[{register} {value}]"),
            (Self::Read { .. }, None) => format!("[{register} nil]"),
        }
    }
}

/// A value's write and reads.
#[derive(Clone, Copy, Debug)]
struct Zone {
    value: u64,
    write_from: u64,
    earliest_end: u64,
    latest_begin: u64,
    read: bool,
}

impl Zone {
    fn new(value: u64, from: u64, until: u64) -> Self {
        Self {
            value,
            write_from: from,
            earliest_end: until,
            latest_begin: from,
            read: false,
        }
    }

    fn is_forward(&self) -> bool {
        self.earliest_end < self.latest_begin
    }

    fn low(&self) -> u64 {
        self.earliest_end.min(self.latest_begin)
    }

    fn high(&self) -> u64 {
        self.earliest_end.max(self.latest_begin)
    }
}

/// All problems of a history; none means that each of its registers is linearizable.
pub fn check_register(history: &[Entry<RegisterCall, u64>]) -> Vec<String> {
    let mut registers: BTreeMap<u64, Vec<&Entry<RegisterCall, u64>>> = BTreeMap::new();
    for entry in history {
        registers
            .entry(entry.call.register())
            .or_default()
            .push(entry);
    }
    let problems = registers.into_iter().flat_map(|(register, entries)| {
        let found = check_one(&entries);
        found
            .into_iter()
            .map(move |problem| format!("register {register}: {problem}"))
    });
    problems.collect()
}

fn check_one(entries: &[&Entry<RegisterCall, u64>]) -> Vec<String> {
    let mut problems = Vec::new();
    // Before everything else, 0 was written.
    let mut zones = BTreeMap::from([(0, Zone::new(0, 0, 0))]);
    for entry in entries {
        if let RegisterCall::Write { value, .. } = entry.call
            && !matches!(entry.end, End::Fail { .. })
        {
            let latest = entry.latest();
            if zones
                .insert(value, Zone::new(value, entry.invoked, latest))
                .is_some()
            {
                problems.push(format!("the value {value} was written twice"));
            }
        }
    }
    for entry in entries {
        let (RegisterCall::Read { .. }, End::Ok { at, result }) = (&entry.call, &entry.end) else {
            continue;
        };
        let Some(zone) = zones.get_mut(result) else {
            problems.push(format!("a read at {at} shows {result}, which nobody wrote"));
            continue;
        };
        if *at < zone.write_from {
            problems.push(format!(
                "a read at {at} shows {result} before its write began"
            ));
        }
        zone.read = true;
        zone.earliest_end = zone.earliest_end.min(*at);
        zone.latest_begin = zone.latest_begin.max(entry.invoked);
    }
    // A write of unknown end that nobody read may never have happened.
    zones.retain(|_, zone| zone.read || zone.earliest_end != u64::MAX);
    let mut zones: Vec<Zone> = zones.into_values().collect();
    zones.sort_by_key(Zone::low);
    problems.extend(check_zones(&zones));
    problems
}

/// `zones` are sorted by their low ends.
fn check_zones(zones: &[Zone]) -> Vec<String> {
    let mut problems = Vec::new();
    let forward: Vec<&Zone> = zones.iter().filter(|zone| zone.is_forward()).collect();
    for pair in forward.windows(2) {
        if pair[1].low() < pair[0].high() {
            problems.push(format!(
                "the values {} and {} were each seen before and after the other",
                pair[0].value, pair[1].value
            ));
        }
    }
    for zone in zones.iter().filter(|zone| !zone.is_forward()) {
        // Only the last forward zone that begins before this one can hold it, as long as forward
        // zones do not overlap; if they do, that is reported already.
        let before = forward.partition_point(|other| other.low() < zone.low());
        if let Some(around) = before.checked_sub(1).and_then(|index| forward.get(index))
            && zone.high() < around.high()
        {
            problems.push(format!(
                "the value {} was written while {} was there before and after",
                zone.value, around.value
            ));
        }
    }
    problems
}

#[cfg(test)]
#[path = "register_test.rs"]
mod tests;
