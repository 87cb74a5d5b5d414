//! What is counted, as data.

use portmap_core::Binding;

use crate::{Carried, FailureCause};

/// What was counted of one binding since it was published: the numbers of a moment.
///
/// Connections (TCP) and sessions (UDP) are counted alike; a binding has the one or the other. Each number is exact, but they
/// are read one after the other while the proxy goes on: they need not add up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BindingStats {
    /// What they are the numbers of, as it was published: a lease that was retargeted leads elsewhere by now.
    pub binding: Binding,
    /// Connections accepted or sessions begun, whatever became of them.
    pub opened: u64,
    /// How many of these have not ended.
    pub active: u64,
    /// How often clients had to wait in the kernel's backlog since the service was not ready for them, or no descriptor was
    /// left. It is counted when the waiting begins: once, however many wait and however long. Always 0 for UDP.
    pub waited: u64,
    /// How many were turned away by a limit: opened, and then ended by a layer with
    /// [`Overloaded`](tower::load_shed::error::Overloaded). For UDP also datagrams of would-be sessions for which the
    /// service was not ready, or no descriptor left; these were not opened.
    pub refused: u64,
    /// How often the binding had used up its share of the process's descriptors. TCP: clients had to wait for it, counted as
    /// [`waited`](Self::waited) is. UDP: a session of the port's own went for a new one, or the new one could not begin.
    pub over_share: u64,
    /// UDP: how many sessions went before their time, for new ones of the port or of ports that had fewer.
    pub evicted: u64,
    /// How many of the opened ones failed for another reason.
    pub failed: Failed,
    /// What was carried to the container.
    pub to_endpoint: Carried,
    /// What was carried to clients.
    pub to_client: Carried,
    /// UDP: how many datagrams were received, in either direction, and not carried. What a full receive queue of the
    /// kernel's has lost is not in it (`Udp: RcvbufErrors` of `/proc/net/snmp`).
    pub dropped: u64,
    /// UDP: how many of those that were [dropped](Self::dropped) came from where no answer can, or
    /// may, go to: an unspecified, broadcast or multicast address, port 0, a loopback address that
    /// came in by a link, a port of this process or the container itself, whose answers would be
    /// questions again. They began no session; most are forged.
    pub unanswerable: u64,
}

/// How many connections or sessions did not reach their container, by [cause](FailureCause).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failed([u64; FailureCause::ALL.len()]);

impl Failed {
    pub(super) fn new(counts: [u64; FailureCause::ALL.len()]) -> Self {
        Self(counts)
    }

    /// How many failed for this cause.
    pub fn by(&self, cause: FailureCause) -> u64 {
        self.0[cause as usize]
    }

    /// How many failed.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every cause and its number, 0 too, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (FailureCause, u64)> {
        FailureCause::ALL.into_iter().zip(self.0)
    }
}
