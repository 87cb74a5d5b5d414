//! Whether a rule holds, and what maps say.

use portmap_core::{Port, PortRange, Protocol};

use super::flight::Flight;
use crate::{Connection, Data, Family, Field, Interface, L4, Match, Name, Set, Table, Value, What};

impl Flight<'_> {
    pub(super) fn holds(&self, table: &Table, it: &Match) -> bool {
        self.asks(table, &it.what).is_some_and(|holds| holds != it.not)
    }

    /// `None` where the question makes no sense for the packet, so that neither it nor its opposite holds.
    fn asks(&self, table: &Table, what: &What) -> Option<bool> {
        let (from, to) = (self.from.ip(), self.to.ip());
        Some(match what {
            What::Family(family) => self.family() == *family,
            What::InInterface(interface) => self.arrives_by == Some(*interface),
            What::OutInterface(interface) => self.leaves_by == Some(*interface),
            What::Source(net) if Family::of(net.addr()) != self.family() => return None,
            What::Source(net) => net.contains(&from),
            What::Destination(net) if Family::of(net.addr()) != self.family() => return None,
            What::Destination(net) => net.contains(&to),
            What::Protocol(protocol) => self.protocol == *protocol,
            What::DestinationPorts(protocol, ports) => {
                if self.protocol != L4::Transport(*protocol) {
                    return None;
                }
                self.port().is_some_and(|port| ports.contains(port))
            }
            What::SourceIsLocal => self.world.is_local(from),
            What::DestinationIsLocal => self.world.is_local(to),
            What::Connection(Connection::Established) => self.connection.answered,
            What::Connection(Connection::DestinationRewritten) => {
                self.connection.destination_rewritten
            }
            What::Connection(Connection::Answer) => self.connection.answered,
            What::OriginalDestination(net) if Family::of(net.addr()) != self.family() => {
                return None;
            }
            What::OriginalDestination(net) => net.contains(&self.packet.to.ip()),
            What::Connection(Connection::Invalid) => self.connection.invalid,
            // No socket of a traced world speaks from an address that is not the host's.
            What::SocketIsTransparent | What::SocketIsWildcard => return None,
            What::InSet(key, set) => self.look_up(table, key, set)?.is_some(),
        })
    }

    /// What a set says for the packet: `None` where the packet lacks a field, `Some(None)` where the set lacks it.
    pub(super) fn look_up(
        &self,
        table: &Table,
        key: &[Field],
        name: &Name,
    ) -> Option<Option<Option<Data>>> {
        let set = table.sets.get(name)?;
        let packet = key.iter().map(|field| self.field(*field)).collect::<Option<Vec<_>>>()?;
        Some(find(set, &packet))
    }

    fn field(&self, field: Field) -> Option<Value> {
        let name = |interface: Option<Interface>| interface.map(Value::Interface);
        match field {
            Field::InInterface => name(self.arrives_by),
            Field::OutInterface => name(self.leaves_by),
            Field::Source(family) => {
                (family == self.family()).then(|| Value::Net(self.from.ip().into()))
            }
            Field::Destination(family) => {
                (family == self.family()).then(|| Value::Net(self.to.ip().into()))
            }
            Field::Protocol => self.transport().map(Value::Protocol),
            Field::DestinationPort => self.port().map(|port| Value::Ports(port.into())),
        }
    }

    fn transport(&self) -> Option<Protocol> {
        match self.protocol {
            L4::Transport(protocol) => Some(protocol),
            L4::Icmp | L4::Icmpv6 => None,
        }
    }

    fn port(&self) -> Option<Port> {
        self.transport()?;
        self.to.port().try_into().ok()
    }
}

/// Without intervals one look-up, with them a search.
fn find(set: &Set, packet: &[Value]) -> Option<Option<Data>> {
    if !set.interval {
        return set.elements.get(packet).copied();
    }
    let holds = |values: &&Vec<Value>| {
        values.iter().zip(packet).all(|(value, packet)| match (value, packet) {
            (Value::Net(net), Value::Net(addr)) => net.contains(addr),
            (Value::Ports(ports), Value::Ports(port)) => includes(*ports, *port),
            (value, packet) => value == packet,
        })
    };
    set.elements.iter().find(|(values, _)| holds(values)).map(|(_, data)| *data)
}

fn includes(ports: PortRange, port: PortRange) -> bool {
    ports.contains(port.first()) && ports.contains(port.last())
}
