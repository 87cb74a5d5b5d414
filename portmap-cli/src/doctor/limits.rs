//! How much there may be of it.

use nix::sys::resource::{Resource, getrlimit};
use portmap::PortSpec;

use super::{Finding, procfs};

/// Below this a busy port comes to the end of its descriptors: two for each connection.
const FEW: u64 = 16_384;

pub(super) fn check(specs: &[PortSpec]) -> Vec<Finding> {
    vec![descriptors(specs), conntrack()]
}

fn descriptors(specs: &[PortSpec]) -> Finding {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Finding::unknown("descriptors", "RLIMIT_NOFILE cannot be read");
    };
    let ports: u64 = specs.iter().map(|spec| spec.container_ports().len() as u64).sum();
    let clients = hard.saturating_sub(ports) / 2;
    let mend = "ulimit -Hn 1048576, as root; under systemd LimitNOFILE=1048576";
    if ports + 64 > hard {
        let found =
            format!("{ports} ports need as many descriptors, and this process may have {hard}");
        return Finding::wrong("descriptors", found).mend(mend);
    }
    let mut found = format!("{hard} at most (RLIMIT_NOFILE): some {clients} connections at a time");
    if ports > 1 {
        // The proxy keeps the rest for the others.
        found.push_str(&format!(", {} of them by one port", clients / 10 * 7));
    }
    match hard < FEW {
        true => Finding::wrong("descriptors", format!("{found}, which is few")).mend(mend),
        false => Finding::ok("descriptors", found),
    }
}

fn conntrack() -> Finding {
    let entries = procfs::setting::<u64>("net/netfilter/nf_conntrack_count");
    let most = procfs::setting::<u64>("net/netfilter/nf_conntrack_max");
    let (Some(entries), Some(most)) = (entries, most) else {
        return Finding::ok("conntrack", "not in use yet: NAT will load it");
    };
    let found = format!("{entries} of {most} entries are used");
    // What does not fit is dropped, whoever it is for.
    match entries.saturating_mul(10) >= most.saturating_mul(8) {
        true => Finding::wrong(
            "conntrack",
            format!("{found}: the kernel drops new connections beyond that"),
        )
        .mend(format!("sysctl -w net.netfilter.nf_conntrack_max={}", most.saturating_mul(2))),
        false => Finding::ok("conntrack", found),
    }
}
