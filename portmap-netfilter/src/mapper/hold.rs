//! What keeps rules in force.

use std::{fmt, future::Future, pin::Pin};

use portmap_core::{Endpoint, Error, ErrorKind, Established, Hold, NotReleased};
use portmap_rules::{Entry, Interface};
use tokio::sync::{mpsc, oneshot};

use super::order::{Order, Reply};

type Orders = mpsc::UnboundedSender<Order>;

/// The hold of a lease. Dropping it has the rules withdrawn in the background.
pub(super) struct Held {
    entry: Entry,
    /// `None` once there is nothing left to withdraw.
    orders: Option<Orders>,
}

impl Held {
    pub(super) fn new(entry: Entry, orders: Orders) -> Self {
        Self { entry, orders: Some(orders) }
    }
}

impl Hold for Held {
    fn release(
        mut self: Box<Self>,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>> {
        let entry = self.entry;
        let orders = self.orders.take();
        // Told at once: whether or not anybody waits for it, it will be done.
        let answer =
            orders.as_ref().map(|orders| ask(orders, |reply| Order::Release { entry, reply }));
        Box::pin(async move {
            match answered(answer).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.orders = orders;
                    Err(NotReleased { error, hold: self })
                }
            }
        })
    }

    fn disarm(mut self: Box<Self>) {
        if let Some(orders) = self.orders.take() {
            // A task that has ended has withdrawn its rules.
            let _ = orders.send(Order::Stay);
        }
    }

    fn retarget<'a>(
        &'a mut self,
        to: Endpoint,
        established: Established,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        let (reply, answer) = oneshot::channel();
        if let Some(orders) = &self.orders {
            let _ = orders.send(Order::Retarget { entry: self.entry, to, established, reply });
        }
        Box::pin(answered(Some(answer)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(orders) = self.orders.take() {
            let _ = orders.send(Order::Release { entry: self.entry, reply: None });
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.entry).finish()
    }
}

/// The right to a network's rules. **Dropping it withdraws them** in the background.
///
/// A network whose containers are still published keeps its rules until the last of these is released.
#[must_use = "dropping it detaches the network"]
#[derive(Debug)]
pub struct NetworkLease {
    bridge: Interface,
    orders: Option<Orders>,
}

impl NetworkLease {
    pub(super) fn new(bridge: Interface, orders: Orders) -> Self {
        Self { bridge, orders: Some(orders) }
    }

    /// The network's bridge.
    pub const fn bridge(&self) -> Interface {
        self.bridge
    }

    /// Withdraws the network's rules.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) as long as one of its containers is published: the network is detached with the last
    /// of these then. Or what the kernel refuses; it is tried again then, in the background, until it succeeds or the
    /// network is attached again.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop it: it goes on in the background.
    pub async fn detach(mut self) -> Result<(), Error> {
        let bridge = self.bridge;
        let orders = self.orders.take();
        answered(orders.as_ref().map(|orders| ask(orders, |reply| Order::Detach { bridge, reply })))
            .await
    }
}

impl Drop for NetworkLease {
    fn drop(&mut self) {
        if let Some(orders) = self.orders.take() {
            let _ = orders.send(Order::Detach { bridge: self.bridge, reply: None });
        }
    }
}

fn ask(
    orders: &Orders,
    order: impl FnOnce(Option<Reply<()>>) -> Order,
) -> oneshot::Receiver<Result<(), Error>> {
    let (reply, answer) = oneshot::channel();
    // Where nobody listens, the answer says so.
    let _ = orders.send(order(Some(reply)));
    answer
}

async fn answered(answer: Option<oneshot::Receiver<Result<(), Error>>>) -> Result<(), Error> {
    match answer {
        Some(answer) => answer
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the mapper has ended"))),
        None => Ok(()),
    }
}
