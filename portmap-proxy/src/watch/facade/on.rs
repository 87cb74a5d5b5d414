//! Handles of the recorder that is installed when a binding is published. Without a recorder they do nothing.

use std::time::Instant;

use metrics::{Label, SharedString, Unit, describe_counter, describe_gauge, describe_histogram};
use portmap_core::{Binding, Protocol};

/// A counter, by default one that nobody sees.
#[derive(Debug)]
pub(crate) struct Counter(metrics::Counter);

pub(crate) use metrics::{Gauge, Histogram};

#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

/// What tells the metrics of a binding from those of others. The endpoint is not in it.
#[derive(Debug)]
pub(crate) struct Labels {
    binding: SharedString,
    protocol: &'static str,
}

impl Counter {
    pub(crate) fn increment(&self, more: u64) {
        self.0.increment(more);
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self(metrics::Counter::noop())
    }
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn stop(&self, durations: &Histogram) {
        durations.record(self.0.elapsed());
    }
}

impl Labels {
    pub(crate) fn of(binding: &Binding) -> Self {
        let host = format!("{}:{}", binding.host_addr(), binding.host_ports());
        let protocol = match binding.protocol() {
            Protocol::Udp => "udp",
            _ => "tcp",
        };
        Self { binding: SharedString::from_shared(host.into()), protocol }
    }

    fn list(&self) -> Vec<Label> {
        let protocol = Label::from_static_parts("protocol", self.protocol);
        vec![Label::new("binding", self.binding.clone()), protocol]
    }

    pub(crate) fn counter(&self, name: &'static str) -> Counter {
        Counter(metrics::counter!(name, self.list()))
    }

    pub(crate) fn counter_with(
        &self,
        name: &'static str,
        (key, value): (&'static str, &'static str),
    ) -> Counter {
        let mut labels = self.list();
        labels.push(Label::from_static_parts(key, value));
        Counter(metrics::counter!(name, labels))
    }

    pub(crate) fn gauge(&self, name: &'static str) -> Gauge {
        metrics::gauge!(name, self.list())
    }

    pub(crate) fn histogram(&self, name: &'static str) -> Histogram {
        metrics::histogram!(name, self.list())
    }
}

/// Tells the recorder what the metrics mean.
pub(crate) fn describe() {
    use super::super::counters::name::*;
    describe_counter!(OPENED, Unit::Count, "Connections accepted or sessions begun");
    describe_gauge!(ACTIVE, Unit::Count, "Connections or sessions that have not ended");
    describe_counter!(WAITED, Unit::Count, "Times that clients had to wait in the backlog");
    describe_counter!(REFUSED, Unit::Count, "Connections or sessions turned away by a limit");
    describe_counter!(OVER_SHARE, Unit::Count, "Times that a share of descriptors was used up");
    describe_counter!(EVICTED, Unit::Count, "UDP sessions that went before their time");
    describe_counter!(FAILED, Unit::Count, "Connections or sessions that failed, by cause");
    describe_counter!(BYTES, Unit::Bytes, "Bytes carried, by direction");
    describe_counter!(DATAGRAMS, Unit::Count, "UDP datagrams carried, by direction");
    describe_counter!(DROPPED, Unit::Count, "UDP datagrams received and not carried");
    describe_counter!(UNANSWERABLE, Unit::Count, "UDP datagrams dropped for their source");
    describe_histogram!(DURATION, Unit::Seconds, "How long connections or sessions took");
}
