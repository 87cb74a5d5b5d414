//! The mapper: publishing by NAT in the kernel.

mod backend;
mod error;
mod hold;
mod order;
mod plan;
mod task;

use portmap_core::{Error, ErrorKind, Lease, PortMapper, Publish};
use tokio::sync::{mpsc, oneshot, watch};

pub use hold::NetworkLease;

use self::{
    backend::Backend,
    order::{Order, Reply},
    plan::Plan,
    task::Task,
};
use crate::{Conntrack, Network, Policy};

/// Publishes by NAT in the kernel: a container sees its clients' own addresses.
///
/// A mapper is the one owner of its rules in its network namespace: what it does is serialised in a task of its own, and
/// what queues there meanwhile becomes one transaction. It knows containers by their networks, so these are
/// [attached](Self::attach) first.
///
/// Host ports are reserved by sockets that nobody serves: nobody else can have the port, and a client that no rule catches is
/// refused at once.
///
/// **The rules end with the mapper**, its leases included, and with the process, however that ends: see
/// [`TableOwner`](crate::TableOwner). Clones share one mapper.
#[derive(Clone, Debug)]
pub struct RulesMapper {
    orders: mpsc::UnboundedSender<Order>,
    networks: watch::Receiver<Vec<Network>>,
    policy: Policy,
}

impl RulesMapper {
    /// Opens the way to netfilter in the network namespace of the calling thread. No rules are made yet.
    ///
    /// # Errors
    /// [`Denied`](ErrorKind::Denied) without `CAP_NET_ADMIN`, [`Unsupported`](ErrorKind::Unsupported) where the kernel has no
    /// netfilter.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open(policy: Policy) -> Result<Self, Error> {
        let backend = Backend::open(&policy)?;
        let conntrack = Conntrack::open()?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let (tell, networks) = watch::channel(Vec::new());
        let task = Task::new(policy.clone(), backend, conntrack, tell, orders.downgrade());
        tokio::spawn(task.run(inbox));
        Ok(Self { orders, networks, policy })
    }

    /// Makes rules for a network: its containers can be published from now on.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where it overlaps one that is attached, and what the kernel refuses.
    ///
    /// # Cancel safety
    /// Dropping the future attaches nothing.
    pub async fn attach(&self, network: Network) -> Result<NetworkLease, Error> {
        self.ask(|reply| Order::Attach { network, reply }).await
    }

    /// Gives an order and waits for what becomes of it.
    async fn ask<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let closed = || Error::new(ErrorKind::Closed, "the mapper has ended");
        self.orders.send(order(reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

impl PortMapper for RulesMapper {
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        request.check()?;
        let plan = Plan::new(&request, &self.networks.borrow().clone(), &self.policy)?;
        let (bindings, reservation) = plan.reserve().await?;
        self.ask(|reply| Order::Publish { bindings, reservation, reply }).await
    }
}
