//! Sessions that write at the origin and read at a mirror: each sees what it wrote, and never an older
//! state than it has seen. What is written and read are modification times, each value once.

use super::client::{Client, Ended, execute, query};
use super::inode_register::{set, value_of};
use super::scene::Setting;
use super::work::{Place, Work, Wrong};
use crate::checker::Verdict;
use crate::checker::session::{SessionInput, SessionOutput, Version, check};
use crate::history::{Entry, Operation, Recorder, pair};
use crate::writer::make;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::command::NewNode;
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::Success;
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{ClientError, MetaSession, MirrorOptions};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const OBJECTS: u64 = 5;
/// How long the mirror may take to apply what a session has seen, before the origin is asked.
const WAIT: Duration = Duration::from_millis(200);
/// The session of the last reads.
const LAST: u64 = u64::MAX;
/// One of so many reads must be answered at the mirror: else the run is about the origin.
const READS_PER_MIRRORED: u64 = 10;

type Call = Operation<SessionInput, SessionOutput>;

/// The workload.
#[derive(Default)]
pub(super) struct MirrorSession {
    objects: OnceLock<Vec<Ino>>,
    /// The last value that anybody took for a write.
    last: AtomicU64,
    /// Reads that the mirror answered.
    at_mirror: AtomicU64,
    /// What the last reads were told that is wrong by itself.
    wrong: Wrong,
}

#[async_trait]
impl Work for MirrorSession {
    fn setting(&self) -> Setting {
        Setting::Mirror
    }

    async fn prepare(&self, session: &MetaSession, _recorder: &Recorder) -> Result<()> {
        let mut objects = Vec::new();
        for index in 0..OBJECTS {
            let made = make(session, Ino::ROOT, &format!("o{index}"), NewNode::Regular).await?;
            // Before the first write of a session its time is that of no value.
            execute(session, set(made.ino, 0).context("0 is a time")?).await?;
            objects.push(made.ino);
        }
        if self.objects.set(objects).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let mut client = self.connect(&place).await?;
        let session = index as u64;
        let mut problems = Vec::new();
        while Instant::now() < place.end && problems.is_empty() {
            let objects = self.objects();
            let ino = objects[rng.random_range(0..objects.len())];
            let problem = if rng.random_bool(0.6) {
                read(&mut client, session, ino).await
            } else {
                let value = self.last.fetch_add(1, Ordering::Relaxed) + 1;
                write(&mut client, session, ino, value).await
            };
            problems.extend(problem);
        }
        let counts = client.session().status().mirror.map(|route| route.counts);
        let answered = counts.map_or(0, |counts| counts.served);
        self.at_mirror.fetch_add(answered, Ordering::Relaxed);
        client.close().await;
        Ok(problems)
    }

    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = self.connect(&place).await?;
        let before = place.recorder.answered();
        for ino in self.objects() {
            self.wrong.add(read(&mut client, LAST, *ino).await);
        }
        client.close().await;
        Ok(place.recorder.answered() >= before + self.objects().len())
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        let wrong = self.wrong.verdict();
        let history = match pair::<SessionInput>(entries) {
            Ok(history) => history,
            Err(error) => {
                return wrong.and(Verdict::Unknown(format!("the history is damaged: {error}")));
            }
        };
        let found = wrong.and(check(&history, &[]));
        let found = found.and(Verdict::of(behind(&history)));
        found.and(mirrored(self.at_mirror.load(Ordering::Relaxed), &history))
    }
}

impl MirrorSession {
    fn objects(&self) -> &[Ino] {
        self.objects.get().map_or(&[], Vec::as_slice)
    }

    async fn connect(&self, place: &Place) -> Result<Client> {
        let url = place.mirror_url.as_deref().context("no mirror")?;
        let mirror = MirrorOptions {
            url: url.parse().context("our own URL")?,
            wait: WAIT,
        };
        Client::connect_by_mirror(&place.url, mirror, &place.recorder).await
    }
}

/// The last reads that do not show what was acknowledged before them. Their session begins when all
/// is done, and a session begins with whatever was there before it, also at a mirror.
fn behind(history: &[Call]) -> Vec<String> {
    let problems = history.iter().filter_map(|call| {
        let SessionOutput::Shown { as_of, .. } = call.output()? else {
            return None;
        };
        if call.input != (SessionInput::Read { session: LAST }) {
            return None;
        }
        let earlier = history.iter().filter(|other| other.precedes(call));
        let written = earlier.filter_map(|other| match other.output()? {
            SessionOutput::Written(version) => Some(*version),
            SessionOutput::Shown { .. } => None,
        });
        let newest = written.max().filter(|newest| as_of < newest)?;
        let key = &call.key;
        Some(format!(
            "the last read of {key:?} is as of {as_of}, and {newest} was acknowledged before it"
        ))
    });
    problems.collect()
}

/// Whether the mirror answered enough of the clients' reads, so that the history tells of it.
fn mirrored(at_mirror: u64, history: &[Call]) -> Verdict {
    let reads = history.iter().filter(|call| {
        let last = call.input == (SessionInput::Read { session: LAST });
        matches!(call.output(), Some(SessionOutput::Shown { .. })) && !last
    });
    let reads = reads.count() as u64;
    println!("mirror: {at_mirror} of {reads} reads were answered by it");
    if at_mirror > 0 && at_mirror * READS_PER_MIRRORED >= reads {
        return Verdict::Ok;
    }
    Verdict::Unknown(format!(
        "{at_mirror} of {reads} reads were answered at the mirror: too few"
    ))
}

/// The newest state that a session has seen. It makes one call at a time, so after a call that is
/// the state of its answer.
fn version(session: &MetaSession) -> Version {
    let token = session.token();
    Version {
        epoch: u64::from(token.epoch.0),
        seq: token.seq.0,
    }
}

async fn write(client: &mut Client, session: u64, ino: Ino, value: u64) -> Option<String> {
    let operation = set(ino, value)?;
    let input = SessionInput::Write { session, value };
    let call = client.call(ino.to_string(), input, async |session| {
        match execute(session, operation).await {
            Ok(Success::Attr(attr)) if value_of(&attr) == Some(value) => {
                Ended::Ok(SessionOutput::Written(version(session)))
            }
            Ok(other) => Ended::Wrong(format!("writing {value} was answered with {other:?}")),
            Err(ClientError::Refused(refusal)) => {
                Ended::Wrong(format!("writing {value} was refused: {refusal}"))
            }
            Err(ClientError::Failed(_)) => Ended::Fail,
            Err(ClientError::Unknown(_)) => Ended::Unknown,
        }
    });
    call.await
}

async fn read(client: &mut Client, session: u64, ino: Ino) -> Option<String> {
    let input = SessionInput::Read { session };
    let call = client.call(ino.to_string(), input, async |session| {
        match query(session, QueryBody::GetAttr { ino }).await {
            Ok(Answer::Attr(attr)) => match value_of(&attr) {
                Some(value) => Ended::Ok(SessionOutput::Shown {
                    as_of: version(session),
                    value: (value > 0).then_some(value),
                }),
                None => Ended::Wrong(format!("inode {ino} shows {:?}", attr.mtime)),
            },
            Ok(other) => Ended::Wrong(format!("a read of {ino} was answered with {other:?}")),
            Err(ClientError::Refused(refusal)) => {
                Ended::Wrong(format!("a read of {ino} was refused: {refusal}"))
            }
            // A read changes nothing: not answered is not done.
            Err(_) => Ended::Fail,
        }
    });
    call.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{At, End};

    fn call(begin: u64, input: SessionInput, output: SessionOutput) -> Call {
        let at = |index| At {
            index,
            time_ns: index,
        };
        let end = End::Ok {
            at: at(begin + 1),
            output,
        };
        Operation {
            process: begin,
            key: "7".to_owned(),
            input,
            invoked: at(begin),
            end,
        }
    }

    fn written(begin: u64, seq: u64) -> Call {
        let (session, value) = (0, seq);
        let output = SessionOutput::Written(Version { epoch: 0, seq });
        call(begin, SessionInput::Write { session, value }, output)
    }

    fn shown(begin: u64, session: u64, seq: u64, value: Option<u64>) -> Call {
        let as_of = Version { epoch: 0, seq };
        let output = SessionOutput::Shown { as_of, value };
        call(begin, SessionInput::Read { session }, output)
    }

    #[test]
    fn the_last_reads_show_all_that_was_acknowledged_before_them() {
        let fresh = [
            written(0, 5),
            shown(2, 1, 4, None),
            shown(4, LAST, 5, Some(5)),
        ];
        assert_eq!(behind(&fresh), [""; 0]);
        let stale = [written(0, 5), written(2, 9), shown(4, LAST, 8, Some(5))];
        assert_eq!(
            behind(&stale),
            ["the last read of \"7\" is as of (0, 8), and (0, 9) was acknowledged before it"]
        );
        // What was not acknowledged when the read began it need not show.
        let later = [shown(0, LAST, 8, None), written(2, 9)];
        assert_eq!(behind(&later), [""; 0]);
    }

    #[test]
    fn a_run_whose_reads_the_origin_answered_tells_nothing_of_the_mirror() {
        let mut history: Vec<Call> = (0..20).map(|n| shown(2 * n, 1, 1, None)).collect();
        history.push(shown(100, LAST, 1, None));
        assert_eq!(mirrored(2, &history), Verdict::Ok);
        for few in [0, 1] {
            let found = mirrored(few, &history);
            assert!(matches!(found, Verdict::Unknown(_)), "{found}");
        }
        assert!(!mirrored(0, &[]).is_ok());
    }

    /// A write, a client's read that shows it, and the last one.
    fn recorded(last: Call) -> Vec<Entry> {
        let recorder = Recorder::new();
        for call in [written(0, 5), shown(2, 1, 5, Some(5)), last] {
            let mut process = recorder.process();
            let token = process.invoke(call.key.clone(), call.input.clone());
            token.ok(call.output().expect("an answer"));
        }
        recorder.entries()
    }

    #[test]
    fn a_mirror_that_is_behind_at_the_end_is_a_violation() {
        let work = MirrorSession::default();
        work.at_mirror.store(1, Ordering::Relaxed);
        let fresh = recorded(shown(4, LAST, 5, Some(5)));
        assert_eq!(work.check(&fresh), Verdict::Ok);
        // True of the state before the write, which a session that begins after it must not see.
        let stale = recorded(shown(4, LAST, 4, None));
        assert!(work.check(&stale).is_violation());
        work.wrong.add(Some("a read was refused".to_owned()));
        assert!(work.check(&fresh).is_violation());
    }
}
