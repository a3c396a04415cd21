//! One scripted node.

use super::model::Model;
use meta_core::command::{Command, CommandBody};
use meta_core::outcome::{Refusal, Token};
use meta_core::query::{Query, QueryBody};
use parking_lot::Mutex;
use proto::convert::{Convert as _, query_answer};
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use proto::v1::{self, FailureKind};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

/// What happens to the next frame that is executed or answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The stream ends, and nothing is done.
    DropBefore,
    /// It is done, and the stream ends without the answer.
    DropAfter,
    /// It is not done, and this failure is answered.
    Fail(FailureKind),
    /// It is done, and this failure is answered.
    DoneButFail(FailureKind),
    /// The query is refused.
    Refuse(Refusal),
    /// Nothing is done, nothing is answered.
    Swallow,
    /// It is done, and bytes are answered that are no reply.
    Nonsense,
}

/// What happens to a query that any member may answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NearestFault {
    /// This failure is answered.
    Fail(FailureKind),
    /// It is answered from the state that there was in the beginning.
    Stale,
    /// Nothing is answered.
    Swallow,
}

/// A node that can be told what to do wrong.
pub(crate) struct Node {
    pub(crate) addr: String,
    pub(crate) script: Arc<Script>,
    _stop: DropGuard,
}

/// What the node does.
#[derive(Debug)]
pub(crate) struct Script {
    id: u64,
    model: Arc<Model>,
    leading: AtomicBool,
    hint: Mutex<String>,
    /// For requests of sessions, one after the other.
    pub(crate) requests: Mutex<VecDeque<Fault>>,
    /// For all other commands, and queries.
    pub(crate) others: Mutex<VecDeque<Fault>>,
    /// Takes frames in and says nothing any more.
    pub(crate) stalled: AtomicBool,
    /// Answers keep-alives, but no request and no query.
    pub(crate) deaf: AtomicBool,
    /// While set, requests wait before they are done.
    pub(crate) held_back: AtomicBool,
    pub(crate) release: Notify,
    pub(crate) ttl_ms: AtomicU32,
    pub(crate) initialised: AtomicBool,
    pub(crate) hello_version: AtomicU32,
    /// Whether it answers queries that any member may.
    pub(crate) nearest: AtomicBool,
    /// Whether it knows questions about paths and many files.
    pub(crate) paths: AtomicBool,
    /// Whether it has applied whatever a mirror is asked for; else it is behind.
    pub(crate) mirrors: AtomicBool,
    /// Members that it names beside one that is not there.
    pub(crate) named: Mutex<Vec<String>>,
    /// Times that it was asked for its status.
    pub(crate) status_asked: AtomicU32,
    /// For queries that any member may answer, one after the other.
    nearest_queries: Mutex<VecDeque<NearestFault>>,
    /// These queries that were answered.
    pub(crate) nearest_answered: AtomicU32,
    /// Milliseconds that it takes to say that it runs.
    pub(crate) far_ms: AtomicU64,
    /// The streams' outgoing halves, for what the node asks by itself.
    outs: Mutex<Vec<mpsc::Sender<Result<v1::ServerFrame, Status>>>>,
    cut: Mutex<CancellationToken>,
}

impl Node {
    pub(crate) async fn start(id: u64, model: Arc<Model>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address").to_string();
        let script = Arc::new(Script {
            id,
            model,
            leading: AtomicBool::new(false),
            hint: Mutex::default(),
            requests: Mutex::default(),
            others: Mutex::default(),
            stalled: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            held_back: AtomicBool::new(false),
            release: Notify::new(),
            ttl_ms: AtomicU32::new(60_000),
            initialised: AtomicBool::new(true),
            hello_version: AtomicU32::new(1),
            nearest: AtomicBool::new(true),
            paths: AtomicBool::new(true),
            mirrors: AtomicBool::new(false),
            named: Mutex::default(),
            status_asked: AtomicU32::new(0),
            nearest_queries: Mutex::default(),
            nearest_answered: AtomicU32::new(0),
            far_ms: AtomicU64::new(0),
            outs: Mutex::default(),
            cut: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let service = Service(Arc::clone(&script));
        let server = tonic::transport::Server::builder()
            .add_service(v1::meta_server::MetaServer::new(service.clone()))
            .add_service(v1::admin_server::AdminServer::new(service))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                stop.clone().cancelled_owned(),
            );
        tokio::spawn(server);
        Self {
            addr,
            script,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn follow(&self, leading: bool, leader: &str) {
        self.script.leading.store(leading, Ordering::SeqCst);
        leader.clone_into(&mut self.script.hint.lock());
    }

    /// Ends every stream.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.script.cut.lock()).cancel();
    }

    /// Scripts the next requests of sessions.
    pub(crate) fn on_requests(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script.requests.lock().extend(faults);
    }

    /// Scripts the next other commands and queries.
    pub(crate) fn on_others(&self, faults: impl IntoIterator<Item = Fault>) {
        self.script.others.lock().extend(faults);
    }

    /// Scripts the next queries that any member may answer.
    pub(crate) fn on_nearest(&self, faults: impl IntoIterator<Item = NearestFault>) {
        self.script.nearest_queries.lock().extend(faults);
    }

    /// How many of them it has answered.
    pub(crate) fn nearest_answered(&self) -> u32 {
        self.script.nearest_answered.load(Ordering::SeqCst)
    }

    /// Asks every client which inodes it holds.
    pub(crate) async fn ask_held(&self, round: u64, session: u64, inos: &[u64]) {
        let ask = v1::AskHeld {
            round,
            session,
            inos: inos.to_vec(),
        };
        let outs = self.script.outs.lock().clone();
        for out in outs {
            let frame = v1::ServerFrame {
                id: 0,
                body: Some(Tell::AskHeld(ask.clone())),
            };
            // Some of the streams have ended.
            let _ended = out.send(Ok(frame)).await;
        }
    }
}

#[derive(Clone)]
struct Service(Arc<Script>);

type Frames = Pin<Box<dyn Stream<Item = Result<v1::ServerFrame, Status>> + Send>>;

#[tonic::async_trait]
impl v1::meta_server::Meta for Service {
    type ConnectStream = Frames;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ClientFrame>>,
    ) -> Result<Response<Frames>, Status> {
        let (out, answers) = mpsc::channel(1024);
        let script = Arc::clone(&self.0);
        let cut = script.cut.lock().clone();
        let stream = ReceiverStream::new(answers);
        let ended = futures::StreamExt::take_until(stream, cut.clone().cancelled_owned());
        script.outs.lock().push(out.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = script.serve(request.into_inner(), out) => {}
                () = cut.cancelled() => {}
            }
        });
        Ok(Response::new(Box::pin(ended)))
    }
}

/// An answer, none, or the end of the stream.
enum Act {
    Tell(Box<Tell>),
    Nothing,
    End,
}

impl Script {
    async fn serve(
        self: Arc<Self>,
        mut frames: Streaming<v1::ClientFrame>,
        out: mpsc::Sender<Result<v1::ServerFrame, Status>>,
    ) {
        let end = CancellationToken::new();
        loop {
            let frame = tokio::select! {
                () = end.cancelled() => break,
                frame = frames.next() => frame,
            };
            let Some(Ok(v1::ClientFrame {
                id,
                body: Some(body),
            })) = frame
            else {
                break;
            };
            let (script, out, end) = (Arc::clone(&self), out.clone(), end.clone());
            tokio::spawn(async move {
                match script.act(body).await {
                    _ if script.stalled.load(Ordering::SeqCst) => {}
                    Act::Tell(body) => {
                        let frame = v1::ServerFrame {
                            id,
                            body: Some(*body),
                        };
                        let _ended = out.send(Ok(frame)).await;
                    }
                    Act::Nothing => {}
                    Act::End => end.cancel(),
                }
            });
        }
        let _ended = out
            .send(Err(Status::unavailable("the script ends the stream")))
            .await;
    }

    async fn act(&self, body: Ask) -> Act {
        if self.stalled.load(Ordering::SeqCst) {
            return Act::Nothing;
        }
        match body {
            Ask::Hello(hello) => Act::Tell(Box::new(self.hello(&hello))),
            Ask::Held(held) => {
                self.model
                    .see(|seen| seen.held.push((held.round, held.session, held.inos)));
                Act::Nothing
            }
            Ask::KeepAlive(alive) => {
                let far = self.far_ms.load(Ordering::SeqCst);
                if far > 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(far)).await;
                }
                Act::Tell(Box::new(self.alive(alive.session)))
            }
            Ask::NearestQuery(asked) => self.nearest(asked),
            Ask::LeasedQuery(_) | Ask::LeasedExecute(_) | Ask::Recalled(_) | Ask::RenewLease(_) => {
                panic!("leases were not offered")
            }
            Ask::MirrorQuery(asked) => self.mirror(asked),
            Ask::Execute(_) | Ask::Query(_) if self.deaf.load(Ordering::SeqCst) => Act::Nothing,
            Ask::Execute(bytes) => {
                let command = proto::codec::decode_command(&bytes).expect("a command");
                self.execute(&command).await
            }
            Ask::Query(query) => {
                self.model.see(|seen| seen.queries += 1);
                let query = query.convert().expect("a query");
                self.check_known(&query);
                let faults = &self.others;
                self.do_with(faults, || {
                    let (token, result) = self.model.answer(&query);
                    Tell::Answer(query_answer(token, result.as_ref().map_err(|r| *r)))
                })
            }
        }
    }

    fn nearest(&self, asked: v1::NearestQuery) -> Act {
        assert!(self.nearest.load(Ordering::SeqCst), "that was not offered");
        let query = asked.query.expect("a query").convert().expect("a query");
        self.check_known(&query);
        let fault = self.nearest_queries.lock().pop_front();
        let (mut token, result) = self.model.answer(&query);
        match fault {
            Some(NearestFault::Swallow) => return Act::Nothing,
            Some(NearestFault::Fail(kind)) => return Act::Tell(Box::new(self.failure(kind))),
            Some(NearestFault::Stale) => token = Token::default(),
            None => {}
        }
        self.nearest_answered.fetch_add(1, Ordering::SeqCst);
        let result = result.as_ref().map_err(|r| *r);
        Act::Tell(Box::new(Tell::Answer(query_answer(token, result))))
    }

    fn mirror(&self, asked: v1::MirrorQuery) -> Act {
        if !self.mirrors.load(Ordering::SeqCst) {
            return Act::Tell(Box::new(self.failure(FailureKind::Behind)));
        }
        let query = asked.query.expect("a query").convert().expect("a query");
        self.check_known(&query);
        let at_least = asked.at_least.expect("a token").convert().expect("a token");
        let (_, result) = self.model.answer(&query);
        let result = result.as_ref().map_err(|r| *r);
        Act::Tell(Box::new(Tell::Answer(query_answer(at_least, result))))
    }

    fn check_known(&self, query: &Query) {
        let of_paths = matches!(
            query.body,
            QueryBody::Resolve(_) | QueryBody::GetAttrs { .. }
        );
        let known = self.paths.load(Ordering::SeqCst);
        assert!(known || !of_paths, "that was not offered");
    }

    fn hello(&self, hello: &v1::Hello) -> Tell {
        self.model.see(|seen| {
            seen.hellos += 1;
            seen.attached.extend(&hello.sessions);
        });
        Tell::Hello(v1::HelloReply {
            version: self.hello_version.load(Ordering::SeqCst),
            node_id: self.id,
            leading: self.leading.load(Ordering::SeqCst),
            leader_hint: self.hint.lock().clone(),
            features: self.features(),
        })
    }

    fn features(&self) -> u64 {
        let offered = |flag: &AtomicBool, feature: v1::Feature| match flag.load(Ordering::SeqCst) {
            true => feature as u64,
            false => 0,
        };
        offered(&self.nearest, v1::Feature::Nearest) | offered(&self.paths, v1::Feature::Paths)
    }

    fn alive(&self, session: u64) -> Tell {
        if !self.leading.load(Ordering::SeqCst) {
            return self.failure(FailureKind::NotLeader);
        }
        self.model.see(|seen| match session {
            0 => seen.pings += 1,
            _ => *seen.alive.entry(session).or_default() += 1,
        });
        let lost = session != 0 && !self.model.has_session(meta_core::ids::SessionId(session));
        Tell::Alive(v1::SessionAlive {
            ttl_ms: self.ttl_ms.load(Ordering::SeqCst),
            lost,
        })
    }

    async fn execute(&self, command: &Command) -> Act {
        let faults = if matches!(command.body, CommandBody::Request(_)) {
            self.model.see(|seen| seen.requests += 1);
            while self.held_back.load(Ordering::SeqCst) {
                let released = self.release.notified();
                if self.held_back.load(Ordering::SeqCst) {
                    released.await;
                }
            }
            &self.requests
        } else {
            &self.others
        };
        self.do_with(faults, || {
            let reply = self.model.apply(command);
            Tell::Reply(proto::codec::encode_reply(&reply).into())
        })
    }

    fn do_with(&self, faults: &Mutex<VecDeque<Fault>>, work: impl FnOnce() -> Tell) -> Act {
        if !self.leading.load(Ordering::SeqCst) {
            return Act::Tell(Box::new(self.failure(FailureKind::NotLeader)));
        }
        let fault = faults.lock().pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::None => Act::Tell(Box::new(work())),
            Fault::DropBefore => Act::End,
            Fault::DropAfter => {
                drop(work());
                Act::End
            }
            Fault::Fail(kind) => Act::Tell(Box::new(self.failure(kind))),
            Fault::DoneButFail(kind) => {
                drop(work());
                Act::Tell(Box::new(self.failure(kind)))
            }
            Fault::Refuse(refusal) => {
                let answer = query_answer(Token::default(), Err(refusal));
                Act::Tell(Box::new(Tell::Answer(answer)))
            }
            Fault::Swallow => Act::Nothing,
            Fault::Nonsense => {
                drop(work());
                Act::Tell(Box::new(Tell::Reply(vec![99, 1, 2].into())))
            }
        }
    }

    fn failure(&self, kind: FailureKind) -> Tell {
        let leader_addr = match kind {
            FailureKind::NotLeader => self.hint.lock().clone(),
            _ => String::new(),
        };
        Tell::Failure(v1::Failure {
            kind: kind.into(),
            leader_addr,
            message: "scripted".into(),
        })
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for Service {
    async fn init(
        &self,
        _request: Request<v1::InitRequest>,
    ) -> Result<Response<v1::InitReply>, Status> {
        let already = self.0.initialised.swap(true, Ordering::SeqCst);
        Ok(Response::new(v1::InitReply {
            cluster_id: vec![5; 16],
            already,
        }))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusReply>, Status> {
        self.0.status_asked.fetch_add(1, Ordering::SeqCst);
        let initialised = self.0.initialised.load(Ordering::SeqCst);
        let leading = self.0.leading.load(Ordering::SeqCst);
        let named = self.0.named.lock().clone();
        let members = std::iter::once("a:1".to_owned()).chain(named).zip(1..);
        let volume = v1::VolumeStatus {
            id: 7,
            name: "vol".into(),
            uuid: vec![7; 16],
            role: "origin".into(),
            seq: 9,
            digest: "abc".into(),
            ..v1::VolumeStatus::default()
        };
        Ok(Response::new(v1::StatusReply {
            node_id: self.0.id,
            state: if leading { "leader" } else { "follower" }.into(),
            leader_id: u64::from(leading),
            members: members
                .map(|(addr, id)| v1::Member {
                    id,
                    addr,
                    ..v1::Member::default()
                })
                .collect(),
            volumes: vec![volume],
            cluster_id: if initialised { vec![5; 16] } else { Vec::new() },
            initialised,
            ..v1::StatusReply::default()
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderReply>, Status> {
        match request.into_inner().to {
            2 => Ok(Response::new(v1::TransferLeaderReply {})),
            to => Err(Status::invalid_argument(format!("{to} is no voter"))),
        }
    }

    async fn trigger_snapshot(
        &self,
        _request: Request<v1::TriggerSnapshotRequest>,
    ) -> Result<Response<v1::TriggerSnapshotReply>, Status> {
        Ok(Response::new(v1::TriggerSnapshotReply {}))
    }

    async fn add_learner(
        &self,
        _request: Request<v1::AddLearnerRequest>,
    ) -> Result<Response<v1::MembersReply>, Status> {
        Err(Status::unimplemented("clients do not change members"))
    }

    async fn promote(
        &self,
        _request: Request<v1::PromoteRequest>,
    ) -> Result<Response<v1::MembersReply>, Status> {
        Err(Status::unimplemented("clients do not change members"))
    }

    async fn remove(
        &self,
        _request: Request<v1::RemoveRequest>,
    ) -> Result<Response<v1::MembersReply>, Status> {
        Err(Status::unimplemented("clients do not change members"))
    }
}
