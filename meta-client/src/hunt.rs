//! The search for the leader: all nodes are greeted at once, and the first that leads is taken. Also
//! how any one node is met.

use crate::deadline::Deadline;
use crate::endpoint;
use crate::error::Failure;
use crate::link::{FRAMES_AHEAD, Opened};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use proto::limits::{STREAM_VERSION_MAX, STREAM_VERSION_MIN};
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// One node's time to be reached and to say hello.
pub(crate) const GREETING_LIMIT: Duration = Duration::from_millis(1500);
/// How long others are waited for when the node that was just left says that it leads.
const SECOND_THOUGHT: Duration = Duration::from_millis(300);
/// Nodes greeted in one round: those of the URL and those that they name.
const NODES_MAX: usize = 64;

/// A round of greetings.
#[derive(Debug)]
pub(crate) struct Round<'r> {
    /// The addresses that are known.
    pub(crate) addrs: &'r [String],
    /// Who leads, as the node said that was left.
    pub(crate) hint: Option<String>,
    /// The node that was just left.
    pub(crate) left: Option<String>,
    /// The session to attach; 0 for none.
    pub(crate) session: u64,
    /// How long what it was given under leases may yet be shown.
    pub(crate) shown: Duration,
    /// How long the others are waited for once somebody has answered.
    pub(crate) grace: Duration,
}

/// What a node said.
enum Greeting {
    Leads(Box<Opened>),
    Follows { hint: Option<String> },
    NotInitialised,
}

impl Round<'_> {
    /// Greets everybody once.
    pub(crate) async fn run(self) -> Result<Opened, Failure> {
        let mut tried = HashSet::new();
        let mut greetings = FuturesUnordered::new();
        for addr in self.hint.iter().chain(self.addrs) {
            if tried.insert(addr.clone()) {
                greetings.push(greet(addr.clone(), self.session, self.shown));
            }
        }
        let mut heard = Heard::default();
        let mut fallback = None;
        let mut until = Deadline::after(None);
        loop {
            // A node that hangs must not hold up the next round.
            let next = until.bound(greetings.next()).await;
            match next.flatten() {
                None => return fallback.ok_or_else(|| heard.failure()),
                Some(Ok(Greeting::Leads(opened))) if self.left.as_ref() == Some(&opened.addr) => {
                    fallback = Some(*opened);
                    until = until.within(SECOND_THOUGHT);
                }
                Some(Ok(Greeting::Leads(opened))) => return Ok(*opened),
                Some(Ok(Greeting::Follows { hint })) => {
                    heard.following += 1;
                    until = until.within(self.grace);
                    if let Some(addr) = hint
                        && tried.len() < NODES_MAX
                        && tried.insert(addr.clone())
                    {
                        greetings.push(greet(addr, self.session, self.shown));
                    }
                }
                Some(Ok(Greeting::NotInitialised)) => heard.not_initialised += 1,
                Some(Err(failure)) => heard.failures.push(failure),
            }
        }
    }
}

/// What a round without a leader heard.
#[derive(Default)]
struct Heard {
    following: usize,
    not_initialised: usize,
    failures: Vec<Failure>,
}

impl Heard {
    fn failure(mut self) -> Failure {
        let of_version = |failure: &Failure| matches!(failure, Failure::VersionMismatch(_));
        if let Some(at) = self.failures.iter().position(of_version) {
            return self.failures.swap_remove(at);
        }
        let silent = self.failures.len();
        match (self.following, self.not_initialised) {
            (0, 0) => self
                .failures
                .pop()
                .unwrap_or(Failure::Unreachable("no addresses".into())),
            (0, _) if silent == 0 => Failure::NotInitialised,
            (following, new) => {
                Failure::NoLeader(format!("{} nodes answer, {silent} do not", following + new))
            }
        }
    }
}

async fn greet(addr: String, session: u64, shown: Duration) -> Result<Greeting, Failure> {
    let limit = tokio::time::timeout(GREETING_LIMIT, say_hello(&addr, session, shown)).await;
    limit.unwrap_or_else(|_elapsed| Err(Failure::Unreachable(format!("{addr}: no answer in time"))))
}

/// What a node says to a hello.
enum Answered {
    Hello(Box<Opened>, v1::HelloReply),
    NotInitialised,
}

/// Opens a stream to a node, whether it leads or not.
pub(crate) async fn meet(addr: &str) -> Result<(Opened, v1::HelloReply), Failure> {
    let (session, shown) = (0, Duration::ZERO);
    let met = tokio::time::timeout(GREETING_LIMIT, open_stream(addr, session, shown)).await;
    match met {
        Ok(Ok(Answered::Hello(opened, hello))) => Ok((*opened, hello)),
        Ok(Ok(Answered::NotInitialised)) => Err(Failure::NotInitialised),
        Ok(Err(failure)) => Err(failure),
        Err(_elapsed) => Err(Failure::Unreachable(format!("{addr}: no answer in time"))),
    }
}

async fn say_hello(addr: &str, session: u64, shown: Duration) -> Result<Greeting, Failure> {
    match open_stream(addr, session, shown).await? {
        Answered::NotInitialised => Ok(Greeting::NotInitialised),
        Answered::Hello(opened, hello) if hello.leading => Ok(Greeting::Leads(opened)),
        Answered::Hello(opened, hello) if hello.leader_hint.is_empty() => {
            leaderless(opened.channel).await
        }
        Answered::Hello(_, hello) => Ok(Greeting::Follows {
            hint: Some(hello.leader_hint),
        }),
    }
}

async fn open_stream(addr: &str, session: u64, shown: Duration) -> Result<Answered, Failure> {
    let failed = |words: String| Failure::Unreachable(format!("{addr}: {words}"));
    let channel = endpoint::connect(addr).await?;
    let (out, frames) = mpsc::channel(FRAMES_AHEAD);
    let hello = v1::Hello {
        min_version: STREAM_VERSION_MIN,
        max_version: STREAM_VERSION_MAX,
        features: v1::Feature::Leases as u64 | v1::Feature::Acls as u64,
        shown_ms: u32::try_from(shown.as_millis()).map_or(u32::MAX, |ms| ms.saturating_add(1)),
        sessions: Some(session).filter(|id| *id != 0).into_iter().collect(),
    };
    let first = v1::ClientFrame {
        id: 1,
        body: Some(Ask::Hello(hello)),
    };
    out.send(first)
        .await
        .map_err(|_closed| failed("the stream is closed".into()))?;
    let broken = CancellationToken::new();
    let frames = ReceiverStream::new(frames).take_until(broken.clone().cancelled_owned());
    let stream = endpoint::meta(channel.clone()).connect(frames).await;
    let mut inbound = stream
        .map_err(|status| failed(status.message().into()))?
        .into_inner();
    let told = inbound
        .message()
        .await
        .map_err(|status| failed(status.message().into()))?;
    match told.and_then(|frame| frame.body) {
        Some(Tell::Hello(hello))
            if !(STREAM_VERSION_MIN..=STREAM_VERSION_MAX).contains(&hello.version) =>
        {
            Err(Failure::VersionMismatch(format!(
                "{addr} chose version {}",
                hello.version
            )))
        }
        Some(Tell::Hello(hello)) => {
            let opened = Opened {
                addr: addr.to_owned(),
                out,
                inbound,
                broken,
                channel,
                features: hello.features,
            };
            Ok(Answered::Hello(Box::new(opened), hello))
        }
        Some(Tell::Failure(failure)) => match failure.kind() {
            v1::FailureKind::UnsupportedVersion => Err(Failure::VersionMismatch(failure.message)),
            v1::FailureKind::NotInitialised => Ok(Answered::NotInitialised),
            _ => Err(failed(failure.message)),
        },
        Some(_) => Err(failed("it answers a hello with something else".into())),
        None => Err(failed("it ended the stream".into())),
    }
}

/// A node that knows no leader says whether there ever was one.
async fn leaderless(channel: Channel) -> Result<Greeting, Failure> {
    match endpoint::admin(channel).status(v1::StatusRequest {}).await {
        Ok(status) if !status.get_ref().initialised => Ok(Greeting::NotInitialised),
        // It answered the hello, so it counts as one that follows nobody.
        Ok(_) | Err(_) => Ok(Greeting::Follows { hint: None }),
    }
}
