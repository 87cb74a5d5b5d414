//! The task that owns the rules.

use std::{collections::HashMap, error, future::pending};

use portmap_core::{Binding, Error, ErrorKind, Protocol, Reservation};
use tokio::{
    select,
    sync::{mpsc, watch},
};
use tracing::warn;

use super::{
    backend::Backend,
    order::{Order, Reply},
    settings::Settings,
    settle::Waiting,
};
use crate::{Conntrack, Difference, Edit, Entry, Interface, Ledger, Network, OwnerLock, Policy};

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
    /// Whether something stays in force whoever goes.
    stays: bool,
    pub(super) last_entry: u64,
}

/// The ways to the kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) lock: OwnerLock,
    pub(super) backend: Backend,
    pub(super) conntrack: Conntrack,
    pub(super) settings: Settings,
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
            stays: false,
            last_entry: 0,
        }
    }

    /// Does what it is told until nobody can tell it anything any more; then withdraws all rules.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut orders = Vec::new();
        let mut lookout = self.kernel.backend.lookout().await;
        loop {
            select! {
                count = inbox.recv_many(&mut orders, BATCH) => match count {
                    0 if self.stays => pending().await,
                    0 => break,
                    _ => self.obey(orders.drain(..)).await,
                },
                () = lookout.due() => {
                    match self.reconcile().await {
                        Ok(differences) => lookout.looked(!differences.is_empty()),
                        Err(error) => {
                            warn!(error = chain(&error), "the rules could not be looked after");
                        }
                    }
                }
            }
        }
        let Kernel { lock, backend, settings, .. } = self.kernel;
        // Settings go before the rules that guard them, and the name last.
        drop(settings);
        if let Err(error) = backend.close(self.ledger.rules()).await {
            warn!(error = chain(&error), "the rules could not be withdrawn");
        }
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
            self.kernel.backend.apply(&self.ledger, &prepared).await?;
        }
        let udp = self.udp_bindings(prepared.edit());
        self.ledger.commit(prepared);
        if !udp.is_empty() {
            // Flows keep the way that their first packet took, whatever the rules are now.
            if let Err(error) = self.kernel.conntrack.forget(&udp).await {
                warn!(error = chain(&error), "UDP flows may go where they went before");
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

    /// Puts right what somebody else has changed.
    async fn reconcile(&self) -> Result<Vec<Difference>, Error> {
        if self.ledger.rules().is_empty() {
            return Ok(Vec::new());
        }
        let differences = self.kernel.backend.reconcile(self.ledger.rules()).await?;
        for difference in &differences {
            warn!(%difference, "somebody changed the rules; they are put right");
        }
        Ok(differences)
    }
}

/// An error that nobody waits for is logged.
pub(super) fn answer(reply: Option<Reply<()>>, done: Result<(), Error>) {
    match (reply, done) {
        // Whoever asked may have gone meanwhile.
        (Some(reply), done) => drop(reply.send(done)),
        (None, Err(error)) => warn!(error = chain(&error), "rules could not be withdrawn"),
        (None, Ok(())) => {}
    }
}

pub(super) fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the mapper has ended")
}

/// An error and its causes on one line.
fn chain(error: &(dyn error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
