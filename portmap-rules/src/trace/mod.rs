//! What the kernel would do with a packet.

mod chains;
mod flight;
mod matches;
mod outcome;
mod reply;
mod request;
mod world;

use flight::Flight;
pub use outcome::{End, Loss, Step, Trace};
pub use world::{Packet, Socket, SocketKind, World};

use crate::Ruleset;

/// Follows the first packet of a connection through a host's rules, and the answer back.
///
/// It models routing by subnets, martian addresses, connection tracking with NAT both ways, br_netfilter and the
/// hairpin flag of bridge ports. It doesn't model reverse-path filtering, other people's rules, and NAT that runs out
/// of ports.
///
/// ```
/// use portmap_rules::{End, Network, Packet, Policy, World, compile, trace};
/// # use portmap_core::{Binding, HostAddr, Protocol};
/// let network: Network = "docker0=172.17.0.0/16".parse()?;
/// let (first, container) = ("8080".parse()?, [172, 17, 0, 2].into());
/// let web = Binding::new(Protocol::Tcp, HostAddr::Any, first, container, "80".parse()?);
/// let rules = compile(&[network.clone()], &Vec::from_iter(web), &Policy::default())?;
///
/// let host = World::new([network]).with_address("eth0".parse()?, "198.51.100.1/24".parse()?);
/// let packet = Packet {
///     arrives_by: Some("eth0".parse()?),
///     protocol: Protocol::Tcp.into(),
///     from: "198.51.100.9:40000".parse()?,
///     to: "198.51.100.1:8080".parse()?,
/// };
/// let trace = trace(&rules, &host, packet);
/// assert_eq!(trace.end, End::Delivered { at: "172.17.0.2:80".parse()?, seen_from: packet.from });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn trace(rules: &Ruleset, world: &World, packet: Packet) -> Trace {
    let mut flight = Flight::new(rules, world, packet);
    let end = flight.request();
    let request = flight.take_steps();
    let end = match flight.reply(end) {
        Ok(()) => end,
        Err(why) => match end {
            End::Delivered { at, seen_from } | End::Passed { at, seen_from, .. } => {
                End::Unanswered { at, seen_from, why }
            }
            end => end,
        },
    };
    Trace { request, reply: flight.take_steps(), end }
}

/// Follows a packet that connection tracking makes nothing of (`INVALID`): a segment beyond the window of its connection, say.
///
/// NAT passes it by. Nobody answers but who resets the connection, so the way of an answer is not followed.
pub fn trace_invalid(rules: &Ruleset, world: &World, packet: Packet) -> Trace {
    let mut flight = Flight::new(rules, world, packet);
    flight.connection.invalid = true;
    let end = flight.request();
    Trace { request: flight.take_steps(), reply: Vec::new(), end }
}
