//! The way of answers on a host that routes by source.

mod routes;
mod table;

use std::{collections::BTreeSet, io};

use ipnet::IpNet;
use portmap_core::{Error, ErrorKind, WithCauses};
use portmap_rules::{Interface, Layout, Mark, Network, Ruleset, TableId};
use tracing::{info, warn};

use self::{
    routes::{Marked, Routes},
    table::ruleset,
};
use crate::{Nftables, NftablesError, TableOwner};

/// The bits of a mark that say which address was called. Beside those of
/// [`TransparentRouting`](crate::TransparentRouting), and a mask that nobody else is known to have.
const MASK: u32 = 0x1e00;
/// How many addresses or nets the bits tell apart; a mark of 0 is none.
const MOST: usize = 15;

/// Has answers of containers leave as the host's own would leave from the address that was called.
///
/// NAT gives an answer the address that was called when it leaves, which is after routing: rules of policy routing that go by
/// this host's addresses (`ip rule add from 192.0.2.1 table 200`, a second uplink) don't hold for it, and it leaves by the
/// wrong one. So where there are such rules,
/// * an nftables table `portmap-answers` of the process's own marks answers from published containers by the address that was
///   called, which connection tracking knows. All other bits of a mark stay as they are;
/// * each such rule of policy routing gets a twin, behind it, that goes by the mark.
///
/// There is one in a network namespace. It works beside iptables too. Where the process is killed the table ends with it; the
/// twins stay, do nothing without a mark, and are taken over by the next one.
#[derive(Debug)]
pub(crate) struct AnswerRouting {
    routes: Routes,
    /// The way to the table, and what is in it.
    table: Option<(Nftables, Ruleset)>,
    networks: Vec<Network>,
}

/// An address or a net of this host that has a way of its own, and the mark of answers from there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Called {
    net: IpNet,
    mark: Mark,
}

impl AnswerRouting {
    /// In the network namespace of the calling thread. Nothing is done yet.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { routes: Routes::open()?, table: None, networks: Vec::new() })
    }

    /// Looks which rules of policy routing there are now, and has answers of containers in these networks go by them. A failure
    /// is no reason not to publish: it is logged.
    ///
    /// # Cancel safety
    /// Where it was dropped, the next call settles what is left to do.
    pub(crate) async fn lead(&mut self, networks: &[Network]) {
        self.networks = networks.iter().filter(|it| it.has_nat()).cloned().collect();
        self.settle().await;
    }

    /// Leaves the containers behind a bridge alone; with the last one everything is taken back.
    ///
    /// # Cancel safety
    /// As [`lead`](Self::lead).
    pub(crate) async fn leave(&mut self, bridge: Interface) {
        self.networks.retain(|network| network.bridge() != bridge);
        if self.table.is_some() {
            self.settle().await;
        }
    }

    async fn settle(&mut self) {
        if let Err(error) = self.try_settle().await {
            let error = WithCauses(&error).to_string();
            warn!(error, "answers of containers may leave by another uplink than the call came by");
        }
    }

    async fn try_settle(&mut self) -> Result<(), Error> {
        let found = self.routes.list().await.map_err(by_routing)?;
        let own: Vec<_> =
            self.networks.iter().flat_map(Network::subnets).map(|it| it.net()).collect();
        let by_source = if own.is_empty() { Vec::new() } else { found.by_source };
        // What goes by a container's own address holds for its answers as it is.
        let nets: BTreeSet<_> = by_source
            .iter()
            .map(|rule| rule.from)
            .filter(|net| !own.iter().any(|own| own.contains(net)))
            .collect();
        if nets.len() > MOST {
            warn!(
                rules = nets.len(),
                "policy routing has more sources than answers can be told apart by"
            );
        }
        let called: Vec<Called> = nets
            .into_iter()
            .take(MOST)
            .zip(1..)
            .map(|(net, number)| Called {
                net,
                mark: Mark { value: number << MASK.trailing_zeros(), mask: MASK },
            })
            .collect();
        let mut wanted = Vec::new();
        for one in &called {
            let around = by_source.iter().filter(|rule| rule.from.contains(&one.net));
            wanted
                .extend(around.map(|rule| Marked { mark: one.mark.value, way: rule.way.clone() }));
        }
        // A twin does nothing before there is a mark, nor after.
        for twin in wanted.iter().filter(|twin| !found.marked.contains(twin)) {
            self.routes.add(twin).await.map_err(by_routing)?;
        }
        self.write(ruleset(&self.networks, &called)).await?;
        for twin in found.marked.iter().filter(|twin| !wanted.contains(twin)) {
            self.routes.remove(twin).await.map_err(by_routing)?;
        }
        Ok(())
    }

    async fn write(&mut self, rules: Ruleset) -> Result<(), Error> {
        if self.table.is_none() && !rules.is_empty() {
            info!("this host routes by source: answers of containers go the way the call came");
            let empty = Ruleset::empty(Layout::Nftables);
            let nftables = Nftables::open(TableOwner::Socket).map_err(by_nftables)?;
            self.table = Some((nftables, empty));
        }
        let Some((nftables, present)) = &mut self.table else { return Ok(()) };
        nftables.apply(Ruleset::diff(present, &rules)).await.map_err(by_nftables)?;
        *present = rules;
        if present.is_empty()
            && let Some((nftables, _)) = self.table.take()
        {
            nftables.close().await;
        }
        Ok(())
    }
}

/// The table's name: there can be but one of it.
fn table_id() -> TableId {
    TableId { family: portmap_rules::TableFamily::Inet, name: "portmap-answers".into() }
}

fn by_routing(error: io::Error) -> Error {
    let message = "policy routing could not be read or changed";
    Error::new(ErrorKind::Backend, message).with_source(error)
}

fn by_nftables(error: NftablesError) -> Error {
    let message = "the table that marks answers could not be changed";
    Error::new(error.kind(), message).with_source(error)
}
