//! Which way clients come.

use std::{
    fmt::{self, Display, Formatter},
    net::IpAddr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

/// How long the host's addresses are taken to stay as they are.
const FRESH: Duration = Duration::from_secs(5);

/// The host's addresses, to tell clients' ways by.
#[derive(Default)]
pub(super) struct Paths {
    asked: Option<Instant>,
    own: Vec<(String, IpNet)>,
}

/// A client's way to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// From this host, by 127.0.0.1 or `::1`.
    Loopback,
    /// From this host, by another of its addresses.
    Host,
    /// From a network that an interface is in: a container where that is a bridge.
    Over(String),
    /// From further away.
    Routed,
}

impl Paths {
    /// A client's way.
    pub(super) fn of(&mut self, client: IpAddr) -> Path {
        if client.is_loopback() {
            return Path::Loopback;
        }
        if self.asked.is_none_or(|asked| asked.elapsed() > FRESH) {
            self.own = own();
            self.asked = Some(Instant::now());
        }
        self.find(client)
    }

    fn find(&self, client: IpAddr) -> Path {
        if self.own.iter().any(|(_, net)| net.addr() == client) {
            return Path::Host;
        }
        let nets = self.own.iter().filter(|(_, net)| net.contains(&client));
        match nets.max_by_key(|(_, net)| net.prefix_len()) {
            Some((interface, _)) => Path::Over(interface.clone()),
            None => Path::Routed,
        }
    }
}

fn own() -> Vec<(String, IpNet)> {
    let interfaces = getifaddrs().into_iter().flatten();
    let net = |addr: nix::ifaddrs::InterfaceAddress| {
        let (ip, mask) = (ip(addr.address.as_ref()?)?, ip(addr.netmask.as_ref()?)?);
        Some((addr.interface_name, IpNet::with_netmask(ip, mask).ok()?))
    };
    interfaces.filter_map(net).collect()
}

fn ip(addr: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = addr.as_sockaddr_in().map(|v4| v4.ip().into());
    v4.or_else(|| addr.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Host => f.write_str("this host"),
            Self::Over(interface) => write!(f, "over {interface}"),
            Self::Routed => f.write_str("routed"),
        }
    }
}
