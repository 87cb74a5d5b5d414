//! Who serves what is in force by rules and a proxy together, told to a person.

use std::collections::BTreeMap;

use portmap::{ServedAlone, ServedBy, rules::Policy};

use super::Published;
use crate::{nat::listed, output::chain, remedy};

/// What the container sees follows from it, so what one of the two serves alone is not to be taken for served by both.
pub(crate) fn by_both(published: &[Published], policy: &Policy) -> Vec<String> {
    let inside = |one: &&Published| one.reach.as_ref().is_some_and(|reach| reach.inside.is_some());
    let leases = || published.iter().filter(|one| !inside(one)).map(|one| &one.lease);
    let alone: Vec<_> = leases().flat_map(|lease| lease.served_alone()).collect();
    let all = leases().flat_map(|lease| lease.bindings()).count();
    let by_proxy = alone.iter().filter(|one| one.by == ServedBy::Proxy).count();

    let mut lines = Vec::new();
    if alone.len() < all {
        let Policy { layout, prefix, .. } = policy;
        lines.push(format!(
            "NAT in the kernel by rules {prefix} of {layout} for clients outside: the container sees their own addresses"
        ));
        lines.push(
            "the proxy for 127.0.0.1, ::1 and containers' calls to this host: it sees the bridge's address"
                .to_owned(),
        );
    }
    for ((by, reason), bindings) in grouped(alone) {
        let bindings = bindings.join(", ");
        lines.push(match by {
            ServedBy::Proxy => format!(
                "{bindings} by the proxy alone: the container sees the bridge's address, whoever calls"
            ),
            ServedBy::Rules => format!("{bindings} by NAT alone: not on 127.0.0.1, nor from containers"),
        });
        lines.push(format!("because {reason}"));
    }
    if by_proxy < all {
        lines.push(
            "forwarding and what else NAT needs of this host is on, and put back in the end"
                .to_owned(),
        );
        lines.extend(listed("connections that NAT serves are"));
    }
    lines
}

/// Those of one reason together.
fn grouped(alone: Vec<&ServedAlone>) -> BTreeMap<(ServedBy, String), Vec<String>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ServedAlone { binding, by, reason, .. } in alone {
        let reason = remedy::hint(reason).unwrap_or_else(|| chain(reason));
        let place =
            format!("{}:{}/{}", binding.host_addr(), binding.host_ports(), binding.protocol());
        groups.entry((*by, reason)).or_default().push(place);
    }
    groups
}
