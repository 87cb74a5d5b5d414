//! Who serves a connection or a session, and what it has carried so far.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use portmap::{
    proxy::{Carried, Progress},
    rules::{self, Counted},
};

/// Who serves it.
#[derive(Debug)]
pub(super) enum By {
    /// Counts as it carries.
    Proxy(Progress),
    /// Is looked at now and then.
    Nat(Tracked),
}

/// What was carried, each way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Both {
    pub(super) to_endpoint: Carried,
    pub(super) to_client: Carried,
}

/// As connection tracking had it at the last look.
#[derive(Debug)]
pub(super) struct Tracked {
    observed: SocketAddr,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    carried: Option<Both>,
    /// Bytes a second, in and out.
    each: Option<(u64, u64)>,
}

impl By {
    /// The client's address as the container sees it, where that is known.
    pub(super) fn observed(&self) -> Option<SocketAddr> {
        match self {
            Self::Proxy(progress) => progress.observed(),
            Self::Nat(tracked) => Some(tracked.observed),
        }
    }

    /// Nothing where nobody counts.
    pub(super) fn carried(&self) -> Option<Both> {
        match self {
            Self::Proxy(progress) => {
                let (to_endpoint, to_client) = (progress.to_endpoint(), progress.to_client());
                Some(Both { to_endpoint, to_client })
            }
            Self::Nat(tracked) => tracked.seen().carried,
        }
    }

    /// Bytes a second, in and out, where they come with the looks.
    pub(super) fn each(&self) -> Option<(u64, u64)> {
        match self {
            Self::Proxy(_) => None,
            Self::Nat(tracked) => tracked.seen().each,
        }
    }

    /// The word for it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Proxy(_) => "proxy",
            Self::Nat(_) => "nat",
        }
    }
}

impl Tracked {
    pub(super) fn new(flow: &rules::Flow) -> Self {
        let seen = Seen { at: Instant::now(), carried: both(flow), each: None };
        Self { observed: flow.observed, seen: Mutex::new(seen) }
    }

    /// It was looked at again.
    pub(super) fn see(&self, flow: &rules::Flow) {
        let (before, at) = (self.seen(), Instant::now());
        let carried = both(flow);
        let seconds = at.duration_since(before.at).as_secs_f64();
        let rate = |now: Carried, then: Carried| {
            (now.bytes.saturating_sub(then.bytes) as f64 / seconds.max(0.1)) as u64
        };
        let each = before.carried.zip(carried).map(|(then, now)| {
            (rate(now.to_endpoint, then.to_endpoint), rate(now.to_client, then.to_client))
        });
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen { at, carried, each };
    }

    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn both(flow: &rules::Flow) -> Option<Both> {
    let carried = |Counted { packets, bytes }| Carried { datagrams: packets, bytes };
    let (to_endpoint, to_client) = flow.to_endpoint.zip(flow.to_client)?;
    Some(Both { to_endpoint: carried(to_endpoint), to_client: carried(to_client) })
}
