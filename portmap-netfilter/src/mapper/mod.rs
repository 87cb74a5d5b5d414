//! The mapper: publishing by NAT in the kernel.

mod attach;
mod backend;
mod dropped;
mod exposed;
mod forwarding;
mod hairpin;
mod hold;
mod lookout;
#[cfg(test)]
mod mock;
mod order;
mod overdue;
mod owned;
mod passage;
mod plan;
mod retarget;
mod settings;
mod settle;
mod settled;
mod task;
#[cfg(test)]
mod unowned;
mod way;

use std::sync::Arc;

use portmap_core::{Error, ErrorKind, Lease, PortMapper, Publish};
use portmap_rules::{Network, Policy};
use tokio::sync::{mpsc, oneshot, watch};

pub use dropped::ForwardingDropped;
pub use forwarding::ForwardingOff;
pub use hold::NetworkLease;
pub use settings::HostSettings;

use self::{
    backend::Backend,
    forwarding::Forwarding,
    order::{Order, Reply},
    plan::Plan,
    settings::Settings,
    task::{Kernel, Task},
    way::Way,
};
use crate::{Conntrack, Difference, OwnerLock};

/// Publishes by NAT in the kernel: a container sees its clients' own addresses.
///
/// A mapper is the one owner of its rules in its network namespace: what it does is serialised in a task of its own, and
/// what queues there meanwhile becomes one transaction. It knows containers by their networks, so these are
/// [attached](Self::attach) first.
///
/// Host ports are reserved by sockets that nobody serves: nobody else can have the port, and a client that no rule catches is
/// refused at once.
///
/// **The rules end with the mapper**, its leases included. Those of nftables also end with the process, however that ends:
/// see [`TableOwner`](crate::TableOwner). Those of iptables outlive a process that is killed, until the next mapper with
/// this prefix sweeps them. Clones share one mapper.
///
/// Where the host does not forward, or others drop what it forwards, a publish or retarget is
/// [`Unsupported`](ErrorKind::Unsupported), caused by [`ForwardingOff`] or [`ForwardingDropped`], and nothing has changed.
///
/// Where [`Policy::loopback`](portmap_rules::Policy) leaves paths to a proxy, this mapper alone does not serve them: they are
/// refused. In a routed network a lease's bindings name container ports, and no host port is taken.
#[derive(Clone, Debug)]
pub struct RulesMapper {
    orders: mpsc::UnboundedSender<Order>,
    networks: watch::Receiver<Vec<Network>>,
    policy: Policy,
}

impl RulesMapper {
    /// Opens the way to netfilter in the network namespace of the calling thread, and leaves the host's settings to
    /// others. No rules are made yet.
    ///
    /// It blocks for some milliseconds, and where another owner is just about to end for up to 100.
    ///
    /// # Errors
    /// [`Busy`](ErrorKind::Busy) where there is another mapper with this prefix in the namespace, and [`Backend`](ErrorKind::Backend) or [`Unsupported`](ErrorKind::Unsupported)
    /// where the kernel has no netfilter, or a tool that is needed is not there.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(policy: Policy) -> Result<Self, Error> {
        Self::open_with(policy, HostSettings::Untouched)
    }

    /// The same, with a choice of who sees to the host's settings.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open_with(policy: Policy, settings: HostSettings) -> Result<Self, Error> {
        let lock = Arc::new(OwnerLock::acquire(&policy.prefix)?);
        let backend = Backend::open(&policy, &lock)?;
        let kernel = Kernel {
            way: Way::open(&policy, backend.variant())?,
            lock,
            backend,
            conntrack: Conntrack::open()?,
            forwarding: Forwarding::open(),
            settings: Settings::new(settings),
        };
        Ok(Self::begin(policy, kernel))
    }

    fn begin(policy: Policy, kernel: Kernel) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (tell, networks) = watch::channel(Vec::new());
        let task = Task::new(policy.clone(), kernel, tell, orders.downgrade());
        tokio::spawn(task.run(inbox));
        Self { orders, networks, policy }
    }

    /// Makes rules for a network: its containers can be published from now on.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where it overlaps one that is attached, [`Denied`](ErrorKind::Denied) without
    /// `CAP_NET_ADMIN` (nothing asked for it before), and what else the kernel refuses.
    ///
    /// # Cancel safety
    /// Dropping the future attaches nothing.
    pub async fn attach(&self, network: Network) -> Result<NetworkLease, Error> {
        self.ask(|reply| Order::Attach { network, reply }).await
    }

    /// Compares what is in force with what should be, puts right what differs, and says what that was.
    ///
    /// It happens by itself, within a second, where somebody else changes iptables: our rules there, or the way through
    /// others' ([`ForeignDrop::Open`](portmap_rules::ForeignDrop::Open)). Tables of nftables are the mapper's alone: nobody else can
    /// change them, and nothing is found; but before Linux 5.12 they are looked after as iptables is.
    ///
    /// # Errors
    /// What the kernel, or its tool, refuses.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop it.
    pub async fn reconcile(&self) -> Result<Vec<Difference>, Error> {
        self.ask(|reply| Order::Reconcile { reply }).await
    }

    /// The networks that are attached, in the order in which they came.
    pub fn networks(&self) -> Vec<Network> {
        self.networks.borrow().clone()
    }

    /// How its rules are made.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Waits until the rules are withdrawn and the prefix is free for another mapper: when the last clone and the last
    /// lease of this one are gone.
    ///
    /// Where a lease was [disarmed](Lease::disarm), that is never.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing but that nobody waits.
    pub async fn close(self) {
        let Self { orders, mut networks, .. } = self;
        drop(orders);
        // The task tells of networks until it ends.
        while networks.changed().await.is_ok() {}
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
