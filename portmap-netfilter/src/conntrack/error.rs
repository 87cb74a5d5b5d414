//! Why connection tracking did not do as it was asked.

use std::{error, fmt, io};

use portmap_core::{Error, ErrorKind};

use crate::error::failed;

/// Why connection tracking did not do as it was asked. Where it was to forget, entries may be left, and their flows go where
/// they went before.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConntrackError {
    /// There is no socket to netfilter: no privilege, or a kernel without it.
    Open(io::Error),
    /// Entries could not be listed.
    List(io::Error),
    /// An entry could not be deleted.
    Delete(io::Error),
    /// The thread that speaks to the kernel has ended.
    Closed,
}

impl ConntrackError {
    /// What kind of failure it is, in the words of [`Error`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(source) | Self::List(source) | Self::Delete(source)
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                ErrorKind::Denied
            }
            Self::Closed => ErrorKind::Closed,
            _ => ErrorKind::Backend,
        }
    }
}

impl fmt::Display for ConntrackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "no socket to connection tracking",
            Self::List(_) => "connection tracking's entries could not be listed",
            Self::Delete(_) => "an entry of connection tracking could not be deleted",
            Self::Closed => "nothing speaks to connection tracking any more",
        })
    }
}

impl error::Error for ConntrackError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Open(source) | Self::List(source) | Self::Delete(source) => Some(source),
            Self::Closed => None,
        }
    }
}

impl From<ConntrackError> for Error {
    fn from(error: ConntrackError) -> Self {
        failed(error.kind(), "connection tracking did not do as it was asked").with_source(error)
    }
}
