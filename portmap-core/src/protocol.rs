//! The transport protocols whose ports can be published.

use std::{error, fmt, str::FromStr};

/// A transport protocol with port numbers.
///
/// Written in lower case, as in `8080:80/tcp`; read in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Transmission Control Protocol, RFC 9293. What a [`PortSpec`](crate::PortSpec) without a protocol means.
    #[default]
    Tcp,
    /// User Datagram Protocol, RFC 768.
    Udp,
    /// Stream Control Transmission Protocol, RFC 9260. Mappers that cannot carry it say
    /// [`Unsupported`](crate::ErrorKind::Unsupported).
    Sctp,
}

impl Protocol {
    /// The lower-case name: `tcp`, `udp` or `sctp`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|protocol| text.eq_ignore_ascii_case(protocol.name()))
            .ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

/// What was read is not the name of a [`Protocol`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownProtocol(pub(crate) String);

impl fmt::Display for UnknownProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "protocol {:?} is not tcp, udp or sctp", self.0)
    }
}

impl error::Error for UnknownProtocol {}
