//! One request over a Unix socket.
//!
//! In HTTP/1.0 an answer is whatever comes until the connection ends: no chunks, no connection that is kept. A client
//! library for more than that would be the largest part of the tool.

use std::{io, path::Path, time::Duration};

use portmap::BoxError;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

/// How long the daemon may take to answer. It is on this host, and what it is asked it knows.
const LIMIT: Duration = Duration::from_secs(10);

/// A longer answer than this to an ordinary question is none.
const MOST: u64 = 8 << 20;

/// An answer whose head was read.
pub(super) struct Answer {
    pub(super) status: u16,
    /// What of the body came with the head.
    begun: Vec<u8>,
    stream: UnixStream,
}

/// Asks, and reads the head of the answer.
pub(super) async fn get(socket: &Path, path: &str) -> Result<Answer, BoxError> {
    let asked = timeout(LIMIT, request(socket, path)).await;
    let failed = |cause: BoxError| {
        let hint = match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => ": be root, or in the group of the socket",
            Some(io::ErrorKind::NotFound) => ": is Docker here? DOCKER_HOST may name its socket",
            _ => "",
        };
        format!("Docker cannot be asked at {}: {cause}{hint}", socket.display())
    };
    match asked {
        Ok(answer) => answer.map_err(|error| failed(error).into()),
        Err(_) => Err(failed(format!("no answer within {LIMIT:?}").into()).into()),
    }
}

async fn request(socket: &Path, path: &str) -> Result<Answer, BoxError> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err("the answer ends in its head".into());
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(length) = head.parse(&read)? {
            let status = head.code.ok_or("the answer has no status")?;
            return Ok(Answer { status, begun: read.split_off(length), stream });
        }
    }
}

impl Answer {
    /// All of the body.
    pub(super) async fn body(self) -> Result<Vec<u8>, BoxError> {
        let mut body = Vec::new();
        let mut rest = self.into_body().take(MOST);
        timeout(LIMIT, rest.read_to_end(&mut body))
            .await
            .map_err(|_| "the answer does not end")??;
        Ok(body)
    }

    /// The body as it comes.
    pub(super) fn into_body(self) -> impl AsyncRead + Unpin + Send {
        io::Cursor::new(self.begun).chain(self.stream)
    }
}
