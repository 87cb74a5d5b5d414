//! Connecting a socket, at once where that can be.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use rustix::io::Errno;
use socket2::{SockAddr, Socket};
use tokio::net::TcpStream;

use crate::Dial;

/// Connects to the first of a dial's addresses where somebody listens.
///
/// # Errors
/// That nobody listens, where one address says so: the container is there. Else what the first one said.
pub(crate) async fn connect_any<F>(
    dial: Dial,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<TcpStream>
where
    F: Future<Output = io::Result<TcpStream>>,
{
    let mut failed: Option<io::Error> = None;
    for addr in dial.addrs() {
        match connect(addr).await {
            Err(error) if is_elsewhere(&error) => {
                let refused = error.kind() == ErrorKind::ConnectionRefused;
                match failed {
                    Some(_) if !refused => {}
                    _ => failed = Some(error),
                }
            }
            done => return done,
        }
    }
    Err(failed.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()))
}

/// Whether an address has said that nothing is to be had there, and another one may have it: refused, no way there, or not a
/// family of this host or namespace.
fn is_elsewhere(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    let elsewhere = [
        Errno::CONNREFUSED,
        Errno::NETUNREACH,
        Errno::HOSTUNREACH,
        Errno::ADDRNOTAVAIL,
        Errno::AFNOSUPPORT,
    ];
    errno.is_some_and(|errno| elsewhere.contains(&errno))
}

/// Connects a socket that does not block.
///
/// On one host a container's answer is mostly there before `connect(2)` has returned, which does not say so. A second call
/// does: then nothing is waited for, neither the runtime's turn nor the timer that bounds it.
pub(crate) async fn connect(socket: Socket, addr: SocketAddr) -> io::Result<TcpStream> {
    let connected = begin(&socket, &addr.into())?;
    let stream = TcpStream::from_std(socket.into())?;
    if !connected {
        stream.writable().await?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    Ok(stream)
}

/// Says whether it is connected already.
fn begin(socket: &Socket, addr: &SockAddr) -> io::Result<bool> {
    for under_way in [Errno::INPROGRESS, Errno::ALREADY] {
        match socket.connect(addr) {
            Ok(()) => return Ok(true),
            Err(error) if Errno::from_io_error(&error) == Some(under_way) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
