//! The loops of the service.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Seen;
use super::http::{self, HEAD_LIMIT, Head};
use super::proxied::{self, Introduction};
use crate::page::Page;

/// How long a closed connection's peer may go on sending. Closed with bytes unread, the kernel resets
/// the connection, and the reset may overtake the answer.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Service {
    pub(super) hostname: Arc<str>,
    pub(super) seen: Seen,
    /// Whether a proxy tells who is calling.
    pub(super) proxied: bool,
}

impl Service {
    fn page(&self, peer: SocketAddr) -> String {
        let address = peer.ip().to_canonical();
        self.seen.add(SocketAddr::new(address, peer.port()));
        Page::new(&self.hostname, address).to_string()
    }
}

pub(super) async fn tcp(listener: TcpListener, service: Service) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let service = service.clone();
                connections.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    // The peer went: nobody is left to tell.
                    let _ = converse(stream, peer, &service).await;
                });
            }
            // No file descriptor is left, say: connections that end will give some back.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

pub(super) async fn udp(socket: UdpSocket, service: Service) {
    let mut buffer = [0; 2048];
    loop {
        // An error is about an answer that could not be delivered: the next datagram is another's.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let caller = match service.proxied {
            false => peer,
            true => match proxied::of_datagram(&buffer[..length]) {
                Introduction::Whole { client, .. } => client.unwrap_or(peer),
                Introduction::Partial | Introduction::Refused => continue,
            },
        };
        let _ = socket.send_to(service.page(caller).as_bytes(), peer).await;
    }
}

async fn converse<S>(mut stream: S, peer: SocketAddr, service: &Service) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = Vec::with_capacity(1024);
    let peer = match service.proxied {
        true => match introduced(&mut stream, &mut bytes).await? {
            Some(client) => client.unwrap_or(peer),
            None => return linger(stream).await,
        },
        false => peer,
    };
    loop {
        let (answer, keep) = match http::parse(&bytes) {
            Head::Partial => {
                let room = (HEAD_LIMIT - bytes.len()) as u64;
                if (&mut stream).take(room).read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
                continue;
            }
            Head::Request { length, body, keep } => {
                bytes.drain(..length);
                (http::response("200 OK", &service.page(peer), body, keep), keep)
            }
            Head::Bare => (service.page(peer), false),
            Head::Refused(status) => {
                (http::response(status, &format!("{status}\n"), true, false), false)
            }
        };
        stream.write_all(answer.as_bytes()).await?;
        if !keep {
            return linger(stream).await;
        }
    }
}

/// Reads whom a proxy names: `Some(None)` where that is itself, `None` where no proxy is calling.
async fn introduced(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<Option<Option<SocketAddr>>> {
    loop {
        match proxied::of_stream(bytes) {
            Introduction::Whole { client, length } => {
                bytes.drain(..length);
                return Ok(Some(client));
            }
            Introduction::Refused => return Ok(None),
            Introduction::Partial => {
                let room = (proxied::LIMIT - bytes.len()) as u64;
                if (&mut *stream).take(room).read_buf(bytes).await? == 0 {
                    return Ok(None);
                }
            }
        }
    }
}

async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    let _ = timeout(LINGER, async { while let Ok(1..) = stream.read(&mut rest).await {} }).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the service answers when all of `request` comes at once and the peer then stops sending.
    async fn answer(request: &str) -> String {
        answer_of(false, request).await
    }

    async fn answer_of(proxied: bool, request: &str) -> String {
        let service = Service { hostname: "web".into(), seen: Seen::default(), proxied };
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let served = async move {
            let _ = converse(server, "[::ffff:192.0.2.7]:1234".parse().unwrap(), &service).await;
        };
        let asked = async move {
            client.write_all(request.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::join!(served, asked).1
    }

    #[tokio::test]
    async fn a_page_tells_name_and_peer() {
        let answer = answer("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(
            answer,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 35\r\nConnection: keep-alive\r\n\r\n\
             Hostname: web\nRemote IP: 192.0.2.7\n"
        );
    }

    #[tokio::test]
    async fn a_bare_get_is_answered_with_the_body_alone() {
        assert_eq!(answer("GET /\r\n\r\n").await, "Hostname: web\nRemote IP: 192.0.2.7\n");
    }

    #[tokio::test]
    async fn requests_in_a_row_are_answered_in_a_row() {
        let both =
            answer("GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
        assert_eq!(both.matches("200 OK").count(), 2);
        assert_eq!(both.matches("Hostname").count(), 1);
        assert_eq!(both.matches("Connection: close").count(), 1);
    }

    #[tokio::test]
    async fn a_proxied_service_shows_whom_the_proxy_names_and_answers_nobody_else() {
        let line = "PROXY TCP4 198.51.100.7 192.0.2.1 4000 80\r\n";
        let page = "Hostname: web\nRemote IP: 198.51.100.7\n";
        assert_eq!(answer_of(true, &format!("{line}GET /\r\n\r\n")).await, page);
        for request in ["GET /\r\n\r\n", "", "PROXY TCP4", "PROXY TCP4 x\r\nGET /\r\n\r\n"] {
            assert_eq!(answer_of(true, request).await, "", "{request:?}");
        }
        // And one that is not proxied takes nobody's word.
        let answer = answer(&format!("{line}GET / HTTP/1.1\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "));
    }

    #[tokio::test]
    async fn nonsense_is_refused_and_the_connection_closed() {
        assert!(answer("\u{1}\u{2}\u{3}\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        assert!(answer(&"a".repeat(9000)).await.starts_with("HTTP/1.1 431 "));
    }
}
