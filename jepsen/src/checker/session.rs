//! What one session may count on, wherever it reads: its own writes, and never an older state than
//! it has seen. The guarantees are those of D. Terry and others, "Session guarantees for weakly
//! consistent replicated data", PDIS 1994: read your writes, monotonic reads, and writes that
//! follow both.
//!
//! Each answer carries a [`Version`]: for a write the one it made, for a read the one it shows. So
//! no search is needed: versions may not go back in a session, and a read must show the last write
//! up to its version. A write with an unknown end has no version; it counts from the first version
//! at which anybody saw it.

use super::verdict::Verdict;
use crate::history::{Codec, Operation};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A place in the order of changes. A promotion begins a new epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// How often the origin was replaced.
    pub epoch: u64,
    /// The number of the change.
    pub seq: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.epoch, self.seq)
    }
}

/// Where a new epoch takes over: changes of earlier epochs after `follows` are not in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochBegin {
    /// The new epoch.
    pub epoch: u64,
    /// The last version of an earlier one that it knows.
    pub follows: Version,
}

/// What a session asks. The key of the operation says of which object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SessionInput {
    /// Write a value that nobody else ever writes to this object.
    Write {
        /// Who.
        session: u64,
        /// The value.
        value: u64,
    },
    /// Read.
    Read {
        /// Who.
        session: u64,
    },
}

/// What it is told.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SessionOutput {
    /// The version that the write made.
    Written(Version),
    /// What was there.
    Shown {
        /// The version of the whole state that was read.
        as_of: Version,
        /// The value; nothing before the first write.
        value: Option<u64>,
    },
}

impl SessionInput {
    fn session(&self) -> u64 {
        match self {
            Self::Write { session, .. } | Self::Read { session } => *session,
        }
    }
}

impl SessionOutput {
    fn version(&self) -> Version {
        match self {
            Self::Written(version) => *version,
            Self::Shown { as_of, .. } => *as_of,
        }
    }
}

type Call = Operation<SessionInput, SessionOutput>;

/// Checks all sessions of a history. `begins` says what promotions left behind.
pub fn check(history: &[Call], begins: &[EpochBegin]) -> Verdict {
    if !history.iter().any(|call| call.output().is_some()) {
        return Verdict::Unknown("nothing was answered".to_owned());
    }
    let mut problems = check_order(history);
    let epochs = Epochs { begins };
    let mut objects: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in history {
        objects.entry(&call.key).or_default().push(call);
    }
    let mut unclear = Vec::new();
    for (key, calls) in objects {
        match Object::of(&calls) {
            Ok(object) => problems.extend(object.check(key, &calls, &epochs)),
            Err(value) => unclear.push(format!("{value} was written twice to {key:?}")),
        }
    }
    match (Verdict::of(problems), unclear.pop()) {
        (Verdict::Ok, Some(reason)) => Verdict::Unknown(reason),
        (verdict, _) => verdict,
    }
}

/// Versions within sessions, and versions that two writes share.
fn check_order(history: &[Call]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut made = BTreeSet::new();
    // Of each session: what it knew after each end.
    let mut ended: BTreeMap<u64, Vec<(u64, Version)>> = BTreeMap::new();
    for call in history {
        if let (Some(output), Some(at)) = (call.output(), call.ended()) {
            let session = ended.entry(call.input.session()).or_default();
            session.push((at.index, output.version()));
        }
    }
    for session in ended.values_mut() {
        session.sort_unstable_by_key(|(index, _)| *index);
        let mut known = Version { epoch: 0, seq: 0 };
        for (_, version) in session {
            known = known.max(*version);
            *version = known;
        }
    }
    for call in history {
        let Some(output) = call.output() else {
            continue;
        };
        let session = call.input.session();
        let version = output.version();
        let is_write = matches!(output, SessionOutput::Written(_));
        if is_write && !made.insert(version) {
            problems.push(format!("two writes made the version {version}"));
        }
        let before = ended[&session].partition_point(|(index, _)| *index < call.invoked.index);
        let Some(last) = before.checked_sub(1) else {
            continue;
        };
        let (_, known) = ended[&session][last];
        if version < known || (is_write && version == known) {
            problems.push(format!(
                "session {session} knew {known}, and then its {} at {} has {version}",
                call.input.f(),
                call.invoked.index
            ));
        }
    }
    problems
}

struct Epochs<'a> {
    begins: &'a [EpochBegin],
}

impl Epochs<'_> {
    /// Whether the state `as_of` has the change `version` in it.
    fn shows(&self, as_of: Version, version: Version) -> bool {
        let later = |begin: &&EpochBegin| version.epoch < begin.epoch && begin.epoch <= as_of.epoch;
        version <= as_of
            && self
                .begins
                .iter()
                .filter(later)
                .all(|begin| version <= begin.follows)
    }
}

/// A write, and where anybody saw it.
struct Written {
    value: u64,
    invoked: u64,
    version: Option<Version>,
    is_failed: bool,
    shown: Vec<Version>,
}

impl Written {
    /// The first version, among those in the state `as_of`, that certainly has this write in it.
    fn since(&self, as_of: Version, epochs: &Epochs<'_>) -> Option<Version> {
        let known = match &self.version {
            Some(version) => std::slice::from_ref(version),
            None => &self.shown,
        };
        let there = known
            .iter()
            .filter(|version| epochs.shows(as_of, **version));
        there.min().copied()
    }
}

struct Object {
    writes: BTreeMap<u64, Written>,
}

impl Object {
    /// All writes of an object, or the value that was written twice.
    fn of(calls: &[&Call]) -> Result<Self, u64> {
        let mut writes = BTreeMap::new();
        for call in calls {
            let SessionInput::Write { value, .. } = call.input else {
                continue;
            };
            let written = Written {
                value,
                invoked: call.invoked.index,
                version: call.output().map(SessionOutput::version),
                is_failed: call.is_failed(),
                shown: Vec::new(),
            };
            if writes.insert(value, written).is_some() {
                return Err(value);
            }
        }
        for (as_of, value) in calls.iter().filter_map(|call| shown(call)) {
            if let Some(written) = value.and_then(|value| writes.get_mut(&value)) {
                written.shown.push(as_of);
            }
        }
        Ok(Self { writes })
    }

    fn check(&self, key: &str, calls: &[&Call], epochs: &Epochs<'_>) -> Vec<String> {
        let reads = calls.iter().filter_map(|call| {
            let (as_of, value) = shown(call)?;
            let why = self.fault_of(call, as_of, value, epochs)?;
            let index = call.invoked.index;
            Some(format!(
                "the read of {key:?} at {index} as of {as_of} {why}"
            ))
        });
        reads.collect()
    }

    fn fault_of(
        &self,
        call: &Call,
        as_of: Version,
        value: Option<u64>,
        epochs: &Epochs<'_>,
    ) -> Option<String> {
        if let Some(value) = value {
            let Some(written) = self.writes.get(&value) else {
                return Some(format!("shows {value}, which nobody wrote"));
            };
            if written.is_failed {
                return Some(format!("shows {value}, whose write failed"));
            }
            if call.ended().is_some_and(|at| at.index < written.invoked) {
                return Some(format!("shows {value} before it was written"));
            }
        }
        // With the same version, the write that made it is the later one.
        let there = self.writes.values().filter_map(|written| {
            let since = written.since(as_of, epochs)?;
            Some((since, written.version.is_some(), written.value))
        });
        let last = there.max();
        let right = last.map(|(_, _, value)| value);
        if value == right {
            return None;
        }
        let right = right.map_or("nothing".to_owned(), |value| value.to_string());
        let value = value.map_or("nothing".to_owned(), |value| value.to_string());
        Some(format!("shows {value}, and not {right}"))
    }
}

/// What a read shows, if it was answered.
fn shown(call: &Call) -> Option<(Version, Option<u64>)> {
    match call.output()? {
        SessionOutput::Shown { as_of, value } => Some((*as_of, *value)),
        SessionOutput::Written(_) => None,
    }
}

impl Codec for SessionInput {
    type Output = SessionOutput;

    fn f(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
        }
    }

    fn argument(&self) -> Value {
        match self {
            Self::Write { session, value } => json!([session, value]),
            Self::Read { session } => json!([session, null]),
        }
    }

    fn answer(&self, output: &SessionOutput) -> Value {
        let Version { epoch, seq } = output.version();
        match output {
            SessionOutput::Written(_) => json!([epoch, seq]),
            SessionOutput::Shown { value, .. } => json!([epoch, seq, value]),
        }
    }

    fn decode(f: &str, argument: &Value) -> Option<Self> {
        let session = argument.get(0)?.as_u64()?;
        match f {
            "write" => {
                let value = argument.get(1)?.as_u64()?;
                Some(Self::Write { session, value })
            }
            "read" => Some(Self::Read { session }),
            _ => None,
        }
    }

    fn decode_answer(&self, answer: &Value) -> Option<SessionOutput> {
        let version = Version {
            epoch: answer.get(0)?.as_u64()?,
            seq: answer.get(1)?.as_u64()?,
        };
        match self {
            Self::Write { .. } => Some(SessionOutput::Written(version)),
            Self::Read { .. } => {
                let value = match answer.get(2)? {
                    Value::Null => None,
                    value => Some(value.as_u64()?),
                };
                let as_of = version;
                Some(SessionOutput::Shown { as_of, value })
            }
        }
    }
}
