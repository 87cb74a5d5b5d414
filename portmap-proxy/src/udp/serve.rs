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
use tracing::{debug, warn};

use super::{
    Session, SessionEnding,
    batch::{Batch, Run, with_shared},
    circle::Circles,
    ends::Unanswerable,
    host::takes_loopback,
    relay::Relay,
    session::{News, Opening},
    table::{Flow, Id},
    unbegun::Unbegun,
};
use crate::{
    caught::{Panics, caught},
    seldom::Seldom,
    serving::{Orders, Told},
    settings::Settings,
    share::{Share, ran_out},
    spare::Spare,
    tcp::connection::canonical,
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
    unanswerable: Seldom,
    panics: Panics,
    counters: Arc<Counters>,
    circles: Circles,
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
        share: Arc<Share>,
        circles: Circles,
    ) -> io::Result<Self> {
        let (news, inbox) = mpsc::unbounded_channel();
        Ok(Self {
            relay: Relay::new(
                socket,
                settings,
                news.clone(),
                Arc::clone(&counters),
                share,
                &circles,
            )?,
            container_port,
            service,
            drain_limit: settings.drain_limit,
            services: JoinSet::new(),
            news,
            inbox,
            crowded: Seldom::default(),
            refused: Seldom::default(),
            failed: Seldom::default(),
            unanswerable: Seldom::default(),
            panics: Panics::of("session"),
            counters,
            circles,
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
                Some(news) = self.inbox.recv() => self.learn(news),
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
            let session = match self.relay.flow(&run) {
                Ok(flow) => match self.relay.find(&flow) {
                    Some(id) => Ok(id),
                    None => self.admit(flow, &run, now),
                },
                Err(why) => Err(Unbegun::Unanswerable(why)),
            };
            match session {
                Ok(id) => self.relay.forward(id, batch.datagrams(&run), now),
                Err(why) => self.lose(why, &run, batch.datagrams(&run).count() as u64, now),
            }
        }
        Ok(())
    }

    /// Counts datagrams that have no session.
    fn lose(&mut self, why: Unbegun, run: &Run, datagrams: u64, now: Instant) {
        self.counters.dropped(datagrams);
        match why {
            Unbegun::TurnedAway => self.counters.turned_away(),
            Unbegun::Panicked(panicked) => self.panics.note(&panicked, &self.counters, now),
            Unbegun::Unanswerable(why) => {
                self.counters.unanswerable(datagrams);
                if let Some(count) = self.unanswerable.count(now) {
                    let (client, to) = (run.from, run.to);
                    debug!(%client, ?to, %why, count, "datagrams that cannot be answered are dropped");
                }
            }
        }
    }

    /// Begins a session, unless the host knows why nobody would get its answers.
    fn admit(&mut self, flow: Flow, run: &Run, now: Instant) -> Result<Id, Unbegun> {
        let arrived_by = run.by.unwrap_or_default();
        if self.circles.has(flow.client, self.container_port) {
            return Err(Unbegun::Unanswerable(Unanswerable::Circle));
        }
        // It wrote to another of this host's addresses, and the interface is that one's.
        let client = flow.client.ip().to_canonical();
        if client.is_loopback() && client.is_ipv4() && takes_loopback(arrived_by) {
            return Err(Unbegun::Unanswerable(Unanswerable::Loopback));
        }
        self.begin(flow, arrived_by, now)
    }

    /// Begins a session where the service is ready for it. Where it is not, the datagram is lost: there is no backlog
    /// to leave it in that the datagrams of other sessions would not have to go through too.
    fn begin(&mut self, flow: Flow, arrived_by: u32, now: Instant) -> Result<Id, Unbegun> {
        let (mut service, ready) = caught(|| {
            let mut service = self.service.clone();
            let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
            (service, ready)
        })
        .map_err(Unbegun::Panicked)?;
        match ready {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                let error = error.into();
                if let Some(count) = self.failed.count(now) {
                    let error = WithCauses(error.as_ref());
                    warn!(%error, count, "the service of a port fails before it is asked");
                }
                return Err(Unbegun::TurnedAway);
            }
            Poll::Pending => {
                if let Some(count) = self.refused.count(now) {
                    warn!(count, "no session can begin for the moment: the service is not ready");
                }
                return Err(Unbegun::TurnedAway);
            }
        }
        let spare = match Spare::take() {
            Ok(spare) => spare,
            // An open session has a descriptor that this one can use.
            Err(_) if self.relay.evict_open() => {
                ran_out(self.relay.held(), now);
                self.say_crowded(now);
                Spare::take().map_err(|_| Unbegun::TurnedAway)?
            }
            Err(error) => {
                ran_out(self.relay.held(), now);
                self.say_refused(&error);
                return Err(Unbegun::TurnedAway);
            }
        };
        let claim = self.relay.claim(now).ok_or(Unbegun::TurnedAway)?;
        let (id, full) = self.relay.begin(flow, arrived_by, now);
        if full {
            self.say_crowded(now);
        }
        let ends = (canonical(flow.client), canonical(self.relay.used(&flow)));
        let opening = Opening::new(id, self.news.clone(), claim);
        let over = opening.tells_end();
        let counters = Arc::clone(&self.counters);
        let session = Session::new(ends, self.container_port, opening, spare, counters);
        let attended = Attended::new(session.meter());
        // Where it panics, `over` tells of the session's end.
        let served = caught(|| attended.in_span(|| service.call(session)));
        let served = served.map_err(Unbegun::Panicked)?;
        let service = self.services.spawn(async move {
            let _over = over;
            attend(served, attended).await
        });
        self.relay.dialled_by(id, service);
        Ok(id)
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Open(id, dialled, claim) => {
                if let Err(error) = self.relay.open(id, dialled, claim) {
                    self.say_refused(&error);
                }
            }
            News::Over(id) => self.relay.over(id),
            News::GiveWay(sessions) => self.relay.give_way(sessions),
            News::NoPort(id, told) => {
                let now = Instant::now();
                let evicted = self.relay.evict_for(id, now);
                if evicted {
                    self.say_crowded(now);
                }
                let _ = told.send(evicted);
            }
        }
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
            Err(panicked) => self.panics.note(&panicked, &self.counters, Instant::now()),
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
