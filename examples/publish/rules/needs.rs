//! What NAT in the kernel needs of the process and of the host.

use std::{fs, path::Path};

use portmap::{
    BoxError, ErrorKind,
    rules::{Hairpin, Layout, Policy},
};
use portmap_testkit::LabError;

use crate::{demo, output::chain};

/// `CAP_NET_ADMIN` in the kernel's masks: `linux/capability.h`.
const NET_ADMIN: u64 = 1 << 12;

/// Finds what is missing, as far as that can be seen beforehand.
pub(super) fn check(policy: &Policy) -> Result<(), String> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    if mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(without_admin) {
        return Err("NAT in the kernel needs CAP_NET_ADMIN".to_owned());
    }
    if policy.hairpin == Hairpin::Bridge && !Path::new("/proc/sys/net/bridge").exists() {
        let ways = "load the module br_netfilter, or choose --hairpin masquerade";
        return Err(format!("--hairpin bridge needs netfilter on bridges: {ways}"));
    }
    Ok(())
}

const fn without_admin(mask: u64) -> bool {
    mask & NET_ADMIN == 0
}

/// Says what would help against an error, where that is known.
///
/// A privilege can turn out to be missing that the process seems to have: in a user namespace, say, without a network
/// namespace of its own.
pub(super) fn explain(error: BoxError, policy: &Policy) -> BoxError {
    let by_mapper = error.downcast_ref::<portmap::Error>().map(portmap::Error::kind);
    let by_lab = error.downcast_ref::<LabError>().is_some_and(demo::is_denied);
    let said = chain(error.as_ref());
    match by_mapper {
        Some(ErrorKind::Denied) => format!("NAT in the kernel needs CAP_NET_ADMIN: {said}").into(),
        // Two owners of iptables rules would each keep putting its own first.
        Some(ErrorKind::Busy) if policy.layout == Layout::Nftables => {
            format!("{said}; choose another --prefix").into()
        }
        _ if by_lab => {
            format!("NAT in the kernel needs CAP_NET_ADMIN, and its webapp CAP_SYS_ADMIN: {said}")
                .into()
        }
        _ => error,
    }
}
