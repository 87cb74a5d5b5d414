//! Chains of others that drop what is forwarded.

mod listing;

use std::{fmt, fs, io};

use portmap_core::Foreign;
use portmap_rules::{Family, Name, TableFamily, TableId};

use crate::{IptablesVariant, Worker, iptables::drops_forwarded, netlink::Socket};

/// A chain that every forwarded packet passes, and that drops what none of its rules accepts: its policy is `drop`.
///
/// At one hook all tables are asked, and one that drops has the last word: what another one accepts is lost all the same.
/// Docker, ufw and many administrators have such a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DroppingChain {
    pub(crate) table: TableId,
    pub(crate) chain: Name,
    /// The iptables whose chain it is, where it is one of iptables.
    pub(crate) variant: Option<IptablesVariant>,
}

impl DroppingChain {
    /// iptables' own, in which rules may be added with its tools.
    fn of_iptables(variant: IptablesVariant, family: Family) -> Self {
        let table = TableId { family: family.into(), name: "filter".into() };
        Self { table, chain: "FORWARD".into(), variant: Some(variant) }
    }

    /// As nftables lists it. To the kernel, the tables of iptables-nft are some of nftables'.
    fn of_nftables(family: TableFamily, table: &str, chain: &str) -> Self {
        let is_iptables = family != TableFamily::Inet && (table, chain) == ("filter", "FORWARD");
        Self {
            table: TableId { family, name: table.to_owned().into() },
            chain: chain.to_owned().into(),
            variant: is_iptables.then_some(IptablesVariant::Nft),
        }
    }
}

impl fmt::Display for DroppingChain {
    /// `chain FORWARD in table ipv4 filter`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, chain, variant } = self;
        write!(f, "chain {} in table {}", Foreign::new(chain), Foreign::new(table))?;
        variant.map_or(Ok(()), |variant| write!(f, " of iptables ({variant})"))
    }
}

/// Looks for such chains in one network namespace. A listing of chains without their rules takes some 0.1 ms.
#[derive(Debug)]
pub(crate) struct DroppingChains {
    worker: Worker<Socket>,
}

impl DroppingChains {
    /// Opens a socket in the network namespace of the calling thread, and starts the thread that uses it.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { worker: Worker::spawn("portmap-fwd", Socket::open()?)? })
    }

    /// Those that see packets of a family.
    pub(crate) async fn list(&self) -> io::Result<Vec<DroppingChain>> {
        let job = |socket: &mut Socket| {
            let mut chains = listing::list(socket)?;
            for family in Family::ALL {
                if uses_legacy_filter(family) && drops_forwarded(family) {
                    chains.push(DroppingChain::of_iptables(IptablesVariant::Legacy, family));
                }
            }
            Ok(chains)
        };
        self.worker.run(job).await.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

/// Whether legacy iptables has a filter table here. Asking its tool would make one.
fn uses_legacy_filter(family: Family) -> bool {
    let names = match family {
        Family::Ipv4 => "/proc/thread-self/net/ip_tables_names",
        Family::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
    };
    fs::read_to_string(names).is_ok_and(|names| names.lines().any(|name| name == "filter"))
}
