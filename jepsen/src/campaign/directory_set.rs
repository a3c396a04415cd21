//! The directory as a set: unique names come and go, listings must show them rightly.

use super::client::{Client, Ended, Shared};
use crate::history::SetCall;
use crate::writer::{name, names};
use anyhow::Result;
use meta_client::ClientError;
use meta_client::meta_core::command::{Create, Existing, NewNode, Operation};
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::outcome::{Refusal, Success};
use rand::Rng as _;
use rand::rngs::StdRng;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Names that a client leaves before it removes as many as it adds.
const OWN_NAMES: usize = 100;

/// The shared state of this workload.
pub(super) type SetShared = Shared<SetCall, Vec<u64>>;

/// Adds, removes and lists until `end`. Gives back answers that are wrong by themselves.
pub(super) async fn work(
    url: String,
    dir: Ino,
    shared: Arc<SetShared>,
    next: Arc<AtomicU64>,
    mut rng: StdRng,
    end: Instant,
) -> Result<Vec<String>> {
    let mut client = Client::connect(&url, &shared).await?;
    let mut own = VecDeque::new();
    let mut problems = Vec::new();
    while Instant::now() < end && problems.is_empty() {
        let removing = if own.len() > OWN_NAMES { 45 } else { 15 };
        let problem = match rng.random_range(0..100) {
            dice if dice < 10 => read(&mut client, dir).await,
            dice if dice < 10 + removing && !own.is_empty() => {
                let Some(element) = own.pop_front() else {
                    continue;
                };
                remove(&mut client, dir, element).await
            }
            _ => {
                let element = next.fetch_add(1, Ordering::Relaxed);
                add(&mut client, dir, element, &mut own).await
            }
        };
        problems.extend(problem);
    }
    client.close().await;
    Ok(problems)
}

/// One more listing, by a client that took no part.
pub(super) async fn final_read(url: &str, dir: Ino, shared: &Arc<SetShared>) -> Result<bool> {
    let mut client = Client::connect(url, shared).await?;
    let answered = shared.history.answered();
    let problem = read(&mut client, dir).await;
    client.close().await;
    Ok(problem.is_none() && shared.history.answered() > answered)
}

async fn add(
    client: &mut Client<SetCall, Vec<u64>>,
    parent: Ino,
    element: u64,
    own: &mut VecDeque<u64>,
) -> Option<String> {
    let name = name(&format!("e{element}")).ok()?;
    let (node, existing) = (NewNode::Regular, Existing::Refuse);
    let create = Create {
        parent,
        name,
        mode: 0o644,
        node,
        existing,
    };
    let invoked = client.now();
    let ended = match client.execute(Operation::Create(create)).await {
        Ok(Success::Entry { created: true, .. }) => {
            own.push_back(element);
            Ended::Ok(Vec::new())
        }
        Err(ClientError::Refused(Refusal::NoSpace)) => Ended::Fail,
        Err(ClientError::Refused(refusal)) => Ended::Wrong(format!(
            "adding the unique e{element} was refused: {refusal}"
        )),
        Err(_) => Ended::Unknown,
        Ok(other) => Ended::Wrong(format!("adding e{element} was answered with {other:?}")),
    };
    client.record(SetCall::Add(element), invoked, ended)
}

async fn remove(
    client: &mut Client<SetCall, Vec<u64>>,
    parent: Ino,
    element: u64,
) -> Option<String> {
    let name = name(&format!("e{element}")).ok()?;
    let invoked = client.now();
    let ended = match client.execute(Operation::Unlink { parent, name }).await {
        Ok(Success::Removed { nlink: 0, .. }) => Ended::Ok(Vec::new()),
        Err(ClientError::Refused(refusal)) => Ended::Wrong(format!(
            "removing the acknowledged e{element} was refused: {refusal}"
        )),
        Err(_) => Ended::Unknown,
        Ok(other) => Ended::Wrong(format!("removing e{element} was answered with {other:?}")),
    };
    client.record(SetCall::Remove(element), invoked, ended)
}

async fn read(client: &mut Client<SetCall, Vec<u64>>, dir: Ino) -> Option<String> {
    let invoked = client.now();
    let ended = match names(client.session(), dir).await {
        Ok(found) => {
            let parse = |(name, _): &(String, Ino)| name.strip_prefix('e')?.parse().ok();
            match found.iter().map(parse).collect() {
                Some(elements) => Ended::Ok(elements),
                None => Ended::Wrong(format!("a listing holds a strange name: {found:?}")),
            }
        }
        // A read changes nothing: not answered is not done.
        Err(_) => Ended::Fail,
    };
    client.record(SetCall::Read, invoked, ended)
}
