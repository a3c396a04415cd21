//! Just enough HTTP to ask a node's own port a question.

use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of an answer that are read at most.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Gets `path` from `addr`: the status code and the body.
///
/// # Errors
/// What went wrong, as text: nobody listens, or no answer within `within`.
pub async fn get(addr: &str, path: &str, within: Duration) -> Result<(u16, String), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(within, exchange)
        .await
        .map_err(|_| format!("{addr} did not answer in {} s", within.as_secs_f32()))?
        .map_err(|error| format!("{addr}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no end of headers")?;
    let code = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok());
    Ok((code.ok_or("no status code")?, body.to_owned()))
}

/// Whether the node whose HTTP port is `addr` says that it is ready.
///
/// # Errors
/// Why it is not.
pub async fn ready(addr: &str, within: Duration) -> Result<(), String> {
    match get(addr, "/readyz", within).await? {
        (200, _) => Ok(()),
        (code, body) => Err(format!("/readyz answers {code}: {}", body.trim())),
    }
}

/// A number among the node's metrics.
///
/// # Errors
/// When the node does not answer, or has no such metric.
pub async fn metric(addr: &str, name: &str, within: Duration) -> Result<f64, String> {
    let (_, body) = get(addr, "/metrics", within).await?;
    let value = body
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let number = value.and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| format!("{addr} has no metric {name}"))
}
