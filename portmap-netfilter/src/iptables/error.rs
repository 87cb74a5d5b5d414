//! Why iptables could not be changed or read.

use std::{error, fmt, io, path::PathBuf};

use nix::errno::Errno;
use portmap_core::{Error, ErrorKind, Foreign};

use crate::error::failed;

/// Why iptables could not be changed or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum IptablesError {
    /// There is no such program.
    Missing(String),
    /// A program could not be run.
    Run {
        /// Which one.
        tool: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program refused.
    Refused {
        /// Which one.
        tool: PathBuf,
        /// The line that it means, where it says so: a rule, or `COMMIT` where it is the kernel that refused.
        line: Option<String>,
        /// What it said.
        said: String,
        /// Its exit code: 4 where it lacked a resource, such as the lock or a privilege.
        code: Option<i32>,
    },
    /// There is no socket that tells of changes.
    Watch(io::Error),
    /// The thread that runs the programs has ended, or could not be started.
    Closed,
}

impl IptablesError {
    /// What kind of failure it is, in the words of [`Error`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) => ErrorKind::Unsupported,
            Self::Run { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::Unsupported
            }
            Self::Run { source, .. } | Self::Watch(source)
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                ErrorKind::Denied
            }
            Self::Refused { said, .. }
                if said.contains("Permission denied") || said.contains("not permitted") =>
            {
                ErrorKind::Denied
            }
            // No descriptor, no process, no memory.
            Self::Run { source, .. } | Self::Watch(source)
                if matches!(
                    errno(source),
                    Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN | Errno::ENOMEM
                ) =>
            {
                ErrorKind::Exhausted
            }
            Self::Refused { said, .. } if said.contains("xtables lock") => ErrorKind::Busy,
            Self::Run { .. } | Self::Refused { .. } | Self::Watch(_) => ErrorKind::Backend,
            Self::Closed => ErrorKind::Closed,
        }
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

impl fmt::Display for IptablesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "there is no {name}"),
            Self::Run { tool, .. } => write!(f, "{} could not be run", tool.display()),
            Self::Refused { tool, line: Some(line), said, .. } => {
                write!(f, "{} refused {line:?}: {}", tool.display(), Foreign::new(said))
            }
            Self::Refused { tool, line: None, said, .. } => {
                write!(f, "{} refused: {}", tool.display(), Foreign::new(said))
            }
            Self::Watch(_) => f.write_str("changes by others cannot be seen"),
            Self::Closed => f.write_str("nothing runs iptables any more"),
        }
    }
}

impl error::Error for IptablesError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Run { source, .. } | Self::Watch(source) => Some(source),
            _ => None,
        }
    }
}

impl From<IptablesError> for Error {
    fn from(error: IptablesError) -> Self {
        failed(error.kind(), "iptables could not be changed").with_source(error)
    }
}
