//! What a proxy needs that speaks from its clients' addresses: the answers.

mod routes;
mod table;

use std::{collections::BTreeSet, io};

use portmap_core::{Error, ErrorKind};
use portmap_rules::{Interface, Layout, Mark, Ruleset};
use tokio::runtime::Handle;
use tracing::warn;

use self::{routes::Routes, table::ruleset};
use crate::{Nftables, NftablesError, TableOwner};

/// The mark of diverted packets. It is a pattern of four bits: marks of a single bit, as nearly all that others set are, never
/// look like it, and all other bits stay as they are.
const MARK: Mark = Mark { value: 0xa0, mask: 0xf0 };
/// The routing table: "port" in ASCII, which nobody else has.
const TABLE: u32 = 0x706f_7274;
/// Before the main table (32766) and the tables of VPNs, after the host's own addresses (0).
const PRIORITY: u32 = 100;

/// The routing on a host that a proxy with `SourceAddress::Transparent` needs: what containers answer to their clients'
/// addresses comes to the proxy.
///
/// **Dropping it takes everything back in the background**; [`remove`](Self::remove) waits for that and reports errors. Its
/// connections go on with nobody to answer them then, so release what is published first.
///
/// In force are, for IPv4 and, where the host has it, IPv6:
/// * an nftables table `portmap-transparent` of the process's own, whose one rule marks what comes in by one of the bridges
///   for a socket that speaks from a foreign address (`socket transparent`, Linux 5.11). Nothing else is touched: neither
///   what containers send by themselves nor what they answer to others;
/// * a rule of policy routing: what is marked goes by a routing table of its own (`ip rule`, priority 100);
/// * a route in there: every address is this host's (`ip route show table 1886351988`).
///
/// There is one in a network namespace, for all mappers in it. Where the process is killed, the table ends with it; the
/// rule and the route stay, do nothing without a mark, and are taken over by the next one. It works beside iptables too.
///
/// ```no_run
/// # async fn run() -> Result<(), portmap_core::Error> {
/// # let docker0 = portmap_rules::Interface::LO;
/// let mut routing = portmap_netfilter::TransparentRouting::set_up([docker0]).await?;
/// // .. publish, and release ..
/// routing.remove().await
/// # }
/// ```
#[derive(Debug)]
pub struct TransparentRouting {
    bridges: BTreeSet<Interface>,
    /// Whether the table may be for other bridges: a change was begun, and its outcome is not known.
    in_doubt: bool,
    inner: Option<Inner>,
    runtime: Handle,
}

#[derive(Debug)]
struct Inner {
    nftables: Nftables,
    routes: Routes,
}

impl TransparentRouting {
    /// Sets it up for the containers behind these bridges, in the network namespace of the calling thread: all or nothing.
    ///
    /// A bridge need not exist yet.
    ///
    /// # Errors
    /// [`Denied`](ErrorKind::Denied) without `CAP_NET_ADMIN`, [`Busy`](ErrorKind::Busy) where there is one already, and what the
    /// kernel says.
    ///
    /// # Cancel safety
    /// Dropping the future takes back what was done.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub async fn set_up(bridges: impl IntoIterator<Item = Interface>) -> Result<Self, Error> {
        let nftables = Nftables::open(TableOwner::Socket).map_err(by_nftables)?;
        let bridges = bridges.into_iter().collect();
        // First, since it is what there can be but one of.
        let table = Ruleset::diff(&Ruleset::empty(Layout::Nftables), &ruleset(&bridges));
        nftables.apply(table).await.map_err(by_nftables)?;
        let routes = Routes::open().map_err(by_routing)?;
        // From here on dropping it takes everything back.
        let inner = Some(Inner { nftables, routes });
        let routing = Self { bridges, in_doubt: false, inner, runtime: Handle::current() };
        if let Some(Inner { routes, .. }) = &routing.inner {
            routes.add().await.map_err(by_routing)?;
        }
        Ok(routing)
    }

    /// Does the same for the containers behind one more bridge.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether that is done. Calling it again settles it.
    pub async fn add(&mut self, bridge: Interface) -> Result<(), Error> {
        let mut bridges = self.bridges.clone();
        bridges.insert(bridge);
        self.change(bridges).await
    }

    /// Leaves the containers behind a bridge alone.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Cancel safety
    /// As [`add`](Self::add): where this was dropped, [`remove`](Self::remove) settles it.
    pub async fn withdraw(&mut self, bridge: Interface) -> Result<(), Error> {
        let mut bridges = self.bridges.clone();
        bridges.remove(&bridge);
        self.change(bridges).await
    }

    /// The rules that are in force; `Display` prints them as `nft list table` does.
    pub fn ruleset(&self) -> Ruleset {
        ruleset(&self.bridges)
    }

    /// Takes everything back.
    ///
    /// # Errors
    /// What the kernel says; it goes on with what is left to do.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to the background.
    pub async fn remove(mut self) -> Result<(), Error> {
        let removed = match &self.inner {
            Some(inner) => inner.routes.remove().await,
            None => Ok(()),
        };
        if let Some(inner) = self.inner.take() {
            inner.nftables.close().await;
        }
        removed.map_err(by_routing)
    }

    async fn change(&mut self, bridges: BTreeSet<Interface>) -> Result<(), Error> {
        let Some(Inner { nftables, .. }) = &self.inner else { return Ok(()) };
        let after = ruleset(&bridges);
        let change = Ruleset::diff(&self.ruleset(), &after);
        // Until it is known how it went: this future may be dropped, and the change is made all the same.
        let changed = if std::mem::replace(&mut self.in_doubt, true) {
            nftables.rewrite(after).await
        } else {
            let applied = nftables.apply(change).await;
            self.in_doubt = applied.as_ref().is_err_and(NftablesError::is_in_doubt);
            applied
        };
        changed.map_err(by_nftables)?;
        self.in_doubt = false;
        self.bridges = bridges;
        Ok(())
    }
}

impl Drop for TransparentRouting {
    fn drop(&mut self) {
        let Some(Inner { nftables, routes }) = self.inner.take() else { return };
        self.runtime.spawn(async move {
            if let Err(error) = routes.remove().await {
                warn!(%error, "the routing for transparent connections is left behind");
            }
            // Last: as long as it is there, nobody else sets up what is being taken down.
            nftables.close().await;
        });
    }
}

fn by_nftables(error: NftablesError) -> Error {
    failed(error.kind()).with_source(error)
}

fn by_routing(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Backend,
    };
    failed(kind).with_source(error)
}

fn failed(kind: ErrorKind) -> Error {
    let message = match kind {
        ErrorKind::Denied => "the routing of transparent connections takes CAP_NET_ADMIN",
        ErrorKind::Busy => "somebody else has the routing of transparent connections",
        _ => "there is no routing of transparent connections",
    };
    Error::new(kind, message)
}
