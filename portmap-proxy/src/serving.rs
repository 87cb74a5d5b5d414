//! What keeps a published request served.

use std::{
    future::{Future, pending, ready},
    pin::Pin,
};

use portmap_core::{Endpoint, Error, Established, Hold, NotReleased};
use tokio::{sync::watch, task::JoinHandle};

use crate::circle::Passages;

/// How a request is served.
#[derive(Clone, Copy, Debug, Default)]
struct Phase {
    disarmed: bool,
    /// Where connections go now, if not where the request said.
    to: Option<Endpoint>,
    /// How often that was changed.
    retargeted: usize,
    /// How often connections were cut for it.
    cut: usize,
}

/// The hold on the listeners of one request. Dropping it stops them in the background.
#[derive(Debug)]
pub(crate) struct Serving {
    phase: watch::Sender<Phase>,
    listeners: Vec<JoinHandle<()>>,
    /// What must not lead back to itself, where that can be seen from here.
    passages: Passages,
}

/// A listener's ear for its [`Serving`].
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    phase: watch::Receiver<Phase>,
    retargeted: usize,
    cut: usize,
}

/// What a listener is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// To free its port.
    Stop,
    /// That connections go elsewhere from now on, and whether those that are open are to be cut.
    Retargeted(Established),
}

/// The container that a binding leads to, for now.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    asked: Endpoint,
    phase: watch::Receiver<Phase>,
}

impl Serving {
    /// Serves nothing yet.
    pub(crate) fn new(passages: Passages) -> Self {
        Self { phase: watch::Sender::default(), listeners: Vec::new(), passages }
    }

    pub(crate) fn orders(&self) -> Orders {
        Orders { phase: self.phase.subscribe(), retargeted: 0, cut: 0 }
    }

    pub(crate) fn target(&self, asked: Endpoint) -> Target {
        Target { asked, phase: self.phase.subscribe() }
    }

    pub(crate) fn add(&mut self, listener: JoinHandle<()>) {
        self.listeners.push(listener);
    }
}

impl Orders {
    /// Returns what the hold wants: that the listener stops, when it is gone, and never where it was disarmed. And itself,
    /// so that one future can be polled for long: setting one up takes a lock that all listeners share.
    pub(crate) async fn next(mut self) -> (Told, Self) {
        loop {
            let gone = self.phase.changed().await.is_err();
            let phase = *self.phase.borrow_and_update();
            if phase.retargeted != self.retargeted {
                let cut = phase.cut != self.cut;
                (self.retargeted, self.cut) = (phase.retargeted, phase.cut);
                let established = if cut { Established::Cut } else { Established::Keep };
                return (Told::Retargeted(established), self);
            }
            if gone && phase.disarmed {
                pending::<()>().await;
            }
            if gone {
                return (Told::Stop, self);
            }
        }
    }
}

impl Target {
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.phase.borrow().to.unwrap_or(self.asked)
    }
}

impl Hold for Serving {
    fn release(self: Box<Self>) -> Pin<Box<dyn Future<Output = Result<(), NotReleased>> + Send>> {
        let Self { phase, listeners, .. } = *self;
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
        self.phase.send_modify(|phase| phase.disarmed = true);
        self.passages.keep();
    }

    fn retarget<'a>(
        &'a mut self,
        to: Endpoint,
        established: Established,
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
        let sensible = self.passages.lead_to(to);
        if sensible.is_ok() {
            self.phase.send_modify(|phase| {
                phase.to = Some(to);
                phase.retargeted += 1;
                phase.cut += usize::from(established == Established::Cut);
            });
        }
        Box::pin(ready(sensible))
    }
}
