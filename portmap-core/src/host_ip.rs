//! An address of the host, with its link where it needs one.

use std::{
    error, fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::Zone;

/// One address of the host, or all of one family where it is `0.0.0.0` or `::`. Never v4-mapped.
///
/// A link-local address of IPv6 is one only together with its link: read from `fe80::1%eth0`, or made by
/// [`on_link`](Self::on_link). Without it nobody can listen there, and a request with one is
/// [`Invalid`](crate::ErrorKind::Invalid).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostIp {
    addr: IpAddr,
    /// Of a link-local address alone.
    zone: Option<Zone>,
}

impl HostIp {
    /// A link-local address on its link.
    ///
    /// # Errors
    /// [`HostIpError::NotLinkLocal`] for any other address: it is the same on every link.
    pub fn on_link(addr: Ipv6Addr, zone: Zone) -> Result<Self, HostIpError> {
        match addr.is_unicast_link_local() {
            true => Ok(Self { addr: addr.into(), zone: Some(zone) }),
            false => Err(HostIpError::NotLinkLocal(addr.into())),
        }
    }

    /// The address itself.
    pub const fn addr(self) -> IpAddr {
        self.addr
    }

    /// The link, of a link-local address.
    pub const fn zone(self) -> Option<Zone> {
        self.zone
    }

    /// Whether it is one of several links' and does not say of which.
    pub(crate) fn lacks_zone(self) -> bool {
        matches!(self.addr, IpAddr::V6(v6) if v6.is_unicast_link_local()) && self.zone.is_none()
    }

    /// Whether both may be on one link: anything but two link-local addresses of different ones.
    pub(crate) fn may_share_link(self, other: Self) -> bool {
        self.zone.is_none() || other.zone.is_none() || self.zone == other.zone
    }
}

impl From<IpAddr> for HostIp {
    /// A v4-mapped address counts as the IPv4 address that it is.
    fn from(addr: IpAddr) -> Self {
        Self { addr: addr.to_canonical(), zone: None }
    }
}

impl From<Ipv4Addr> for HostIp {
    fn from(addr: Ipv4Addr) -> Self {
        IpAddr::V4(addr).into()
    }
}

impl From<Ipv6Addr> for HostIp {
    /// A v4-mapped address counts as the IPv4 address that it is.
    fn from(addr: Ipv6Addr) -> Self {
        IpAddr::V6(addr).into()
    }
}

impl FromStr for HostIp {
    type Err = HostIpError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (addr, zone) = match text.split_once('%') {
            Some((addr, zone)) => (addr, Some(zone)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| HostIpError::NotAnAddress(text.to_owned()))?;
        match (addr, zone) {
            (addr, None) => Ok(addr.into()),
            (IpAddr::V6(addr), Some(zone)) => Self::on_link(addr, zone.parse()?),
            (addr, Some(_)) => Err(HostIpError::NotLinkLocal(addr)),
        }
    }
}

impl fmt::Display for HostIp {
    /// `192.0.2.1` or `fe80::1%eth0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)?;
        self.zone.map_or(Ok(()), |zone| write!(f, "%{zone}"))
    }
}

/// Why a text is not a [`HostIp`], or an address has no zone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostIpError {
    /// It is not an IP address.
    NotAnAddress(String),
    /// No interface can be called what stands in the zone's place.
    NotAnInterface(String),
    /// An address with a zone that is not a link-local one of IPv6.
    NotLinkLocal(IpAddr),
}

impl fmt::Display for HostIpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAddress(text) => write!(f, "host address {text:?} is not an IP address"),
            Self::NotAnInterface(zone) => {
                write!(f, "zone {zone:?} cannot be the name of an interface")
            }
            Self::NotLinkLocal(addr) => {
                write!(f, "host address {addr} takes no zone: only link-local ones of IPv6 do")
            }
        }
    }
}

impl error::Error for HostIpError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> HostIp {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_mapped_address_is_the_one_of_ipv4() {
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        let v4 = HostIp::from(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(
            [HostIp::from(mapped), IpAddr::V6(mapped).into(), ip("::ffff:192.0.2.1")],
            [v4; 3]
        );
    }

    #[test]
    fn a_link_local_address_has_a_link() {
        let own = ip("fe80::1%eth0");
        assert_eq!(
            (own.addr(), own.to_string().as_str()),
            ("fe80::1".parse().unwrap(), "fe80::1%eth0")
        );
        assert_ne!(own, ip("fe80::1%eth1"));
        assert!(ip("fe80::1").lacks_zone() && !own.lacks_zone() && !ip("2001:db8::1").lacks_zone());
        for text in ["2001:db8::1%eth0", "127.0.0.1%lo", "ff02::1%eth0", "::ffff:127.0.0.1%lo"] {
            let error = text.parse::<HostIp>().unwrap_err();
            assert!(matches!(error, HostIpError::NotLinkLocal(_)), "{text}: {error}");
        }
        assert_eq!("fe80::1%".parse::<HostIp>(), Err(HostIpError::NotAnInterface(String::new())));
    }
}
