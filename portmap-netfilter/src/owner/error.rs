//! Why something is not the owner of a prefix.

use std::{error, fmt, io};

use portmap_core::{Error, ErrorKind};
use portmap_rules::Prefix;

/// Why something is not the owner of a prefix.
#[derive(Debug)]
#[non_exhaustive]
pub enum OwnerError {
    /// Another owner in this network namespace has the prefix, in this process or another.
    Busy {
        /// The prefix.
        prefix: Prefix,
        /// Who has it, as far as that can be seen: `dockerd (pid 448)`, or `a process of user 1000`. A process chooses
        /// its name, so what doesn't belong in a line of text is escaped.
        holder: Option<String>,
    },
    /// The kernel has no socket for it.
    Socket(io::Error),
}

impl OwnerError {
    /// What kind of failure it is, in the words of [`Error`].
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Socket(_) => ErrorKind::Backend,
        }
    }
}

impl fmt::Display for OwnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { prefix, holder: Some(holder) } => {
                write!(f, "the rules of {prefix} belong to {holder} in this network namespace")
            }
            Self::Busy { prefix, holder: None } => {
                write!(f, "the rules of {prefix} are somebody else's in this network namespace")
            }
            Self::Socket(_) => f.write_str("the rules could not be claimed"),
        }
    }
}

impl error::Error for OwnerError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Busy { .. } => None,
            Self::Socket(source) => Some(source),
        }
    }
}

impl From<OwnerError> for Error {
    fn from(error: OwnerError) -> Self {
        let message = match error {
            OwnerError::Busy { .. } => "the rules have another owner",
            OwnerError::Socket(_) => "whether the rules have another owner is not known",
        };
        Self::new(error.kind(), message).with_source(error)
    }
}
