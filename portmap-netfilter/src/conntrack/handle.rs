//! The embedder's side.

use portmap_core::Binding;

use super::{ConntrackError, Flow, session::Session, wanted::Which};
use crate::{Worker, netlink::Socket};

/// Connection tracking of one network namespace.
///
/// A flow keeps the NAT that its first packet met: adding or deleting a rule changes nothing for a UDP sender that
/// never stops. So its entry has to go, once the rules are in, and again once they are out.
///
/// It also knows what no process sees: the [flows](Self::flows) that NAT serves.
///
/// A thread of its own does it, as the kernel walks its whole table for a request. Dropping this ends the thread.
#[derive(Debug)]
pub struct Conntrack {
    worker: Worker<Session>,
}

impl Conntrack {
    /// Opens a socket in the network namespace of the calling thread, and starts the thread that uses it.
    ///
    /// # Errors
    /// [`ConntrackError::Open`].
    pub fn open() -> Result<Self, ConntrackError> {
        let socket = Socket::open().map_err(ConntrackError::Open)?;
        let worker = Worker::spawn("portmap-ct", Session::new(socket));
        Ok(Self { worker: worker.map_err(ConntrackError::Open)? })
    }

    /// Deletes the entries of all flows to the bindings' UDP host ports, and no others.
    ///
    /// A few ports on single addresses are a request each, which the kernel carries out by itself. More of them,
    /// ranges, and ports on all addresses are a listing of the UDP entries, from which those are chosen that are
    /// sent to an address of this host, or that reach the binding's endpoint. Where `net.ipv4.ip_nonlocal_bind` is
    /// on, every address passes for one of this host. Where connection tracking remembers nothing, nothing is listed.
    ///
    /// Bindings of other protocols are passed over: a TCP or SCTP connection is one with its endpoint, and ends with
    /// it.
    ///
    /// # Errors
    /// [`ConntrackError`]: all variants but `Open`.
    ///
    /// # Cancel safety
    /// Once polled, it is done whether or not anybody waits for it.
    pub async fn forget(&self, bindings: &[Binding]) -> Result<(), ConntrackError> {
        self.delete(Which::Udp, bindings).await
    }

    /// Deletes the entries of all TCP connections that NAT leads from the bindings' host ports to their endpoints, and no
    /// others: neither what somebody else answers on these ports, nor what reaches a container by its own address. The
    /// next packet of each client meets the rules as they are now, and whoever it comes to resets a connection that it
    /// does not know.
    ///
    /// # Errors
    /// As [`forget`](Self::forget).
    ///
    /// # Cancel safety
    /// As [`forget`](Self::forget).
    pub async fn cut(&self, bindings: &[Binding]) -> Result<(), ConntrackError> {
        self.delete(Which::Tcp, bindings).await
    }

    /// Lists the flows that NAT leads to the bindings' endpoints, in no order. What a proxy serves on the same ports is not
    /// among them, nor what reaches a container by its own address. A flow that the kernel remembers beyond its end is.
    ///
    /// The kernel lists what the endpoints answer and passes over the rest, which is cheap; where there are more than a few
    /// endpoints it lists all flows of the bindings' protocols. It is asked on this handle's thread, so for a large
    /// table a handle of one's own keeps [`forget`](Self::forget) from waiting.
    ///
    /// # Errors
    /// [`ConntrackError::List`], which is [`Denied`](portmap_core::ErrorKind::Denied) without `CAP_NET_ADMIN`, and
    /// [`ConntrackError::Closed`].
    ///
    /// # Cancel safety
    /// Nothing is changed by it.
    pub async fn flows(&self, bindings: &[Binding]) -> Result<Vec<Flow>, ConntrackError> {
        self.fold_flows(bindings, Vec::new(), Vec::push).await
    }

    /// Passes the same flows to a function, one by one as the kernel lists them, and returns what that has made of them. Nothing
    /// but that is kept: of 100,000 flows a count takes no more memory than of one.
    ///
    /// The function is called on this handle's thread; while it runs, the handle does nothing else.
    ///
    /// A table that grows while it is listed can have a flow twice, here as in [`flows`](Self::flows). If a listing has to be
    /// begun anew, it goes on from a clone of what was made before that listing.
    ///
    /// # Errors
    /// As [`flows`](Self::flows); what was made of the flows before an error is lost.
    ///
    /// # Cancel safety
    /// Nothing is changed by it. Once polled, the function is called to the end whether or not anybody waits for it.
    pub async fn fold_flows<T: Clone + Send + 'static>(
        &self,
        bindings: &[Binding],
        start: T,
        mut each: impl FnMut(&mut T, Flow) + Send + 'static,
    ) -> Result<T, ConntrackError> {
        let bindings = bindings.to_vec();
        let job = move |session: &mut Session| session.flows(&bindings, start, &mut each);
        self.worker.run(job).await.unwrap_or(Err(ConntrackError::Closed))
    }

    async fn delete(&self, which: Which, bindings: &[Binding]) -> Result<(), ConntrackError> {
        let bindings = bindings.to_vec();
        let job = move |session: &mut Session| session.delete_all(which, &bindings);
        self.worker.run(job).await.unwrap_or(Err(ConntrackError::Closed))
    }
}
