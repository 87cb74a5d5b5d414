//! How an owner wants its rules.

use std::{error, fmt, str::FromStr};

use crate::{Family, Network, Prefix};

/// What holds for all of one owner's rules.
///
/// The default is nftables, NAT for loopback too, masqueraded hairpin traffic, isolated networks, prefix `PORTMAP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which rule language the rules are for.
    pub layout: Layout,
    /// Who serves the host's own connections to 127.0.0.1, and connections from other networks.
    pub loopback: Loopback,
    /// What makes a container's answer to its neighbour pass through the host.
    pub hairpin: Hairpin,
    /// Whether containers of different networks are kept apart.
    pub isolation: bool,
    /// Whose rules they are.
    pub prefix: Prefix,
    /// What follows where somebody else drops what is forwarded.
    pub foreign_drop: ForeignDrop,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            loopback: Loopback::default(),
            hairpin: Hairpin::default(),
            isolation: true,
            prefix: Prefix::default(),
            foreign_drop: ForeignDrop::default(),
        }
    }
}

impl Policy {
    /// Whether a network's bridge has to route 127.0.0.0/8 (`route_localnet`): NAT for loopback, to IPv4 containers.
    ///
    /// The rules for it guard that net then, as nobody outside must reach it.
    pub const fn routes_localnet(&self, network: &Network) -> bool {
        matches!(self.loopback, Loopback::Nat)
            && network.has_nat()
            && network.subnet(Family::Ipv4).is_some()
    }

    /// Whether what another owner has published to a container of the same bridge is left to that one's rules. With the prefix
    /// `DOCKER` and iptables the rules are Docker's, line for line, and Docker drops it.
    pub(crate) fn spares_other_owners(&self) -> bool {
        self.layout == Layout::Nftables || self.prefix.as_str() != "DOCKER"
    }
}

/// The rule language, and with it the shape of the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One `inet` table; publishing adds elements to maps.
    #[default]
    Nftables,
    /// Chains in the tables filter, nat and raw of each family; publishing adds rules.
    Iptables,
}

/// Who serves the paths that NAT cannot serve well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Loopback {
    /// A userland proxy: NAT leaves 127.0.0.0/8 and packets that come from containers to it.
    Proxy,
    /// NAT alone: also 127.0.0.1, with `route_localnet` on the bridge, and containers that call a host address.
    #[default]
    Nat,
}

/// What happens to a packet that NAT sends back over the bridge that it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hairpin {
    /// Its source becomes the gateway, so that the answer comes to the host. Needs nothing else.
    #[default]
    Masquerade,
    /// It keeps its source. Needs br_netfilter, so that the host sees the answer, and the hairpin flag on the
    /// bridge's ports, so that a container reaches itself.
    Bridge,
}

/// What a mapper does where a chain of somebody else's drops forwarded packets by its policy: that of `FORWARD` in iptables, as
/// dockerd and ufw leave it, or a chain of nftables. It has the last word, whatever rules of ours accept.
///
/// Rules in the iptables layout come first in `FORWARD` of the same iptables, so that one is not in their way.
///
/// A policy is all that is looked at, at each publish and retarget. A rule that drops at the end of a chain is not found, nor is an
/// administrator's that accepts what the policy would drop: for that there is [`Ignore`](Self::Ignore).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForeignDrop {
    /// It leaves others' chains alone, and says that it cannot serve what they drop: publishing is
    /// [`Unsupported`](portmap_core::ErrorKind::Unsupported), and names the chain. `HybridMapper` then has the proxy serve it.
    #[default]
    Leave,
    /// It opens a way through iptables: a jump in `DOCKER-USER` where Docker has made that for others, else first in `FORWARD`,
    /// to a chain that accepts what NAT has led to a published container, and the answers. It is put right when others change
    /// it, as all rules of iptables are, and goes with the last lease.
    ///
    /// Nothing can be added to a table of nftables without changing somebody else's: that is as with [`Leave`](Self::Leave).
    Open,
    /// It doesn't look.
    Ignore,
}

macro_rules! words {
    ($choice:ident, $what:literal, $($variant:ident = $word:literal),+) => {
        impl FromStr for $choice {
            type Err = UnknownChoice;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownChoice { what: $what, of: &[$($word),+], text: text.to_owned() }),
                }
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }
    };
}

words!(Layout, "rule language", Nftables = "nftables", Iptables = "iptables");
words!(Loopback, "loopback", Proxy = "proxy", Nat = "nat");
words!(ForeignDrop, "foreign drop", Leave = "leave", Open = "open", Ignore = "ignore");
words!(Hairpin, "hairpin", Masquerade = "masquerade", Bridge = "bridge");

/// What was read is not one of a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownChoice {
    what: &'static str,
    of: &'static [&'static str],
    text: String,
}

impl fmt::Display for UnknownChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is not {}", self.what, self.text, self.of.join(" or "))
    }
}

impl error::Error for UnknownChoice {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_none_of_them_is_answered_with_those_that_are() {
        assert_eq!("nat".parse(), Ok(Loopback::Nat));
        assert_eq!("bridge".parse::<Hairpin>().map(|it| it.to_string()), Ok("bridge".to_owned()));
        let unknown = "ipfw".parse::<Layout>().unwrap_err().to_string();
        assert_eq!(unknown, "rule language \"ipfw\" is not nftables or iptables");
    }
}
