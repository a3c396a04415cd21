//! Connections to nodes, all with the same bounds.

use crate::error::Failure;
use crate::transport;
use meta_core::limits::MESSAGE_BYTES_MAX;
use proto::v1::admin_client::AdminClient;
use proto::v1::changelog_client::ChangelogClient;
use proto::v1::meta_client::MetaClient;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// HTTP/2 pings find a dead host while nobody waits for an answer.
const PING_EVERY: Duration = Duration::from_secs(1);
const PING_LIMIT: Duration = Duration::from_secs(2);
/// Bytes under way on a stream and on its connection: more than a page of answers.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Connects to one node.
pub(crate) async fn connect(addr: &str) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))
        .map_err(|error| Failure::Unreachable(format!("{addr}: {error}")))?
        .connect_timeout(CONNECT_LIMIT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let connected = tokio::time::timeout(CONNECT_LIMIT, transport::connect(&endpoint)).await;
    match connected {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(Failure::Unreachable(format!(
            "{addr}: {}",
            root_cause(&error)
        ))),
        Err(_elapsed) => Err(Failure::Unreachable(format!(
            "{addr}: no connection in time"
        ))),
    }
}

/// The innermost words: tonic's own are only "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

pub(crate) fn meta(channel: Channel) -> MetaClient<Channel> {
    MetaClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) fn admin(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

pub(crate) fn changelog(channel: Channel) -> ChangelogClient<Channel> {
    ChangelogClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
