//! Why a network namespace cannot be used.

use std::{error, fmt, io};

/// Why a network namespace cannot be connected from.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetnsError {
    /// Its file cannot be opened: there is no such namespace or it may not be looked at.
    Open(io::Error),
    /// There is no process of this number.
    NoProcess(u32),
    /// Something else is there than a network namespace: a file, or a namespace of another kind.
    NotANamespace,
    /// It may not be entered.
    Enter(io::Error),
    /// The system has no thread left.
    Thread(io::Error),
}

impl fmt::Display for NetnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("there is no such network namespace")
            }
            Self::Open(_) => f.write_str("the network namespace cannot be opened"),
            Self::NoProcess(pid) => write!(f, "there is no process {pid}"),
            Self::NotANamespace => f.write_str("this is not a network namespace"),
            Self::Enter(_) => f.write_str("the network namespace may not be entered"),
            Self::Thread(_) => f.write_str("no thread can be started"),
        }
    }
}

impl error::Error for NetnsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Open(source) | Self::Enter(source) | Self::Thread(source) => Some(source),
            Self::NoProcess(_) | Self::NotANamespace => None,
        }
    }
}
