//! What happens, told to a person or to a program: one thread prints it, in one of three styles.
//!
//! Whatever serves clients only hands over what happened. A terminal that is held with Ctrl-S or a pipe that nobody reads
//! holds up the thread alone: what comes too fast for it is lost, and counted.

mod by;
mod connections;
mod flow;
mod json;
mod live;
mod paths;
mod plain;
mod printer;
mod screen;
mod sessions;
mod tracking;
mod watched;

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
};

use portmap::Binding;
use tower::Layer;

use self::{
    connections::Report,
    flow::{End, Served},
};
pub(crate) use self::{printer::Printer, tracking::Tracking};
use crate::args::Mode;

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines for a person or a file: what is published, and each connection and session when it has ended.
    Plain,
    /// One JSON object a line.
    Json,
    /// A view that is redrawn every second.
    Live,
}

/// As much as a thousand clients do in a moment.
const QUEUE: usize = 8192;

/// Where what happens is handed over. Clones lead to one printer.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    news: SyncSender<News>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ids: AtomicU64,
    lost: AtomicU64,
    /// How much is handed over, and not taken yet.
    queued: AtomicUsize,
    in_force: Mutex<Vec<Binding>>,
}

/// What happened.
#[derive(Debug)]
enum News {
    /// Something to know, on a line.
    Note(String),
    Published(Mode, Vec<Binding>),
    /// Some of what is published, as it is now.
    Retargeted(Vec<Binding>),
    Opened(Arc<Served>),
    Ended(Arc<Served>, End),
    /// How many there are of which nothing else is told.
    Unlisted(Unlisted),
    Released,
    /// Nothing comes any more.
    End,
}

/// Connections by NAT that are not followed: there are too many that are newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unlisted {
    /// How many are open.
    open: usize,
    /// How many have ended, since this tool was started.
    ended: u64,
}

impl Monitor {
    /// Starts the thread that prints.
    pub(crate) fn start(style: Style) -> (Self, Printer) {
        let (news, inbox) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let printer = Printer::start(style, inbox, news.clone(), Arc::clone(&shared));
        (Self { news, shared }, printer)
    }

    /// Tells a line.
    pub(crate) fn note(&self, line: impl Display) {
        self.tell(News::Note(line.to_string()));
    }

    /// Tells what is in force now.
    pub(crate) fn published(&self, mode: Mode, bindings: Vec<Binding>) {
        *self.shared.in_force.lock().unwrap_or_else(PoisonError::into_inner) = bindings.clone();
        self.tell(News::Published(mode, bindings));
    }

    /// Tells where some of it leads now.
    pub(crate) fn retargeted(&self, bindings: &[Binding]) {
        let mut in_force = self.shared.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        lead(&mut in_force, bindings);
        self.tell(News::Retargeted(bindings.to_vec()));
    }

    /// Tells that nothing is in force any more.
    pub(crate) fn released(&self) {
        self.tell(News::Released);
    }

    /// Tells how many connections there are besides those that are told of one by one.
    fn unlisted(&self, unlisted: Unlisted) {
        self.tell(News::Unlisted(unlisted));
    }

    /// What is in force, as far as it was told.
    fn in_force(&self) -> Vec<Binding> {
        self.shared.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether those who can wait had better do so, and leave what room there is to the others.
    fn is_crowded(&self) -> bool {
        self.shared.queued.load(Relaxed) > QUEUE / 2
    }

    fn tell(&self, news: News) {
        self.shared.queued.fetch_add(1, Relaxed);
        match self.news.try_send(news) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => {
                self.shared.lost.fetch_add(1, Relaxed);
            }
            // A printer that has ended has nobody to print for.
            Err(TrySendError::Disconnected(_)) => {}
        }
        self.shared.queued.fetch_sub(1, Relaxed);
    }
}

/// Puts what leads elsewhere now in the place of what led there before.
fn lead(bindings: &mut [Binding], changed: &[Binding]) {
    for binding in bindings {
        if let Some(now) = changed.iter().find(|now| now.conflicts(binding)) {
            *binding = now.clone();
        }
    }
}

/// A monitor is a layer: it tells of each connection or session that passes.
impl<S> Layer<S> for Monitor {
    type Service = Report<S>;

    fn layer(&self, inner: S) -> Report<S> {
        Report { inner, monitor: self.clone() }
    }
}
