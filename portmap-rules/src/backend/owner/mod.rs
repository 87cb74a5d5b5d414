//! One owner of a name in a network namespace.

use std::{
    error, fmt, io,
    net::Shutdown,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    thread,
    time::Duration,
};

use portmap_core::{Error, ErrorKind};

use crate::Prefix;

/// How long, and how often, to wait for an address that was given up and is not free yet.
const WAIT: Duration = Duration::from_millis(1);
const TIMES: usize = 100;

/// The right to be the one that manages a name's rules in a network namespace, until it is dropped.
///
/// It is an abstract Unix socket that nobody talks to, and not a locked file: the kernel keeps such addresses for
/// each network namespace, just as it keeps rules; they need no directory, no privilege and no cleaning up, and end
/// with the process. A file's lock would hold for all namespaces that see the file, or for none.
///
/// Any process in the namespace can take an address. One that means harm can so keep an owner from starting; it
/// gains nothing else by it.
#[derive(Debug)]
pub struct OwnerLock {
    socket: UnixDatagram,
}

impl OwnerLock {
    /// Becomes the owner of a prefix in the network namespace of the calling thread. Prefixes that differ in case
    /// alone are the same, as are their nftables tables.
    ///
    /// It waits only for an owner that has given up, and whose process is just starting another one: between fork and
    /// exec that one has the socket as well. That is about a millisecond.
    ///
    /// # Errors
    /// [`OwnerError::Busy`] where somebody is.
    pub fn acquire(prefix: &Prefix) -> Result<Self, OwnerError> {
        let name = format!("portmap/rules/{}", prefix.as_str().to_ascii_lowercase());
        let address = SocketAddr::from_abstract_name(&name).map_err(OwnerError::Socket)?;
        for _ in 0..TIMES {
            match UnixDatagram::bind_addr(&address) {
                Ok(socket) => return Ok(Self { socket }),
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    return Err(OwnerError::Socket(error));
                }
                Err(_) if is_given_up(&address).unwrap_or(false) => thread::sleep(WAIT),
                Err(_) => break,
            }
        }
        Err(OwnerError::Busy(prefix.clone()))
    }
}

impl Drop for OwnerLock {
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

/// Why something is not the owner of a prefix.
#[derive(Debug)]
#[non_exhaustive]
pub enum OwnerError {
    /// Another owner in this network namespace has the prefix, in this process or another.
    Busy(Prefix),
    /// The kernel has no socket for it.
    Socket(io::Error),
}

impl OwnerError {
    /// What kind of failure it is, in the words of [`Error`].
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy(_) => ErrorKind::Busy,
            Self::Socket(_) => ErrorKind::Backend,
        }
    }
}

impl fmt::Display for OwnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(prefix) => {
                write!(f, "the rules of {prefix} are somebody else's in this network namespace")
            }
            Self::Socket(_) => f.write_str("the rules could not be claimed"),
        }
    }
}

impl error::Error for OwnerError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Busy(_) => None,
            Self::Socket(source) => Some(source),
        }
    }
}

impl From<OwnerError> for Error {
    fn from(error: OwnerError) -> Self {
        let message = match error {
            OwnerError::Busy(_) => "the rules have another owner",
            OwnerError::Socket(_) => "whether the rules have another owner is not known",
        };
        Self::new(error.kind(), message).with_source(error)
    }
}
