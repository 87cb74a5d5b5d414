//! One request over a Unix socket.
//!
//! In HTTP/1.0 an answer is whatever comes until the connection ends: no chunks, no connection that is kept. A client
//! library for more than that would be the largest part of the tool.
//!
//! What answers need not be Docker, or not be well: nothing that it says is waited for without a limit or kept without one.

use std::{io, path::Path, time::Duration};

use httparse::{Header, Status};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use super::error::Unheard;

/// How long the daemon may take to answer. It is on this host, and what it is asked it knows.
const LIMIT: Duration = Duration::from_secs(10);

/// Docker's own head has some 200 bytes.
const HEAD: usize = 16 << 10;

/// A network of a thousand containers is described by some 300 kB.
const BODY: usize = 8 << 20;

/// An answer whose head was read.
pub(super) struct Answer {
    pub(super) status: u16,
    /// How long the body is, where the head says so.
    length: Option<usize>,
    /// What of the body came with the head.
    begun: Vec<u8>,
    stream: UnixStream,
}

/// Asks, and reads the head of the answer.
pub(super) async fn get(socket: &Path, path: &str) -> Result<Answer, Unheard> {
    timeout(LIMIT, request(socket, path)).await.unwrap_or(Err(Unheard::Late(LIMIT)))
}

async fn request(socket: &Path, path: &str) -> Result<Answer, Unheard> {
    let mut stream = UnixStream::connect(socket).await.map_err(Unheard::Socket)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(Unheard::Socket)?;
    let mut read = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut read).await.map_err(Unheard::Socket)? == 0 {
            return Err(Unheard::Short);
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        if let Status::Complete(end) = head.parse(&read).map_err(Unheard::Http)? {
            let status = head.code.ok_or(Unheard::Short)?;
            let length = length(head.headers)?;
            return Ok(Answer { status, length, begun: read.split_off(end), stream });
        }
        if read.len() >= HEAD {
            return Err(Unheard::Long { part: "the head of the answer", most: HEAD });
        }
    }
}

/// How long the body is said to be.
fn length(headers: &[Header<'_>]) -> Result<Option<usize>, Unheard> {
    let find = |name: &str| {
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value))
    };
    if let Some(how) = find("Transfer-Encoding") {
        return Err(Unheard::Encoded(how.into_owned()));
    }
    Ok(find("Content-Length").and_then(|length| length.trim().parse().ok()))
}

impl Answer {
    /// All of the body.
    pub(super) async fn body(self) -> Result<Vec<u8>, Unheard> {
        let said = self.length;
        let long = Unheard::Long { part: "the answer", most: BODY };
        if said.is_some_and(|length| length > BODY) {
            return Err(long);
        }
        let mut body = Vec::new();
        let mut rest = self.into_body().take(said.unwrap_or(BODY + 1) as u64);
        let read = timeout(LIMIT, rest.read_to_end(&mut body)).await;
        read.map_err(|_| Unheard::Late(LIMIT))?.map_err(Unheard::Socket)?;
        match said {
            _ if body.len() > BODY => Err(long),
            Some(length) if body.len() < length => Err(Unheard::Short),
            _ => Ok(body),
        }
    }

    /// The body as it comes.
    pub(super) fn into_body(self) -> impl AsyncRead + Unpin + Send {
        io::Cursor::new(self.begun).chain(self.stream)
    }
}
