//! The mapper.

use std::{net::UdpSocket, sync::Arc, time::Duration};

use portmap_core::{
    Binding, BoxError, Error, ErrorKind, Lease, PortMapper, Protocol, Publish, Reservation,
};
use socket2::SockRef;
use tokio::net::TcpStream;
use tower::{
    Layer, Service,
    layer::util::{Identity, Stack},
};

use crate::{
    Connection, Dial, Forward, TcpDial, accept::Accept, listener::Listener, pressure::Pressure,
    serving::Serving, settings::Settings,
};

/// Publishes by serving host ports itself: a userland proxy for TCP.
///
/// It needs no privilege for ports from `net.ipv4.ip_unprivileged_port_start` on. Clones share what is shared
/// between publishes: layers with shared state, and the brake on accepting while descriptors run out.
///
/// What it serves runs as tasks on the tokio runtime that [`publish`](PortMapper::publish) is called on, and ends
/// with that runtime. The sockets belong to the network namespace of the thread that polls `publish`.
///
/// Releasing a lease frees its ports at once and then waits for open connections, at most for the
/// [drain limit](Self::drain_limit); what is left then is reset on both sides.
#[derive(Clone, Debug, Default)]
pub struct ProxyMapper<L = Identity, D = TcpDial> {
    layer: L,
    dial: D,
    dials_elsewhere: bool,
    settings: Settings,
    pressure: Arc<Pressure>,
}

impl ProxyMapper {
    /// A proxy with the default settings, no layers, and [`TcpDial`].
    pub fn new() -> Self {
        Self::default()
    }
}

impl<L, D> ProxyMapper<L, D> {
    /// Puts a tower layer around the service of every connection. The first layer added is the outermost.
    ///
    /// The layer is asked for a service once for each binding of each publish, and the ports of a range share
    /// it: a `ConcurrencyLimitLayer` bounds a binding, a `GlobalConcurrencyLimitLayer` all bindings of the mapper.
    ///
    /// A service that is not ready leaves its clients in the kernel's backlog, where they wait without costing a
    /// descriptor. Services must be `Clone`; put `tower::buffer` around one that is not.
    pub fn layer<T>(self, layer: T) -> ProxyMapper<Stack<T, L>, D> {
        ProxyMapper {
            layer: Stack::new(layer, self.layer),
            dial: self.dial,
            dials_elsewhere: self.dials_elsewhere,
            settings: self.settings,
            pressure: self.pressure,
        }
    }

    /// Replaces the service that connects to containers.
    pub fn dial<T>(self, dial: T) -> ProxyMapper<L, T> {
        ProxyMapper {
            layer: self.layer,
            dial,
            dials_elsewhere: true,
            settings: self.settings,
            pressure: self.pressure,
        }
    }

    /// How long a container may take to accept a connection, 10 s by default. The client is reset then.
    #[must_use]
    pub fn dial_limit(mut self, limit: Duration) -> Self {
        self.settings.dial_limit = limit;
        self
    }

    /// How long connections may go on after their port was released, 5 s by default.
    #[must_use]
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.settings.drain_limit = limit;
        self
    }

    /// After how long a silent peer is probed, and how often from then on; `None` is never. 15 s by default, in whole
    /// seconds (`TCP_KEEPIDLE`, `TCP_KEEPINTVL`). A peer that answers none of the kernel's `tcp_keepalive_probes` is lost.
    #[must_use]
    pub fn keepalive(mut self, interval: Option<Duration>) -> Self {
        self.settings.keepalive = interval;
        self
    }
}

impl<L, D> PortMapper for ProxyMapper<L, D>
where
    L: Layer<Forward<D>> + Send + Sync + 'static,
    L::Service: Service<Connection> + Clone + Send + Sync + 'static,
    <L::Service as Service<Connection>>::Response: Send,
    <L::Service as Service<Connection>>::Error: Into<BoxError>,
    <L::Service as Service<Connection>>::Future: Send,
    D: Service<Dial, Response = TcpStream> + Clone + Send + Sync + 'static,
    D::Error: Into<BoxError>,
    D::Future: Send,
{
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        only_tcp(&request)?;
        let reservation = Reservation::take(&request).await?;
        let bindings: Vec<_> = reservation.bindings().cloned().collect();
        if !self.dials_elsewhere {
            not_to_itself(&bindings)?;
        }
        let settings = Arc::new(self.settings.clone());
        let mut listeners = Vec::new();
        for reserved in reservation.into_reserved() {
            let endpoint = reserved.binding().endpoint();
            let ports = reserved.binding().container_ports();
            let forward = Forward::new(
                self.dial.clone(),
                endpoint,
                Arc::clone(&settings),
                Arc::clone(&self.pressure),
            );
            let service = self.layer.layer(forward);
            let (binding, sockets) = reserved.serve()?;
            for (socket, container_port) in sockets.into_iter().zip(ports.iter()) {
                let listener =
                    settings.tune(SockRef::from(&socket)).and_then(|()| Listener::new(socket));
                let listener = listener.map_err(|error| {
                    Error::new(ErrorKind::Backend, format!("{binding} cannot be served"))
                        .with_source(error)
                })?;
                listeners.push(Accept {
                    listener,
                    container_port,
                    service: service.clone(),
                    pressure: Arc::clone(&self.pressure),
                    drain_limit: settings.drain_limit,
                });
            }
        }
        let mut serving = Serving::new();
        for listener in listeners {
            serving.add(tokio::spawn(listener.run(serving.stop())));
        }
        Ok(Lease::new(bindings, serving))
    }
}

fn only_tcp(request: &Publish) -> Result<(), Error> {
    let other = request.mappings().iter().find(|mapping| mapping.protocol() != Protocol::Tcp);
    match other {
        Some(mapping) => {
            let protocol = mapping.protocol();
            let message = format!("the proxy does not serve {protocol}");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        None => Ok(()),
    }
}

/// Refuses bindings that lead back to themselves: each connection would make the next one, until no descriptor
/// is left.
fn not_to_itself(bindings: &[Binding]) -> Result<(), Error> {
    for to in bindings {
        let endpoint = to.endpoint();
        // Only an address of this host can be bound.
        for ip in endpoint.addrs().filter(|ip| UdpSocket::bind((*ip, 0)).is_ok()) {
            let from = bindings.iter().find(|from| {
                from.host_addr().covers(ip) && from.host_ports().overlaps(to.container_ports())
            });
            if let Some(from) = from {
                let message = format!("{to} leads back to this host, where {from} is published");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
    }
    Ok(())
}
