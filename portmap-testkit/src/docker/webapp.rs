//! The webapp as a program of its own, for a container that has nothing else: it answers who is calling, over TCP and UDP.
//!
//! `portmap-webapp [PORT]`. It is what [`Webapp`](https://docs.rs/portmap-testkit) is in a process, with threads in place
//! of a runtime and the standard library alone, so that `build.rs` can link it statically.

use std::io::{self, BufRead, BufReader, ErrorKind, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use std::{env, fs, process, thread};

#[path = "../page.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is the test kit's, which also reads pages")]
mod page;

use page::Page;

/// No request head is longer than this; curl's has about 80 bytes.
const HEAD_LIMIT: u64 = 8 * 1024;

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(30);

fn main() {
    if let Err(error) = serve() {
        eprintln!("portmap-webapp: {error}");
        process::exit(1);
    }
}

fn serve() -> io::Result<()> {
    let port = env::args().nth(1).map_or(Ok(80), |port| port.parse());
    let port = port.map_err(|_| io::Error::new(ErrorKind::InvalidInput, "that is no port"))?;
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
    // Every address of both families, where the kernel has both.
    let anywhere: [SocketAddr; 2] =
        [(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()];
    let datagrams = UdpSocket::bind(&anywhere[..])?;
    let listener = TcpListener::bind(&anywhere[..])?;
    thread::scope(|scope| {
        scope.spawn(|| answer_datagrams(&datagrams, &hostname));
        for connection in listener.incoming() {
            match connection {
                Ok(connection) => {
                    let hostname = &hostname;
                    scope.spawn(move || answer(connection, hostname));
                }
                // Out of descriptors, say: the next one may fare better.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    });
    Ok(())
}

fn answer_datagrams(datagrams: &UdpSocket, hostname: &str) {
    let mut ignored = [0; 1];
    loop {
        // What is longer is cut, and an error is about an earlier answer.
        if let Ok((_, from)) = datagrams.recv_from(&mut ignored) {
            let page = Page::new(hostname, from.ip()).to_string();
            let _ = datagrams.send_to(page.as_bytes(), from);
        }
    }
}

/// Answers requests until the peer has no more.
fn answer(connection: TcpStream, hostname: &str) -> io::Result<()> {
    connection.set_read_timeout(Some(SILENCE))?;
    connection.set_nodelay(true)?;
    let page = Page::new(hostname, connection.peer_addr()?.ip()).to_string();
    let mut reader = BufReader::new(&connection);
    loop {
        let head = read_head(&mut reader)?;
        let (response, keep) = respond(&head, &page);
        (&connection).write_all(response.as_bytes())?;
        if !keep {
            return Ok(());
        }
    }
}

/// The lines up to an empty one, without their ends.
fn read_head(reader: impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = reader.take(HEAD_LIMIT);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" if head.is_empty() => {}
            "" => return Ok(head),
            text => head.push(text.to_owned()),
        }
    }
}

/// The response, and whether another request may follow.
fn respond(head: &[String], page: &str) -> (String, bool) {
    let mut words = head.first().map(|line| line.split_whitespace()).into_iter().flatten();
    let (method, _path, version) = (words.next(), words.next(), words.next());
    let (status, text, close) = match (method, version) {
        // As it was in 1991, and as one types it into telnet.
        (Some("GET"), None) => return (page.to_owned(), false),
        (Some("GET" | "HEAD"), Some(version)) => ("200 OK", page, version != "HTTP/1.1"),
        _ => ("405 Method Not Allowed", "", true),
    };
    let close = close || head.iter().any(|line| line.eq_ignore_ascii_case("connection: close"));
    let connection = if close { "close" } else { "keep-alive" };
    let body = if method == Some("HEAD") { "" } else { text };
    let length = text.len();
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\n\r\n{body}"
    );
    (response, !close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Vec<String> {
        read_head(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_request_typed_into_telnet_is_answered_with_the_page_alone() {
        assert_eq!(respond(&head("GET /\r\n\r\n"), "page"), ("page".to_owned(), false));
    }

    #[test]
    fn connections_are_kept_alive_unless_asked_to_close() {
        let (response, keep) = respond(&head("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "page");
        assert!(keep && response.ends_with("\r\n\r\npage"), "{response}");
        assert!(!respond(&head("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), "page").1);
        assert!(!respond(&head("GET / HTTP/1.0\n\n"), "page").1);
    }

    #[test]
    fn a_head_that_does_not_end_is_refused() {
        assert!(read_head("GET /".as_bytes()).is_err());
        assert!(read_head("x: y\n".repeat(4000).as_bytes()).is_err());
    }
}
