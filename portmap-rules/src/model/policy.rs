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
    /// What becomes of packets that NAT passes by.
    pub invalid: InvalidPackets,
    /// By which way answers leave a host that routes by source.
    pub answers: Answers,
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
            invalid: InvalidPackets::default(),
            answers: Answers::default(),
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

    /// Whether rules drop what connection tracking makes nothing of: see [`InvalidPackets`].
    pub fn drops_invalid(&self) -> bool {
        match self.invalid {
            InvalidPackets::Auto => {
                self.layout != Layout::Iptables || self.prefix.as_str() != DOCKER
            }
            InvalidPackets::Drop => true,
            InvalidPackets::Leave => false,
        }
    }

    /// Whether what another owner has published to a container of the same bridge is left to that one's rules. With the prefix
    /// `DOCKER` and iptables the rules are Docker's, line for line, and Docker drops it.
    pub(crate) fn spares_other_owners(&self) -> bool {
        self.layout == Layout::Nftables || self.prefix.as_str() != DOCKER
    }
}

/// The prefix whose tables in the iptables layout are Docker's own, line for line.
const DOCKER: &str = "DOCKER";

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
pub enum Hairpin {
    /// Its source becomes the gateway, so that the answer comes to the host. Needs nothing else, but that a container which
    /// calls itself needs the hairpin flag of its bridge's port where netfilter sees that bridge's packets (`br_netfilter`):
    /// `HostSettings::Managed` sets it there at each publish.
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

/// What becomes of packets that connection tracking makes nothing of (`INVALID`): a segment beyond the window, late or corrupt.
///
/// NAT passes them by. One to a published port arrives at the host itself, which resets the client's connection; one from a
/// container leaves with the container's own address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InvalidPackets {
    /// As [`Drop`](Self::Drop). With prefix `DOCKER` in the iptables layout as [`Leave`](Self::Leave): those tables are
    /// Docker's own, line for line.
    #[default]
    Auto,
    /// They are dropped: at hook input where NAT serves the port that they are for, at hook forward where their source is
    /// masqueraded. What is for a socket of the host, the proxy's among them, is left alone.
    Drop,
    /// There are no rules for them.
    Leave,
}

/// By which way answers of published containers leave a host whose policy routing goes by its own addresses: one with a second
/// uplink (`ip rule add from 192.0.2.1 table 200`).
///
/// NAT gives an answer the address that was called after it is routed, so such rules don't hold for it by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Answers {
    /// As the host's own answers from the address that was called. Where
    /// `HostSettings::Managed` finds such rules at a publish, it adds a twin to each that goes by a mark
    /// (bits 0x1e00 of it; all others stay), and a table `portmap-answers` of nftables sets the mark. They go with the last
    /// network. One mapper in a network namespace does so.
    ///
    /// A rule that asks for more than a source and a destination has no twin.
    #[default]
    AsCalled,
    /// By the container's own address, as the kernel does. Give your rules twins of your own, or have them go by the
    /// containers' nets, or leave such calls to a proxy.
    ByContainer,
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
words!(InvalidPackets, "way with invalid packets", Auto = "auto", Drop = "drop", Leave = "leave");
words!(Answers, "way of answers", AsCalled = "as-called", ByContainer = "by-container");
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
