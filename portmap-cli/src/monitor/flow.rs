//! A connection or a session, from its client's arrival to its end.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use portmap::{Port, Protocol, rules};

use super::{
    Monitor, News,
    by::{Both, By},
};
use crate::output::chain;

/// Whom a connection or a session serves.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) id: u64,
    pub(super) protocol: Protocol,
    pub(super) client: SocketAddr,
    /// The address of this host that the client used.
    pub(super) host: Option<SocketAddr>,
    pub(super) container_port: Port,
    /// When it was accepted, or first seen.
    pub(super) begun: Instant,
    pub(super) by: By,
}

/// How it came to its end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) lasted: Duration,
    pub(super) how: How,
}

#[derive(Debug)]
pub(super) enum How {
    Closed {
        /// The client's address as the container saw it.
        observed: SocketAddr,
        /// Nothing where nobody counted.
        carried: Option<Both>,
        /// Empty where that was in order.
        ending: &'static str,
    },
    /// It goes on, and is not followed any more: there are too many that are newer.
    Left { observed: SocketAddr, carried: Option<Both> },
    /// It never reached its container.
    Refused {
        cause: String,
        /// The innermost cause, which many clients have in common.
        root: String,
    },
    /// The release did not wait any longer.
    Cut,
}

/// What is said of one that goes on, and is not followed any more.
pub(super) const LEFT: &str = "not followed any more: others are newer";

/// Tells of the beginning and, when it is dropped at the latest, of the end.
pub(super) struct Flow {
    monitor: Monitor,
    served: Arc<Served>,
    told: bool,
}

impl Flow {
    pub(super) fn begin(
        monitor: &Monitor,
        protocol: Protocol,
        (client, host): (SocketAddr, Option<SocketAddr>),
        container_port: Port,
        by: By,
    ) -> Self {
        let id = monitor.shared.ids.fetch_add(1, Relaxed) + 1;
        let begun = Instant::now();
        let served = Arc::new(Served { id, protocol, client, host, container_port, begun, by });
        monitor.tell(News::Opened(Arc::clone(&served)));
        Self { monitor: monitor.clone(), served, told: false }
    }

    pub(super) fn refused(self, error: &(dyn Error + 'static)) {
        let mut innermost = error;
        while let Some(cause) = innermost.source() {
            innermost = cause;
        }
        let root = innermost.to_string().replace(&format!("{} ", self.served.client), "");
        self.end(How::Refused { cause: chain(error), root });
    }

    /// The same in all that is told of it; later ones have higher numbers.
    pub(super) fn id(&self) -> u64 {
        self.served.id
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.served.protocol
    }

    /// It was looked at again.
    pub(super) fn see(&self, flow: &rules::Flow) {
        if let By::Nat(tracked) = &self.served.by {
            tracked.see(flow);
        }
    }

    /// It ends with what was seen of it last.
    pub(super) fn end_as_seen(self, ending: &'static str) {
        let how = self.as_seen(ending);
        self.end(how);
    }

    /// It goes on, and nobody looks at it any more: there are newer ones.
    pub(super) fn leave(self) {
        let observed = self.served.by.observed().unwrap_or(self.served.client);
        let carried = self.served.by.carried();
        self.end(How::Left { observed, carried });
    }

    fn as_seen(&self, ending: &'static str) -> How {
        let Served { by, client, .. } = &*self.served;
        let observed = by.observed().unwrap_or(*client);
        How::Closed { observed, carried: by.carried(), ending }
    }

    pub(super) fn end(mut self, how: How) {
        self.tell(how);
    }

    fn tell(&mut self, how: How) {
        self.told = true;
        let lasted = self.served.begun.elapsed();
        self.monitor.tell(News::Ended(Arc::clone(&self.served), End { lasted, how }));
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if !self.told {
            self.tell(match self.served.by {
                By::Proxy(_) => How::Cut,
                // What becomes of it is the kernel's to say.
                By::Nat(_) => self.as_seen("not followed beyond the release"),
            });
        }
    }
}
