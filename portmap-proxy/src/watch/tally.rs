//! Numbers that many tasks count in, each with a twin in the `metrics` facade.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::facade;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    count: AtomicU64,
    twin: facade::Counter,
}

/// A number that goes up and down.
#[derive(Debug)]
pub(super) struct Level {
    now: AtomicU64,
    twin: facade::Gauge,
}

impl Tally {
    pub(super) fn new(twin: facade::Counter) -> Self {
        Self { count: AtomicU64::new(0), twin }
    }

    pub(super) fn add(&self, more: u64) {
        self.count.fetch_add(more, Relaxed);
        self.twin.increment(more);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

impl Level {
    pub(super) fn new(twin: facade::Gauge) -> Self {
        Self { now: AtomicU64::new(0), twin }
    }

    pub(super) fn up(&self) {
        self.now.fetch_add(1, Relaxed);
        self.twin.increment(1.0);
    }

    pub(super) fn down(&self) {
        self.now.fetch_sub(1, Relaxed);
        self.twin.decrement(1.0);
    }

    pub(super) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }
}
