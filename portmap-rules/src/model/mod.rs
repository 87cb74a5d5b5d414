//! What rules are compiled from.

mod interface;
mod network;
mod notation;
mod policy;

pub use interface::{Interface, InterfaceError};
pub use network::{GatewayMode, Network, NetworkError, Subnet};
pub use notation::NetworkParseError;
pub use policy::{Hairpin, Layout, Loopback, Policy, Prefix, PrefixError};
