//! Who holds a port.

mod bound;
mod table;

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    net::SocketAddr,
    path::Path,
};

use crate::{Foreign, HostAddr, PortRange, Protocol};

/// A socket in the way, and its processes where these can be seen (one's own user's, or any as root).
///
/// Displayed as `0.0.0.0:8080/tcp is in use by nginx (pid 448)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    protocol: Protocol,
    addr: SocketAddr,
    state: HolderState,
    uid: u32,
    processes: Vec<HolderProcess>,
}

/// What a socket that holds a port does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HolderState {
    /// It is a TCP socket that listens.
    Listening,
    /// It has the port alone: a UDP socket, or a TCP one that keeps the port for later, or for rules in the kernel.
    Bound,
    /// It is one end of a connection.
    Connected,
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderProcess {
    name: String,
    pid: u32,
}

/// Finds the sockets that keep ports of the host from being taken: for each port those that listen, or where none does what
/// else has the port, a connection that goes out from it, say.
///
/// Best effort, by `/proc` and `sock_diag(7)`, for the network namespace of the calling thread. What it cannot see: SCTP, rules
/// that lead a port away before any socket is asked, and before Linux 6.8 a TCP socket that is bound and does not listen. It
/// reads the descriptors of every process once, and blocks meanwhile: some milliseconds for each thousand processes.
pub fn holders(protocol: Protocol, host: HostAddr, ports: PortRange) -> Vec<Holder> {
    let mut rows = table::rows(protocol, host, ports);
    let listens = |row: &table::Row| row.state == HolderState::Listening;
    let listened: HashSet<_> =
        rows.iter().filter(|row| listens(row)).map(|row| row.addr.port()).collect();
    rows.retain(|row| listens(row) || !listened.contains(&row.addr.port()));
    // What has no process any more is in nobody's way: ports are taken in spite of TIME_WAIT.
    rows.retain(|row| row.inode != 0);
    if rows.is_empty() {
        return Vec::new();
    }
    let mut processes = processes(rows.iter().map(|row| (row.inode, Vec::new())).collect());
    let holder = |row: table::Row| Holder {
        protocol,
        addr: row.addr,
        state: row.state,
        uid: row.uid,
        processes: processes.remove(&row.inode).unwrap_or_default(),
    };
    rows.into_iter().map(holder).collect()
}

/// Adds the processes to the sockets that they have open.
fn processes(mut sockets: HashMap<u64, Vec<HolderProcess>>) -> HashMap<u64, Vec<HolderProcess>> {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let path = entry.path();
        for inode in open_sockets(&path) {
            if let Some(processes) = sockets.get_mut(&inode)
                && processes.last().is_none_or(|last| last.pid != pid)
            {
                // A process may choose any bytes but NUL, line ends among them; the last one is the kernel's.
                let name = fs::read(path.join("comm")).unwrap_or_default();
                let name = String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name));
                processes.push(HolderProcess { name: name.into_owned(), pid });
            }
        }
    }
    sockets
}

/// The inodes of a process's sockets; none where it may not be looked at.
fn open_sockets(process: &Path) -> impl Iterator<Item = u64> {
    let fds = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| {
        let target = fs::read_link(fd.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

impl Holder {
    /// The protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The address and port that the socket has.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it does with the port.
    pub const fn state(&self) -> HolderState {
        self.state
    }

    /// The user whose socket it is.
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Its processes: several where a server has workers, none where they belong to somebody else and may not be seen.
    pub fn processes(&self) -> &[HolderProcess] {
        &self.processes
    }
}

impl HolderProcess {
    /// Its name, as the kernel has it: 15 bytes at most. The process chose it, and any characters can be in it; it is displayed as
    /// [`Foreign`] text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub const fn pid(&self) -> u32 {
        self.pid
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} is in use", self.addr, self.protocol)?;
        match self.processes.first() {
            Some(process) => write!(f, " by {process}"),
            // Of one that may not be looked at its user is known.
            None => write!(f, " by a process of user {}", self.uid),
        }
    }
}

impl fmt::Display for HolderProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", Foreign::new(&self.name), self.pid)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, TcpListener, TcpStream, UdpSocket},
        process,
    };

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::Port;

    #[test]
    fn the_name_of_a_process_is_data_and_is_shown_as_text() {
        let name = "\u{1b}[2J\n x".to_owned();
        let process = HolderProcess { name: name.clone(), pid: 7 };
        assert_eq!(process.name(), name);
        assert_eq!(process.to_string(), r"\u{1b}[2J\n x (pid 7)");
        let holder = Holder {
            protocol: Protocol::Tcp,
            addr: ([0, 0, 0, 0], 80).into(),
            state: HolderState::Listening,
            uid: 0,
            processes: vec![process],
        };
        assert_eq!(holder.to_string(), r"0.0.0.0:80/tcp is in use by \u{1b}[2J\n x (pid 7)");
    }

    fn of(protocol: Protocol, host: HostAddr, addr: SocketAddr) -> Vec<Holder> {
        holders(protocol, host, PortRange::from(Port::try_from(addr.port()).unwrap()))
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let holder = of(Protocol::Tcp, HostAddr::Any, addr)[0].to_string();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let expected = format!("{addr}/tcp is in use by {} (pid {})", name.trim(), process::id());
        assert_eq!(holder, expected);
        let other = HostAddr::from(IpAddr::from([127, 0, 0, 2]));
        assert_eq!(of(Protocol::Tcp, other, addr), []);
        assert_eq!(of(Protocol::Udp, HostAddr::Any, addr), []);
    }

    #[test]
    fn a_listener_is_in_the_way_rather_than_its_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let _connected = (TcpStream::connect(addr).unwrap(), listener.accept().unwrap());
        let holders = of(Protocol::Tcp, HostAddr::Any, addr);
        assert!(holders.len() == 1 && holders[0].state() == HolderState::Listening, "{holders:?}");
        drop(listener);
        let left = of(Protocol::Tcp, HostAddr::Any, addr);
        assert!(left.len() == 1 && left[0].state() == HolderState::Connected, "{left:?}");
    }

    #[test]
    fn a_socket_that_only_keeps_a_port_is_named_where_the_kernel_lists_it() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let addr: SocketAddr = addr.parse().unwrap();
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
            socket.bind(&addr.into()).unwrap();
            let addr = socket.local_addr().unwrap().as_socket().unwrap();
            let holders = of(Protocol::Tcp, addr.ip().into(), addr);
            if kernel() < (6, 8) {
                assert_eq!(holders, []);
                continue;
            }
            assert!(holders.len() == 1 && holders[0].addr() == addr, "{holders:?}");
            assert_eq!(holders[0].state(), HolderState::Bound);
            assert_eq!(holders[0].processes()[0].pid(), process::id());
        }
    }

    fn kernel() -> (u32, u32) {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    #[test]
    fn every_address_of_a_port_has_its_holder() {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = one.local_addr().unwrap();
        let _two = UdpSocket::bind(("127.0.0.2", addr.port())).unwrap();
        let holders = of(Protocol::Udp, HostAddr::Any, addr);
        let mut addrs: Vec<_> =
            holders.iter().map(|holder| holder.addr().ip().to_string()).collect();
        addrs.sort();
        assert_eq!(addrs, ["127.0.0.1", "127.0.0.2"]);
        assert_eq!(holders[0].processes()[0].pid(), process::id());
    }
}
