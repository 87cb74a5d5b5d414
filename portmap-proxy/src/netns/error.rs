//! Why a network namespace cannot be used.

use std::{error, fmt, io};

/// Why a network namespace cannot be connected from.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetnsError {
    /// Its file cannot be opened: there is no such namespace or process, or it may not be looked at.
    Open(io::Error),
    /// It may not be entered.
    Enter(io::Error),
    /// The system has no thread left.
    Thread(io::Error),
}

impl fmt::Display for NetnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(error) if error.kind() == io::ErrorKind::NotFound => {
                "there is no such network namespace"
            }
            Self::Open(_) => "the network namespace cannot be opened",
            Self::Enter(_) => "the network namespace may not be entered",
            Self::Thread(_) => "no thread can be started",
        })
    }
}

impl error::Error for NetnsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Open(source) | Self::Enter(source) | Self::Thread(source) => Some(source),
        }
    }
}
