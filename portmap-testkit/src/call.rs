//! Calling the webapp, and the ways in which that fails.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::node::Node;
use crate::page::Page;

/// Long enough for a lab on a busy machine; the kernel repeats a lost SYN only after a second.
const LIMIT: Duration = Duration::from_secs(1);

/// More than any page: who sends more is no webapp.
const MOST: u64 = 64 * 1024;

impl Node {
    /// Calls a webapp from this node over HTTP; waits a second at most.
    ///
    /// # Errors
    /// How it failed: see [`CallError`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn get(&self, to: SocketAddr) -> Result<Page, CallError> {
        self.run(Page::get(to, LIMIT)).await
    }

    /// Asks a webapp from this node with one UDP datagram; waits a second at most.
    ///
    /// # Errors
    /// How it failed: see [`CallError`]. An answer from another address than the one asked doesn't
    /// count: [`CallError::Dropped`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn ask_udp(&self, to: SocketAddr) -> Result<Page, CallError> {
        self.run(Page::ask_udp(to, b"who calls?".to_vec(), LIMIT)).await
    }
}

impl Page {
    /// Calls a webapp over HTTP, from the namespace of the calling thread.
    ///
    /// # Errors
    /// How it failed: see [`CallError`].
    pub async fn get(to: SocketAddr, limit: Duration) -> Result<Self, CallError> {
        let mut reply = Vec::new();
        let fetched = within(limit, fetch(to, &mut reply)).await;
        fetched.map_err(|error| match error {
            CallError::Dropped(_) if !reply.is_empty() => {
                garbled("a reply that stops short", &reply)
            }
            other => other,
        })?;
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head)) = response.parse(&reply) else {
            return Err(garbled("no HTTP response", &reply));
        };
        if response.code != Some(200) {
            return Err(garbled("another status than 200", &reply));
        }
        let body = std::str::from_utf8(&reply[head..]).ok();
        body.and_then(Self::parse).ok_or_else(|| garbled("no page", &reply))
    }

    /// Asks a webapp with one UDP datagram, from the namespace of the calling thread. The datagram may
    /// be empty.
    ///
    /// # Errors
    /// How it failed: see [`CallError`].
    pub async fn ask_udp(
        to: SocketAddr,
        datagram: Vec<u8>,
        limit: Duration,
    ) -> Result<Self, CallError> {
        let reply = within(limit, async {
            let any: SocketAddr = if to.is_ipv4() {
                (Ipv4Addr::UNSPECIFIED, 0).into()
            } else {
                (Ipv6Addr::UNSPECIFIED, 0).into()
            };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(to).await?;
            socket.send(&datagram).await?;
            let mut buffer = vec![0; 2048];
            let count = socket.recv(&mut buffer).await?;
            buffer.truncate(count);
            Ok(buffer)
        });
        let reply = reply.await?;
        let text = std::str::from_utf8(&reply).ok();
        text.and_then(Self::parse).ok_or_else(|| garbled("no page", &reply))
    }
}

async fn fetch(to: SocketAddr, reply: &mut Vec<u8>) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.take(MOST).read_to_end(reply).await?;
    Ok(())
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = io::Result<T>>,
) -> Result<T, CallError> {
    match timeout(limit, call).await {
        Ok(result) => result.map_err(CallError::from),
        Err(_) => Err(CallError::Dropped(limit)),
    }
}

fn garbled(what: &str, reply: &[u8]) -> CallError {
    CallError::Garbled(format!("{what}: {:?}", String::from_utf8_lossy(reply)))
}

/// A call failed, and how: for a published port the difference matters.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody listens there, and the kernel said so at once.
    Refused,
    /// Nothing came within the limit: a filter drops the packets, or a server hangs.
    Dropped(Duration),
    /// The connection was made and broken.
    Reset,
    /// There is no way there: no route, or a filter says so.
    Unreachable,
    /// Something else than a page came; this is what.
    Garbled(String),
    /// Another failure of this side.
    Io(io::Error),
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
            NetworkUnreachable, PermissionDenied,
        };
        match error.kind() {
            ConnectionRefused => Self::Refused,
            ConnectionReset | ConnectionAborted | BrokenPipe => Self::Reset,
            // The last is what ICMPv6 "administratively prohibited" becomes.
            HostUnreachable | NetworkUnreachable | PermissionDenied => Self::Unreachable,
            _ => Self::Io(error),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Dropped(limit) => write!(f, "nothing came within {limit:?}"),
            Self::Reset => f.write_str("reset"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Garbled(what) => f.write_str(what),
            Self::Io(_) => f.write_str("the call failed on this side"),
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}
