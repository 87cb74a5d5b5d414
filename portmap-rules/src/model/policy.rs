//! How an owner wants its rules.

use std::{error, fmt, str::FromStr};

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
    /// Its source becomes the gateway, so that the answer comes to the host. Needs nothing else.
    #[default]
    Masquerade,
    /// It keeps its source. Needs br_netfilter, so that the host sees the answer, and the hairpin flag on the
    /// bridge's ports, so that a container reaches itself.
    Bridge,
}

/// Whose rules they are: iptables chains begin with it, the nftables table is called so in lower case.
///
/// 1 to 10 letters, digits, `-` and `_`, a letter first: iptables allows 28 bytes to a chain, and the longest one
/// appends `-ISOLATION-STAGE-2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// The longest prefix, in bytes.
    pub const MAX_LEN: usize = 10;

    /// The prefix as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    /// `PORTMAP`
    fn default() -> Self {
        Self("PORTMAP".to_owned())
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        let letter_first = text.starts_with(|char: char| char.is_ascii_alphabetic());
        if text.len() > Self::MAX_LEN || !letter_first || !text.chars().all(fits) {
            return Err(PrefixError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What was read is not a [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixError(String);

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(f, "prefix {text:?} is not a letter and up to 9 letters, digits, - or _")
    }
}

impl error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_leaves_room_for_the_longest_chain() {
        let longest = "A".repeat(Prefix::MAX_LEN).parse::<Prefix>().unwrap();
        assert!(format!("{longest}-ISOLATION-STAGE-2").len() <= 28);
        for text in ["", "ELEVEN-BYTE", "1ST", "-A", "A B", "A\nB", "Ä"] {
            text.parse::<Prefix>().expect_err(text);
        }
    }
}
