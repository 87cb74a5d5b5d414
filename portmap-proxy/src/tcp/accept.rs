//! The accept loop of one binding.

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll, time::Instant};

use portmap_core::{BoxError, Established, HostSocket, PortRange, WithCauses};
use socket2::SockRef;
use tokio::{
    select,
    task::{self, JoinError, JoinSet},
    time,
};
use tower::Service;
use tracing::{debug, warn};

use crate::{
    Connection, ForwardError,
    caught::{Panicked, Panics, caught},
    pressure::{Backoff, Pressure, is_exhaustion},
    seldom::Seldom,
    serving::{Orders, Told},
    settings::Settings,
    share::{BUDGET, CONNECTION, Claim, Share, ran_out, tell_used_up},
    spare::{Spare, make_room},
    tcp::connection::Abortive,
    tcp::listener::{Listener, Pending},
    watch::{Attended, Counters, attend},
};

/// The listening ports of a binding and the service for their connections.
pub(crate) struct Accept<S> {
    listener: Listener,
    container_ports: PortRange,
    service: S,
    pressure: Arc<Pressure>,
    settings: Arc<Settings>,
    /// Whether connections have what their listeners have.
    inherited: bool,
    counters: Arc<Counters>,
    share: Arc<Share>,
}

impl<S> Accept<S>
where
    S: Service<Connection> + Clone + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    pub(crate) fn new(
        sockets: Vec<HostSocket>,
        container_ports: PortRange,
        service: S,
        pressure: Arc<Pressure>,
        settings: Arc<Settings>,
        counters: Arc<Counters>,
        share: Arc<Share>,
    ) -> io::Result<Self> {
        // What is set on a listener its connections inherit. With many ports that is most of what opening them takes, and
        // most of them nobody calls: there it is set on each connection.
        let inherited = sockets.len() == 1;
        if inherited {
            settings.tune(SockRef::from(&sockets[0]))?;
        }
        let listener = Listener::new(sockets)?;
        Ok(Self {
            listener,
            container_ports,
            service,
            pressure,
            settings,
            inherited,
            counters,
            share,
        })
    }

    /// Serves until told to stop; then frees the port and lets open connections end, within the limit.
    pub(crate) async fn run(self, orders: Orders) {
        let mut told = pin!(orders.next());
        let mut connections = JoinSet::new();
        let mut backoff = Backoff::new();
        let (mut failed, mut panics) = (Seldom::default(), Panics::of("connection"));
        let mut held_up = HeldUp::default();
        loop {
            select! {
                biased;
                (what, orders) = &mut told => match what {
                    Told::Stop => break,
                    Told::Retargeted(established) => {
                        if established == Established::Cut {
                            connections.abort_all();
                        }
                        told.set(orders.next());
                    }
                },
                Some(ended) = connections.join_next() => {
                    log(ended, &mut failed, &mut panics, &self.counters);
                }
                accepted = self.accept(&mut held_up) => match accepted {
                    Ok(Some((served, attended))) => {
                        held_up = HeldUp::default();
                        connections.spawn(attend(served, attended));
                        backoff = Backoff::new();
                        // Accepting counts for nothing in tokio's budget: a full backlog would hold up the thread.
                        task::consume_budget().await;
                    }
                    Ok(None) => held_up = HeldUp::default(),
                    Err(Refused::Panicked(panicked)) => {
                        held_up = HeldUp::default();
                        panics.note(&panicked, &self.counters, Instant::now());
                        task::consume_budget().await;
                    }
                    Err(Refused::Service(error)) => {
                        held_up.count(&self.counters);
                        if backoff.is_fresh() {
                            let error = WithCauses(error.as_ref());
                            warn!(%error, "the service of a port fails before it is asked");
                        }
                        backoff.wait().await;
                    }
                    Err(Refused::Accept(error)) => {
                        // A client that gave up while it waited, or a network error on its behalf: no reason to wait.
                        if is_exhaustion(&error) {
                            held_up.count(&self.counters);
                            make_room();
                            ran_out(self.share.taken(), Instant::now());
                            if backoff.is_fresh() {
                                warn!(%error, "no client can be accepted for the moment");
                            }
                            backoff.wait().await;
                        }
                    }
                },
            }
        }
        // The share counts until the connections have ended.
        let Self { listener, settings, counters, share: _share, .. } = self;
        listener.close().await;
        let drained = time::timeout(settings.drain_limit, async {
            while let Some(ended) = connections.join_next().await {
                log(ended, &mut failed, &mut panics, &counters);
            }
        });
        if drained.await.is_err() {
            debug!(connections = connections.len(), "draining took too long; the rest is cut");
            connections.shutdown().await;
        }
    }

    /// Waits for a client, then for room in the binding's share, then for the service, and only then accepts.
    async fn accept(&self, held_up: &mut HeldUp) -> Result<Option<(S::Future, Attended)>, Refused> {
        let mut pending = self.listener.pending().await.map_err(Refused::Accept)?;
        if !self.pressure.is_relieved() {
            held_up.count(&self.counters);
            self.pressure.relieved().await;
        }
        let Some(claim) = self.claim(&mut pending, held_up).await else {
            return Ok(None);
        };
        let mut service = match self.ready(held_up).await {
            Err(Refused::Panicked(panicked)) => {
                // This client is lost: to leave it would be to ask for it again and again.
                let accepted = pending.accept().map_err(Refused::Accept)?;
                drop(accepted.map(|(stream, ..)| Abortive::new(stream)));
                return Err(Refused::Panicked(panicked));
            }
            ready => ready?,
        };
        let spare = Spare::take().map_err(Refused::Accept)?;
        let accepted = pending.accept().map_err(Refused::Accept)?;
        if let Some((stream, ..)) = accepted.as_ref().filter(|_| !self.inherited) {
            // Fails only where the client has gone; the dial will tell.
            let _ = self.settings.tune(SockRef::from(stream));
        }
        let connection = accepted.and_then(|(stream, client, place)| {
            let container_port = self.container_ports.nth(place)?;
            BUDGET.saw(&stream);
            let counters = Arc::clone(&self.counters);
            Some(Connection::new(stream, client, container_port, spare, counters))
        });
        let Some(connection) = connection else { return Ok(None) };
        let attended = Attended::new(connection.meter()).with(claim);
        let served = caught(|| attended.in_span(|| service.call(connection)));
        served.map(|served| Some((served, attended))).map_err(Refused::Panicked)
    }

    /// A service for the next client: a clone of the first one, which is never called. So one that has panicked is gone with
    /// its client.
    async fn ready(&self, held_up: &mut HeldUp) -> Result<S, Refused> {
        let mut service = caught(|| self.service.clone()).map_err(Refused::Panicked)?;
        let ready = poll_fn(|cx| match caught(|| service.poll_ready(cx)) {
            Ok(Poll::Pending) => {
                held_up.count(&self.counters);
                Poll::Pending
            }
            Ok(Poll::Ready(ready)) => {
                Poll::Ready(ready.map_err(|error| Refused::Service(error.into())))
            }
            Err(panicked) => Poll::Ready(Err(Refused::Panicked(panicked))),
        });
        ready.await?;
        Ok(service)
    }

    /// The descriptors of one more connection, once the binding may have them. Where one of its own ends the loop comes round
    /// and asks again at once; it is here that others' are waited for. `None` where no client waits any more.
    async fn claim(&self, client: &mut Pending<'_>, held_up: &mut HeldUp) -> Option<Claim> {
        let share = &self.share;
        let mut backoff = Backoff::new();
        loop {
            let now = Instant::now();
            let claim = share.take(CONNECTION, now);
            if claim.is_some() {
                return claim;
            }
            if !client.is_there() {
                return None;
            }
            held_up.count(&self.counters);
            held_up.by_share(&self.counters, share.taken(), now);
            BUDGET.relieve(share.taken(), now);
            backoff.wait().await;
        }
    }
}

/// Whether clients wait in the backlog: counted once, however often the loop comes round.
#[derive(Default)]
struct HeldUp {
    waiting: bool,
    over_share: bool,
    /// That was told: once, when it was this one's turn.
    told: bool,
}

impl HeldUp {
    fn count(&mut self, counters: &Counters) {
        if !std::mem::replace(&mut self.waiting, true) {
            counters.waiting();
        }
    }

    fn by_share(&mut self, counters: &Counters, taken: usize, now: Instant) {
        if !std::mem::replace(&mut self.over_share, true) {
            counters.over_share();
        }
        self.told = self.told || tell_used_up(counters, taken, now);
    }
}

enum Refused {
    Panicked(Panicked),
    Service(BoxError),
    Accept(io::Error),
}

/// One line a second stands for all connections that failed: a container that is down has many clients.
fn log(
    ended: Result<Result<(), BoxError>, JoinError>,
    failed: &mut Seldom,
    panics: &mut Panics,
    counters: &Counters,
) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            if matches!(error.downcast_ref(), Some(ForwardError::ClientGone { .. })) {
                debug!(%error, "a connection was not forwarded");
            } else if let Some(count) = failed.count(Instant::now()) {
                let error = WithCauses(error.as_ref());
                warn!(count, %error, "connections were not forwarded; the last one's error");
            }
        }
        Err(cut) if cut.is_cancelled() => {}
        Err(panicked) => panics.note(&panicked, counters, Instant::now()),
    }
}
