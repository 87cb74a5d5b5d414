//! The task that owns the rules.

use std::{collections::HashMap, sync::Arc};

use portmap_core::{Binding, Error, Protocol, Reservation, WithCauses};
use portmap_rules::{Edit, Entry, Interface, Ledger, Network, Policy};
use tokio::{
    select,
    sync::{mpsc, watch},
};
use tracing::warn;

use super::{
    backend::Backend,
    exposed::Exposed,
    forwarding::Forwarding,
    lookout::{Lookout, Signs},
    order::{Order, Reply},
    overdue::Overdue,
    settings::Settings,
    settle::Waiting,
    way::Way,
};
use crate::{Conntrack, Difference, OwnerLock};

/// How many orders become one transaction at most: what they wait for, the kernel's lock and its grace period, comes
/// once a transaction, whatever its size.
const BATCH: usize = 256;

/// What a mapper owns: the books, the ways to the kernel, the reserved ports.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) ledger: Ledger,
    pub(super) kernel: Kernel,
    pub(super) orders: mpsc::WeakUnboundedSender<Order>,
    pub(super) networks: watch::Sender<Vec<Network>>,
    pub(super) reservations: HashMap<Entry, Reservation>,
    /// Networks whose leases are gone, and whose containers are not.
    pub(super) leaving: Vec<Interface>,
    /// What could not be withdrawn, and nobody can ask for again.
    pub(super) overdue: Overdue,
    pub(super) lookout: Lookout,
    /// What the lookout goes by.
    pub(super) watched: Exposed,
    /// Whether something stays in force whoever goes.
    stays: bool,
    pub(super) last_entry: u64,
}

/// The ways to the kernel, in the order in which they go where the runtime ends first: settings before the rules that
/// guard them, the name last.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) settings: Settings,
    pub(super) forwarding: Forwarding,
    pub(super) backend: Backend,
    pub(super) way: Way,
    pub(super) conntrack: Conntrack,
    pub(super) lock: Arc<OwnerLock>,
}

impl Task {
    pub(super) fn new(
        policy: Policy,
        kernel: Kernel,
        networks: watch::Sender<Vec<Network>>,
        orders: mpsc::WeakUnboundedSender<Order>,
    ) -> Self {
        Self {
            ledger: Ledger::new(policy),
            kernel,
            orders,
            networks,
            reservations: HashMap::new(),
            leaving: Vec::new(),
            overdue: Overdue::default(),
            lookout: Lookout::new(Signs::Never),
            watched: Exposed::default(),
            stays: false,
            last_entry: 0,
        }
    }

    /// Does what it is told until nobody can tell it anything any more; then withdraws all rules.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut orders = Vec::new();
        let mut heard = true;
        self.keep_watch().await;
        while heard || self.stays {
            select! {
                count = inbox.recv_many(&mut orders, BATCH), if heard => match count {
                    0 => heard = false,
                    _ => self.obey(orders.drain(..)).await,
                },
                () = self.overdue.due() => {
                    let overdue = self.overdue.take();
                    self.obey(overdue.into_iter()).await;
                }
                () = self.lookout.due() => {
                    if let Err(error) = self.reconcile().await {
                        let error = WithCauses(&error);
                        warn!(%error, "the rules could not be looked after; it is tried again");
                    }
                }
            }
        }
        let Kernel { settings, backend, way, lock, .. } = self.kernel;
        drop(settings);
        if let Err(error) = backend.close().await {
            warn!(error = %WithCauses(&error), "the rules could not be withdrawn");
        }
        drop(way);
        drop(lock);
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
                other => {
                    self.settle(&mut waiting).await;
                    self.obey_alone(other).await;
                }
            }
        }
        self.settle(&mut waiting).await;
    }

    /// Does what is not a matter of bindings.
    async fn obey_alone(&mut self, order: Order) {
        match order {
            Order::Attach { network, reply } => self.attach(network, reply).await,
            Order::Detach { bridge, reply } => self.detach(bridge, reply).await,
            Order::Retarget { entry, to, established, reply } => {
                let _ = reply.send(self.retarget(entry, to, established).await);
            }
            Order::Reconcile { reply } => {
                // Nobody may be waiting any more; it is done all the same.
                let _ = reply.send(self.reconcile().await);
            }
            Order::Publish { .. } | Order::Release { .. } | Order::Stay => {}
        }
    }

    /// Makes an edit true in the kernel, then in the books.
    pub(super) async fn change(&mut self, edit: Edit) -> Result<(), Error> {
        let prepared = self.ledger.prepare(edit)?;
        if !prepared.transaction().is_empty() {
            if let Err(error) = self.kernel.backend.apply(&self.ledger, &prepared).await {
                // All of it is undone, where that could be.
                self.lookout.soon();
                return Err(error);
            }
            if self.kernel.backend.in_doubt() {
                self.lookout.soon();
            }
            self.keep_watch().await;
        }
        let udp = self.udp_bindings(prepared.edit());
        self.kernel.settings.published(prepared.edit(), self.ledger.networks()).await;
        self.ledger.commit(prepared);
        if !udp.is_empty() {
            // Flows keep the way that their first packet took, whatever the rules are now.
            if let Err(error) = self.kernel.conntrack.forget(&udp).await {
                warn!(error = %WithCauses(&error), "UDP flows may go where they went before");
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

    /// Puts right what somebody else has changed: in our rules, and in the way through others'.
    async fn reconcile(&mut self) -> Result<Vec<Difference>, Error> {
        let rules = self.kernel.backend.reconcile(self.ledger.rules()).await;
        let way = self.kernel.way.enforce().await;
        for difference in [&rules, &way].into_iter().flatten().flatten() {
            warn!(%difference, "somebody changed the rules; they are put right");
        }
        let reconciled = rules.and_then(|mut rules| {
            rules.extend(way?);
            Ok(rules)
        });
        match &reconciled {
            Ok(differences) => self.lookout.looked(!differences.is_empty()),
            Err(_) => self.lookout.failed(),
        }
        self.keep_watch().await;
        reconciled
    }
}

/// Tells whoever waits how a withdrawal went. Where it failed and nobody waits, it is to be tried again: `true`.
pub(super) fn is_overdue(reply: Option<Reply<()>>, done: Result<(), Error>) -> bool {
    let unheard = match reply {
        Some(reply) => reply.send(done).err(),
        None => Some(done),
    };
    match unheard {
        Some(Err(error)) => {
            warn!(error = %WithCauses(&error), "rules could not be withdrawn; it is tried again");
            true
        }
        _ => false,
    }
}
