//! As much of HTTP/1.1 as the proxy has to see: messages with a head and a body of known length.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// A request or an answer.
#[derive(Debug)]
pub(super) struct Message {
    /// With the empty line.
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// The next one of a connection, if there is one. Some answers have a length and no body.
    pub(super) async fn read(
        from: &mut (impl AsyncBufRead + Unpin),
        has_body: bool,
    ) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if from.read_until(b'\n', &mut head).await? == 0 {
                return Ok(None);
            }
        }
        let mut message = Self {
            head,
            body: Vec::new(),
        };
        assert_eq!(message.header("transfer-encoding"), None, "not needed here");
        let len = message.header("content-length");
        if let (true, Some(len)) = (has_body, len) {
            message.body = vec![0; len.parse().expect("a length")];
            from.read_exact(&mut message.body).await?;
        }
        Ok(Some(message))
    }

    /// A header's value; its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head);
        head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.to_ascii_lowercase() == name).then(|| value.trim().to_owned())
        })
    }

    /// The first line's words.
    pub(super) fn start(&self) -> Vec<String> {
        let head = String::from_utf8_lossy(&self.head);
        let line = head.lines().next().unwrap_or_default();
        line.split(' ').map(str::to_owned).collect()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }
}
