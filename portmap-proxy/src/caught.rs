//! Panics of somebody else's code.

use std::{
    any::Any,
    error, fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use tracing::error;

use crate::{seldom::Seldom, watch::Counters};

/// A layer or a dial service panicked; what it said.
#[derive(Debug)]
pub(crate) struct Panicked(String);

/// Counts the panics of one listener's services, and tells of them: one line a second stands for all.
#[derive(Debug)]
pub(crate) struct Panics {
    /// What a service is for: a connection, say.
    what: &'static str,
    told: Seldom,
}

impl Panics {
    pub(crate) const fn of(what: &'static str) -> Self {
        Self { what, told: Seldom::new() }
    }

    /// Takes note of one more; `panicked` is what it said.
    pub(crate) fn note(&mut self, panicked: &dyn error::Error, counters: &Counters, now: Instant) {
        counters.panicked();
        if let Some(count) = self.told.count(now) {
            error!(count, error = %panicked, "the service of a {} panicked", self.what);
        }
    }
}

/// Runs somebody else's code. What it worked on may be broken after a panic, and must not be used any more.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panicked::new)
}

impl Panicked {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let said = match payload.downcast::<String>() {
            Ok(said) => *said,
            Err(payload) => payload.downcast::<&str>().map_or_else(
                |_| "it said nothing that can be shown".to_owned(),
                |said| (*said).to_owned(),
            ),
        };
        Self(said)
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Panicked {}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        time::Duration,
    };

    use portmap_core::{Binding, Endpoint, HostAddr, Protocol};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::{
        Layer, Registry,
        layer::{Context, SubscriberExt},
    };

    use super::*;

    struct Lines(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn every_panic_counts_and_a_second_of_them_is_one_line() {
        let port = |port: &str| port.parse().unwrap();
        let endpoint = Endpoint::from([192, 0, 2, 2]);
        let to = "80".parse().unwrap();
        let binding = Binding::new(Protocol::Tcp, HostAddr::Any, port("8080"), endpoint, to);
        let counters = Counters::new(&binding.unwrap());
        let lines = Arc::new(AtomicUsize::new(0));
        let begun = Instant::now();
        let subscriber = Registry::default().with(Lines(Arc::clone(&lines)));
        tracing::subscriber::with_default(subscriber, || {
            let mut panics = Panics::of("connection");
            let panicked = caught::<()>(|| panic!("a test")).unwrap_err();
            for millis in [0, 1, 999, 1000] {
                panics.note(&panicked, &counters, begun + Duration::from_millis(millis));
            }
        });
        assert_eq!(lines.load(Relaxed), 2);
        assert_eq!(counters.stats().failed.total(), 4);
    }
}
