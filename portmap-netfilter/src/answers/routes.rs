//! Rules of policy routing: those that go by this host's addresses, and their twins that go by a mark.

use std::{io, net::IpAddr};

use futures::TryStreamExt as _;
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::{
    Handle, IpVersion, new_connection,
    packet_route::{
        AddressFamily,
        route::RouteProtocol,
        rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
    },
};
use tokio::task::AbortHandle;

use super::MASK;

/// Who made a rule, as `ip rule` shows it (`proto 112`): a number that no routing daemon has.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(112);

/// Policy routing of one network namespace.
#[derive(Debug)]
pub(super) struct Routes {
    netlink: Handle,
    connection: AbortHandle,
}

/// What is there that matters here.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) by_source: Vec<BySource>,
    /// Ours, or what a killed process has left.
    pub(super) marked: Vec<Marked>,
}

/// A rule that goes by the source alone: `from 192.0.2.1 lookup 200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BySource {
    pub(super) from: IpNet,
    pub(super) way: RuleWay,
}

/// A rule of ours: `fwmark 0x200/0x1e00 lookup 200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) mark: u32,
    pub(super) way: RuleWay,
}

/// What two twins have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleWay {
    family: AddressFamily,
    to: Option<IpNet>,
    priority: u32,
    table: u32,
    /// `suppress_prefixlength`, `suppress_ifgroup`; all bits where there is none.
    suppress: [u32; 2],
}

impl Routes {
    /// In the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let (connection, netlink, _) = new_connection()?;
        let connection = tokio::spawn(connection).abort_handle();
        Ok(Self { netlink, connection })
    }

    pub(super) async fn list(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for version in [IpVersion::V4, IpVersion::V6] {
            let mut rules = Box::pin(self.netlink.rule().get(version).execute());
            loop {
                match rules.try_next().await {
                    Ok(Some(rule)) => found.add(&rule),
                    Ok(None) => break,
                    // A kernel without IPv6, or without policy routing.
                    Err(error) => match errno(error) {
                        Ok(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => break,
                        Ok(errno) => return Err(errno.into()),
                        Err(error) => return Err(error),
                    },
                }
            }
        }
        Ok(found)
    }

    /// What is there already is no error.
    pub(super) async fn add(&self, twin: &Marked) -> io::Result<()> {
        let mut request = self.netlink.rule().add();
        *request.message_mut() = twin.message();
        unless(request.execute().await, Errno::EEXIST)
    }

    /// What has gone meanwhile is no error.
    pub(super) async fn remove(&self, twin: &Marked) -> io::Result<()> {
        unless(self.netlink.rule().del(twin.message()).execute().await, Errno::ENOENT)
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Found {
    /// A rule that asks for more than a source, or a mark of ours, is left alone.
    fn add(&mut self, rule: &RuleMessage) {
        let header = &rule.header;
        if header.action != RuleAction::ToTable
            || header.tos != 0
            || header.flags.contains(RuleFlags::Invert)
        {
            return;
        }
        let mut way = RuleWay {
            family: header.family,
            to: None,
            priority: 0,
            table: header.table.into(),
            suppress: [u32::MAX; 2],
        };
        let (mut from, mut mark, mut mask, mut is_ours) = (None, 0, 0, false);
        let net = |addr: IpAddr, len| IpNet::new(addr, len).ok();
        for attribute in &rule.attributes {
            match attribute {
                RuleAttribute::Source(addr) => from = net(*addr, header.src_len),
                RuleAttribute::Destination(addr) => way.to = net(*addr, header.dst_len),
                RuleAttribute::Priority(priority) => way.priority = *priority,
                RuleAttribute::Table(table) => way.table = *table,
                RuleAttribute::SuppressPrefixLen(len) => way.suppress[0] = *len,
                RuleAttribute::SuppressIfGroup(group) => way.suppress[1] = *group,
                RuleAttribute::FwMark(value) => mark = *value,
                RuleAttribute::FwMask(value) => mask = *value,
                RuleAttribute::Protocol(protocol) => is_ours = *protocol == PROTOCOL,
                _ => return,
            }
        }
        match from {
            Some(from) if (mark, mask) == (0, 0) => self.by_source.push(BySource { from, way }),
            None if is_ours && mask == MASK => self.marked.push(Marked { mark, way }),
            _ => {}
        }
    }
}

impl Marked {
    fn message(&self) -> RuleMessage {
        let RuleWay { family, to, priority, table, suppress: [prefix, group] } = self.way;
        let mut rule = RuleMessage::default();
        rule.header.family = family;
        rule.header.action = RuleAction::ToTable;
        rule.attributes = vec![
            RuleAttribute::Priority(priority),
            RuleAttribute::FwMark(self.mark),
            RuleAttribute::FwMask(MASK),
            RuleAttribute::Table(table),
            RuleAttribute::Protocol(PROTOCOL),
        ];
        if let Some(to) = to {
            rule.header.dst_len = to.prefix_len();
            rule.attributes.push(RuleAttribute::Destination(to.addr()));
        }
        if prefix != u32::MAX {
            rule.attributes.push(RuleAttribute::SuppressPrefixLen(prefix));
        }
        if group != u32::MAX {
            rule.attributes.push(RuleAttribute::SuppressIfGroup(group));
        }
        rule
    }
}

fn unless(outcome: Result<(), rtnetlink::Error>, expected: Errno) -> io::Result<()> {
    match outcome.map_err(errno) {
        Ok(()) => Ok(()),
        Err(Ok(errno)) if errno == expected => Ok(()),
        Err(Ok(errno)) => Err(errno.into()),
        Err(Err(error)) => Err(error),
    }
}

/// What the kernel said, or what else went wrong.
fn errno(error: rtnetlink::Error) -> Result<Errno, io::Error> {
    match error {
        rtnetlink::Error::NetlinkError(error) => {
            let error = error.to_io();
            error.raw_os_error().map(Errno::from_raw).ok_or(error)
        }
        error => Err(io::Error::other(error)),
    }
}
