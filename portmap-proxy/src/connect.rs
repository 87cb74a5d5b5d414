//! Connecting a socket, at once where that can be.

use std::io;

use rustix::{io::Errno, net::sockopt::set_tcp_quickack};
use socket2::{SockAddr, Socket};
use tokio::net::TcpStream;

use crate::Dial;

/// Connects a socket that does not block.
///
/// On one host a container's answer is mostly there before `connect(2)` has returned, which does not say so. A second call
/// does: then nothing is waited for, neither the runtime's turn nor the timer that bounds it.
///
/// Where something is written at once, that carries the last step of the handshake too: a segment less, and the container
/// finds what is said when it accepts. Else the kernel would hold that step back for up to 200 ms, and a container that speaks
/// first would be silent for so long. The kernel ends this mode itself when the connection stands.
pub(crate) async fn connect(socket: Socket, dial: &Dial) -> io::Result<TcpStream> {
    if dial.speaks() {
        // A gain, no need.
        let _ = set_tcp_quickack(&socket, false);
    }
    let connected = begin(&socket, &dial.addr().into())?;
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
