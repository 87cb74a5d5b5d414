//! The container's side of a publish.

use std::{
    error, fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{Error, ErrorKind};

/// The container side of a publish: its IPv4 address, its IPv6 address, or both.
///
/// An endpoint with one address serves clients of both families where the mapper can translate
/// (the proxy does); see [`toward`](Self::toward).
///
/// Read from `ADDR` or `ADDR,ADDR6`, as in `172.17.0.2,fd00:17::2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Addrs);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Addrs {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Both(Ipv4Addr, Ipv6Addr),
}

impl Endpoint {
    /// A container with an address in each family.
    ///
    /// # Errors
    /// [`EndpointError::SameFamily`] where the second address is a v4-mapped one, which is an IPv4 address too.
    pub fn dual(v4: Ipv4Addr, v6: Ipv6Addr) -> Result<Self, EndpointError> {
        match v6.to_ipv4_mapped() {
            Some(_) => Err(EndpointError::SameFamily(format!("{v4},{v6}"))),
            None => Ok(Self(Addrs::Both(v4, v6))),
        }
    }

    /// Its IPv4 address.
    pub const fn v4(&self) -> Option<Ipv4Addr> {
        match self.0 {
            Addrs::V4(v4) | Addrs::Both(v4, _) => Some(v4),
            Addrs::V6(_) => None,
        }
    }

    /// Its IPv6 address.
    pub const fn v6(&self) -> Option<Ipv6Addr> {
        match self.0 {
            Addrs::V6(v6) | Addrs::Both(_, v6) => Some(v6),
            Addrs::V4(_) => None,
        }
    }

    /// Its addresses: one or two, IPv4 first.
    pub fn addrs(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4().map(IpAddr::V4);
        let v6 = self.v6().map(IpAddr::V6);
        v4.into_iter().chain(v6)
    }

    /// Finds an address that no container can have, or that does not say where it is.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |message| Err(Error::new(ErrorKind::Invalid, message));
        if let Some(addr) = self.addrs().find(|addr| addr.is_unspecified() || is_for_many(*addr)) {
            return invalid(format!("{addr} cannot be the address of a container"));
        }
        match self.v6().filter(Ipv6Addr::is_unicast_link_local) {
            Some(addr) => invalid(format!("{addr} does not say on which link the container is")),
            None => Ok(()),
        }
    }

    /// The address to use for a client: the one of the client's family, else the other one.
    pub fn toward(&self, client: IpAddr) -> IpAddr {
        match (self.0, client.to_canonical()) {
            (Addrs::V4(v4), _) | (Addrs::Both(v4, _), IpAddr::V4(_)) => v4.into(),
            (Addrs::V6(v6), _) | (Addrs::Both(_, v6), IpAddr::V6(_)) => v6.into(),
        }
    }
}

/// Multicast or broadcast.
pub(crate) fn is_for_many(addr: IpAddr) -> bool {
    addr.is_multicast() || matches!(addr, IpAddr::V4(v4) if v4.is_broadcast())
}

impl From<Ipv4Addr> for Endpoint {
    fn from(v4: Ipv4Addr) -> Self {
        Self(Addrs::V4(v4))
    }
}

impl From<Ipv6Addr> for Endpoint {
    /// A v4-mapped address counts as the IPv4 address that it is.
    fn from(v6: Ipv6Addr) -> Self {
        Self(match v6.to_ipv4_mapped() {
            Some(v4) => Addrs::V4(v4),
            None => Addrs::V6(v6),
        })
    }
}

impl From<IpAddr> for Endpoint {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<[u8; 4]> for Endpoint {
    fn from(octets: [u8; 4]) -> Self {
        Ipv4Addr::from(octets).into()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |part: &str| {
            part.parse::<IpAddr>()
                .map(|addr| addr.to_canonical())
                .map_err(|_| EndpointError::NotAnAddress(part.to_owned()))
        };
        let Some((first, second)) = text.split_once(',') else {
            return parse(text).map(Self::from);
        };
        match (parse(first)?, parse(second)?) {
            (IpAddr::V4(v4), IpAddr::V6(v6)) | (IpAddr::V6(v6), IpAddr::V4(v4)) => {
                Self::dual(v4, v6)
            }
            _ => Err(EndpointError::SameFamily(text.to_owned())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Addrs::V4(v4) => v4.fmt(f),
            Addrs::V6(v6) => v6.fmt(f),
            Addrs::Both(v4, v6) => write!(f, "{v4},{v6}"),
        }
    }
}

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointError {
    /// A part of it is not an IP address.
    NotAnAddress(String),
    /// Two addresses of one family; an endpoint has at most one of each.
    SameFamily(String),
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAddress(text) => write!(f, "endpoint {text:?} is not an IP address"),
            Self::SameFamily(text) => {
                write!(f, "endpoint {text:?} is not one IPv4 and one IPv6 address")
            }
        }
    }
}

impl error::Error for EndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_meets_its_own_family_where_there_is_one() {
        let v4 = Ipv4Addr::new(192, 0, 2, 2);
        let v6: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let client4: IpAddr = "198.51.100.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:198.51.100.1".parse().unwrap();
        let client6: IpAddr = "2001:db8::99".parse().unwrap();

        assert_eq!(Endpoint::dual(v4, v6).unwrap().toward(client4), v4);
        assert_eq!(Endpoint::dual(v4, v6).unwrap().toward(mapped), v4);
        assert_eq!(Endpoint::dual(v4, v6).unwrap().toward(client6), v6);
        assert_eq!(Endpoint::from(v4).toward(client6), v4);
        assert_eq!(Endpoint::from(v6).toward(client4), v6);
    }

    #[test]
    fn two_addresses_must_be_of_two_families() {
        assert_eq!("192.0.2.2,2001:db8::2".parse::<Endpoint>(), "2001:db8::2,192.0.2.2".parse());
        let same = "192.0.2.2,192.0.2.3".parse::<Endpoint>();
        assert_eq!(same, Err(EndpointError::SameFamily("192.0.2.2,192.0.2.3".into())));
        let mapped = Endpoint::dual([192, 0, 2, 2].into(), "::ffff:192.0.2.3".parse().unwrap());
        let expected = EndpointError::SameFamily("192.0.2.2,::ffff:192.0.2.3".into());
        assert_eq!(mapped, Err(expected.clone()));
        assert_eq!("192.0.2.2,::ffff:192.0.2.3".parse::<Endpoint>(), Err(expected));
        let empty = "192.0.2.2,".parse::<Endpoint>();
        assert_eq!(empty, Err(EndpointError::NotAnAddress(String::new())));
    }
}
