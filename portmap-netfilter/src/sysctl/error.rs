//! Why a setting is not as it should be.

use std::{error, fmt, io};

use portmap_core::{Error, ErrorKind};

use super::Sysctl;
use crate::error::failed;

/// Why a setting could not be made, or not be put back.
#[derive(Debug)]
#[non_exhaustive]
pub enum SysctlError {
    /// There is no such setting: no such interface, or a module that isn't loaded.
    Missing(Sysctl),
    /// It could not be read.
    Read {
        /// Which one.
        key: Sysctl,
        /// Why.
        source: io::Error,
    },
    /// It could not be written.
    Write {
        /// Which one.
        key: Sysctl,
        /// Why.
        source: io::Error,
    },
}

impl SysctlError {
    /// What kind of failure it is, in the words of [`Error`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            // Somebody has named it: another way to publish would not find it either.
            Self::Missing(Sysctl::RouteLocalnet(_)) => ErrorKind::Invalid,
            Self::Missing(_) => ErrorKind::Unsupported,
            Self::Read { source, .. } | Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::Denied
                }
                _ => ErrorKind::Backend,
            },
        }
    }
}

impl SysctlError {
    fn is_read_only(&self) -> bool {
        match self {
            Self::Missing(_) => false,
            Self::Read { source, .. } | Self::Write { source, .. } => {
                source.kind() == io::ErrorKind::ReadOnlyFilesystem
            }
        }
    }
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(Sysctl::RouteLocalnet(interface)) => {
                write!(f, "there is no interface {interface} in this network namespace")
            }
            Self::Missing(key @ Sysctl::BridgeNetfilter(_)) => {
                write!(f, "there is no {key}: the module br_netfilter is not loaded")
            }
            Self::Missing(key) => write!(f, "there is no {key}"),
            Self::Read { key, .. } => write!(f, "{key} could not be read"),
            Self::Write { key, .. } => write!(f, "{key} could not be set"),
        }
    }
}

impl error::Error for SysctlError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Missing(_) => None,
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
        }
    }
}

impl From<SysctlError> for Error {
    fn from(error: SysctlError) -> Self {
        let message = "a setting of the kernel could not be changed";
        match error.is_read_only() {
            true => Self::new(error.kind(), format!("{message}: /proc/sys is mounted read-only")),
            false => failed(error.kind(), message),
        }
        .with_source(error)
    }
}
