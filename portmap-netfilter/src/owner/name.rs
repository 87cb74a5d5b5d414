//! An abstract address that says who owns a prefix.

use std::{
    io,
    net::Shutdown,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    thread,
    time::Duration,
};

/// How long, and how often, to wait for an address that was given up and is not free yet.
const WAIT: Duration = Duration::from_millis(1);
const TIMES: usize = 100;

/// An abstract address that nobody else in the network namespace can have meanwhile.
#[derive(Debug)]
pub(super) struct Name {
    socket: UnixDatagram,
}

/// The address's name, without the byte 0 that makes it abstract.
pub(super) fn of(owned: &str) -> String {
    format!("portmap/rules/{owned}")
}

impl Name {
    /// Takes the address; `None` where somebody has it.
    pub(super) fn take(owned: &str) -> io::Result<Option<Self>> {
        let address = SocketAddr::from_abstract_name(of(owned))?;
        for _ in 0..TIMES {
            match UnixDatagram::bind_addr(&address) {
                Ok(socket) => return Ok(Some(Self { socket })),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
                Err(_) if is_given_up(&address).unwrap_or(false) => thread::sleep(WAIT),
                Err(_) => break,
            }
        }
        Ok(None)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Says that it is given up to those who find the address still there. If that fails, they are told Busy.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Whether the socket of this address takes nothing any more.
fn is_given_up(address: &SocketAddr) -> io::Result<bool> {
    let probe = UnixDatagram::unbound()?;
    probe.set_nonblocking(true)?;
    let sent = probe.connect_addr(address).and_then(|()| probe.send(&[]));
    Ok(sent.is_err_and(|error| {
        // By now it may also be gone.
        matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionRefused)
    }))
}
