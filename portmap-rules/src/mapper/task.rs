//! The task that owns the rules.

use std::{collections::HashMap, future::pending, mem, slice};

use portmap_core::{Binding, Error, ErrorKind, Lease, Protocol, Reservation};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::{
    NetworkLease,
    backend::Backend,
    hold::Held,
    order::{Order, Reply},
};
use crate::{Conntrack, Edit, Entry, Interface, Ledger, Network, Policy};

/// How many orders become one transaction at most. What they wait for is the kernel's lock and its grace period,
/// once a transaction, whatever its size.
const BATCH: usize = 256;

/// What a mapper owns: the books, the kernel's ear, the reserved ports.
#[derive(Debug)]
pub(super) struct Task {
    ledger: Ledger,
    backend: Backend,
    conntrack: Conntrack,
    networks: watch::Sender<Vec<Network>>,
    orders: mpsc::WeakUnboundedSender<Order>,
    reservations: HashMap<Entry, Reservation>,
    /// Networks whose leases are gone, and whose containers are not.
    leaving: Vec<Interface>,
    /// Whether something stays in force whoever goes.
    stays: bool,
    last_entry: u64,
}

/// A publish or a release that waits for the kernel.
enum Waiting {
    Publish {
        entry: Entry,
        bindings: Vec<Binding>,
        reservation: Option<Reservation>,
        reply: Reply<Lease>,
    },
    Release {
        entry: Entry,
        reply: Option<Reply<()>>,
    },
}

impl Task {
    pub(super) fn new(
        policy: Policy,
        backend: Backend,
        conntrack: Conntrack,
        networks: watch::Sender<Vec<Network>>,
        orders: mpsc::WeakUnboundedSender<Order>,
    ) -> Self {
        Self {
            ledger: Ledger::new(policy),
            backend,
            conntrack,
            networks,
            orders,
            reservations: HashMap::new(),
            leaving: Vec::new(),
            stays: false,
            last_entry: 0,
        }
    }

    /// Does what it is told until nobody can tell it anything any more; then withdraws all rules.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut orders = Vec::new();
        while inbox.recv_many(&mut orders, BATCH).await > 0 {
            self.obey(orders.drain(..)).await;
        }
        if self.stays {
            pending::<()>().await;
        }
        self.backend.close().await;
    }

    async fn obey(&mut self, orders: impl Iterator<Item = Order>) {
        let mut waiting = Vec::new();
        for order in orders {
            match order {
                Order::Publish { bindings, reservation, reply } => {
                    self.last_entry += 1;
                    let entry = Entry(self.last_entry);
                    waiting.push(Waiting::Publish { entry, bindings, reservation, reply });
                }
                Order::Release { entry, reply } => waiting.push(Waiting::Release { entry, reply }),
                Order::Stay => self.stays = true,
                Order::Attach { network, reply } => {
                    self.settle(&mut waiting).await;
                    self.attach(network, reply).await;
                }
                Order::Detach { bridge, reply } => {
                    self.settle(&mut waiting).await;
                    self.detach(bridge, reply).await;
                }
            }
        }
        self.settle(&mut waiting).await;
    }

    /// Has everything that waits done in one transaction. Where that fails, each alone: one that cannot be done must
    /// not stand in the way of the others.
    async fn settle(&mut self, waiting: &mut Vec<Waiting>) {
        let all = mem::take(waiting);
        if all.is_empty() {
            return;
        }
        let done = self.change(edit_of(&all)).await;
        if done.is_ok() || all.len() == 1 {
            let mut done = Some(done);
            for one in all {
                self.finish(one, done.take().unwrap_or(Ok(())));
            }
        } else {
            for one in all {
                let done = self.change(edit_of(slice::from_ref(&one))).await;
                self.finish(one, done);
            }
        }
        self.detach_leaving().await;
    }

    /// Makes an edit true in the kernel, then in the books.
    async fn change(&mut self, edit: Edit) -> Result<(), Error> {
        let prepared = self.ledger.prepare(edit)?;
        if !prepared.transaction().is_empty() {
            self.backend.apply(prepared.transaction().clone()).await?;
        }
        let udp = self.udp_bindings(prepared.edit());
        self.ledger.commit(prepared);
        if !udp.is_empty() {
            // Flows keep the way that their first packet took, whatever the rules are now.
            if let Err(error) = self.conntrack.forget(&udp).await {
                warn!(%error, "UDP flows may go where they went before");
            }
        }
        Ok(())
    }

    fn udp_bindings(&self, edit: &Edit) -> Vec<Binding> {
        let going = edit.release.iter().filter_map(|entry| self.ledger.entry(*entry));
        let coming = edit.publish.iter().map(|(_, bindings)| bindings.as_slice());
        let bindings = going.chain(coming).flatten();
        bindings.filter(|binding| binding.protocol() == Protocol::Udp).cloned().collect()
    }

    fn finish(&mut self, one: Waiting, done: Result<(), Error>) {
        match one {
            Waiting::Publish { entry, bindings, reservation, reply } => {
                let lease = done.map(|()| {
                    self.reservations.extend(reservation.map(|reservation| (entry, reservation)));
                    debug!(?entry, bindings = bindings.len(), "published");
                    self.lease(entry, bindings)
                });
                // Where nobody waits any more the lease comes back, and its drop withdraws it.
                let _ = reply.send(lease.and_then(|lease| lease.ok_or_else(ended)));
            }
            Waiting::Release { entry, reply } => {
                if done.is_ok() {
                    self.reservations.remove(&entry);
                    debug!(?entry, "released");
                }
                answer(reply, done);
            }
        }
    }

    fn lease(&self, entry: Entry, bindings: Vec<Binding>) -> Option<Lease> {
        let orders = self.orders.upgrade()?;
        Some(Lease::new(bindings, Held::new(entry, orders)))
    }

    async fn attach(&mut self, network: Network, reply: Reply<NetworkLease>) {
        let bridge = network.bridge();
        let attached = self.change(Edit { attach: vec![network], ..Edit::default() }).await;
        self.tell_networks();
        let lease = attached
            .and_then(|()| Ok(NetworkLease::new(bridge, self.orders.upgrade().ok_or_else(ended)?)));
        let _ = reply.send(lease);
    }

    async fn detach(&mut self, bridge: Interface, reply: Option<Reply<()>>) {
        let busy = self.ledger.is_populated(bridge);
        let done = if busy {
            self.leaving.push(bridge);
            let message = format!("a container of {bridge} is still published");
            Err(Error::new(ErrorKind::Busy, message))
        } else {
            self.change(Edit { detach: vec![bridge], ..Edit::default() }).await
        };
        self.tell_networks();
        match reply {
            None if busy => {}
            reply => answer(reply, done),
        }
    }

    async fn detach_leaving(&mut self) {
        let (stay, go): (Vec<_>, Vec<_>) =
            self.leaving.drain(..).partition(|bridge| self.ledger.is_populated(*bridge));
        self.leaving = stay;
        for bridge in go {
            self.detach(bridge, None).await;
        }
    }

    fn tell_networks(&self) {
        self.networks.send_replace(self.ledger.networks().to_vec());
    }
}

fn edit_of(waiting: &[Waiting]) -> Edit {
    let mut edit = Edit::default();
    for one in waiting {
        match one {
            Waiting::Publish { entry, bindings, .. } => {
                edit.publish.push((*entry, bindings.clone()))
            }
            Waiting::Release { entry, .. } => edit.release.push(*entry),
        }
    }
    edit
}

/// An error that nobody waits for is logged.
fn answer(reply: Option<Reply<()>>, done: Result<(), Error>) {
    match reply {
        Some(reply) => drop(reply.send(done)),
        None => {
            if let Err(error) = done {
                warn!(%error, "rules could not be withdrawn");
            }
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the mapper has ended")
}
