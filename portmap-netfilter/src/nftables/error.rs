//! Why nftables could not be changed.

use std::{error, fmt, io};

use nix::errno::Errno;
use portmap_core::{Error, ErrorKind, Foreign};

use super::NftablesObject;
use crate::error::failed;

/// Why nftables could not be changed. Unless it [says otherwise](Self::is_in_doubt), nothing was.
#[derive(Debug)]
#[non_exhaustive]
pub enum NftablesError {
    /// There is no socket to netfilter: no privilege, or a kernel without it.
    Open(io::Error),
    /// The kernel refused something.
    Refused {
        /// Whether it was to go, rather than to come.
        deleting: bool,
        /// What it refused: the first thing, where it refused several.
        object: Box<NftablesObject>,
        /// The kernel's own words, where it has some.
        hint: Option<String>,
        /// Why.
        source: io::Error,
    },
    /// The rules hold something that nftables cannot express, or that refers to nothing.
    Inexpressible {
        /// What holds it.
        object: Box<NftablesObject>,
        /// What it is.
        what: &'static str,
    },
    /// The transaction could not be sent.
    Transport(io::Error),
    /// The transaction was sent, and what became of it is [not known](Self::is_in_doubt): the kernel's answer was lost.
    Unanswered(io::Error),
    /// The transaction went to the kernel in several parts, of which a later one failed, and the earlier ones could
    /// not be taken back: part of it [is in force](Self::is_in_doubt).
    Partial {
        /// Why a part failed.
        source: Box<Self>,
    },
    /// The thread that speaks to the kernel has ended.
    Closed,
}

impl NftablesError {
    /// What kind of failure it is, in the words of [`Error`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(source) | Self::Transport(source) | Self::Unanswered(source) => {
                of_errno(source)
            }
            // It was there before, or another socket owns it.
            Self::Refused { object, source, .. }
                if matches!(**object, NftablesObject::Table(_))
                    && matches!(errno(source), Some(Errno::EEXIST | Errno::EPERM)) =>
            {
                ErrorKind::Busy
            }
            Self::Refused { source, .. } => of_errno(source),
            Self::Inexpressible { .. } => ErrorKind::Unsupported,
            Self::Partial { source } => source.kind(),
            Self::Closed => ErrorKind::Closed,
        }
    }

    /// Whether what is in force is neither what was before nor surely what was wanted. Until
    /// [`Nftables::rewrite`](super::Nftables::rewrite) has settled it, the kernel may refuse what follows.
    pub const fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::Partial { .. })
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

fn of_errno(error: &io::Error) -> ErrorKind {
    match errno(error) {
        Some(Errno::EPERM | Errno::EACCES) => ErrorKind::Denied,
        Some(Errno::ENOMEM | Errno::ENOBUFS | Errno::EMFILE | Errno::ENFILE | Errno::ENOSPC) => {
            ErrorKind::Exhausted
        }
        Some(Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT) => {
            ErrorKind::Unsupported
        }
        _ => ErrorKind::Backend,
    }
}

impl fmt::Display for NftablesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(_) => f.write_str("no socket to netfilter"),
            Self::Refused { deleting, object, hint, .. } => {
                let verb = match **object {
                    NftablesObject::Transaction => "take",
                    _ if *deleting => "delete",
                    _ => "add",
                };
                write!(f, "the kernel would not {verb} {object}")?;
                hint.iter().try_for_each(|hint| write!(f, ": {}", Foreign::new(hint)))
            }
            Self::Inexpressible { object, what } => write!(f, "{object}: nftables has no {what}"),
            Self::Transport(_) => f.write_str("the kernel did not take a transaction"),
            Self::Unanswered(_) => {
                f.write_str("whether the kernel took a transaction is not known")
            }
            Self::Partial { .. } => f.write_str("part of a transaction is in force"),
            Self::Closed => f.write_str("nothing speaks to nftables any more"),
        }
    }
}

impl error::Error for NftablesError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Open(source)
            | Self::Transport(source)
            | Self::Unanswered(source)
            | Self::Refused { source, .. } => Some(source),
            Self::Partial { source } => Some(source),
            Self::Inexpressible { .. } | Self::Closed => None,
        }
    }
}

impl From<NftablesError> for Error {
    fn from(error: NftablesError) -> Self {
        failed(error.kind(), "nftables could not be changed").with_source(error)
    }
}
