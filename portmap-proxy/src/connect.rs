//! Connecting a socket, at once where that can be.

use std::{io, net::SocketAddr};

use rustix::io::Errno;
use socket2::{SockAddr, Socket};
use tokio::net::TcpStream;

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
