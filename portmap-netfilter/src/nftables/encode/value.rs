//! Values as bytes, in network order.

use std::net::IpAddr;

use portmap_core::Port;
use portmap_rules::{Interface, L4, Value};

use crate::netlink::number;

/// The longest value: an interface's name, an IPv6 address.
pub(super) const MAX: usize = 16;

/// A value of up to [`MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    bytes: [u8; MAX],
    len: usize,
}

impl Bytes {
    pub(super) fn new(value: &[u8]) -> Self {
        let mut bytes = [0; MAX];
        bytes[..value.len()].copy_from_slice(value);
        Self { bytes, len: value.len() }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The value above this one; `None` where this is the highest.
    pub(super) fn next(mut self) -> Option<Self> {
        for byte in self.bytes[..self.len].iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(self);
            }
        }
        None
    }

    /// The first `ones` bits set, as long as an address of this length.
    pub(super) fn mask(ones: u8, len: usize) -> Self {
        let mut bytes = [0; MAX];
        for (place, byte) in bytes[..len].iter_mut().enumerate() {
            let here = usize::from(ones).saturating_sub(place * 8).min(8);
            *byte = !(u8::MAX.checked_shr(here as u32).unwrap_or(0));
        }
        Self { bytes, len }
    }
}

impl From<IpAddr> for Bytes {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::new(&addr.octets()),
            IpAddr::V6(addr) => Self::new(&addr.octets()),
        }
    }
}

impl From<Interface> for Bytes {
    fn from(interface: Interface) -> Self {
        let mut bytes = Self::new(interface.name().as_bytes());
        bytes.len = MAX;
        bytes
    }
}

/// The first value of an element's part, and the last one.
pub(super) fn bounds(value: Value) -> (Bytes, Bytes) {
    let both = |bytes| (bytes, bytes);
    match value {
        Value::Interface(interface) => both(interface.into()),
        Value::Net(net) => (net.network().into(), net.broadcast().into()),
        Value::Protocol(protocol) => both(Bytes::new(&[number(protocol)])),
        Value::Ports(ports) => (port(ports.first()), port(ports.last())),
    }
}

pub(super) fn port(port: Port) -> Bytes {
    Bytes::new(&port.number().to_be_bytes())
}

/// The number of a protocol: `IPPROTO_*`.
pub(super) const fn protocol(protocol: L4) -> u8 {
    match protocol {
        L4::Transport(protocol) => number(protocol),
        L4::Icmp => 1,
        L4::Icmpv6 => 58,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_behind_an_interval_carries_over() {
        let next = |bytes: &[u8]| Bytes::new(bytes).next();
        assert_eq!(next(&[10, 255, 255, 255]), Some(Bytes::new(&[11, 0, 0, 0])));
        assert_eq!(next(&[255, 255]), None);
    }

    #[test]
    fn masks_end_within_a_byte() {
        assert_eq!(Bytes::mask(12, 4).as_slice(), [0xff, 0xf0, 0, 0]);
        assert_eq!(Bytes::mask(0, 4).as_slice(), [0; 4]);
        assert_eq!(Bytes::mask(128, 16).as_slice(), [0xff; 16]);
    }
}
