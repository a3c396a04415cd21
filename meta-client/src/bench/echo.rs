//! A stream as a session's, to a server without an engine: it decodes each request, and encodes an
//! answer of the right size. What a session does in a second cannot be more.

use super::figures::{Floor, Sample};
use crate::endpoint;
use meta_core::attr::{Attr, Caller, FileKind, Timestamp};
use meta_core::command::{Command, CommandBody, Create, Existing, NewNode, Operation, Request};
use meta_core::ids::{Ino, Level, Seq, SessionId, SlotIndex, VolumeId};
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Reply, Success, Token};
use proto::codec::{decode_command, encode_command, encode_reply};
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::meta_server::{Meta, MetaServer};
use proto::v1::server_frame::Body as Tell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request as Call, Response, Status, Streaming};

/// Frames that wait for the network, as a session's link and a node's stream have.
const FRAMES_AHEAD: usize = 256;
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that answers each request at once.
#[derive(Debug)]
pub struct EchoServer {
    addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl EchoServer {
    /// Listens on a free port of loopback, until it is dropped.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let server = tonic::transport::Server::builder().tcp_nodelay(true);
        let serving = tokio::spawn(async move {
            let service = MetaServer::new(Echo);
            let incoming = TcpListenerStream::new(listener);
            let served = { server }
                .add_service(service)
                .serve_with_incoming(incoming);
            if let Err(error) = served.await {
                tracing::warn!(%error, "the echo has ended");
            }
        });
        Ok(Self { addr, serving })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until the task is ended.
    pub async fn served(mut self) {
        let _ended = (&mut self.serving).await;
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone, Copy, Debug)]
struct Echo;

#[tonic::async_trait]
impl Meta for Echo {
    type ConnectStream = ReceiverStream<Result<v1::ServerFrame, Status>>;

    async fn connect(
        &self,
        request: Call<Streaming<v1::ClientFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut asked = request.into_inner();
        let (out, answers) = mpsc::channel(FRAMES_AHEAD);
        tokio::spawn(async move {
            while let Ok(Some(frame)) = asked.message().await {
                let Some(answer) = answer(frame) else { return };
                if out.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

fn answer(frame: v1::ClientFrame) -> Option<v1::ServerFrame> {
    let Some(Ask::Execute(bytes)) = frame.body else {
        return None;
    };
    let command = decode_command(&bytes).ok()?;
    Some(v1::ServerFrame {
        id: frame.id,
        body: Some(Tell::Reply(encode_reply(&reply(command.stamp)).into())),
    })
}

/// What a create is answered with.
fn reply(stamp: Timestamp) -> Reply {
    let attr = Attr {
        ino: Ino(1 << 20),
        kind: FileKind::Regular,
        nlink: 1,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        rdev: 0,
        length: 0,
        atime: stamp,
        mtime: stamp,
        ctime: stamp,
        parent: Ino(77_777),
        btime: None,
        access_acl: false,
        default_acl: false,
    };
    Reply {
        token: Token {
            seq: Seq(1 << 20),
            ..Token::default()
        },
        stamp,
        outcome: Outcome::Done(Success::Entry {
            attr,
            created: true,
        }),
    }
}

/// The command of a create, as a session sends it; `None` if its name would be none.
pub fn create_command(number: u64) -> Option<Command> {
    Some(Command {
        volume: VolumeId(1),
        stamp: Timestamp {
            seconds: 1_800_000_000,
            nanos: 123_456_789,
        },
        read_level: Level(0),
        body: CommandBody::Request(Request {
            session: SessionId(7),
            slot: SlotIndex(3),
            sequence: number,
            caller: Caller::root(),
            operation: Operation::Create(Create {
                parent: Ino(77_777),
                name: Name::new(format!("file.{number:010}").as_str()).ok()?,
                mode: 0o644,
                node: NewNode::Regular,
                masked: 0,
                existing: Existing::Refuse,
            }),
        }),
    })
}

/// Sends creates to an echo for a while, so many at once, and waits for their answers.
///
/// # Errors
/// When the stream breaks.
pub async fn echo(addr: SocketAddr, in_flight: usize, time: Duration) -> io::Result<Floor> {
    let failed = |error: String| io::Error::other(format!("the echo: {error}"));
    let channel = endpoint::connect(&addr.to_string()).await;
    let channel = channel.map_err(|error| failed(error.to_string()))?;
    let (out, frames) = mpsc::channel(FRAMES_AHEAD.max(in_flight));
    let mut client = endpoint::meta(channel);
    let connected = client.connect(ReceiverStream::new(frames));
    let connected = connected
        .await
        .map_err(|status| failed(status.to_string()))?;
    let mut inbound = connected.into_inner();
    let begin = Instant::now();
    let mut sent: HashMap<u64, Instant> = HashMap::new();
    let mut each = Vec::new();
    let mut next = 0;
    loop {
        // Looked at once: if it ended between two looks, an answer to nothing would be waited for.
        let over = begin.elapsed() >= time;
        while !over && sent.len() < in_flight {
            next += 1;
            let command = create_command(next).ok_or_else(|| failed("no name".to_owned()))?;
            sent.insert(next, Instant::now());
            let body = Some(Ask::Execute(encode_command(&command).into()));
            let frame = v1::ClientFrame { id: next, body };
            let given = out.send(frame).await;
            given.map_err(|_closed| failed("the stream ended".to_owned()))?;
        }
        if sent.is_empty() {
            break;
        }
        let message = tokio::time::timeout(PATIENCE, inbound.message()).await;
        let message = message.map_err(|_elapsed| failed("no answer in time".to_owned()))?;
        let message = message.map_err(|status| failed(status.to_string()))?;
        let frame = message.ok_or_else(|| failed("the stream ended".to_owned()))?;
        if let Some(began) = sent.remove(&frame.id) {
            each.push(began.elapsed());
        }
    }
    Ok(Sample {
        took: begin.elapsed(),
        each,
    }
    .floor("stream echo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_echo_of_nothing_ends() {
        let server = EchoServer::start().await.expect("a server");
        let floor = echo(server.addr(), 0, Duration::from_millis(1)).await;
        assert_eq!(floor.expect("it ends").count, 0);
        let floor = echo(server.addr(), 3, Duration::from_millis(20)).await;
        assert!(floor.expect("it ends").count > 0);
    }
}
