//! What can be wrong with a port specification.

use std::{error, fmt};

use crate::{HostIpError, MappingError, PortError, UnknownProtocol};

/// Which port of a [`PortSpec`](super::PortSpec) an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecPart {
    /// The host's.
    HostPort,
    /// The container's.
    ContainerPort,
}

impl fmt::Display for SpecPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostPort => "host port",
            Self::ContainerPort => "container port",
        })
    }
}

/// Why a text is not a [`PortSpec`](super::PortSpec): what is wrong, with which part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortSpecError {
    /// Nothing was written.
    Empty,
    /// One of the ports is not a port or a range of them.
    Port {
        /// Which one.
        part: SpecPart,
        /// What is wrong with it.
        error: PortError,
    },
    /// The ports cannot belong together.
    Mapping(MappingError),
    /// The part after the slash is no protocol.
    Protocol(UnknownProtocol),
    /// What stands in the address's place is not an IP address.
    NotAnAddress(String),
    /// The host address has a zone that it cannot have.
    Zone(HostIpError),
    /// An IP address stands in the host port's place, as in `127.0.0.1:80`.
    AddressAsPort(String),
    /// A bracket is opened and not closed.
    UnclosedBracket(String),
    /// An address, and then not `:host:port` or `::port`.
    MissingPorts(String),
    /// More colons than the grammar has; an IPv6 address without brackets, most likely.
    TooManyColons(String),
}

impl fmt::Display for PortSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a port specification is empty"),
            // What others write for a free port.
            Self::Port { part: SpecPart::HostPort, error: error @ PortError::OutOfRange(text) }
                if text == "0" =>
            {
                write!(f, "host port {error}; leave it out for a free one")
            }
            Self::Port { part, error } => write!(f, "{part} {error}"),
            Self::Mapping(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::NotAnAddress(text) if text.is_empty() => f.write_str(
                "host address is empty; leave its colon out for every address, or write [::] for those of IPv6",
            ),
            Self::NotAnAddress(text) => HostIpError::NotAnAddress(text.clone()).fmt(f),
            Self::Zone(error) => error.fmt(f),
            Self::AddressAsPort(addr) => {
                write!(f, "host port {addr:?} is an address; a free port of it is {addr}::PORT")
            }
            Self::UnclosedBracket(text) => write!(f, "{text:?} has a bracket that is not closed"),
            Self::MissingPorts(text) => {
                write!(f, "{text:?} has no :HOST:PORT or ::PORT after the address")
            }
            Self::TooManyColons(text) => {
                write!(f, "{text:?} has too many colons; an IPv6 address stands in brackets")
            }
        }
    }
}

impl error::Error for PortSpecError {}

impl From<MappingError> for PortSpecError {
    fn from(error: MappingError) -> Self {
        Self::Mapping(error)
    }
}

impl From<HostIpError> for PortSpecError {
    fn from(error: HostIpError) -> Self {
        match error {
            HostIpError::NotAnAddress(text) => Self::NotAnAddress(text),
            zone => Self::Zone(zone),
        }
    }
}

impl From<UnknownProtocol> for PortSpecError {
    fn from(error: UnknownProtocol) -> Self {
        Self::Protocol(error)
    }
}
