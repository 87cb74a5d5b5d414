//! What a proxy mapper can be given, and set to.

use std::time::Duration;

use tower::layer::util::Stack;

use crate::{ProxyMapper, SourceAddress};

impl<L, D, S, U> ProxyMapper<L, D, S, U> {
    /// Puts a tower layer around the service of every TCP connection. The first layer added is the outermost.
    ///
    /// The layer is asked for a service once for each binding of each publish, and the ports of a range share
    /// it: a `ConcurrencyLimitLayer` bounds a binding, a `GlobalConcurrencyLimitLayer` all bindings of the mapper.
    ///
    /// A service that is not ready leaves its clients in the kernel's backlog, where they wait without costing a
    /// descriptor. Put `LoadShedLayer` outside of a limit, and they are turned away. Services must be `Clone`; one that is
    /// not, tower's `RateLimit` say, goes behind a `BufferLayer`.
    #[must_use]
    pub fn layer<T>(self, layer: T) -> ProxyMapper<Stack<T, L>, D, S, U> {
        let Self { layer: inner, dial, session_layer, session_dial, common } = self;
        let layer = Stack::new(layer, inner);
        ProxyMapper { layer, dial, session_layer, session_dial, common }
    }

    /// Replaces the service that connects to containers over TCP. It answers with a stream of tokio's.
    ///
    /// Whether it tries again is its own business: see [`refused_retry`](Self::refused_retry).
    #[must_use]
    pub fn dial<T>(self, dial: T) -> ProxyMapper<L, T, S, U> {
        let Self { layer, session_layer, session_dial, mut common, .. } = self;
        common.dials_elsewhere = true;
        common.settings.refused_retry.get_or_insert(Duration::ZERO);
        ProxyMapper { layer, dial, session_layer, session_dial, common }
    }

    /// Puts a tower layer around the service of every UDP session. The first layer added is the outermost.
    ///
    /// It is for sessions what [`layer`](Self::layer) is for connections, with one difference: what is not ready for a
    /// new session loses its first datagram, and the client's next one asks again. Sessions that have begun go on.
    #[must_use]
    pub fn session_layer<T>(self, layer: T) -> ProxyMapper<L, D, Stack<T, S>, U> {
        let Self { layer: of_connections, dial, session_layer: inner, session_dial, common } = self;
        let session_layer = Stack::new(layer, inner);
        ProxyMapper { layer: of_connections, dial, session_layer, session_dial, common }
    }

    /// Replaces the service that makes the sockets of UDP sessions: sockets of the standard library's, each connected to its
    /// container. They are made non-blocking here.
    ///
    /// If one fails with `EAGAIN` or `EADDRINUSE`, there is no local port left: the session of the
    /// same port that was not used for longest ends, and it is asked again, up to four times.
    #[must_use]
    pub fn session_dial<T>(self, dial: T) -> ProxyMapper<L, D, S, T> {
        let Self { layer, dial: of_connections, session_layer, mut common, .. } = self;
        (common.dials_elsewhere, common.dials_sessions_elsewhere) = (true, true);
        ProxyMapper { layer, dial: of_connections, session_layer, session_dial: dial, common }
    }

    /// Who the container is told is calling: the [`Gateway`](SourceAddress::Gateway), unless told otherwise.
    ///
    /// What cannot be served so is refused when it is published, before anything is taken: see [`SourceAddress`].
    #[must_use]
    pub fn source_address(mut self, source: SourceAddress) -> Self {
        self.common.settings.source = source;
        self
    }

    /// How long a dial may take, 10 s by default. The client of a connection is reset then; what a session's client
    /// has sent is lost.
    #[must_use]
    pub fn dial_limit(mut self, limit: Duration) -> Self {
        self.common.settings.dial_limit = limit;
        self
    }

    /// For how long a TCP dial that the container refuses is tried again, within the [dial limit](Self::dial_limit): 100 ms by
    /// default, with a [dial service](Self::dial) of one's own not at all. So who calls a container that was published a
    /// moment before it listens is served; who calls one that is down is reset that much later. Nothing is tried
    /// again while clients wait for a descriptor.
    #[must_use]
    pub fn refused_retry(mut self, limit: Duration) -> Self {
        self.common.settings.refused_retry = Some(limit);
        self
    }

    /// How long connections may go on after their port was released, 5 s by default; then they are cut. The services around
    /// UDP sessions, which have ended then, may take as long to return.
    ///
    /// Whatever cuts a connection does it in one way: what is complete towards a peer ends in order, and the kernel delivers
    /// it; what is not is reset, so that no peer takes a part for the whole. A connection on which nothing is under
    /// way ends in order on both sides.
    #[must_use]
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.common.settings.drain_limit = limit;
        self
    }

    /// After how long a silent peer is probed, and how often from then on; `None` is never. 15 s by default, in whole
    /// seconds from 1 to 32,767 (`TCP_KEEPIDLE`, `TCP_KEEPINTVL`). A peer that answers none of the kernel's `tcp_keepalive_probes` is lost.
    #[must_use]
    pub fn keepalive(mut self, interval: Option<Duration>) -> Self {
        // What the kernel takes: 1 to 32,767 s.
        let kernel = Duration::from_secs(1)..=Duration::from_secs(32_767);
        let taken = interval.map(|interval| interval.clamp(*kernel.start(), *kernel.end()));
        self.common.settings.keepalive = taken;
        self
    }

    /// How long a TCP connection may be silent in both directions before it is cut
    /// ([`Ending::Idle`](crate::Ending::Idle)); `None`, the default and docker-proxy's way, is for ever. It takes a
    /// quarter longer at most: what was carried is looked at four times in that time, and no clock is set for what is carried.
    ///
    /// A peer to whom nothing is under way sees an orderly end; see [`drain_limit`](Self::drain_limit).
    ///
    /// Silent means that the proxy carries nothing. So a peer that does not read is silent once the kernel's buffers are full,
    /// and one that reads slowly for as long as these last: megabytes, at times. Limits are best in minutes.
    #[must_use]
    pub fn connection_idle(mut self, limit: Option<Duration>) -> Self {
        self.common.settings.connection_idle = limit;
        self
    }

    /// How long a TCP connection may be silent that one side has ended for its part, before it is cut
    /// ([`Ending::HalfClosed`](crate::Ending::HalfClosed)); `None`, the default and docker-proxy's way, is for ever. As exact as
    /// [`connection_idle`](Self::connection_idle), which holds for such connections too.
    ///
    /// A peer that has ended its part and waits for a long answer looks the same: what answers slowly needs a long limit.
    #[must_use]
    pub fn half_closed_idle(mut self, limit: Option<Duration>) -> Self {
        self.common.settings.half_closed_idle = limit;
        self
    }

    /// How long after its last datagram, in either direction, a UDP session ends: 90 s by default, as docker-proxy's.
    #[must_use]
    pub fn session_idle(mut self, idle: Duration) -> Self {
        self.common.settings.session_idle = idle;
        self
    }

    /// How many UDP sessions a port may have at a time: 8,192 by default, at least one. A further
    /// one takes the place of another: of one that never got an answer while these are more than a
    /// quarter, else of the one that was not used for longest. The same happens if the port has
    /// used up its share of the process's descriptors, of which a session takes one, or the host
    /// its local ports (`net.ipv4.ip_local_port_range`), of which it takes one too.
    #[must_use]
    pub fn session_limit(mut self, limit: usize) -> Self {
        self.common.settings.session_limit = limit;
        self
    }
}
