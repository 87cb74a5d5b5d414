//! The accept loop of one listener.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use portmap_core::{BoxError, Established, HostSocket, Port, WithCauses};
use socket2::SockRef;
use tokio::{
    select,
    task::{self, JoinError, JoinSet},
    time,
};
use tower::Service;
use tracing::{debug, error, warn};

use crate::{
    Connection, ForwardError,
    listener::Listener,
    pressure::{Backoff, Pressure, is_exhaustion},
    seldom::Seldom,
    serving::{Orders, Told},
    settings::Settings,
};

/// One listening port and the service for its connections.
pub(crate) struct Accept<S> {
    listener: Listener,
    container_port: Port,
    service: S,
    pressure: Arc<Pressure>,
    drain_limit: Duration,
}

impl<S> Accept<S>
where
    S: Service<Connection> + Clone,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    pub(crate) fn new(
        socket: HostSocket,
        container_port: Port,
        service: S,
        pressure: Arc<Pressure>,
        settings: &Settings,
    ) -> io::Result<Self> {
        settings.tune(SockRef::from(&socket))?;
        let listener = Listener::new(socket)?;
        let drain_limit = settings.drain_limit;
        Ok(Self { listener, container_port, service, pressure, drain_limit })
    }

    /// Serves until told to stop; then frees the port and lets open connections end, within the limit.
    pub(crate) async fn run(self, orders: Orders) {
        let mut told = pin!(orders.next());
        let mut connections = JoinSet::new();
        let mut backoff = Backoff::new();
        let mut failed = Seldom::default();
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
                Some(ended) = connections.join_next() => log(ended, &mut failed),
                accepted = self.accept() => match accepted {
                    Ok(Some(served)) => {
                        connections.spawn(async { served.await.map(drop).map_err(Into::into) });
                        backoff = Backoff::new();
                        // Accepting counts for nothing in tokio's budget: a full backlog would hold up the thread.
                        task::consume_budget().await;
                    }
                    Ok(None) => {}
                    Err(Refused::Service(error)) => {
                        if backoff.is_fresh() {
                            let error = WithCauses(error.as_ref());
                            warn!(%error, "the service of a port fails before it is asked");
                        }
                        backoff.wait().await;
                    }
                    Err(Refused::Accept(error)) => {
                        // A client that gave up while it waited, or a network error on its behalf: no reason to wait.
                        if is_exhaustion(&error) {
                            if backoff.is_fresh() {
                                warn!(%error, "no client can be accepted for the moment");
                            }
                            backoff.wait().await;
                        }
                    }
                },
            }
        }
        drop(self.listener);
        let drained = time::timeout(self.drain_limit, async {
            while let Some(ended) = connections.join_next().await {
                log(ended, &mut failed);
            }
        });
        if drained.await.is_err() {
            debug!(connections = connections.len(), "draining took too long; the rest is reset");
            connections.shutdown().await;
        }
    }

    /// Waits for a client, then for the service, and only then accepts.
    async fn accept(&self) -> Result<Option<S::Future>, Refused> {
        let pending = self.listener.pending().await.map_err(Refused::Accept)?;
        self.pressure.relieved().await;
        let mut service = self.service.clone();
        let ready = poll_fn(|cx| service.poll_ready(cx)).await;
        ready.map_err(|error| Refused::Service(error.into()))?;
        let spare = self.pressure.spare().map_err(Refused::Accept)?;
        let accepted = pending.accept().map_err(Refused::Accept)?;
        Ok(accepted.map(|(stream, client)| {
            service.call(Connection::new(stream, client, self.container_port, spare))
        }))
    }
}

enum Refused {
    Service(BoxError),
    Accept(io::Error),
}

/// One line a second stands for all connections that failed: a container that is down has many clients.
fn log(ended: Result<Result<(), BoxError>, JoinError>, failed: &mut Seldom) {
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
        Err(panicked) => error!(error = %panicked, "the service of a connection panicked"),
    }
}
