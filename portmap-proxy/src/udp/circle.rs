//! Sessions whose answers would come back as questions, for ever where the container answers
//! whatever it is asked.
//!
//! One datagram with a forged source begins them: that of another published port of this host (IPv6
//! takes its own addresses from outside), or that of the container itself.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use portmap_core::Port;

use super::host::is_own;
use crate::serving::Target;

/// The UDP ports that this process serves, whichever mapper does: in which network namespace, and
/// on which addresses. Its lock is taken when a port comes or goes and when a session begins.
static SERVED: Mutex<BTreeMap<(Namespace, u16), Vec<IpAddr>>> = Mutex::new(BTreeMap::new());

/// A network namespace, by the device and the number of its file; `None` where there is no `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Namespace(Option<(u64, u64)>);

/// Tells a binding's sessions that would lead back to their beginning.
#[derive(Clone, Debug)]
pub(crate) struct Circles {
    namespace: Namespace,
    /// Where this host itself dials; a dial service of the embedder's may find the same address
    /// elsewhere.
    target: Option<Target>,
}

/// A port of this process, until it is dropped.
#[derive(Debug)]
pub(super) struct Served {
    namespace: Namespace,
    addr: SocketAddr,
    only_v6: bool,
}

impl Namespace {
    #[cfg(test)]
    pub(crate) const ANOTHER: Self = Self(Some((0, 0)));

    /// That of the calling thread.
    pub(crate) fn current() -> Self {
        let file = fs::metadata("/proc/thread-self/ns/net");
        Self(file.ok().map(|file| (file.dev(), file.ino())))
    }
}

impl Circles {
    pub(crate) fn new(namespace: Namespace, target: Option<Target>) -> Self {
        Self { namespace, target }
    }

    /// Takes note of a port that is served at this address; at `::`, on IPv4 addresses too unless
    /// it is IPv6 alone.
    pub(super) fn serve(&self, addr: SocketAddr, only_v6: bool) -> Served {
        Served::new(self.namespace, addr, only_v6)
    }

    /// Whether what a client is answered would come back by a port of this process.
    pub(super) fn has(&self, client: SocketAddr, container_port: Port) -> bool {
        self.is_container(client, container_port) || is_served(self.namespace, client)
    }

    /// The container's service itself asks, or somebody in its name: its answer would be its next
    /// question.
    fn is_container(&self, client: SocketAddr, container_port: Port) -> bool {
        let Some(target) =
            self.target.as_ref().filter(|_| client.port() == container_port.number())
        else {
            return false;
        };
        let client = client.ip().to_canonical();
        target.endpoint().addrs().any(|ip| ip == client)
    }
}

/// Whether a source address and port are those of a port that this process serves. Nobody else can
/// have them.
fn is_served(namespace: Namespace, client: SocketAddr) -> bool {
    let ip = client.ip().to_canonical();
    let bound: Vec<_> = match served().get(&(namespace, client.port())) {
        Some(bound) => bound.clone(),
        None => return false,
    };
    if bound.contains(&ip) {
        return true;
    }
    let covered = |any: &IpAddr| any.is_unspecified() && any.is_ipv4() == ip.is_ipv4();
    bound.iter().any(covered) && is_own(client)
}

impl Served {
    fn new(namespace: Namespace, addr: SocketAddr, only_v6: bool) -> Self {
        let port = Self { namespace, addr, only_v6 };
        served().entry((namespace, addr.port())).or_default().extend(port.ips());
        port
    }

    fn ips(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let ip = self.addr.ip().to_canonical();
        let dual = ip == Ipv6Addr::UNSPECIFIED && !self.only_v6;
        [ip].into_iter().chain(dual.then_some(Ipv4Addr::UNSPECIFIED.into()))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Entry::Occupied(mut bound) = served().entry((self.namespace, self.addr.port())) {
            for ip in self.ips() {
                if let Some(place) = bound.get().iter().position(|one| *one == ip) {
                    bound.get_mut().swap_remove(place);
                }
            }
            if bound.get().is_empty() {
                bound.remove();
            }
        }
    }
}

fn served() -> MutexGuard<'static, BTreeMap<(Namespace, u16), Vec<IpAddr>>> {
    SERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A namespace that no other test is in.
    const HERE: Namespace = Namespace(Some((0, 1)));
    const ELSEWHERE: Namespace = Namespace(Some((0, 2)));

    fn serves(client: &str) -> bool {
        is_served(HERE, client.parse().unwrap())
    }

    #[test]
    fn a_port_is_served_on_its_addresses_in_its_namespace_until_it_is_dropped() {
        let new =
            |namespace, addr: &str, only_v6| Served::new(namespace, addr.parse().unwrap(), only_v6);
        let one = new(HERE, "127.0.0.1:8080", false);
        let _elsewhere = new(ELSEWHERE, "[::]:9000", false);
        assert!(serves("127.0.0.1:8080") && serves("[::ffff:127.0.0.1]:8080"));
        assert!(!serves("127.0.0.2:8080") && !serves("127.0.0.1:8081"));
        assert!(!serves("127.0.0.1:9000"));
        let all = new(HERE, "[::]:8080", false);
        assert!(serves("127.0.0.2:8080") && serves("[::1]:8080"));
        // Somebody else's port of the same number.
        assert!(!serves("192.0.2.7:8080") && !serves("[2001:db8::7]:8080"));
        drop(all);
        assert!(serves("127.0.0.1:8080") && !serves("[::1]:8080"));
        drop(one);
        assert!(!serves("127.0.0.1:8080"));
        let four = new(HERE, "0.0.0.0:8080", false);
        assert!(serves("127.0.0.2:8080") && !serves("[::1]:8080"));
        drop(four);
        let _six = new(HERE, "[::]:8080", true);
        assert!(!serves("127.0.0.2:8080") && serves("[::1]:8080"));
    }
}
