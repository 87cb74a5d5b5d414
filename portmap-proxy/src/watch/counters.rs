//! What is counted of one binding.

use portmap_core::{Binding, BoxError, Protocol};

use super::{
    BindingStats, Failed, FailureCause,
    cause::Unserved,
    facade::{Histogram, Labels, Stopwatch},
    tally::{Level, Tally},
};
use crate::{Carried, Side};

/// What the numbers are called in the `metrics` facade.
pub(super) mod name {
    pub(crate) const OPENED: &str = "portmap_opened_total";
    pub(crate) const ACTIVE: &str = "portmap_active";
    pub(crate) const WAITED: &str = "portmap_waited_total";
    pub(crate) const REFUSED: &str = "portmap_refused_total";
    pub(crate) const FAILED: &str = "portmap_failed_total";
    pub(crate) const BYTES: &str = "portmap_bytes_total";
    pub(crate) const DATAGRAMS: &str = "portmap_datagrams_total";
    pub(crate) const OVER_SHARE: &str = "portmap_over_share_total";
    pub(crate) const EVICTED: &str = "portmap_evicted_total";
    pub(crate) const DROPPED: &str = "portmap_datagrams_dropped_total";
    pub(crate) const UNANSWERABLE: &str = "portmap_datagrams_unanswerable_total";
    pub(crate) const DURATION: &str = "portmap_duration_seconds";
}

/// The numbers of one binding, shared by its ports and by all that goes through them. Counting takes no lock.
#[derive(Debug)]
pub(crate) struct Counters {
    binding: Binding,
    opened: Tally,
    active: Level,
    waited: Tally,
    refused: Tally,
    failed: [Tally; FailureCause::ALL.len()],
    to_endpoint: Way,
    to_client: Way,
    over_share: Tally,
    evicted: Tally,
    dropped: Tally,
    unanswerable: Tally,
    durations: Histogram,
}

/// What was carried in one direction.
#[derive(Debug)]
struct Way {
    bytes: Tally,
    datagrams: Tally,
}

impl Counters {
    pub(crate) fn new(binding: &Binding) -> Self {
        let labels = Labels::of(binding);
        let udp = binding.protocol() == Protocol::Udp;
        let tally = |name| Tally::new(labels.counter(name));
        let datagrams_alone =
            |make: &dyn Fn() -> Tally| if udp { make() } else { Tally::default() };
        let way = |direction| Way {
            bytes: Tally::new(labels.counter_with(name::BYTES, ("direction", direction))),
            datagrams: datagrams_alone(&|| {
                Tally::new(labels.counter_with(name::DATAGRAMS, ("direction", direction)))
            }),
        };
        Self {
            binding: binding.clone(),
            opened: tally(name::OPENED),
            active: Level::new(labels.gauge(name::ACTIVE)),
            waited: tally(name::WAITED),
            refused: tally(name::REFUSED),
            failed: FailureCause::ALL.map(|cause| {
                Tally::new(labels.counter_with(name::FAILED, ("cause", cause.as_str())))
            }),
            to_endpoint: way("to_endpoint"),
            to_client: way("to_client"),
            over_share: tally(name::OVER_SHARE),
            evicted: datagrams_alone(&|| tally(name::EVICTED)),
            dropped: datagrams_alone(&|| tally(name::DROPPED)),
            unanswerable: datagrams_alone(&|| tally(name::UNANSWERABLE)),
            durations: labels.histogram(name::DURATION),
        }
    }

    pub(crate) fn binding(&self) -> &Binding {
        &self.binding
    }

    /// A connection or a session begins.
    pub(super) fn open(&self) -> Stopwatch {
        self.opened.add(1);
        self.active.up();
        Stopwatch::start()
    }

    /// It has ended.
    pub(super) fn close(&self, begun: &Stopwatch) {
        self.active.down();
        begun.stop(&self.durations);
    }

    /// Clients begin to wait in the backlog.
    pub(crate) fn waiting(&self) {
        self.waited.add(1);
    }

    /// A client finds that its port has used up its share of the descriptors.
    pub(crate) fn over_share(&self) {
        self.over_share.add(1);
    }

    /// A session goes before its time.
    pub(crate) fn evicted(&self) {
        self.evicted.add(1);
    }

    /// A session could not begin.
    pub(crate) fn turned_away(&self) {
        self.refused.add(1);
    }

    /// A service ended with an error; says what that means.
    pub(super) fn unserved(&self, error: &BoxError) -> &'static str {
        let why = Unserved::why(error);
        match why {
            Unserved::ByLimit => self.refused.add(1),
            Unserved::Failed(cause) => self.failed[cause as usize].add(1),
            Unserved::Released => {}
        }
        why.as_str()
    }

    /// A service panicked.
    pub(crate) fn panicked(&self) {
        self.failed[FailureCause::Panicked as usize].add(1);
    }

    pub(super) fn bytes(&self, to: Side, bytes: u64) {
        self.way(to).bytes.add(bytes);
    }

    pub(super) fn datagrams(&self, to: Side, carried: Carried) {
        self.way(to).bytes.add(carried.bytes);
        self.way(to).datagrams.add(carried.datagrams);
    }

    /// Datagrams were received and not carried.
    pub(crate) fn dropped(&self, datagrams: u64) {
        if datagrams > 0 {
            self.dropped.add(datagrams);
        }
    }

    /// So many of those that were dropped had a source that cannot be answered.
    pub(crate) fn unanswerable(&self, datagrams: u64) {
        self.unanswerable.add(datagrams);
    }

    pub(crate) fn stats(&self) -> BindingStats {
        BindingStats {
            binding: self.binding.clone(),
            opened: self.opened.count(),
            active: self.active.now(),
            waited: self.waited.count(),
            refused: self.refused.count(),
            failed: Failed::new(FailureCause::ALL.map(|cause| self.failed[cause as usize].count())),
            to_endpoint: self.to_endpoint.carried(),
            to_client: self.to_client.carried(),
            over_share: self.over_share.count(),
            evicted: self.evicted.count(),
            dropped: self.dropped.count(),
            unanswerable: self.unanswerable.count(),
        }
    }

    fn way(&self, to: Side) -> &Way {
        match to {
            Side::Endpoint => &self.to_endpoint,
            Side::Client => &self.to_client,
        }
    }
}

impl Way {
    fn carried(&self) -> Carried {
        Carried { datagrams: self.datagrams.count(), bytes: self.bytes.count() }
    }
}
