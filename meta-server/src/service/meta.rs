//! Accepts clients: one bidirectional stream each.

use super::stream::ClientStream;
use crate::answers::answers;
use crate::listener::Line;
use crate::node::Core;
use futures::Stream;
use proto::v1;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

/// Clients connected to one node.
const STREAMS_MAX: usize = 4096;

/// Answers clients.
#[derive(Clone)]
pub(crate) struct MetaService {
    core: Arc<Core>,
    streams: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl fmt::Debug for MetaService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaService").finish_non_exhaustive()
    }
}

impl MetaService {
    /// Streams run in `tasks` until `stop`.
    pub(crate) fn new(core: Arc<Core>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            core,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            tasks,
            stop,
        }
    }
}

#[tonic::async_trait]
impl v1::meta_server::Meta for MetaService {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<v1::ServerFrame, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ClientFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            let message = format!("this node serves {STREAMS_MAX} clients already");
            return Err(Status::resource_exhausted(message));
        };
        let line = request.extensions().get::<Line>().cloned();
        let (outbox, answers) = answers(line);
        let stream = ClientStream::new(Arc::clone(&self.core), outbox, self.tasks.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stream.run(request.into_inner(), stop).await;
            drop(permit);
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
