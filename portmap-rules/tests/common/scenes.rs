//! The states whose rules are kept as golden files and explained in `docs/rules.md`.

use portmap_rules::{Hairpin, InvalidPackets, Layout, Loopback, Policy, Ruleset};

use super::compiled;

/// One state, and what it is there to show.
pub(crate) struct Example {
    pub(crate) name: &'static str,
    /// A paragraph for the documentation.
    pub(crate) about: &'static str,
    networks: &'static [&'static str],
    publishes: &'static [&'static str],
    loopback: Loopback,
    hairpin: Hairpin,
    isolation: bool,
    invalid: InvalidPackets,
}

const PLAIN: Example = Example {
    name: "plain",
    about: "Two networks; host port 8080 leads to port 80 of a container in the second one. No proxy, and \
            hairpin traffic is left to the bridge.",
    networks: &["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24"],
    publishes: &["8080:80@192.0.2.2"],
    loopback: Loopback::Nat,
    hairpin: Hairpin::Bridge,
    isolation: true,
    invalid: InvalidPackets::Auto,
};

/// The state that the others are compared with.
pub(crate) const FIRST: Example = PLAIN;

pub(crate) const EXAMPLES: &[Example] = &[
    PLAIN,
    Example {
        name: "with-proxy",
        about: "A userland proxy serves what NAT doesn't: the host's own connections to 127.0.0.1, and containers \
                that call a host address.",
        loopback: Loopback::Proxy,
        ..PLAIN
    },
    Example {
        name: "hairpin-masquerade",
        about: "Packets that NAT sends back over their bridge get the gateway's address, so that answers come back \
                whether or not the bridge's own traffic meets the rules. Where it does (br_netfilter is on), a \
                container reaches itself only by a port of its bridge that has the hairpin flag: with \
                `HostSettings::Managed` the mapper sets it there at each publish.",
        hairpin: Hairpin::Masquerade,
        ..PLAIN
    },
    Example { name: "networks-alone", about: "Nothing is published yet.", publishes: &[], ..PLAIN },
    Example {
        name: "ipv6",
        about: "The second network and the container have IPv6 as well.",
        networks: &["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24,2001:db8:2::/64"],
        publishes: &["8080:80@192.0.2.2,2001:db8:2::2"],
        ..PLAIN
    },
    Example {
        name: "range",
        about: "A range of ports that keep their numbers: one rule or element, whatever its length.",
        publishes: &["30000-39999:30000-39999@192.0.2.2"],
        ..PLAIN
    },
    Example {
        name: "shifted-range",
        about: "A range onto other numbers. iptables shifts it in one rule; nftables cannot add to a port number, so \
                that there it is an element a port.",
        publishes: &["8080-8083:80-83@192.0.2.2"],
        ..PLAIN
    },
    Example {
        name: "host-address",
        about: "The port is published on one address of the host.",
        publishes: &["198.51.100.1:8080:80@192.0.2.2"],
        ..PLAIN
    },
    Example {
        name: "loopback-address",
        about: "The port is published on a loopback address.",
        publishes: &["127.0.0.1:8080:80@192.0.2.2"],
        ..PLAIN
    },
    Example {
        name: "trusted-interface",
        about: "A host interface may go round NAT to published ports.",
        networks: &["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24,trusted=eth1"],
        ..PLAIN
    },
    Example {
        name: "icc-off",
        about: "Containers of the second network don't talk to each other.",
        networks: &["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24,icc=off"],
        ..PLAIN
    },
    Example {
        name: "internal",
        about: "The second network has no way in or out, and so nothing is published there.",
        networks: &["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24,internal"],
        ..PLAIN
    },
    Example {
        name: "nat-unprotected",
        about: "Containers of the second network are reached directly as well, whatever the port.",
        networks: &["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24,mode=nat-unprotected"],
        ..PLAIN
    },
    Example {
        name: "routed",
        about: "Containers of the second network are reached by their own addresses, at published container ports.",
        networks: &["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24,mode=routed"],
        ..PLAIN
    },
    Example {
        name: "without-isolation",
        about: "Containers of different networks reach each other's published ports.",
        isolation: false,
        ..PLAIN
    },
    Example {
        name: "invalid-packets-left",
        about: "What connection tracking makes nothing of is left alone, as Docker leaves it: the default in the \
                iptables layout with prefix DOCKER.",
        invalid: InvalidPackets::Leave,
        ..PLAIN
    },
];

impl Example {
    pub(crate) fn rules(&self, layout: Layout) -> Ruleset {
        let Self { loopback, hairpin, isolation, invalid, .. } = *self;
        let policy = Policy { layout, loopback, hairpin, isolation, invalid, ..Policy::default() };
        compiled(self.networks, self.publishes, &policy)
    }
}
