//! What one connection or session has carried.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use portmap_core::{Binding, BoxError};
use tracing::{Span, field::display};

use super::{Counters, facade::Stopwatch};
use crate::{Carried, Side};

/// One connection or session, from the client's arrival on: counted as it goes, for itself and for its binding.
#[derive(Debug)]
pub(crate) struct Meter {
    counters: Arc<Counters>,
    span: Span,
    begun: Stopwatch,
    observed: OnceLock<SocketAddr>,
    to_endpoint: Way,
    to_client: Way,
    half_closed: AtomicBool,
}

/// One direction. Only the task that carries writes it, so that adding needs no atomic addition.
#[derive(Debug, Default)]
struct Way {
    bytes: AtomicU64,
    datagrams: AtomicU64,
}

/// What a connection or a session has carried so far: can be read at any time, also by other threads, and
/// costs what carries nothing.
///
/// It stands for the numbers, not for the connection, which may have ended. The binding's entry in
/// [`ProxyMapper::stats`](crate::ProxyMapper::stats) stays as long as there is one.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Meter>);

impl Meter {
    pub(crate) fn new(counters: Arc<Counters>, span: Span) -> Arc<Self> {
        Arc::new(Self {
            begun: counters.open(),
            counters,
            span,
            observed: OnceLock::new(),
            to_endpoint: Way::default(),
            to_client: Way::default(),
            half_closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn progress(self: &Arc<Self>) -> Progress {
        Progress(Arc::clone(self))
    }

    pub(crate) fn binding(&self) -> &Binding {
        self.counters.binding()
    }

    /// The container was dialled at `addr`, which sees `observed` as its peer.
    pub(crate) fn dialled(&self, addr: SocketAddr, observed: SocketAddr) {
        let _ = self.observed.set(observed);
        self.span.record("endpoint", display(addr)).record("observed", display(observed));
    }

    /// Bytes of a connection were written to this side.
    pub(crate) fn moved(&self, to: Side, bytes: u64) {
        self.way(to).add(Carried { datagrams: 0, bytes });
        self.counters.bytes(to, bytes);
    }

    /// Of so many datagrams of a session some were sent to this side.
    pub(crate) fn passed(&self, to: Side, carried: Carried, received: usize) {
        self.way(to).add(carried);
        self.counters.datagrams(to, carried);
        self.counters.dropped((received as u64).saturating_sub(carried.datagrams));
    }

    /// One direction of a connection has come to its end.
    pub(crate) fn half_closed(&self) {
        self.half_closed.store(true, Relaxed);
    }

    pub(crate) fn is_half_closed(&self) -> bool {
        self.half_closed.load(Relaxed)
    }

    pub(crate) fn carried(&self, to: Side) -> Carried {
        self.way(to).carried()
    }

    /// How it ended, where it did not fail.
    pub(crate) fn ended(&self, ending: &'static str) {
        self.span.record("ending", ending);
    }

    pub(super) fn failed(&self, error: &BoxError) {
        self.ended(self.counters.unserved(error));
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn close(&self) {
        self.counters.close(&self.begun);
        self.span.record("to_endpoint", self.to_endpoint.carried().bytes);
        self.span.record("to_client", self.to_client.carried().bytes);
    }

    fn way(&self, to: Side) -> &Way {
        match to {
            Side::Endpoint => &self.to_endpoint,
            Side::Client => &self.to_client,
        }
    }
}

impl Way {
    fn add(&self, more: Carried) {
        self.bytes.store(self.bytes.load(Relaxed) + more.bytes, Relaxed);
        self.datagrams.store(self.datagrams.load(Relaxed) + more.datagrams, Relaxed);
    }

    fn carried(&self) -> Carried {
        Carried { datagrams: self.datagrams.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }
}

impl Progress {
    /// The address that the container sees as its peer, once it was dialled.
    pub fn observed(&self) -> Option<SocketAddr> {
        self.0.observed.get().copied()
    }

    /// What went from the client to the container; for a connection there are no datagrams.
    pub fn to_endpoint(&self) -> Carried {
        self.0.to_endpoint.carried()
    }

    /// What went from the container to the client.
    pub fn to_client(&self) -> Carried {
        self.0.to_client.carried()
    }
}
