//! The task of one UDP port.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use portmap_core::{BoxError, HostSocket, Port, WithCauses};
use tokio::{
    select,
    sync::mpsc,
    task::{self, JoinError, JoinSet},
    time,
};
use tower::Service;
use tracing::{debug, error, warn};

use super::{
    Session, SessionEnding,
    batch::{Batch, with_shared},
    relay::Relay,
    session::{News, Opening},
    table::{Flow, Id},
};
use crate::{
    connection::canonical,
    seldom::Seldom,
    serving::{Orders, Told},
    settings::Settings,
    share::ran_out,
    spare::Spare,
    watch::{Attended, Counters, attend},
};

/// How many batches are carried before other tasks get a turn: up to 512 datagrams of clients, 3 ms' worth.
const BATCHES_A_TURN: usize = 16;

/// One published UDP port and the service for its sessions.
pub(crate) struct Serve<S> {
    relay: Relay,
    container_port: Port,
    service: S,
    drain_limit: Duration,
    services: JoinSet<Result<(), BoxError>>,
    news: mpsc::UnboundedSender<News>,
    inbox: mpsc::UnboundedReceiver<News>,
    crowded: Seldom,
    refused: Seldom,
    failed: Seldom,
    counters: Arc<Counters>,
}

impl<S> Serve<S>
where
    S: Service<Session> + Clone + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    pub(crate) fn new(
        socket: HostSocket,
        container_port: Port,
        service: S,
        settings: &Settings,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let (news, inbox) = mpsc::unbounded_channel();
        Ok(Self {
            relay: Relay::new(socket, settings, news.clone(), Arc::clone(&counters))?,
            container_port,
            service,
            drain_limit: settings.drain_limit,
            services: JoinSet::new(),
            news,
            inbox,
            crowded: Seldom::default(),
            refused: Seldom::default(),
            failed: Seldom::default(),
            counters,
        })
    }

    /// Serves until told to stop; then frees the port, which ends all sessions, and waits for the services around
    /// them, within the limit.
    pub(crate) async fn run(mut self, orders: Orders) {
        let mut told = pin!(orders.next());
        let mut alarm = pin!(time::sleep(Duration::ZERO));
        // Set for the session that was next to expire at some time: later, if at all, something does.
        let mut alarm_at: Option<Instant> = None;
        let mut batches = 0;
        loop {
            if let Some(due) = self.relay.next_expiry()
                && alarm_at.is_none_or(|set| due < set)
            {
                alarm.as_mut().reset(due.into());
                alarm_at = Some(due);
            }
            select! {
                biased;
                (what, orders) = &mut told => match what {
                    Told::Stop => break,
                    Told::Retargeted(_) => {
                        self.relay.end_all(SessionEnding::Retargeted);
                        told.set(orders.next());
                    }
                },
                Some(ended) = self.services.join_next() => self.log(ended),
                Some(news) = self.inbox.recv() => {
                    if let Err(error) = self.relay.learn(news) {
                        self.say_refused(&error);
                    }
                }
                () = &mut alarm, if alarm_at.is_some() => {
                    alarm_at = None;
                    self.relay.expire(Instant::now());
                }
                ready = poll_fn(|cx| self.relay.poll_ready(cx)) => {
                    let carried = ready.and_then(|()| with_shared(|batch| self.carry(batch)));
                    if let Err(error) = carried {
                        self.say_refused(&error);
                        task::yield_now().await;
                    }
                    batches += 1;
                    if batches == BATCHES_A_TURN {
                        batches = 0;
                        task::yield_now().await;
                    }
                }
            }
        }
        let Self { relay, mut services, drain_limit, .. } = self;
        relay.close();
        let drained =
            time::timeout(drain_limit, async { while services.join_next().await.is_some() {} });
        if drained.await.is_err() {
            debug!(sessions = services.len(), "the services of ended sessions took too long");
            services.shutdown().await;
        }
    }

    /// Passes on a batch from clients, and one from each container that has something.
    fn carry(&mut self, batch: &mut Batch) -> io::Result<()> {
        let now = Instant::now();
        let count = match self.relay.reply(batch, now)? {
            true => self.relay.receive(batch)?,
            false => 0,
        };
        let mut first = 0;
        while let Some(run) = batch.run(first, count) {
            first = run.end;
            let flow = self.relay.flow(&run);
            let session = self.relay.find(&flow).or_else(|| self.admit(flow, now));
            match session {
                Some(id) => self.relay.forward(id, batch.datagrams(&run), now),
                None => {
                    let datagrams = batch.datagrams(&run).count() as u64;
                    self.counters.dropped(datagrams);
                }
            }
        }
        Ok(())
    }

    /// Begins a session, or counts that it could not.
    fn admit(&mut self, flow: Flow, now: Instant) -> Option<Id> {
        let begun = self.begin(flow, now);
        if begun.is_none() {
            self.counters.turned_away();
        }
        begun
    }

    /// Begins a session where the service is ready for it. Where it is not, the datagram is lost: there is no backlog
    /// to leave it in that the datagrams of other sessions would not have to go through too.
    fn begin(&mut self, flow: Flow, now: Instant) -> Option<Id> {
        let mut service = self.service.clone();
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                let error = error.into();
                if let Some(count) = self.failed.count(now) {
                    let error = WithCauses(error.as_ref());
                    warn!(%error, count, "the service of a port fails before it is asked");
                }
                return None;
            }
            Poll::Pending => {
                if let Some(count) = self.refused.count(now) {
                    warn!(count, "no session can begin for the moment: the service is not ready");
                }
                return None;
            }
        }
        let spare = match Spare::take() {
            Ok(spare) => spare,
            // A session that was not used for longest has a descriptor that this one can use.
            Err(_) if self.relay.evict() => {
                ran_out(self.relay.held(), now);
                self.say_crowded(now);
                Spare::take().ok()?
            }
            Err(error) => {
                ran_out(self.relay.held(), now);
                self.say_refused(&error);
                return None;
            }
        };
        let claim = self.relay.claim(now)?;
        let (id, full) = self.relay.begin(flow, now);
        if full {
            self.say_crowded(now);
        }
        let ends = (canonical(flow.client), canonical(self.relay.used(flow.local)));
        let opening = Opening::new(id, self.news.clone(), claim);
        let over = opening.tells_end();
        let counters = Arc::clone(&self.counters);
        let session = Session::new(ends, self.container_port, opening, spare, counters);
        let attended = Attended::new(session.meter());
        let served = attended.in_span(|| service.call(session));
        let service = self.services.spawn(async move {
            let _over = over;
            attend(served, attended).await
        });
        self.relay.dialled_by(id, service);
        Some(id)
    }

    fn log(&mut self, ended: Result<Result<(), BoxError>, JoinError>) {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                if let Some(count) = self.failed.count(Instant::now()) {
                    warn!(error = %WithCauses(error.as_ref()), count, "a session was not forwarded");
                }
            }
            Err(evicted) if evicted.is_cancelled() => {}
            Err(panicked) => {
                self.counters.panicked();
                error!(error = %panicked, "the service of a session panicked");
            }
        }
    }

    fn say_crowded(&mut self, now: Instant) {
        if let Some(count) = self.crowded.count(now) {
            warn!(count, "there are too many sessions: some end early for new ones");
        }
    }

    fn say_refused(&mut self, error: &io::Error) {
        if let Some(count) = self.refused.count(Instant::now()) {
            warn!(%error, count, "no session can begin for the moment");
        }
    }
}
