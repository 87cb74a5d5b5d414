//! What marked packets are routed by.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
};

use nix::errno::Errno;
use portmap_rules::Family;
use rtnetlink::{
    Handle, RouteMessageBuilder, new_connection,
    packet_route::{
        AddressFamily,
        route::{RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};
use tokio::task::AbortHandle;

use super::{MARK, PRIORITY, TABLE};

/// The number of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

/// Rules and routes of one network namespace: `ip rule add fwmark .. table ..`, `ip route add local default dev lo table ..`.
#[derive(Debug)]
pub(super) struct Routes {
    netlink: Handle,
    connection: AbortHandle,
    families: Vec<Family>,
}

impl Routes {
    /// In the network namespace of the calling thread; IPv6 too where the host has it.
    pub(super) fn open() -> io::Result<Self> {
        let (connection, netlink, _) = new_connection()?;
        let connection = tokio::spawn(connection).abort_handle();
        let mut families = vec![Family::Ipv4];
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            families.push(Family::Ipv6);
        }
        Ok(Self { netlink, connection, families })
    }

    /// Adds them. What a killed process has left is the same, and taken over.
    pub(super) async fn add(&self) -> io::Result<()> {
        for family in &self.families {
            let route = self.netlink.route().add(route(*family)).execute().await;
            unless(route, Errno::EEXIST)?;
            let mut request = self.netlink.rule().add();
            *request.message_mut() = rule(*family);
            unless(request.execute().await, Errno::EEXIST)?;
        }
        Ok(())
    }

    /// Removes them, as many as it can; what has gone meanwhile is no error.
    pub(super) async fn remove(&self) -> io::Result<()> {
        let mut outcome = Ok(());
        for family in &self.families {
            let gone = self.netlink.rule().del(rule(*family)).execute().await;
            outcome = outcome.and(unless(gone, Errno::ENOENT));
            let gone = self.netlink.route().del(route(*family)).execute().await;
            outcome = outcome.and(unless(gone, Errno::ESRCH));
        }
        outcome
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What is marked goes by our table.
fn rule(family: Family) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = address_family(family);
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::FwMark(MARK.value),
        RuleAttribute::FwMask(MARK.mask),
        RuleAttribute::Table(TABLE),
    ];
    rule
}

/// In our table every address is this host's.
fn route(family: Family) -> RouteMessage {
    let mut route = match family {
        Family::Ipv4 => {
            let any = Ipv4Addr::UNSPECIFIED;
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(any, 0).build()
        }
        Family::Ipv6 => {
            let any = Ipv6Addr::UNSPECIFIED;
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(any, 0).build()
        }
    };
    route.header.address_family = address_family(family);
    route.header.table = RouteHeader::RT_TABLE_UNSPEC;
    route.header.kind = RouteType::Local;
    route.header.scope = RouteScope::Host;
    route.header.protocol = RouteProtocol::Static;
    use rtnetlink::packet_route::route::RouteAttribute::{Oif, Table};
    route.attributes.extend([Table(TABLE), Oif(LOOPBACK)]);
    route
}

const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

fn unless(outcome: Result<(), rtnetlink::Error>, expected: Errno) -> io::Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(rtnetlink::Error::NetlinkError(error)) => match error.to_io() {
            error if error.raw_os_error() == Some(expected as i32) => Ok(()),
            error => Err(error),
        },
        Err(error) => Err(io::Error::other(error)),
    }
}
