//! What one of the two serves alone.

use tracing::info;

use crate::{Binding, Error, WithCauses};

/// A binding that only one of a [`HybridMapper`](crate::HybridMapper)'s two mappers serves, and why: see
/// [`Lease::served_alone`](crate::Lease::served_alone).
///
/// What the container sees depends on it: of a binding that the proxy serves alone every client is seen as the gateway.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServedAlone {
    /// Which binding.
    pub binding: Binding,
    /// Who serves it.
    pub by: ServedBy,
    /// Why the other one does not: what it answered, [`Unsupported`](crate::ErrorKind::Unsupported).
    pub reason: Error,
}

/// One of the two mappers of a [`HybridMapper`](crate::HybridMapper).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServedBy {
    /// The proxy.
    Proxy,
    /// The rules in the kernel.
    Rules,
}

impl ServedBy {
    pub(super) fn alone(self, refused: Vec<(Binding, Error)>) -> impl Iterator<Item = ServedAlone> {
        refused.into_iter().map(move |(binding, reason)| {
            info!(%binding, by = ?self, reason = %WithCauses(&reason), "served by one of two alone");
            ServedAlone { binding, by: self, reason }
        })
    }
}
