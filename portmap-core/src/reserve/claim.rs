//! What this process has reserved itself.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{Binding, HostAddr, Port, Protocol};

/// Every claim of this process, so that a conflict with one of its own is told from one with somebody else.
static CLAIMS: LazyLock<Mutex<HashMap<u64, Weak<Claim>>>> = LazyLock::new(Mutex::default);

/// One binding's sockets as a whole: it lives as long as one of them does.
#[derive(Debug)]
pub(super) struct Claim {
    number: u64,
    /// Its endpoint may be another one by now.
    binding: Binding,
    /// The network namespace of the sockets, where it can be told.
    namespace: Option<u64>,
    /// Whether somebody serves the sockets: only one can.
    served: AtomicBool,
}

impl Claim {
    pub(super) fn new(binding: Binding) -> Arc<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let served = AtomicBool::new(false);
        let claim = Arc::new(Self { number, binding, namespace: namespace(), served });
        all(|claims| claims.insert(number, Arc::downgrade(&claim)));
        claim
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.binding.protocol()
    }

    /// Makes the caller the one who serves the sockets; `false` where there is one.
    pub(super) fn begin_serving(&self) -> bool {
        !self.served.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_serving(&self) {
        self.served.store(false, Ordering::Release);
    }

    fn has(&self, protocol: Protocol, host: HostAddr, port: Port) -> bool {
        let Self { binding, .. } = self;
        binding.protocol() == protocol
            && binding.host_ports().contains(port)
            && binding.host_addr().overlaps(host)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        all(|claims| claims.remove(&self.number));
    }
}

/// The binding of this process that has a host port, in the network namespace of the calling thread.
pub(super) fn own(protocol: Protocol, host: HostAddr, port: Port) -> Option<Binding> {
    let here = namespace();
    // A claim that is dropped meanwhile takes the lock itself: the last reference goes after it is given back.
    let claims: Vec<_> = all(|claims| claims.values().filter_map(Weak::upgrade).collect());
    let claim =
        claims.iter().find(|claim| claim.namespace == here && claim.has(protocol, host, port))?;
    Some(claim.binding.clone())
}

fn all<T>(work: impl FnOnce(&mut HashMap<u64, Weak<Claim>>) -> T) -> T {
    // Nothing in here panics, and a number more or less would be no harm.
    work(&mut CLAIMS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn namespace() -> Option<u64> {
    Some(fs::metadata("/proc/thread-self/ns/net").ok()?.ino())
}
