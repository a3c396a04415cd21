//! A proxy before a server: each request may meet a fault.

use super::http::Message;
use crate::object::Step;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Fault {
    /// It is answered by a status and a code of S3, and never reaches the server.
    Answer(u16, &'static str),
    /// The same by something that knows nothing of S3.
    Plain(u16),
    /// The connection is reset, and the server never saw it.
    ResetBefore,
    /// The connection is reset after the server did it.
    ResetAfter,
    /// No answer ever comes, and the server never saw it.
    HoldBefore,
    /// The server does it, and no answer ever comes.
    HoldAfter,
    /// The answer stops in its middle and the connection stays.
    HoldMiddle,
    /// The answer stops in its middle and the connection is closed.
    Truncate,
    /// A bit of the answer's body flips on its way.
    FlipAnswer,
    /// A bit of the request's body flips on its way.
    FlipRequest,
}

impl Fault {
    /// All but those that wait.
    pub(in super::super) const QUICK: [Self; 8] = [
        Self::Answer(500, "InternalError"),
        Self::Answer(503, "SlowDown"),
        Self::Plain(502),
        Self::Plain(503),
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Truncate,
        Self::FlipRequest,
    ];
    pub(in super::super) const SLOW: [Self; 3] =
        [Self::HoldBefore, Self::HoldAfter, Self::HoldMiddle];
}

#[derive(Debug, Default)]
struct Plan {
    scripts: BTreeMap<Step, VecDeque<Fault>>,
    always: BTreeMap<Step, Fault>,
    counts: BTreeMap<Step, u64>,
    /// What is drawn from, by how many of 100 requests.
    seeded: Option<(StdRng, u32, Vec<Fault>)>,
    /// Whether puts with a condition are refused, as by a store that does not know it.
    unconditional: bool,
}

/// A proxy; it ends with this.
#[derive(Debug)]
pub(in super::super) struct Proxy {
    addr: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(in super::super) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let plan = Arc::<Mutex<Plan>>::default();
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&plan);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let plan = Arc::clone(&shared);
                connections.spawn(async move {
                    // It broke, as it was told to, or the client went away.
                    let _broken = serve(client, server, &plan).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            addr,
            plan,
            _tasks: tasks,
        }
    }

    pub(in super::super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the next requests of a kind meet; those after them are free.
    pub(in super::super) fn script(&self, step: Step, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.plan.lock().scripts.insert(step, faults);
    }

    /// What all requests of a kind meet that have no script.
    pub(in super::super) fn always(&self, step: Step, fault: Option<Fault>) {
        let always = &mut self.plan.lock().always;
        match fault {
            Some(fault) => always.insert(step, fault),
            None => always.remove(&step),
        };
    }

    /// `percent` of all requests meet one of the faults.
    pub(in super::super) fn seed(&self, seed: u64, percent: u32, faults: &[Fault]) {
        let rng = StdRng::seed_from_u64(seed);
        self.plan.lock().seeded = Some((rng, percent, faults.to_vec()));
    }

    pub(in super::super) fn refuse_conditions(&self) {
        self.plan.lock().unconditional = true;
    }

    /// How many requests of a kind came.
    pub(in super::super) fn count(&self, step: Step) -> u64 {
        self.plan.lock().counts.get(&step).copied().unwrap_or(0)
    }
}

impl Plan {
    fn next(&mut self, request: &Message) -> Option<Fault> {
        let step = step(request);
        *self.counts.entry(step).or_default() += 1;
        if self.unconditional && request.header("if-none-match").is_some() {
            return Some(Fault::Answer(501, "NotImplemented"));
        }
        if let Some(fault) = self.scripts.get_mut(&step).and_then(VecDeque::pop_front) {
            return Some(fault);
        }
        if let Some(fault) = self.always.get(&step) {
            return Some(*fault);
        }
        let (rng, percent, faults) = self.seeded.as_mut()?;
        let meets = rng.random_range(0..100) < *percent;
        meets.then(|| faults[rng.random_range(0..faults.len())])
    }
}

fn step(request: &Message) -> Step {
    let start = request.start();
    match (start[0].as_str(), start[1].contains("list-type=2")) {
        // A POST begins or ends an upload in parts.
        ("PUT" | "POST", _) => Step::Put,
        ("GET", true) => Step::List,
        ("GET", false) => Step::Get,
        ("HEAD", _) => Step::Head,
        ("DELETE", _) => Step::Delete,
        other => panic!("an unknown request: {other:?}"),
    }
}

async fn serve(client: TcpStream, server: SocketAddr, plan: &Mutex<Plan>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    while let Some(mut request) = Message::read(&mut client, true).await? {
        let fault = plan.lock().next(&request);
        let has_body = request.start()[0] != "HEAD";
        match fault {
            Some(Fault::Answer(status, code)) => {
                let text = if has_body { error(code) } else { String::new() };
                client.write_all(&answer(status, &text)).await?;
                continue;
            }
            Some(Fault::Plain(status)) => {
                let text = if has_body { "<html>busy</html>" } else { "" };
                client.write_all(&answer(status, text)).await?;
                continue;
            }
            Some(Fault::ResetBefore) => return reset(client),
            Some(Fault::HoldBefore) => return hold(client).await,
            Some(Fault::FlipRequest) => flip(&mut request.body),
            _ => {}
        }
        let mut answer = forward(&request, server, has_body).await?;
        match fault {
            Some(Fault::ResetAfter) => return reset(client),
            Some(Fault::HoldAfter) => return hold(client).await,
            Some(Fault::HoldMiddle) => {
                client.write_all(&half(&answer)).await?;
                return hold(client).await;
            }
            Some(Fault::Truncate) => {
                client.write_all(&half(&answer)).await?;
                return client.shutdown().await;
            }
            Some(Fault::FlipAnswer) => flip(&mut answer.body),
            _ => {}
        }
        client.write_all(&answer.bytes()).await?;
    }
    Ok(())
}

async fn forward(request: &Message, server: SocketAddr, has_body: bool) -> io::Result<Message> {
    let mut server = BufReader::new(TcpStream::connect(server).await?);
    server.write_all(&request.bytes()).await?;
    let answer = Message::read(&mut server, has_body).await?;
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn error(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>told to</Message></Error>")
}

fn answer(status: u16, text: &str) -> Vec<u8> {
    let len = text.len();
    format!("HTTP/1.1 {status} Told\r\ncontent-length: {len}\r\n\r\n{text}").into_bytes()
}

/// An answer up to the middle of its body, or of its head if it has none.
fn half(answer: &Message) -> Vec<u8> {
    let mut bytes = answer.bytes();
    let middle = match answer.body.len() {
        0 => answer.head.len() / 2,
        len => answer.head.len() + len / 2,
    };
    bytes.truncate(middle);
    bytes
}

fn flip(body: &mut [u8]) {
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
}

fn reset(client: BufReader<TcpStream>) -> io::Result<()> {
    client.get_ref().set_zero_linger()
}

/// Says nothing more, until the client gives up.
async fn hold(mut client: BufReader<TcpStream>) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while client.read(&mut ignored).await? > 0 {}
    Ok(())
}
