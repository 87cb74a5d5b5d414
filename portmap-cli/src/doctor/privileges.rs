//! What this process may do.

use portmap::{HostPort, PortSpec};

use super::{Finding, procfs};
use crate::capability::Capability;

/// Who may enter namespaces may make them, too.
pub(super) fn may_enter() -> bool {
    Capability::SysAdmin.is_here()
}

pub(super) fn may_filter() -> bool {
    Capability::NetAdmin.is_here()
}

pub(super) fn check(specs: &[PortSpec]) -> Vec<Finding> {
    let rules = match may_filter() {
        true => Finding::ok("privileges", "CAP_NET_ADMIN is there: every mode works"),
        false => Finding::note(
            "privileges",
            "no CAP_NET_ADMIN: --mode proxy works, --mode hybrid and rules do not",
        ),
    };
    let enter = match may_enter() {
        true => Finding::ok("namespaces", "CAP_SYS_ADMIN is there: --pid and --netns work"),
        false => Finding::note(
            "namespaces",
            "no CAP_SYS_ADMIN: --pid, --netns and containers without a bridge are for root",
        ),
    };
    [rules, enter].into_iter().chain(low_ports(specs)).collect()
}

fn low_ports(specs: &[PortSpec]) -> Option<Finding> {
    let start: u16 = procfs::setting("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024);
    let lowest = specs.iter().filter_map(|spec| match spec.host_port() {
        HostPort::Exact(ports) | HostPort::AnyOf(ports) => Some(ports.first().number()),
        HostPort::Ephemeral => None,
    });
    let lowest = lowest.min()?;
    if Capability::NetBindService.is_here() || lowest >= start {
        return Some(Finding::ok("low ports", format!("port {lowest} may be taken")));
    }
    let found =
        format!("port {lowest} needs CAP_NET_BIND_SERVICE: ports below {start} are privileged");
    Some(
        Finding::wrong("low ports", found)
            .mend(format!("sysctl -w net.ipv4.ip_unprivileged_port_start={lowest}")),
    )
}
