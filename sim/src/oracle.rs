//! Was every call answered as a file system used by one client at a time would have answered it,
//! at some moment between the call's begin and its end?
//!
//! The log is the witness: it says in which order the commands took effect, so nothing has to be
//! searched for. The decided commands are replayed from the first one; each answered call must
//! find its place in that order. An operation's place is its command's. A query's place is the
//! first one at which the rows give the answer that the client got and that lies behind every call
//! that had ended before the query began. If every call has a place between its begin and its end,
//! the history is linearizable; and where the witness is the order that the system itself used, a
//! call without a place is a violation.
//!
//! A session that reads at a mirror is promised less: its own calls in order. Its queries need only
//! lie behind what the session itself saw or did.

use crate::history::{Asked, Call, Told};
use crate::ledger::{Decided, What};
use meta_core::attr::{Caller, Timestamp};
use meta_core::codec::Codec;
use meta_core::command::{Command, CommandBody};
use meta_core::ids::{Seq, VolumeId};
use meta_core::kv::{MemKv, Overlay};
use meta_core::outcome::{NotExecuted, Outcome, Reply, Stop, Success};
use meta_core::query::Query;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Problems told: the first says it all.
const PROBLEMS_MAX: usize = 8;

/// Checks a history against what was decided. An empty list means that all holds.
pub(crate) fn check(
    decided: &BTreeMap<u64, Decided>,
    calls: &[Call],
    codec: &dyn Codec,
) -> Vec<String> {
    let mut oracle = Oracle::new(decided, calls);
    for (index, entry) in decided {
        if let Err(problem) = oracle.replay(*index, entry, codec) {
            oracle.problems.push(problem);
        }
        if oracle.problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    oracle.finish();
    oracle.problems.truncate(PROBLEMS_MAX);
    oracle.problems
}

/// What became of an operation that some client numbered.
struct Effect {
    /// Where it was decided first.
    index: u64,
    reply: Reply,
}

struct Oracle<'a> {
    rows: MemKv,
    volume: Option<VolumeId>,
    /// The last change of each volume.
    stamps: HashMap<VolumeId, (Seq, Timestamp)>,
    calls: &'a [Call],
    /// Calls of operations by their number.
    by_tag: HashMap<u32, usize>,
    /// What every decided number led to.
    effects: HashMap<u32, Effect>,
    /// Whether a call has a place.
    placed: Vec<bool>,
    /// Answered calls without a place that all others must wait for: (end, call).
    waiting: BTreeSet<(u64, usize)>,
    /// The same for each session that reads at a mirror.
    waiting_at_mirror: HashMap<u64, BTreeSet<(u64, usize)>>,
    /// Queries without a place, by their begin.
    queries: BTreeSet<(u64, usize)>,
    problems: Vec<String>,
}

fn is_answered(call: &Call) -> bool {
    matches!(call.told, Told::Done(_) | Told::Answered(_))
}

fn is_mirror_query(call: &Call) -> bool {
    call.at_mirror && matches!(call.asked, Asked::Query(_))
}

impl<'a> Oracle<'a> {
    fn new(decided: &BTreeMap<u64, Decided>, calls: &'a [Call]) -> Self {
        let mut oracle = Self {
            rows: MemKv::default(),
            volume: None,
            stamps: HashMap::new(),
            calls,
            by_tag: HashMap::new(),
            effects: HashMap::new(),
            placed: vec![false; calls.len()],
            waiting: BTreeSet::new(),
            waiting_at_mirror: HashMap::new(),
            queries: BTreeSet::new(),
            problems: Vec::new(),
        };
        let mut expected = None;
        for index in decided.keys() {
            if expected.is_some_and(|expected| expected != *index) {
                let gap = format!("no node applied the entries before {index}");
                oracle.problems.push(gap);
            }
            expected = Some(index + 1);
        }
        for (at, call) in calls.iter().enumerate() {
            if let Asked::Operation(tag, _) = &call.asked {
                oracle.by_tag.insert(*tag, at);
            }
            if !is_answered(call) {
                continue;
            }
            if matches!(call.asked, Asked::Query(_)) {
                oracle.queries.insert((call.invoked, at));
            }
            if call.at_mirror {
                let own = oracle.waiting_at_mirror.entry(call.session).or_default();
                own.insert((call.ended, at));
            }
            if !is_mirror_query(call) {
                oracle.waiting.insert((call.ended, at));
            }
        }
        oracle
    }

    /// Whether all calls that had ended before this one began have a place.
    fn may_be_placed(&self, at: usize) -> bool {
        let call = &self.calls[at];
        let behind = |waiting: &BTreeSet<(u64, usize)>| {
            waiting
                .first()
                .is_none_or(|(ended, _)| *ended > call.invoked)
        };
        let own = self.waiting_at_mirror.get(&call.session);
        own.is_none_or(behind) && (is_mirror_query(call) || behind(&self.waiting))
    }

    fn place(&mut self, at: usize) {
        let call = &self.calls[at];
        self.placed[at] = true;
        self.waiting.remove(&(call.ended, at));
        if let Some(own) = self.waiting_at_mirror.get_mut(&call.session) {
            own.remove(&(call.ended, at));
        }
        self.queries.remove(&(call.invoked, at));
    }

    fn replay(&mut self, index: u64, entry: &Decided, codec: &dyn Codec) -> Result<(), String> {
        let What::Command(decided) = &entry.what else {
            self.place_queries(index);
            return Ok(());
        };
        let (command, reply) = &**decided;
        let mut pending = Overlay::new(&self.rows);
        let again = meta_core::machine::apply(&mut pending, codec, command)
            .map_err(|fatal| format!("entry {index} cannot be replayed: {fatal}"))?;
        let writes = pending.into_writes();
        self.rows.write(writes);
        if again != *reply {
            let what = "gave one reply where it was applied, and another from the beginning";
            return Err(format!("entry {index} {what}: {reply:?}, {again:?}"));
        }
        self.check_stamp(index, command, reply)?;
        if let (CommandBody::CreateVolume(_), Outcome::Done(Success::Volume(id))) =
            (&command.body, &reply.outcome)
        {
            self.volume.get_or_insert(*id);
        }
        if let Some(tag) = tag(command) {
            self.effect(index, tag, reply)?;
        }
        self.place_queries(index);
        Ok(())
    }

    /// Changes of a volume carry times in their order, whatever the leaders' clocks say.
    fn check_stamp(&mut self, index: u64, command: &Command, reply: &Reply) -> Result<(), String> {
        // What is asked of the cluster is answered with the tokens of its volumes.
        if command.volume == VolumeId::CLUSTER {
            if let Outcome::Done(Success::Volume(made)) = &reply.outcome {
                self.stamps.insert(*made, (reply.token.seq, reply.stamp));
            }
            return Ok(());
        }
        let last = self.stamps.entry(command.volume).or_default();
        if reply.token.seq <= last.0 {
            return Ok(());
        }
        let before = std::mem::replace(last, (reply.token.seq, reply.stamp));
        if reply.stamp > before.1 {
            return Ok(());
        }
        Err(format!(
            "stamps: entry {index} is of {:?}, and the change before it of {:?}",
            reply.stamp, before.1
        ))
    }

    /// An operation of a client was decided.
    fn effect(&mut self, index: u64, tag: u32, reply: &Reply) -> Result<(), String> {
        // Sent again after its session had ended: refused before anything is looked at.
        if let Outcome::NotExecuted(why) = &reply.outcome {
            let _: &NotExecuted = why;
            return Ok(());
        }
        if let Some(first) = self.effects.get(&tag) {
            if first.reply == *reply {
                return Ok(());
            }
            return Err(format!(
                "exactly once: operation {tag} was decided at {} with {:?} and again at {index} \
                 with {reply:?}",
                first.index, first.reply
            ));
        }
        let effect = Effect {
            index,
            reply: reply.clone(),
        };
        self.effects.insert(tag, effect);
        let Some(at) = self.by_tag.get(&tag).copied() else {
            return Ok(());
        };
        let call = &self.calls[at];
        if !is_answered(call) {
            return Ok(());
        }
        if !self.may_be_placed(at) {
            let own = self.waiting_at_mirror.get(&call.session);
            let before = own.and_then(BTreeSet::first).or(self.waiting.first());
            let before = before.map_or(at, |(_, before)| *before);
            // Told once: what comes behind has nothing to wait for.
            self.place(before);
            self.place(at);
            return Err(format!(
                "real time: entry {index} is {call:?}, but a call that had ended before has no \
                 place yet: {:?}",
                self.calls[before]
            ));
        }
        self.place(at);
        Ok(())
    }

    /// Gives places to queries, as long as that lets others have one.
    fn place_queries(&mut self, index: u64) {
        loop {
            let open: Vec<usize> = self.queries.iter().map(|(_, at)| *at).collect();
            let mut found = false;
            for at in open {
                let call = &self.calls[at];
                if self.may_be_placed(at) && self.answers(call) && index <= call.ceiling {
                    self.place(at);
                    found = true;
                }
            }
            if !found {
                break;
            }
        }
        // Some have waited too long.
        let late = self.waiting.first().map(|(_, at)| *at);
        if let Some(at) = late
            && matches!(self.calls[at].asked, Asked::Query(_))
            && self.calls[at].ceiling < index
        {
            let problem = format!("no moment explains {:?}", self.calls[at]);
            self.problems.push(problem);
            // Those behind it have nothing to wait for any more.
            self.place(at);
        }
    }

    /// Whether the rows give the answer that the client got.
    fn answers(&self, call: &Call) -> bool {
        let (Asked::Query(body), Some(volume)) = (&call.asked, self.volume) else {
            return false;
        };
        let query = Query {
            volume,
            caller: Caller::root(),
            body: body.clone(),
        };
        match (meta_core::read::answer(&self.rows, &query), &call.told) {
            (Ok((_, answer)), Told::Answered(Ok(told))) => answer == *told,
            (Err(Stop::Refused(refusal)), Told::Answered(Err(told))) => refusal == *told,
            _ => false,
        }
    }

    /// All is replayed: what has no place now has none, and answers must be what was decided.
    fn finish(&mut self) {
        for (at, call) in self.calls.iter().enumerate() {
            let problem = match (&call.asked, &call.told) {
                (Asked::Operation(tag, _), told) => self.wrong_end(*tag, told),
                (Asked::Query(_), Told::Answered(_)) if !self.placed[at] => {
                    Some("no moment explains it")
                }
                _ => None,
            };
            if let Some(problem) = problem {
                self.problems.push(format!("{problem}: {call:?}"));
            }
        }
    }

    fn wrong_end(&self, tag: u32, told: &Told) -> Option<&'static str> {
        let effect = self.effects.get(&tag).map(|effect| &effect.reply.outcome);
        match (told, effect) {
            (Told::Done(Ok(told)), Some(Outcome::Done(done))) if told == done => None,
            (Told::Done(Err(told)), Some(Outcome::Refused(refusal))) if told == refusal => None,
            (Told::Done(_), None) => Some("acknowledged, but never decided"),
            (Told::Done(_), Some(_)) => Some("acknowledged with another answer than was decided"),
            (Told::Failed, Some(_)) => Some("called not done, but it was decided"),
            _ => None,
        }
    }
}

/// The number that a client gave its operation.
fn tag(command: &Command) -> Option<u32> {
    match &command.body {
        CommandBody::Request(request) => request.caller.groups.first().copied(),
        _ => None,
    }
}
