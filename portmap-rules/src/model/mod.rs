//! What rules are compiled from.

mod interface;
mod network;
mod notation;
mod policy;
mod prefix;
mod subnet;

pub use interface::{Interface, InterfaceError};
pub use network::{GatewayMode, Network, NetworkError};
pub use notation::NetworkParseError;
pub use policy::{
    Answers, ForeignDrop, Hairpin, InvalidPackets, Layout, Loopback, Policy, UnknownChoice,
};
pub use prefix::{Prefix, PrefixError};
pub use subnet::Subnet;
