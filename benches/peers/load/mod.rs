//! What the client does, and what it saw.

pub(crate) mod bulk;
mod datagrams;
pub(crate) mod hold;
mod pings;
mod short;
mod window;

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use portmap::Protocol;

use crate::{
    backend::{Arrived, PROBE, Role},
    meter::Meter,
    stats::Latencies,
};

use window::Window;

/// How the client uses the published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Bulk transfers at the same time, from the container.
    Download(usize),
    /// The same, to the container.
    Upload(usize),
    /// Connections that each send 64 bytes, wait for them, and do it again.
    KeepAlive(usize),
    /// As many at a time connect, send 64 bytes, wait for them and for the end, and are followed by the next.
    Short(usize),
    /// Sockets that each send 64 bytes, wait for them, and do it again.
    UdpEcho(usize),
    /// One socket that sends 64 bytes as fast as it can.
    Flood,
    /// As many sockets send one datagram each at once.
    Burst(usize),
    /// One socket that has the kernel cut its datagrams, 40 of 1,200 bytes each millisecond.
    Segments,
    /// So many idle connections.
    Connections(usize),
    /// So many idle UDP sessions.
    Sessions(usize),
    /// Many published ports that nobody uses; not a load of the client's.
    Ports(Protocol),
    /// So many neighbouring ports are published and released; not a load of the client's.
    Publish(u16),
}

/// What was measured, by name.
pub(crate) type Values = BTreeMap<String, f64>;

/// What a load is run with.
pub(crate) struct Run {
    pub(crate) target: SocketAddr,
    pub(crate) arrived: Arrived,
    pub(crate) meter: Meter,
    pub(crate) warm: Duration,
    pub(crate) window: Duration,
}

impl Load {
    pub(crate) fn role(self) -> Role {
        match self {
            Self::Download(_) => Role::Source,
            Self::Upload(_) => Role::Sink,
            Self::KeepAlive(_) | Self::Connections(_) | Self::Ports(_) | Self::Publish(_) => {
                Role::Echo
            }
            Self::Short(_) => Role::Answer,
            Self::UdpEcho(_) | Self::Burst(_) | Self::Sessions(_) => Role::UdpEcho,
            Self::Flood | Self::Segments => Role::UdpSink,
        }
    }

    pub(crate) fn protocol(self) -> Protocol {
        match self.role() {
            _ if self == Self::Ports(Protocol::Udp) => Protocol::Udp,
            Role::UdpEcho | Role::UdpSink => Protocol::Udp,
            _ => Protocol::Tcp,
        }
    }

    /// Blocks until the load was run.
    pub(crate) fn run(self, run: &Run) -> io::Result<Values> {
        match self {
            Self::Download(streams) => bulk::download(run, streams),
            Self::Upload(streams) => bulk::upload(run, streams),
            Self::KeepAlive(connections) => pings::tcp(run, connections),
            Self::UdpEcho(sockets) => pings::udp(run, sockets),
            Self::Short(lanes) => short::short(run, lanes),
            Self::Flood => datagrams::flood(run),
            Self::Burst(sockets) => datagrams::burst(run, sockets),
            Self::Segments => datagrams::segments(run),
            Self::Connections(count) => hold::connections(run, count),
            Self::Sessions(count) => hold::sessions(run, count),
            Self::Ports(_) | Self::Publish(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Waits until the way to the container is open.
    pub(crate) fn wait(self, target: SocketAddr) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            let tried = match self.protocol() {
                Protocol::Udp => probe(target),
                _ => TcpStream::connect_timeout(&target, Duration::from_secs(1)).map(drop),
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(error) if begin.elapsed() > Duration::from_secs(5) => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(3)),
            }
        }
    }
}

fn probe(target: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.send(&[0; PROBE])?;
    socket.recv(&mut [0; PROBE]).map(drop)
}

/// Adds the percentiles of latencies, in microseconds.
fn with_latencies(mut values: Values, mut latencies: Latencies) -> Values {
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        values.insert(name.to_owned(), latencies.percentile(part));
    }
    values
}
