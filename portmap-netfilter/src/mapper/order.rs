//! What the mapper's task is told to do.

use portmap_core::{Binding, Endpoint, Error, Established, Lease, Reservation};
use portmap_rules::{Entry, Interface, Network};
use tokio::sync::oneshot;

use super::NetworkLease;
use crate::Difference;

/// Who waits for the outcome.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Order {
    /// Put bindings in force whose host ports are reserved.
    Publish { bindings: Vec<Binding>, reservation: Option<Reservation>, reply: Reply<Lease> },
    /// Withdraw what an entry has in force. Without a reply an error can only be logged.
    Release { entry: Entry, reply: Option<Reply<()>> },
    /// Lead an entry's host ports to another container.
    Retarget { entry: Entry, to: Endpoint, established: Established, reply: Reply<()> },
    /// Stay, whoever goes: a lease was disarmed.
    Stay,
    /// Make rules for a network.
    Attach { network: Network, reply: Reply<NetworkLease> },
    /// Look at what is in force, and put right what differs.
    Reconcile { reply: Reply<Vec<Difference>> },
    /// Withdraw the rules for a network.
    Detach { bridge: Interface, reply: Option<Reply<()>> },
}
