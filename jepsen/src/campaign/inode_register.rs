//! Inodes as registers: the modification time is written and read, each value only once.

use super::client::{Client, Ended, Shared};
use crate::history::RegisterCall;
use anyhow::Result;
use meta_client::ClientError;
use meta_client::meta_core::attr::{Attr, Timestamp};
use meta_client::meta_core::command::{Operation, SetAttr, SetTime};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::Success;
use meta_client::meta_core::query::{Answer, QueryBody};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The shared state of this workload.
pub(super) type RegisterShared = Shared<RegisterCall, u64>;

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Reads and writes.
    Both,
    /// Only reads: nothing ever makes it leave a leader that others have left, as long as that one
    /// answers.
    Reader,
    /// Looks for the leader anew now and then, so that it finds a new one while others are still
    /// with the one before.
    Visitor,
}

impl Role {
    /// The role of a client by its number.
    pub(super) fn of(index: usize) -> Self {
        [Self::Both, Self::Reader, Self::Visitor][index % 3]
    }
}

/// How long after the faults a leader may take.
const HEALING: Duration = Duration::from_secs(30);
/// Calls of a visitor before it looks for the leader anew.
const CALLS_PER_VISIT: u32 = 50;

/// Reads and writes random registers until `end`.
pub(super) async fn work(
    role: Role,
    url: String,
    registers: Vec<Ino>,
    shared: Arc<RegisterShared>,
    next: Arc<AtomicU64>,
    mut rng: StdRng,
    end: Instant,
) -> Result<Vec<String>> {
    let mut client = Client::connect(&url, &shared).await?;
    let mut problems = Vec::new();
    let mut calls = 0;
    while Instant::now() < end && problems.is_empty() {
        calls += 1;
        if role == Role::Visitor && calls % CALLS_PER_VISIT == 0 {
            client.close().await;
            client = connect(&url, &shared, end).await?;
        }
        let ino = registers[rng.random_range(0..registers.len())];
        let problem = if role == Role::Reader || rng.random_bool(0.5) {
            read(&mut client, ino).await
        } else {
            write(&mut client, ino, next.fetch_add(1, Ordering::Relaxed)).await
        };
        problems.extend(problem);
    }
    client.close().await;
    Ok(problems)
}

/// Connects as soon as there is a leader: there is one some time after the faults have ended.
async fn connect(
    url: &str,
    shared: &Arc<RegisterShared>,
    end: Instant,
) -> Result<Client<RegisterCall, u64>> {
    loop {
        match Client::connect(url, shared).await {
            Err(_no_leader) if Instant::now() < end + HEALING => {}
            connected => return connected,
        }
    }
}

/// One more read of every register, by a client that took no part.
pub(super) async fn final_read(
    url: &str,
    registers: &[Ino],
    shared: &Arc<RegisterShared>,
) -> Result<bool> {
    let mut client = Client::connect(url, shared).await?;
    let answered = shared.history.answered();
    for ino in registers {
        read(&mut client, *ino).await;
    }
    client.close().await;
    Ok(shared.history.answered() >= answered + registers.len())
}

/// Gives a register its first value, 0.
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

fn value_of(attr: &Attr) -> Option<u64> {
    u64::try_from(attr.mtime.seconds).ok()
}

async fn write(client: &mut Client<RegisterCall, u64>, ino: Ino, value: u64) -> Option<String> {
    let operation = set(ino, value)?;
    let invoked = client.now();
    let ended = match client.execute(operation).await {
        Ok(Success::Attr(attr)) if value_of(&attr) == Some(value) => Ended::Ok(value),
        Ok(other) => Ended::Wrong(format!("writing {value} was answered with {other:?}")),
        Err(ClientError::Refused(refusal)) => {
            Ended::Wrong(format!("writing {value} was refused: {refusal}"))
        }
        Err(_) => Ended::Unknown,
    };
    client.record(
        RegisterCall::Write {
            register: ino.0,
            value,
        },
        invoked,
        ended,
    )
}

async fn read(client: &mut Client<RegisterCall, u64>, ino: Ino) -> Option<String> {
    let invoked = client.now();
    let ended = match client.query(QueryBody::GetAttr { ino }).await {
        Ok(Answer::Attr(attr)) => match value_of(&attr) {
            Some(value) => Ended::Ok(value),
            None => Ended::Wrong(format!("inode {ino} shows {:?}", attr.mtime)),
        },
        Ok(other) => Ended::Wrong(format!("a read of {ino} was answered with {other:?}")),
        Err(ClientError::Refused(refusal)) => {
            Ended::Wrong(format!("a read of {ino} was refused: {refusal}"))
        }
        // A read changes nothing: not answered is not done.
        Err(_) => Ended::Fail,
    };
    client.record(RegisterCall::Read { register: ino.0 }, invoked, ended)
}
