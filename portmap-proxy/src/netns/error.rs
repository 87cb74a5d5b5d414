//! Why a network namespace cannot be used.

use std::{error, fmt, io};

/// Why a network namespace cannot be connected from.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetnsError {
    /// There is no such namespace or process.
    Open(io::Error),
    /// It may not be entered.
    Enter(io::Error),
    /// The system has no thread left.
    Thread(io::Error),
}

impl fmt::Display for NetnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "there is no such network namespace",
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
