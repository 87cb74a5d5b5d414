//! What NAT in the kernel needs of the process and of the host.

use std::path::Path;

use portmap::{
    BoxError, ErrorKind,
    rules::{Hairpin, Layout, Policy},
};
use portmap_testkit::LabError;

use crate::{capability::Capability, demo, output::chain};

/// Finds what is missing, as far as that can be seen beforehand.
pub(crate) fn check(policy: &Policy) -> Result<(), String> {
    if !Capability::NetAdmin.is_here() {
        return Err("NAT in the kernel needs CAP_NET_ADMIN".to_owned());
    }
    if policy.hairpin == Hairpin::Bridge && !Path::new("/proc/sys/net/bridge").exists() {
        let ways = "load the module br_netfilter, or choose --hairpin masquerade";
        return Err(format!("--hairpin bridge needs netfilter on bridges: {ways}"));
    }
    Ok(())
}

/// Whether an error says that this host does not have, or this process may not do, what NAT in the kernel takes.
pub(crate) fn are_lacking(error: &BoxError) -> bool {
    let by_mapper = error.downcast_ref::<portmap::Error>().map(portmap::Error::kind);
    let lacking = [ErrorKind::Denied, ErrorKind::Busy, ErrorKind::Unsupported, ErrorKind::Backend];
    by_mapper.is_some_and(|kind| lacking.contains(&kind)) || is_denied_by_lab(error)
}

fn is_denied_by_lab(error: &BoxError) -> bool {
    error.downcast_ref::<LabError>().is_some_and(demo::is_denied)
}

/// Says what would help against an error, where that is known.
///
/// A privilege can turn out to be missing that the process seems to have: in a user namespace, say, without a network
/// namespace of its own.
pub(crate) fn explain(error: BoxError, policy: &Policy) -> BoxError {
    let by_mapper = error.downcast_ref::<portmap::Error>().map(portmap::Error::kind);
    let said = chain(error.as_ref());
    match by_mapper {
        Some(ErrorKind::Denied) => format!("NAT in the kernel needs CAP_NET_ADMIN: {said}").into(),
        // Two owners of iptables rules would each keep putting its own first.
        Some(ErrorKind::Busy) if policy.layout == Layout::Nftables => {
            format!("{said}; choose another --prefix").into()
        }
        _ if is_denied_by_lab(&error) => {
            format!("NAT in the kernel needs CAP_NET_ADMIN, and its webapp CAP_SYS_ADMIN: {said}")
                .into()
        }
        _ => error,
    }
}
