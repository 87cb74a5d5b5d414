//! Whether the host forwards at all.

use std::{error, fmt, fs::File, os::unix::fs::FileExt as _};

use portmap_core::{Binding, Error, ErrorKind, HostAddr};
use portmap_rules::Family;
use tracing::debug;

use crate::Sysctl;

/// The host does not forward packets of this family: the cause of a publish or retarget that is
/// [`Unsupported`](portmap_core::ErrorKind::Unsupported), whose message names the setting.
///
/// It is a type of its own for programs that have other words for what mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardingOff(pub Family);

impl ForwardingOff {
    /// The setting that is off.
    pub const fn setting(self) -> Sysctl {
        Sysctl::Forward(self.0)
    }
}

impl fmt::Display for ForwardingOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostSettings::Managed switches it on; so does sysctl -w {}=1", self.setting())
    }
}

impl error::Error for ForwardingOff {}

/// Tells whether the network namespace of the thread that opened it forwards.
#[derive(Debug)]
pub(super) struct Forwarding(Vec<(Family, File)>);

impl Forwarding {
    /// A family that the kernel has no setting for is none that anything could be published in.
    pub(super) fn open() -> Self {
        let open = |family| Some((family, File::open(Sysctl::Forward(family).path()).ok()?));
        Self(Family::ALL.into_iter().filter_map(open).collect())
    }

    /// For a host that forwards whatever its settings say.
    #[cfg(test)]
    pub(super) const fn assumed() -> Self {
        Self(Vec::new())
    }

    /// Why these bindings cannot be served, where it is that packets to their containers are not forwarded.
    pub(super) fn refusal(&self, bindings: &[Binding]) -> Option<Error> {
        let needed = |family: &Family| bindings.iter().any(|binding| forwards(binding, *family));
        let off = self.0.iter().filter(|(family, _)| needed(family)).find(|(_, file)| is_off(file));
        let cause = ForwardingOff(off?.0);
        let setting = cause.setting();
        let message = format!("{setting} is 0: this host forwards nothing to containers");
        Some(Error::new(ErrorKind::Unsupported, message).with_source(cause))
    }
}

/// Whether packets of a family are forwarded for this binding. Only the host itself calls its loopback addresses, and what
/// it sends is not forwarded.
pub(super) fn forwards(binding: &Binding, family: Family) -> bool {
    let is_called = match binding.host_addr() {
        HostAddr::Any => true,
        HostAddr::Ip(ip) => !ip.addr().is_loopback() && Family::of(ip.addr()) == family,
    };
    is_called && binding.endpoint().addrs().any(|addr| Family::of(addr) == family)
}

/// What cannot be read is left to the rules to show.
fn is_off(file: &File) -> bool {
    let mut digit = [0];
    match file.read_exact_at(&mut digit, 0) {
        Ok(()) => digit == *b"0",
        Err(error) => {
            debug!(%error, "whether the host forwards is not known");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use portmap_core::{Endpoint, Protocol};

    use super::*;

    fn needed(host: HostAddr, to: &str) -> Vec<Family> {
        let to: Endpoint = to.parse().unwrap();
        let (port, ports) = ("8080".parse().unwrap(), "80".parse().unwrap());
        let binding = Binding::new(Protocol::Tcp, host, port, to, ports).unwrap();
        Family::ALL.into_iter().filter(|family| forwards(&binding, *family)).collect()
    }

    #[test]
    fn only_what_comes_from_outside_in_a_family_is_forwarded_in_it() {
        let at = |addr: &str| HostAddr::Ip(addr.parse().unwrap());
        let (v4, v6, dual) = ("192.0.2.2", "2001:db8::2", "192.0.2.2,2001:db8::2");
        assert_eq!(needed(HostAddr::Any, dual), Family::ALL);
        assert_eq!(needed(HostAddr::Any, v4), [Family::Ipv4]);
        assert_eq!(needed(HostAddr::Any, v6), [Family::Ipv6]);
        assert_eq!(needed(at("0.0.0.0"), dual), [Family::Ipv4]);
        assert_eq!(needed(at("2001:db8::1"), dual), [Family::Ipv6]);
        assert_eq!(needed(at("198.51.100.1"), v6), []);
        assert_eq!(needed(at("127.0.0.1"), dual), []);
        assert_eq!(needed(at("::1"), dual), []);
    }
}
