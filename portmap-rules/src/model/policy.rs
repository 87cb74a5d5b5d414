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
    /// How the answer of a container to its neighbour finds back to the host.
    pub hairpin: Hairpin,
    /// Whether containers of different networks are kept apart.
    pub isolation: bool,
    /// Whose rules they are.
    pub prefix: Prefix,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            loopback: Loopback::default(),
            hairpin: Hairpin::default(),
            isolation: true,
            prefix: Prefix::default(),
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
