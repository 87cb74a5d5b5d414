//! Networks that come and go.

use std::mem;

use portmap_core::{Error, ErrorKind, WithCauses};
use portmap_rules::{Edit, Interface, Network};

use tracing::warn;

use super::{
    NetworkLease,
    order::{Order, Reply},
    task::Task,
};

impl Task {
    pub(super) async fn attach(&mut self, network: Network, reply: Reply<NetworkLease>) {
        let bridge = network.bridge();
        let attached = self.try_attach(network).await;
        self.tell_networks();
        match (attached, self.orders.upgrade()) {
            // Where nobody waits any more the lease comes back, and its drop detaches the network.
            (Ok(()), Some(orders)) => drop(reply.send(Ok(NetworkLease::new(bridge, orders)))),
            (Ok(()), None) => self.detach(bridge, None).await,
            (Err(error), _) => drop(reply.send(Err(error))),
        }
    }

    async fn try_attach(&mut self, network: Network) -> Result<(), Error> {
        let bridge = network.bridge();
        if let Some(place) = self.leaving.iter().position(|leaving| *leaving == bridge) {
            if !self.ledger.networks().contains(&network) {
                let message = format!("a container of {bridge} as it was is still published");
                return Err(Error::new(ErrorKind::Busy, message));
            }
            self.leaving.remove(place);
            return Ok(());
        }
        let overdue = self.overdue.keep(bridge);
        let is_same = overdue && self.ledger.networks().contains(&network);
        if overdue && !is_same {
            // What is there is another network, which has to go first after all.
            if let Err(error) = self.withdraw(bridge).await {
                self.overdue.push(Order::Detach { bridge, reply: None });
                return Err(error);
            }
        }
        self.enter(network, is_same).await
    }

    /// Has a network in force. One that could not be detached is in the books, and looked after again.
    async fn enter(&mut self, network: Network, is_there: bool) -> Result<(), Error> {
        let bridge = network.bridge();
        if !is_there {
            self.change(Edit { attach: vec![network.clone()], ..Edit::default() }).await?;
        }
        // Only now: a setting that lets packets to 127.0.0.1 pass has its guard in force.
        let set = self.kernel.settings.attach(&network, self.ledger.policy());
        if set.is_err() {
            self.detach(bridge, None).await;
        }
        set
    }

    pub(super) async fn detach(&mut self, bridge: Interface, reply: Option<Reply<()>>) {
        if self.ledger.is_populated(bridge) {
            self.leaving.push(bridge);
            let message = format!("a container of {bridge} is still published");
            if let Some(reply) = reply {
                // It is detached with the last one of these, whoever waits for it.
                let _ = reply.send(Err(Error::new(ErrorKind::Busy, message)));
            }
            return;
        }
        let done = self.withdraw(bridge).await;
        self.tell_networks();
        if let Err(error) = &done {
            warn!(%bridge, error = %WithCauses(error), "a network could not be detached; it is tried again");
            // The lease is gone, whether or not anybody hears of it.
            self.overdue.push(Order::Detach { bridge, reply: None });
        }
        if let Some(reply) = reply {
            // Nobody may be waiting any more.
            let _ = reply.send(done);
        }
    }

    /// Detaches networks whose last container has gone after they had.
    pub(super) async fn detach_leaving(&mut self) {
        for bridge in mem::take(&mut self.leaving) {
            self.detach(bridge, None).await;
        }
    }

    async fn withdraw(&mut self, bridge: Interface) -> Result<(), Error> {
        self.kernel.settings.detach(bridge).await;
        self.change(Edit { detach: vec![bridge], ..Edit::default() }).await
    }

    fn tell_networks(&self) {
        self.networks.send_replace(self.ledger.networks().to_vec());
    }
}
