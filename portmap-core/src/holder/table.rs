//! The kernel's tables of sockets.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{HolderState, bound};
use crate::{HostAddr, PortRange, Protocol};

/// A line of `/proc/net/tcp` and its kin, or what is known of a socket that has none there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) addr: SocketAddr,
    pub(super) state: HolderState,
    pub(super) uid: u32,
    /// Zero for a socket without a process: a connection in TIME_WAIT, say.
    pub(super) inode: u64,
}

/// The sockets that have one of the ports, of this thread's network namespace.
pub(super) fn rows(protocol: Protocol, host: HostAddr, ports: PortRange) -> Vec<Row> {
    let tables = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
        Protocol::Sctp => return Vec::new(),
    };
    let mut rows = Vec::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        rows.extend(text.lines().filter_map(|line| Row::parse(line, protocol)));
    }
    let numbers = ports.first().number()..=ports.last().number();
    if protocol == Protocol::Tcp {
        rows.extend(bound::rows());
    }
    rows.retain(|row: &Row| numbers.contains(&row.addr.port()) && row.is_in_the_way_of(host));
    rows
}

impl Row {
    /// Reads `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 ..`.
    /// `None` for the heading.
    fn parse(line: &str, protocol: Protocol) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some(Self {
            addr: parse_addr(fields.get(1)?)?,
            state: match (protocol, *fields.get(3)?) {
                (Protocol::Tcp, "0A") => HolderState::Listening,
                (Protocol::Udp, "07") => HolderState::Bound,
                _ => HolderState::Connected,
            },
            uid: fields.get(7)?.parse().ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    }

    fn is_in_the_way_of(&self, host: HostAddr) -> bool {
        // A socket on `::` may hold the IPv4 port too; the table does not say.
        self.addr.ip() == Ipv6Addr::UNSPECIFIED || host.overlaps(self.addr.ip().into())
    }
}

/// Reads `0100007F:1F90`: the address as 32-bit words in the machine's byte order, the port in hexadecimal.
fn parse_addr(text: &str) -> Option<SocketAddr> {
    let (addr, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = Vec::with_capacity(16);
    for start in (0..addr.len()).step_by(8) {
        let word = u32::from_str_radix(addr.get(start..start + 8)?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(octets.as_slice()) {
        Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets.as_slice()).ok()?)),
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_row_of_the_kernels_table_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1";
        let row = Row::parse(line, Protocol::Tcp).unwrap();
        let addr = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(row, Row { addr, state: HolderState::Listening, uid: 1000, inode: 4711 });
        let six = parse_addr("B80D0120000000000000000001000000:0050");
        assert_eq!(six, Some("[2001:db8::1]:80".parse().unwrap()));
        assert_eq!(Row::parse("  sl  local_address rem_address   st", Protocol::Tcp), None);
    }
}
