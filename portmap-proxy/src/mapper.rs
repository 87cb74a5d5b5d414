//! The mapper.

use std::{io, net::UdpSocket, sync::Arc};

use portmap_core::{
    Binding, BoxError, Error, HostSocket, Lease, Mapping, Port, PortMapper, Protocol, Publish,
    Reservation, Reserved,
};
use tokio::net::TcpStream;
use tower::{Layer, Service, layer::util::Identity};
use tracing::Instrument;

use crate::{
    Connection, Dial, Forward, ForwardSession, Session, TcpDial, UdpDial,
    check::only_tcp_and_udp,
    circle::Passages,
    pressure::Pressure,
    serving::Serving,
    settings::Settings,
    share::BUDGET,
    tcp::accept::Accept,
    udp::{Circles, Namespace, Serve},
    watch::{BindingStats, Registry, spans},
};

/// Publishes by serving host ports itself: a userland proxy for TCP and UDP.
///
/// It needs no privilege for ports from `net.ipv4.ip_unprivileged_port_start` on. Clones share what is shared
/// between publishes: layers with shared state, and the brake on accepting while descriptors run out.
///
/// **Nothing bounds the number of connections** but the process's descriptors (`RLIMIT_NOFILE`), two for each. Where there are several
/// bindings, each has a share of them that the others cannot take, whatever mappers they are of: one busy port gets some
/// 70 % of what the embedder and the listening sockets leave, and its further clients wait. An embedder that needs many
/// itself, or has a single port, sets a bound: `layer(GlobalConcurrencyLimitLayer::new(4000))`, say.
///
/// What it serves runs as tasks on the tokio runtime that [`publish`](PortMapper::publish) is called on, and ends
/// with that runtime. The sockets belong to the network namespace of the thread that polls `publish`.
///
/// Releasing a lease frees its ports at once and then waits for open connections, at most for the
/// [drain limit](Self::drain_limit); what is left then is cut. UDP sessions end at once: their replies
/// leave from the port, and the port is free.
#[derive(Clone, Debug, Default)]
pub struct ProxyMapper<L = Identity, D = TcpDial, S = Identity, U = UdpDial> {
    pub(crate) layer: L,
    pub(crate) dial: D,
    pub(crate) session_layer: S,
    pub(crate) session_dial: U,
    pub(crate) common: Common,
}

/// What a mapper has whatever its layers and dial services are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Common {
    /// Whether a dial service of somebody's own may connect from elsewhere.
    pub(crate) dials_elsewhere: bool,
    /// Whether that is so for sessions.
    pub(crate) dials_sessions_elsewhere: bool,
    pub(crate) settings: Settings,
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
    /// Finds all that can be found wrong with a request without asking the host; [`publish`](PortMapper::publish) does it first.
    ///
    /// # Errors
    /// [`Invalid`](portmap_core::ErrorKind::Invalid) where [`Publish::check`] says so, [`Unsupported`](portmap_core::ErrorKind::Unsupported) for SCTP and for
    /// what the [source address](Self::source_address) cannot be told of.
    pub fn check(&self, request: &Publish) -> Result<(), Error> {
        request.check()?;
        only_tcp_and_udp(request)?;
        self.common.settings.source.check(request.mappings().iter().map(Mapping::protocol))
    }

    /// What was counted of each binding, in the order in which they were published, by this mapper and its clones.
    ///
    /// Bytes and datagrams are counted as they are carried: a long transfer is seen while it runs. A binding that was
    /// released is in it until the last of its connections has ended. Reading it costs what is served nothing.
    pub fn stats(&self) -> Vec<BindingStats> {
        self.common.registry.stats()
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
    /// [`Busy`](portmap_core::ErrorKind::Busy) where somebody else [serves](Reserved::serve) one of them, what [`Error::of_io`] says where a
    /// socket cannot be served, [`Invalid`](portmap_core::ErrorKind::Invalid) where a binding leads back to this host and to itself, and
    /// what [`SourceAddress`](crate::SourceAddress) says.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(&self, reserved: Vec<Reserved>) -> Result<Lease, Error> {
        let bindings: Vec<_> = reserved.iter().map(|reserved| reserved.binding().clone()).collect();
        self.common.settings.source.check(bindings.iter().map(Binding::protocol))?;
        self.common.settings.source.check_host()?;
        // Where somebody else's dial service leads, nobody knows here.
        let known = if self.common.dials_elsewhere { Vec::new() } else { bindings.clone() };
        let mut serving = Serving::new(Passages::enter(known)?);
        let settings = Arc::new(self.common.settings.clone());
        let namespace = Namespace::current();
        let (mut listeners, mut datagrams) = (Vec::new(), Vec::new());
        for reserved in reserved {
            let target = serving.target(reserved.binding().endpoint());
            let counters = self.common.registry.add(reserved.binding());
            // It ends with the listeners and what they carry; the numbers may be kept for longer.
            let share = BUDGET.share_of(reserved.binding());
            let (settings, pressure) = (Arc::clone(&settings), Arc::clone(&self.common.pressure));
            if reserved.binding().protocol() == Protocol::Udp {
                let dialled_here = (!self.common.dials_sessions_elsewhere).then(|| target.clone());
                let circles = Circles::new(namespace, dialled_here);
                let forward =
                    ForwardSession::new(self.session_dial.clone(), target, settings, pressure);
                let service = self.session_layer.layer(forward);
                each_port(reserved, |socket, port| {
                    let (service, share) = (service.clone(), Arc::clone(&share));
                    let counters = Arc::clone(&counters);
                    let (settings, circles) = (&self.common.settings, circles.clone());
                    let serve =
                        Serve::new(socket, port, service, settings, counters, share, circles);
                    serve.map(|serve| datagrams.push(serve))
                })?;
            } else {
                let (own, brake) = (Arc::clone(&settings), Arc::clone(&pressure));
                let forward = Forward::new(self.dial.clone(), target, own, brake);
                let service = self.layer.layer(forward);
                let container_ports = reserved.binding().container_ports();
                let (binding, sockets) = reserved.serve()?;
                let accept = Accept::new(
                    sockets,
                    container_ports,
                    service,
                    pressure,
                    settings,
                    counters,
                    share,
                );
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
    Error::of_io(format!("{binding} cannot be served"), error)
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
            self.common.settings.source.check_host()?;
            let lease = self.serve(Reservation::take(&request).await?.into_reserved())?;
            spans::published(lease.bindings());
            Ok(lease)
        };
        publish.instrument(span).await
    }
}
