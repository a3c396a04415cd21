//! Inodes as registers: the modification time is written and read, each value only once.

use super::client::{Client, Ended, execute, query};
use super::work::{Place, Work, linearizable};
use crate::checker::Verdict;
use crate::history::{Entry, Recorder};
use crate::model::{Register, RegisterInput, RegisterOutput};
use crate::writer::make;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use meta_client::meta_core::attr::{Attr, Timestamp};
use meta_client::meta_core::command::{NewNode, Operation, SetAttr, SetTime};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::Success;
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{ClientError, MetaSession, ReadFrom};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const REGISTERS: u64 = 5;
/// How long after the faults a leader may take.
const HEALING: Duration = Duration::from_secs(30);
/// Calls of a visitor before it looks for the leader anew.
const CALLS_PER_VISIT: u32 = 50;

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// Reads and writes.
    Both,
    /// Only reads: nothing ever makes it leave a leader that others have left, as long as that one
    /// answers.
    Reader,
    /// Looks for the leader anew now and then, so that it finds a new one while others are still
    /// with the one before.
    Visitor,
}

/// A third of the clients read at the nearest member, and of each role some do not.
fn read_from(index: usize) -> ReadFrom {
    if matches!(index % 6, 3 | 4) {
        ReadFrom::Nearest
    } else {
        ReadFrom::Leader
    }
}

/// The workload.
#[derive(Default)]
pub(super) struct InodeRegister {
    registers: OnceLock<Vec<Ino>>,
    /// The last value that anybody took for a write.
    last: AtomicU64,
}

#[async_trait]
impl Work for InodeRegister {
    async fn prepare(&self, session: &MetaSession, recorder: &Recorder) -> Result<()> {
        let mut registers = Vec::new();
        for index in 0..REGISTERS {
            let name = format!("r{index}");
            let ino = make(session, Ino::ROOT, &name, NewNode::Regular).await?.ino;
            let token = recorder.process();
            let mut token = token;
            let token = token.invoke(ino.to_string(), RegisterInput::Write(0));
            execute(session, set(ino, 0).context("0 is a time")?)
                .await
                .context("cannot set a register to 0")?;
            token.ok(&RegisterOutput::Done);
            registers.push(ino);
        }
        if self.registers.set(registers).is_err() {
            bail!("prepared twice");
        }
        Ok(())
    }

    async fn client(&self, index: usize, place: Place, mut rng: StdRng) -> Result<Vec<String>> {
        let role = [Role::Both, Role::Reader, Role::Visitor][index % 3];
        let (url, recorder) = (&place.url, &place.recorder);
        let mut client = Client::connect_reading(url, read_from(index), recorder).await?;
        let mut problems = Vec::new();
        let mut calls = 0;
        while Instant::now() < place.end && problems.is_empty() {
            calls += 1;
            if role == Role::Visitor && calls % CALLS_PER_VISIT == 0 {
                client.close().await;
                client = connect(&place, read_from(index)).await?;
            }
            let registers = self.registers();
            let ino = registers[rng.random_range(0..registers.len())];
            let problem = if role == Role::Reader || rng.random_bool(0.5) {
                read(&mut client, ino).await
            } else {
                let value = self.last.fetch_add(1, Ordering::Relaxed) + 1;
                write(&mut client, ino, value).await
            };
            problems.extend(problem);
        }
        client.close().await;
        Ok(problems)
    }

    async fn final_read(&self, place: Place) -> Result<bool> {
        let mut client = Client::connect(&place.url, &place.recorder).await?;
        let before = place.recorder.answered();
        for ino in self.registers() {
            read(&mut client, *ino).await;
        }
        client.close().await;
        Ok(place.recorder.answered() >= before + self.registers().len())
    }

    fn check(&self, entries: &[Entry]) -> Verdict {
        linearizable(&Register::default(), entries)
    }
}

impl InodeRegister {
    fn registers(&self) -> &[Ino] {
        self.registers.get().map_or(&[], Vec::as_slice)
    }
}

/// Connects as soon as there is a leader: there is one some time after the faults have ended.
async fn connect(place: &Place, read_from: ReadFrom) -> Result<Client> {
    loop {
        match Client::connect_reading(&place.url, read_from, &place.recorder).await {
            Err(_no_leader) if Instant::now() < place.end + HEALING => {}
            connected => return connected,
        }
    }
}

/// The operation that writes a value.
pub(super) fn set(ino: Ino, value: u64) -> Option<Operation> {
    let at = Timestamp {
        seconds: i64::try_from(value).ok()?,
        nanos: 0,
    };
    let mtime = Some(SetTime::At(at));
    Some(Operation::SetAttr(SetAttr {
        ino,
        mtime,
        ..SetAttr::default()
    }))
}

pub(super) fn value_of(attr: &Attr) -> Option<u64> {
    u64::try_from(attr.mtime.seconds).ok()
}

async fn write(client: &mut Client, ino: Ino, value: u64) -> Option<String> {
    let operation = set(ino, value)?;
    let input = RegisterInput::Write(value);
    let call = client.call(ino.to_string(), input, async |session| {
        match execute(session, operation).await {
            Ok(Success::Attr(attr)) if value_of(&attr) == Some(value) => {
                Ended::Ok(RegisterOutput::Done)
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

async fn read(client: &mut Client, ino: Ino) -> Option<String> {
    let call = client.call(ino.to_string(), RegisterInput::Read, async |session| {
        match query(session, QueryBody::GetAttr { ino }).await {
            Ok(Answer::Attr(attr)) => match value_of(&attr) {
                Some(value) => Ended::Ok(RegisterOutput::Value(Some(value))),
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
