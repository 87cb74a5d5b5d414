//! Whether this host passes packets on.

use super::{Finding, procfs};

pub(super) fn check() -> Vec<Finding> {
    vec![
        forward("ip_forward", "net/ipv4/ip_forward"),
        forward("ip6 forward", "net/ipv6/conf/all/forwarding"),
        bridge(),
    ]
}

fn forward(check: &'static str, path: &str) -> Finding {
    let name = path.replace('/', ".");
    match procfs::setting::<u8>(path) {
        Some(0) => Finding::note(
            check,
            format!("{name} is 0: NAT needs it; --mode rules switches it on, and back in the end"),
        )
        .mend(format!("sysctl -w {name}=1")),
        Some(_) => Finding::ok(check, format!("{name} is on")),
        None => Finding::note(check, format!("there is no {name}")),
    }
}

fn bridge() -> Finding {
    match procfs::setting::<u8>("net/bridge/bridge-nf-call-iptables") {
        None => Finding::note(
            "br_netfilter",
            "not loaded: --hairpin bridge (the default of --backend iptables) needs it",
        )
        .mend("modprobe br_netfilter"),
        Some(0) => Finding::note(
            "br_netfilter",
            "loaded, and net.bridge.bridge-nf-call-iptables is 0: --hairpin bridge switches it on, and back in the end",
        ),
        Some(_) => Finding::ok(
            "br_netfilter",
            "loaded, and on: rules see what passes between ports of a bridge",
        ),
    }
}
