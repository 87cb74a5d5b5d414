//! What keeps a published request served.

use std::{future::Future, future::pending, pin::Pin};

use portmap_core::{Hold, NotReleased};
use tokio::{sync::watch, task::JoinHandle};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Disarmed,
}

/// The hold on the listeners of one request. Dropping it stops them in the background.
#[derive(Debug)]
pub(crate) struct Serving {
    phase: watch::Sender<Phase>,
    listeners: Vec<JoinHandle<()>>,
}

/// A listener's ear for its [`Serving`].
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<Phase>);

impl Serving {
    pub(crate) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving), listeners: Vec::new() }
    }

    pub(crate) fn stop(&self) -> Stop {
        Stop(self.phase.subscribe())
    }

    pub(crate) fn add(&mut self, listener: JoinHandle<()>) {
        self.listeners.push(listener);
    }
}

impl Stop {
    /// Returns when the hold is gone, and never where it was disarmed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn asked(&mut self) {
        while self.0.changed().await.is_ok() {}
        if *self.0.borrow() == Phase::Disarmed {
            pending().await
        }
    }
}

impl Hold for Serving {
    fn release(self: Box<Self>) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>> {
        let Self { phase, listeners } = *self;
        drop(phase);
        Box::pin(async {
            for listener in listeners {
                // A listener that panicked is gone as well.
                let _ = listener.await;
            }
            Ok(())
        })
    }

    fn disarm(self: Box<Self>) {
        self.phase.send_replace(Phase::Disarmed);
    }
}
