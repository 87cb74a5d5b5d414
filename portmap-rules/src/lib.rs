//! Rules that publish container ports by NAT, as data.
//!
//! [`compile`] makes a [`Ruleset`] of networks, bindings and a policy, in nftables' or in iptables' shape;
//! [`Ruleset::diff`] finds the way from one ruleset to another; `Display` prints what the tools would list; [`trace`]
//! tells what would become of a packet. All of that is data in, data out: the crate does no I/O and builds for any
//! target. `portmap-netfilter` puts the rules in force. `docs/rules.md` tells what each rule is for.
//!
//! ```
//! use portmap_core::{Binding, HostAddr, Protocol};
//! use portmap_rules::{Network, Policy, Ruleset, compile};
//!
//! let networks: [Network; 1] = ["docker0=172.17.0.0/16".parse()?];
//! let policy = Policy::default();
//! let before = compile(&networks, &[], &policy)?;
//!
//! let (host_port, container) = ("8080".parse()?, [172, 17, 0, 2].into());
//! let web = Binding::new(Protocol::Tcp, HostAddr::Any, host_port, container, "80".parse()?);
//! let after = compile(&networks, &Vec::from_iter(web), &policy)?;
//! assert!(after.to_string().contains("tcp . 8080 : 172.17.0.2 . 80"));
//!
//! let transaction = Ruleset::diff(&before, &after);
//! assert_eq!(before.apply(&transaction), after);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compile;
mod diff;
mod error;
mod family;
mod ir;
mod ledger;
mod model;
mod render;
mod trace;

pub use compile::{CompileError, Entrance, compile, compile_passage};
pub use diff::{Change, Element, Transaction};
pub use family::Family;
pub use ir::{
    Base, Chain, ChainKind, ChainPolicy, Connection, Data, DataType, Field, Hook, Key, L4, Mark,
    Match, Name, NatPorts, Ownership, Priority, Purpose, Rule, Ruleset, Set, Table, TableFamily,
    TableId, Target, Value, Verdict, What,
};
pub use ledger::{Edit, Entry, Ledger, Prepared};
pub use model::{
    Answers, ForeignDrop, GatewayMode, Hairpin, Interface, InterfaceError, InvalidPackets, Layout,
    Loopback, Network, NetworkError, NetworkParseError, Policy, Prefix, PrefixError, Subnet,
    UnknownChoice,
};
pub use trace::{End, Loss, Packet, Socket, SocketKind, Step, Trace, World, trace, trace_invalid};
