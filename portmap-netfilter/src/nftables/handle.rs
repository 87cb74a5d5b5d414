//! The embedder's side: a handle on the thread that speaks to the kernel.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use portmap_rules::{Ruleset, Transaction};
use tokio::runtime::Handle;

use super::{NftablesError, session::Session};
#[cfg(all(test, feature = "netns"))]
use crate::netlink::Transport;
use crate::{Difference, DriftWatch, OwnerLock, authors::Authors, netlink::Socket, worker::Worker};

/// nftables in one network namespace, over one socket.
///
/// **Dropping it ends the tables** that were made through it, unless they belong to [`TableOwner::Nobody`]. The drop
/// itself doesn't wait for that; [`close`](Self::close) does. Where the process is killed, the kernel removes them as
/// the socket closes: a child that was forked and has called no `exec` has it too, and keeps the tables for as long.
///
/// A thread of its own sends and waits: the kernel carries a transaction out while it is being sent, which takes
/// some 15 ms for 10,000 elements and would stall an executor.
#[derive(Debug)]
pub struct Nftables {
    worker: Worker<Session>,
    port: u32,
    /// Whether others can change what it makes.
    exposed: AtomicBool,
}

/// Who keeps a table in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TableOwner {
    /// The socket: a table that nobody else can change, delete or flush, and that ends with the socket, whatever
    /// becomes of the process (`NFT_TABLE_F_OWNER`, Linux 5.12). On older kernels a warning is logged, a table
    /// outlives its process, anybody can change it, and adding one removes what is there by its name.
    #[default]
    Socket,
    /// Nobody: the table stays until somebody deletes it.
    Nobody,
}

impl Nftables {
    /// Opens a socket in the network namespace of the calling thread, and starts the thread that uses it.
    ///
    /// # Errors
    /// [`NftablesError::Open`].
    pub fn open(owner: TableOwner) -> Result<Self, NftablesError> {
        let socket = Socket::open().map_err(NftablesError::Open)?;
        let port = socket.port();
        Self::with(port, Session::new(socket, owner))
    }

    /// As [`open`](Self::open), for tables that end with the socket. Whoever waits for the lock gets it when they have.
    pub(crate) fn open_locked(lock: Arc<OwnerLock>) -> Result<Self, NftablesError> {
        let socket = Socket::open().map_err(NftablesError::Open)?;
        let port = socket.port();
        Self::with(port, Session::new(socket, TableOwner::Socket).locked_by(lock))
    }

    /// As on a kernel that knows no owners of tables, in the network namespace of the calling thread.
    #[cfg(all(test, feature = "netns"))]
    pub(crate) fn open_before_owners() -> Result<Self, NftablesError> {
        let socket = Socket::open().map_err(NftablesError::Open)?;
        let port = socket.port();
        Self::with(port, Session::before_owners(socket))
    }

    fn with(port: u32, session: Session) -> Result<Self, NftablesError> {
        let exposed = AtomicBool::new(session.is_exposed());
        let worker = Worker::spawn("portmap-nft", session).map_err(NftablesError::Open)?;
        Ok(Self { worker, port, exposed })
    }

    /// The same over another transport.
    #[cfg(all(test, feature = "netns"))]
    pub(crate) fn over(transport: impl Transport + 'static) -> Self {
        Self::with(0, Session::new(transport, TableOwner::Socket)).expect("a thread")
    }

    /// Makes all changes of a transaction, or none.
    ///
    /// The kernel takes a transaction as one request. Where a request may not be so long (in a user namespace, where
    /// `net.core.wmem_max` counts: some 400 KiB, 6,000 elements) it becomes several; if a later one fails, the
    /// earlier ones are taken back.
    ///
    /// # Errors
    /// [`NftablesError`]: all variants but `Open`. The failing object is named, the element too.
    ///
    /// # Cancel safety
    /// Once polled, the transaction is carried out whether or not anybody waits for it.
    pub async fn apply(&self, transaction: Transaction) -> Result<(), NftablesError> {
        let job = move |session: &mut Session| (session.apply(&transaction), session.is_exposed());
        let (applied, exposed) = self.worker.run(job).await.ok_or(NftablesError::Closed)?;
        self.exposed.store(exposed, Ordering::Relaxed);
        applied
    }

    /// Whether others can change what it makes: its tables belong to nobody, as [`TableOwner::Nobody`] asks for, or as on
    /// this kernel all do, which shows when the first one is made.
    pub(crate) fn is_exposed(&self) -> bool {
        self.exposed.load(Ordering::Relaxed)
    }

    /// How what is in force differs from `wanted`, as far as can be told by counting: chains and sets that are missing or
    /// too many, and those that have more or fewer rules or elements than they should.
    ///
    /// # Errors
    /// [`NftablesError::Transport`], [`NftablesError::Closed`].
    pub(crate) async fn compare(
        &self,
        wanted: Arc<Ruleset>,
    ) -> Result<Vec<Difference>, NftablesError> {
        let job = move |session: &mut Session| session.compare(&wanted);
        self.worker.run(job).await.unwrap_or(Err(NftablesError::Closed))
    }

    /// Makes of the tables that were made through this handle, whatever there is of them, those of `rules`: in one
    /// transaction, so that no packet meets anything in between.
    ///
    /// It is for when what is in force is [not known](NftablesError::is_in_doubt): after an answer that was lost, or an
    /// [`apply`](Self::apply) that nobody waited for. A table that others have by that name is not touched, and refused.
    ///
    /// Where a request may not be so long it becomes several, as in `apply`; then packets may meet a part of the rules,
    /// and where a later one fails, what is in force is not known still.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    ///
    /// # Cancel safety
    /// Once polled, it is carried out whether or not anybody waits for it.
    pub async fn rewrite(&self, rules: Ruleset) -> Result<(), NftablesError> {
        let job = move |session: &mut Session| session.rewrite(&rules);
        self.worker.run(job).await.unwrap_or(Err(NftablesError::Closed))
    }

    /// Watches for changes by others, in the same network namespace.
    ///
    /// # Errors
    /// [`NftablesError::Open`], [`NftablesError::Closed`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn watch(&self) -> Result<DriftWatch, NftablesError> {
        let own = self.authors();
        let runtime = Handle::current();
        // The worker's thread is in the right namespace; the caller's may be in any.
        let open = move |_: &mut Session| {
            let _entered = runtime.enter();
            DriftWatch::beside(own)
        };
        let watch = self.worker.run(open).await.ok_or(NftablesError::Closed)?;
        watch.map_err(NftablesError::Open)
    }

    /// Whose changes [`watch`](Self::watch) takes for its own.
    pub(crate) fn authors(&self) -> Authors {
        let own = Authors::default();
        own.add(self.port);
        own
    }

    /// The number by which the kernel knows the socket: a table's owner, and the author of its changes.
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Ends the tables, closes the socket, and waits for both: up to some 20 ms.
    ///
    /// # Cancel safety
    /// The socket closes in any case.
    pub async fn close(self) {
        self.worker.finish().await;
    }
}
