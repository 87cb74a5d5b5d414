//! Which ports are meant.

use std::{net::Ipv4Addr, str::FromStr};

use portmap::{BoxError, HostAddr, HostIp, PortRange, Protocol};

/// `[IP:]PORT[-END][/PROTO]`, IPv6 in brackets.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(super) host: HostAddr,
    pub(super) ports: PortRange,
    protocol: Option<Protocol>,
}

impl Question {
    /// TCP and UDP where none was named.
    pub(super) fn protocols(&self) -> Vec<Protocol> {
        self.protocol.map_or_else(|| vec![Protocol::Tcp, Protocol::Udp], |protocol| vec![protocol])
    }
}

impl FromStr for Question {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, protocol) = match text.split_once('/') {
            Some((text, protocol)) => (text, Some(protocol.parse()?)),
            None => (text, None),
        };
        if protocol == Some(Protocol::Sctp) {
            return Err("who has an SCTP port, the kernel does not tell".into());
        }
        let (host, ports) = match text.rsplit_once(':') {
            Some((host, ports)) => (HostAddr::from(address(host)?), ports),
            None => (HostAddr::Any, text),
        };
        Ok(Self { host, ports: ports.parse()?, protocol })
    }
}

fn address(text: &str) -> Result<HostIp, BoxError> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    // Brackets are for IPv6, and it is in brackets.
    match bare.unwrap_or(text).parse::<Ipv4Addr>().is_ok() == bare.is_none() {
        true => Ok(bare.unwrap_or(text).parse()?),
        false => {
            Err(format!("{text:?} is not an IP address; one of IPv6 stands in brackets").into())
        }
    }
}
