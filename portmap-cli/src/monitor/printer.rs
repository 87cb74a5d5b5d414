//! The thread that prints.

use std::{
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{News, Shared, Style, json::Json, live::Live, plain::Plain};
use crate::output::complain;

/// How often a view is redrawn, and a loss told.
const TICK: Duration = Duration::from_secs(1);

/// How long the end of the output is waited for: who reads nothing for so long reads nothing any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// One way to tell what happens.
pub(super) trait Sink {
    /// Something happened.
    fn take(&mut self, news: News);

    /// So much happened of which nothing is known.
    fn lost(&mut self, count: u64);

    /// A second has passed, or all is over.
    fn tick(&mut self) {}
}

/// The right to wait for the end of the output.
pub(crate) struct Printer {
    news: SyncSender<News>,
    done: Receiver<()>,
}

impl Printer {
    pub(super) fn start(
        style: Style,
        inbox: Receiver<News>,
        news: SyncSender<News>,
        shared: Arc<Shared>,
    ) -> Self {
        let (ended, done) = sync_channel(1);
        let print = move || {
            match style {
                Style::Plain => print(&mut Plain::default(), &inbox, &shared),
                Style::Json => print(&mut Json::default(), &inbox, &shared),
                Style::Live => print(&mut Live::default(), &inbox, &shared),
            }
            let _ = ended.send(());
        };
        // Without a thread nothing is told, and everything served.
        let started = thread::Builder::new().name("printer".to_owned()).spawn(print);
        if let Err(error) = started {
            complain(format_args!("nothing can be printed: {error}"));
        }
        Self { news, done }
    }

    /// Returns when all has been printed that was told before, or when nobody reads it.
    pub(crate) fn finish(self) {
        let _ = self.news.try_send(News::End);
        let _ = self.done.recv_timeout(PATIENCE);
    }
}

fn print(sink: &mut impl Sink, inbox: &Receiver<News>, shared: &Shared) {
    let mut next = Instant::now() + TICK;
    loop {
        let ended = match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(News::End) | Err(RecvTimeoutError::Disconnected) => true,
            Ok(news) => {
                shared.queued.fetch_sub(1, Relaxed);
                sink.take(news);
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
        };
        if ended || Instant::now() >= next {
            next = Instant::now() + TICK;
            match shared.lost.swap(0, Relaxed) {
                0 => {}
                count => sink.lost(count),
            }
            sink.tick();
        }
        if ended {
            return;
        }
    }
}
