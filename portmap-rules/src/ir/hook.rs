//! Where the kernel calls a chain.

/// Where on a packet's way through the kernel a base chain is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// A packet arrived, and is not routed yet.
    Prerouting,
    /// It is for the host itself.
    Input,
    /// It is for somebody else.
    Forward,
    /// The host itself sends it.
    Output,
    /// It is about to leave.
    Postrouting,
}

impl Hook {
    /// The name of the built-in chain of iptables: `PREROUTING`.
    pub const fn builtin(self) -> &'static str {
        match self {
            Self::Prerouting => "PREROUTING",
            Self::Input => "INPUT",
            Self::Forward => "FORWARD",
            Self::Output => "OUTPUT",
            Self::Postrouting => "POSTROUTING",
        }
    }

    /// The name in nftables: `prerouting`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

/// In which order the chains of one hook are called: the lowest number first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub i32);

impl Priority {
    /// Before connection tracking, which comes at -200: `NF_IP_PRI_RAW`.
    pub const RAW: Self = Self(-300);
    /// Changing packets before they are routed, after connection tracking: `NF_IP_PRI_MANGLE`.
    pub const MANGLE: Self = Self(-150);
    /// Destination NAT: `NF_IP_PRI_NAT_DST`.
    pub const DSTNAT: Self = Self(-100);
    /// Filtering: `NF_IP_PRI_FILTER`.
    pub const FILTER: Self = Self(0);
    /// Source NAT: `NF_IP_PRI_NAT_SRC`.
    pub const SRCNAT: Self = Self(100);
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainKind {
    /// Judge every packet.
    Filter,
    /// Change addresses; asked for the first packet of a connection alone.
    Nat,
}

/// What becomes of a packet that no rule of a base chain decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainPolicy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// The chain's type.
    pub kind: ChainKind,
    /// Where it is called.
    pub hook: Hook,
    /// In which order.
    pub priority: Priority,
    /// What its end means.
    pub policy: ChainPolicy,
}
