//! Who holds a port.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use crate::{HostAddr, Port, Protocol};

/// A socket in the way, and its process where that can be seen (one's own user's, or any as root).
///
/// Displayed as `0.0.0.0:8080/tcp is in use by nginx (pid 448)`.
#[derive(Debug)]
pub(crate) struct Holder {
    protocol: Protocol,
    addr: SocketAddr,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    name: String,
    pid: u32,
}

/// Finds the socket that keeps a port from being taken. Best effort: reads `/proc`.
pub(crate) fn find(protocol: Protocol, host: HostAddr, port: Port) -> Option<Holder> {
    let tables = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
        Protocol::Sctp => return None,
    };
    let mut rows = Vec::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        rows.extend(text.lines().filter_map(Row::parse));
    }
    rows.retain(|row| row.addr.port() == port.number() && row.is_in_the_way_of(host));
    // A listener is in the way rather than one of its connections.
    rows.sort_by_key(|row| !row.listens);
    let row = rows.first()?;
    Some(Holder { protocol, addr: row.addr, process: process_with_socket(row.inode) })
}

/// A line of `/proc/net/tcp` and its kin.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    addr: SocketAddr,
    listens: bool,
    inode: u64,
}

impl Row {
    /// Reads `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 ..`.
    /// `None` for the heading.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some(Self {
            addr: parse_addr(fields.get(1)?)?,
            listens: *fields.get(3)? == "0A",
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

fn process_with_socket(inode: u64) -> Option<Process> {
    let link = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let fds = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| target.as_os_str() == link.as_str())
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let path = entry.path();
        holds(&path).then(|| Process {
            name: fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned(),
            pid,
        })
    })
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} is in use", self.addr, self.protocol)?;
        match &self.process {
            Some(Process { name, pid }) => write!(f, " by {name} (pid {pid})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, process};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_row_of_the_kernels_table_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let row = Row::parse(line).unwrap();
        let expected = Row { addr: "127.0.0.1:8080".parse().unwrap(), listens: true, inode: 4711 };
        assert_eq!(row, expected);
        let six = parse_addr("B80D0120000000000000000001000000:0050");
        assert_eq!(six, Some("[2001:db8::1]:80".parse().unwrap()));
        assert_eq!(Row::parse("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let port = Port::try_from(addr.port()).unwrap();
        let holder = find(Protocol::Tcp, HostAddr::Any, port).unwrap().to_string();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let expected = format!("{addr}/tcp is in use by {} (pid {})", name.trim(), process::id());
        assert_eq!(holder, expected);
        assert!(find(Protocol::Tcp, HostAddr::from(IpAddr::from([127, 0, 0, 2])), port).is_none());
    }
}
