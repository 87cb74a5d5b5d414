//! What a proxy mapper can be set to.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

use crate::SourceAddress;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) dial_limit: Duration,
    /// Where nobody said how long, it depends on whose dial service it is.
    pub(crate) refused_retry: Option<Duration>,
    pub(crate) drain_limit: Duration,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) connection_idle: Option<Duration>,
    pub(crate) half_closed_idle: Option<Duration>,
    pub(crate) session_idle: Duration,
    pub(crate) session_limit: usize,
    pub(crate) source: SourceAddress,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A container that boots answers or refuses within seconds; the kernel alone would try for two minutes.
            dial_limit: Duration::from_secs(10),
            refused_retry: None,
            drain_limit: Duration::from_secs(5),
            // docker-proxy's: the default of Go's net package.
            keepalive: Some(Duration::from_secs(15)),
            // docker-proxy has none: a connection may be silent for days.
            connection_idle: None,
            half_closed_idle: None,
            // docker-proxy's.
            session_idle: Duration::from_secs(90),
            // A descriptor and 1.2 KiB each, so 10 MiB for a port that is flooded.
            session_limit: 8192,
            source: SourceAddress::Gateway,
        }
    }
}

impl Settings {
    /// For how long a dial that is refused is tried again.
    pub(crate) fn refused_retry(&self) -> Duration {
        // What a program takes from its start until it listens, if it is a quick one. Longer, and the clients of a container
        // that is down would hold descriptors for it.
        self.refused_retry.unwrap_or(Duration::from_millis(100))
    }

    /// Sets what every proxied connection has. Accepted connections inherit it from their listener.
    pub(crate) fn tune(&self, socket: SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        // An urgent byte stays in its place among the others: the kernel would else keep the last one, and drop it.
        socket.set_out_of_band_inline(true)?;
        if let Some(interval) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(interval).with_interval(interval);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        Ok(())
    }
}
