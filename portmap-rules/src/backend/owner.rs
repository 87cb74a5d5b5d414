//! One owner of a name in a network namespace.

use std::{
    error, fmt, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
};

use portmap_core::{Error, ErrorKind};

use crate::Prefix;

/// The right to be the one that manages a name's rules in a network namespace, until it is dropped.
///
/// It is an abstract Unix socket that nobody connects to, and not a locked file: the kernel keeps such addresses for
/// each network namespace, just as it keeps rules; they need no directory, no privilege and no cleaning up, and end
/// with the process. A file's lock would hold for all namespaces that see the file, or for none.
///
/// Any process in the namespace can take an address. One that means harm can so keep an owner from starting; it
/// gains nothing else by it.
#[derive(Debug)]
pub struct OwnerLock {
    _socket: UnixListener,
}

impl OwnerLock {
    /// Becomes the owner of a prefix in the network namespace of the calling thread. Prefixes that differ in case
    /// alone are the same, as are their nftables tables.
    ///
    /// # Errors
    /// [`OwnerError::Busy`] where somebody is.
    pub fn acquire(prefix: &Prefix) -> Result<Self, OwnerError> {
        let name = format!("portmap/rules/{}", prefix.as_str().to_ascii_lowercase());
        let address = SocketAddr::from_abstract_name(&name).map_err(OwnerError::Socket)?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(OwnerError::Busy(prefix.clone()))
            }
            Err(error) => Err(OwnerError::Socket(error)),
        }
    }
}

/// Why something is not the owner of a prefix.
#[derive(Debug)]
#[non_exhaustive]
pub enum OwnerError {
    /// Somebody else in this network namespace is, this process included.
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
        Self::new(error.kind(), "the rules have another owner").with_source(error)
    }
}
