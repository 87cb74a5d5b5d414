//! The mapper.

use std::{io, net::UdpSocket, sync::Arc, time::Duration};

use portmap_core::{
    Binding, BoxError, Error, ErrorKind, HostSocket, Lease, Mapping, Port, PortMapper, Protocol,
    Publish, Reservation, Reserved,
};
use tokio::net::TcpStream;
use tower::{
    Layer, Service,
    layer::util::{Identity, Stack},
};
use tracing::Instrument;

use crate::{
    Connection, Dial, Forward, ForwardSession, Session, SourceAddress, TcpDial, UdpDial,
    accept::Accept,
    check::{not_to_itself, only_tcp_and_udp},
    pressure::Pressure,
    serving::Serving,
    settings::Settings,
    udp::Serve,
    watch::{BindingStats, Registry, spans},
};

/// Publishes by serving host ports itself: a userland proxy for TCP and UDP.
///
/// It needs no privilege for ports from `net.ipv4.ip_unprivileged_port_start` on. Clones share what is shared
/// between publishes: layers with shared state, and the brake on accepting while descriptors run out.
///
/// **Nothing bounds the number of connections** but the process's descriptors, two for each. An embedder that needs some of
/// these itself sets a bound: `layer(GlobalConcurrencyLimitLayer::new(4000))`, say.
///
/// What it serves runs as tasks on the tokio runtime that [`publish`](PortMapper::publish) is called on, and ends
/// with that runtime. The sockets belong to the network namespace of the thread that polls `publish`.
///
/// Releasing a lease frees its ports at once and then waits for open connections, at most for the
/// [drain limit](Self::drain_limit); what is left then is reset on both sides. UDP sessions end at once: their replies
/// leave from the port, and the port is free.
#[derive(Clone, Debug, Default)]
pub struct ProxyMapper<L = Identity, D = TcpDial, S = Identity, U = UdpDial> {
    layer: L,
    dial: D,
    session_layer: S,
    session_dial: U,
    dials_elsewhere: bool,
    settings: Settings,
    pressure: Arc<Pressure>,
    registry: Arc<Registry>,
}

impl ProxyMapper {
    /// A proxy with the default settings, no layers, [`TcpDial`] and [`UdpDial`].
    pub fn new() -> Self {
        Self::default()
    }
}

impl<L, D, S, U> ProxyMapper<L, D, S, U> {
    /// Puts a tower layer around the service of every TCP connection. The first layer added is the outermost.
    ///
    /// The layer is asked for a service once for each binding of each publish, and the ports of a range share
    /// it: a `ConcurrencyLimitLayer` bounds a binding, a `GlobalConcurrencyLimitLayer` all bindings of the mapper.
    ///
    /// A service that is not ready leaves its clients in the kernel's backlog, where they wait without costing a
    /// descriptor. Put `LoadShedLayer` outside of a limit, and they are turned away. Services must be `Clone`; one that is
    /// not, tower's `RateLimit` say, goes behind a `BufferLayer`.
    pub fn layer<T>(self, layer: T) -> ProxyMapper<Stack<T, L>, D, S, U> {
        ProxyMapper {
            layer: Stack::new(layer, self.layer),
            dial: self.dial,
            session_layer: self.session_layer,
            session_dial: self.session_dial,
            dials_elsewhere: self.dials_elsewhere,
            settings: self.settings,
            pressure: self.pressure,
            registry: self.registry,
        }
    }

    /// Replaces the service that connects to containers over TCP.
    pub fn dial<T>(self, dial: T) -> ProxyMapper<L, T, S, U> {
        ProxyMapper {
            layer: self.layer,
            dial,
            session_layer: self.session_layer,
            session_dial: self.session_dial,
            dials_elsewhere: true,
            settings: self.settings,
            pressure: self.pressure,
            registry: self.registry,
        }
    }

    /// Puts a tower layer around the service of every UDP session. The first layer added is the outermost.
    ///
    /// It is for sessions what [`layer`](Self::layer) is for connections, with one difference: what is not ready for a
    /// new session loses its first datagram, and the client's next one asks again. Sessions that have begun go on.
    pub fn session_layer<T>(self, layer: T) -> ProxyMapper<L, D, Stack<T, S>, U> {
        ProxyMapper {
            layer: self.layer,
            dial: self.dial,
            session_layer: Stack::new(layer, self.session_layer),
            session_dial: self.session_dial,
            dials_elsewhere: self.dials_elsewhere,
            settings: self.settings,
            pressure: self.pressure,
            registry: self.registry,
        }
    }

    /// Replaces the service that makes the sockets of UDP sessions: each connected to its container.
    pub fn session_dial<T>(self, dial: T) -> ProxyMapper<L, D, S, T> {
        ProxyMapper {
            layer: self.layer,
            dial: self.dial,
            session_layer: self.session_layer,
            session_dial: dial,
            dials_elsewhere: true,
            settings: self.settings,
            pressure: self.pressure,
            registry: self.registry,
        }
    }

    /// Who the container is told is calling: the [`Gateway`](SourceAddress::Gateway), unless told otherwise.
    ///
    /// What cannot be served so is refused when it is published, before anything is taken: see [`SourceAddress`].
    #[must_use]
    pub fn source_address(mut self, source: SourceAddress) -> Self {
        self.settings.source = source;
        self
    }

    /// How long a dial may take, 10 s by default. The client of a connection is reset then; what a session's client
    /// has sent is lost.
    #[must_use]
    pub fn dial_limit(mut self, limit: Duration) -> Self {
        self.settings.dial_limit = limit;
        self
    }

    /// How long connections may go on after their port was released, 5 s by default. The services around UDP
    /// sessions, which have ended then, may take as long to return.
    #[must_use]
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.settings.drain_limit = limit;
        self
    }

    /// After how long a silent peer is probed, and how often from then on; `None` is never. 15 s by default, in whole
    /// seconds from 1 to 32,767 (`TCP_KEEPIDLE`, `TCP_KEEPINTVL`). A peer that answers none of the kernel's `tcp_keepalive_probes` is lost.
    #[must_use]
    pub fn keepalive(mut self, interval: Option<Duration>) -> Self {
        // What the kernel takes: 1 to 32,767 s.
        let kernel = Duration::from_secs(1)..=Duration::from_secs(32_767);
        let taken = interval.map(|interval| interval.clamp(*kernel.start(), *kernel.end()));
        self.settings.keepalive = taken;
        self
    }

    /// How long a TCP connection may be silent in both directions before both sides are reset
    /// ([`Ending::Idle`](crate::Ending::Idle)); `None`, the default and docker-proxy's way, is for ever. It takes a
    /// quarter longer at most: what was carried is looked at four times in that time, and no clock is set for what is carried.
    ///
    /// Silent means that the proxy carries nothing. So a peer that does not read is silent once the kernel's buffers are full,
    /// and one that reads slowly for as long as these last: megabytes, at times. Limits are best in minutes.
    #[must_use]
    pub fn connection_idle(mut self, limit: Option<Duration>) -> Self {
        self.settings.connection_idle = limit;
        self
    }

    /// How long a TCP connection may be silent that one side has ended for its part, before both sides are reset
    /// ([`Ending::HalfClosed`](crate::Ending::HalfClosed)); `None`, the default and docker-proxy's way, is for ever. As exact as
    /// [`connection_idle`](Self::connection_idle), which holds for such connections too.
    ///
    /// A peer that has ended its part and waits for a long answer looks the same: what answers slowly needs a long limit.
    #[must_use]
    pub fn half_closed_idle(mut self, limit: Option<Duration>) -> Self {
        self.settings.half_closed_idle = limit;
        self
    }

    /// Finds all that can be found wrong with a request without asking the host; [`publish`](PortMapper::publish) does it first.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where [`Publish::check`] says so, [`Unsupported`](ErrorKind::Unsupported) for SCTP and for
    /// what the [source address](Self::source_address) cannot be told of.
    pub fn check(&self, request: &Publish) -> Result<(), Error> {
        request.check()?;
        only_tcp_and_udp(request)?;
        self.settings.source.check(request.mappings().iter().map(Mapping::protocol))
    }

    /// What was counted of each binding, in the order in which they were published, by this mapper and its clones.
    ///
    /// Bytes and datagrams are counted as they are carried: a long transfer is seen while it runs. A binding that was
    /// released is in it until the last of its connections has ended. Reading it costs what is served nothing.
    pub fn stats(&self) -> Vec<BindingStats> {
        self.registry.stats()
    }

    /// How long after its last datagram, in either direction, a UDP session ends: 90 s by default, as docker-proxy's.
    #[must_use]
    pub fn session_idle(mut self, idle: Duration) -> Self {
        self.settings.session_idle = idle;
        self
    }

    /// How many UDP sessions a port may have at a time: 8,192 by default, at least one. A further one takes the place
    /// of the one that was not used for longest. The same happens where the process runs out of descriptors, of which a
    /// session takes one.
    #[must_use]
    pub fn session_limit(mut self, limit: usize) -> Self {
        self.settings.session_limit = limit;
        self
    }
}

impl<L, D, S, U> ProxyMapper<L, D, S, U>
where
    L: Layer<Forward<D>>,
    L::Service: Service<Connection> + Clone + Send + Sync + 'static,
    <L::Service as Service<Connection>>::Response: Send,
    <L::Service as Service<Connection>>::Error: Into<BoxError>,
    <L::Service as Service<Connection>>::Future: Send,
    D: Service<Dial, Response = TcpStream> + Clone + Send + Sync + 'static,
    D::Error: Into<BoxError>,
    D::Future: Send,
    S: Layer<ForwardSession<U>>,
    S::Service: Service<Session> + Clone + Send + Sync + 'static,
    <S::Service as Service<Session>>::Response: Send,
    <S::Service as Service<Session>>::Error: Into<BoxError>,
    <S::Service as Service<Session>>::Future: Send,
    U: Service<Dial, Response = UdpSocket> + Clone + Send + Sync + 'static,
    U::Error: Into<BoxError>,
    U::Future: Send,
{
    /// Serves host sockets that are bound already, all or none: by a [`Reservation`] whose ports had to wait for
    /// something, or by another process (see [`Reserved::adopt`]). Where somebody else keeps them too, a release closes
    /// the door and leaves the ports taken.
    ///
    /// # Errors
    /// [`Backend`](portmap_core::ErrorKind::Backend) where a socket cannot be served,
    /// [`Invalid`](portmap_core::ErrorKind::Invalid) where a binding leads back to this host and to itself, and
    /// what [`SourceAddress`] says.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(&self, reserved: Vec<Reserved>) -> Result<Lease, Error> {
        let bindings: Vec<_> = reserved.iter().map(|reserved| reserved.binding().clone()).collect();
        self.settings.source.check(bindings.iter().map(Binding::protocol))?;
        self.settings.source.check_host()?;
        let mut serving = Serving::new(match self.dials_elsewhere {
            true => Vec::new(),
            false => {
                not_to_itself(&bindings)?;
                bindings.clone()
            }
        });
        let settings = Arc::new(self.settings.clone());
        let (mut listeners, mut datagrams) = (Vec::new(), Vec::new());
        for reserved in reserved {
            let target = serving.target(reserved.binding().endpoint());
            let counters = self.registry.add(reserved.binding());
            let (settings, pressure) = (Arc::clone(&settings), Arc::clone(&self.pressure));
            if reserved.binding().protocol() == Protocol::Udp {
                let forward =
                    ForwardSession::new(self.session_dial.clone(), target, settings, pressure);
                let service = self.session_layer.layer(forward);
                each_port(reserved, |socket, port| {
                    let (service, counters) = (service.clone(), Arc::clone(&counters));
                    let serve = Serve::new(socket, port, service, &self.settings, counters);
                    serve.map(|serve| datagrams.push(serve))
                })?;
            } else {
                let (own, brake) = (Arc::clone(&settings), Arc::clone(&pressure));
                let forward = Forward::new(self.dial.clone(), target, own, brake);
                let service = self.layer.layer(forward);
                let container_ports = reserved.binding().container_ports();
                let (binding, sockets) = reserved.serve()?;
                let accept =
                    Accept::new(sockets, container_ports, service, pressure, settings, counters);
                listeners.push(accept.map_err(|error| not_served(&binding, error))?);
            }
        }
        for listener in listeners {
            serving.add(tokio::spawn(listener.run(serving.orders())));
        }
        for port in datagrams {
            serving.add(tokio::spawn(port.run(serving.orders())));
        }
        Ok(Lease::new(bindings, serving))
    }
}

/// Lets clients in, and makes something of each socket and the container port that it leads to.
fn each_port(
    reserved: Reserved,
    mut make: impl FnMut(HostSocket, Port) -> io::Result<()>,
) -> Result<(), Error> {
    let (binding, sockets) = reserved.serve()?;
    for (socket, port) in sockets.into_iter().zip(binding.container_ports().iter()) {
        make(socket, port).map_err(|error| not_served(&binding, error))?;
    }
    Ok(())
}

fn not_served(binding: &Binding, error: io::Error) -> Error {
    Error::new(ErrorKind::Backend, format!("{binding} cannot be served")).with_source(error)
}

impl<L, D, S, U> PortMapper for ProxyMapper<L, D, S, U>
where
    L: Layer<Forward<D>> + Send + Sync + 'static,
    L::Service: Service<Connection> + Clone + Send + Sync + 'static,
    <L::Service as Service<Connection>>::Response: Send,
    <L::Service as Service<Connection>>::Error: Into<BoxError>,
    <L::Service as Service<Connection>>::Future: Send,
    D: Service<Dial, Response = TcpStream> + Clone + Send + Sync + 'static,
    D::Error: Into<BoxError>,
    D::Future: Send,
    S: Layer<ForwardSession<U>> + Send + Sync + 'static,
    S::Service: Service<Session> + Clone + Send + Sync + 'static,
    <S::Service as Service<Session>>::Response: Send,
    <S::Service as Service<Session>>::Error: Into<BoxError>,
    <S::Service as Service<Session>>::Future: Send,
    U: Service<Dial, Response = UdpSocket> + Clone + Send + Sync + 'static,
    U::Error: Into<BoxError>,
    U::Future: Send,
{
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        let span = spans::publish(&request);
        let publish = async {
            self.check(&request)?;
            self.settings.source.check_host()?;
            let lease = self.serve(Reservation::take(&request).await?.into_reserved())?;
            spans::published(lease.bindings());
            Ok(lease)
        };
        publish.instrument(span).await
    }
}
