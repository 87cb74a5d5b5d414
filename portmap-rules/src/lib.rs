//! Publishing container ports by NAT in the kernel.

mod backend;
mod compile;
mod conntrack;
mod diff;
mod family;
mod ir;
mod model;
mod render;
mod trace;

pub use backend::{Drift, DriftWatch, Nftables, NftablesError, Object, TableOwner};
pub use compile::{CompileError, compile};
pub use conntrack::{Conntrack, ConntrackError};
pub use diff::{Change, Element, Transaction};
pub use family::Family;
pub use ir::{
    Base, Chain, ChainKind, ChainPolicy, Connection, Data, DataType, Field, Hook, Key, L4, Match,
    Name, NatPorts, Ownership, Priority, Purpose, Rule, Ruleset, Set, Table, TableFamily, TableId,
    Target, Value, Verdict, What,
};
pub use model::{
    GatewayMode, Hairpin, Interface, InterfaceError, Layout, Loopback, Network, NetworkError,
    NetworkParseError, Policy, Prefix, PrefixError, Subnet,
};
pub use trace::{End, Loss, Packet, Socket, SocketKind, Step, Trace, World, trace};
