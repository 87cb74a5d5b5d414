//! The service that every connection goes through.

use std::{
    error, fmt,
    future::{Future, poll_fn},
    io, mem,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use portmap_core::BoxError;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, select, time};
use tower::{Service, ServiceExt};

use crate::{
    Connection, Dial, Ending, Side,
    causes::io_kind,
    pressure::{Backoff, Pressure, is_exhaustion},
    serving::Target,
    settings::Settings,
    spare::Spare,
    tcp::connection::Abortive,
    tcp::relay::Relay,
    tcp::silence::{self, Silence},
    watch::Meter,
};

/// The innermost service of a proxy mapper: dials the container for a [`Connection`] and carries the bytes.
///
/// Its response comes when the connection has ended. Dropping the future cuts the connection: what is complete towards a
/// peer ends in order, what is not is reset.
#[derive(Clone, Debug)]
pub struct Forward<D> {
    dial: D,
    target: Target,
    settings: Arc<Settings>,
    pressure: Arc<Pressure>,
}

/// What became of a connection that reached its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// The address that the container saw as its peer.
    pub observed: SocketAddr,
    /// Bytes from the client to the container.
    pub to_endpoint: u64,
    /// Bytes from the container to the client.
    pub to_client: u64,
    /// How it ended.
    pub ending: Ending,
}

impl<D> Forward<D> {
    pub(crate) fn new(
        dial: D,
        target: Target,
        settings: Arc<Settings>,
        pressure: Arc<Pressure>,
    ) -> Self {
        Self { dial, target, settings, pressure }
    }
}

impl<D> Service<Connection> for Forward<D>
where
    D: Service<Dial, Response = TcpStream> + Clone + Send + 'static,
    D::Error: Into<BoxError>,
    D::Future: Send,
{
    type Response = Transferred;
    type Error = ForwardError;
    type Future = Pin<Box<dyn Future<Output = Result<Transferred, ForwardError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        self.dial.poll_ready(cx).map_err(|error| ForwardError::NotReady { source: error.into() })
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let request =
            Dial::new(self.target.endpoint(), connection.container_port(), connection.client());
        let request = self.settings.source.prepare(request);
        // A clone is not ready though its original is: so the original is called, and the clone stays.
        let spare = self.dial.clone();
        let dial = mem::replace(&mut self.dial, spare);
        let (settings, pressure) = (Arc::clone(&self.settings), Arc::clone(&self.pressure));
        // Boxed for itself: it is over before anything is carried, and would else take room until the connection's end.
        let opened = Box::pin(open(dial, request, settings, pressure, connection));
        Box::pin(async move {
            let Opened { mut relay, observed, meter, mut silence } = opened.await?;
            let ending = carry(&mut relay, &mut silence).await;
            // What this moves still is counted.
            drop(relay);
            meter.ended(ending.as_str());
            let carried = |to| meter.carried(to).bytes;
            let (to_endpoint, to_client) = (carried(Side::Endpoint), carried(Side::Client));
            Ok(Transferred { observed, to_endpoint, to_client, ending })
        })
    }
}

/// A connection that has reached its container.
struct Opened {
    relay: Relay,
    observed: SocketAddr,
    meter: Arc<Meter>,
    silence: Option<Silence>,
}

/// Dials the container, and tells it who is calling where that is wanted.
async fn open<D>(
    dial: D,
    request: Dial,
    settings: Arc<Settings>,
    pressure: Arc<Pressure>,
    connection: Connection,
) -> Result<Opened, ForwardError>
where
    D: Service<Dial, Response = TcpStream> + Clone,
    D::Error: Into<BoxError>,
{
    let (client, spare, meter) = connection.into_parts();
    let (limit, patience) = (settings.dial_limit, settings.refused_retry());
    let connected = connect_patiently(dial, request, limit, patience, &pressure, spare);
    let stream = select! {
        biased;
        connected = connected => connected?,
        // Who has given up keeps no descriptors while a silent container is waited for.
        _ = client.get().ready(Interest::ERROR) => {
            return Err(ForwardError::ClientGone { client: request.client() });
        }
    };
    let failed = |source: BoxError| ForwardError::dial(request, source);
    settings.tune(SockRef::from(&stream)).map_err(|error| failed(error.into()))?;
    let observed = stream.local_addr().map_err(|error| failed(error.into()))?;
    // Mostly there is only one that it can be.
    let reached = match request.addrs().count() {
        1 => request.addr(),
        _ => stream.peer_addr().unwrap_or_else(|_| request.addr()),
    };
    meter.dialled(reached, observed);
    let mut endpoint = Abortive::new(stream);
    let introduced = settings.source.introduce(&mut endpoint, request.client(), &client).await;
    introduced.map_err(|error| failed(error.into()))?;
    let silence = silence::watch(&settings, &meter);
    let relay = Relay::new(client, endpoint, Arc::clone(&meter));
    Ok(Opened { relay, observed, meter, silence })
}

/// Dials within a time limit; where there is no descriptor left, with the spare one, and then waits for one.
pub(crate) async fn connect<D>(
    ready: D,
    request: Dial,
    limit: Duration,
    pressure: &Pressure,
    spare: Spare,
) -> Result<D::Response, ForwardError>
where
    D: Service<Dial> + Clone,
    D::Error: Into<BoxError>,
{
    connect_patiently(ready, request, limit, Duration::ZERO, pressure, spare).await
}

/// The same, and tries again for a moment where it is refused.
async fn connect_patiently<D>(
    mut ready: D,
    request: Dial,
    limit: Duration,
    patience: Duration,
    pressure: &Pressure,
    mut spare: Spare,
) -> Result<D::Response, ForwardError>
where
    D: Service<Dial> + Clone,
    D::Error: Into<BoxError>,
{
    let again = ready.clone();
    let attempts = async move {
        let mut dialled = ready.call(request).await.map_err(Into::into);
        let mut waiting = None;
        let mut backoff = Backoff::new();
        let mut patience = Patience::new(patience);
        while let Some(failure) = dialled.as_ref().err().and_then(Failure::of) {
            match failure {
                Failure::NoDescriptor if spare.give_up() => {}
                Failure::NoDescriptor => {
                    waiting.get_or_insert_with(|| pressure.wait());
                    backoff.wait().await;
                }
                Failure::Refused if !pressure.is_relieved() => break,
                Failure::Refused => match patience.next() {
                    Some(pause) => time::sleep(pause).await,
                    None => break,
                },
            }
            dialled = again.clone().oneshot(request).await.map_err(Into::into);
        }
        dialled
    };
    match time::timeout(limit, attempts).await {
        Ok(dialled) => dialled.map_err(|source| ForwardError::dial(request, source)),
        Err(_) => {
            Err(ForwardError::TimedOut { client: request.client(), addr: request.addr(), limit })
        }
    }
}

/// A failure that may be over in a moment.
enum Failure {
    NoDescriptor,
    Refused,
}

impl Failure {
    fn of(error: &BoxError) -> Option<Self> {
        if is_exhaustion(error.as_ref()) {
            return Some(Self::NoDescriptor);
        }
        let refused = io_kind(error.as_ref()) == Some(io::ErrorKind::ConnectionRefused);
        refused.then_some(Self::Refused)
    }
}

/// Pauses that grow, 5 ms, 10 ms and so on, until a time is over.
struct Patience {
    pause: Duration,
    left: Duration,
}

impl Patience {
    fn new(left: Duration) -> Self {
        Self { pause: Duration::from_millis(5), left }
    }

    fn next(&mut self) -> Option<Duration> {
        let pause = self.pause.min(self.left);
        self.pause *= 2;
        self.left -= pause;
        (!pause.is_zero()).then_some(pause)
    }
}

/// Relays until the end, or for as long as it is not silent for too long. By reference: a future keeps what it is given,
/// and what it then makes of it.
async fn carry(relay: &mut Relay, silence: &mut Option<Silence>) -> Ending {
    let mut relayed = pin!(relay.run());
    poll_fn(|cx| match relayed.as_mut().poll(cx) {
        Poll::Pending => {
            silence.as_mut().map_or(Poll::Pending, |silence| silence.as_mut().poll(cx))
        }
        ended => ended,
    })
    .await
}

/// Why a connection or a session did not reach its container. The client of a connection is reset then.
#[derive(Debug)]
#[non_exhaustive]
pub enum ForwardError {
    /// The dial service failed before it was asked.
    NotReady {
        /// Its error.
        source: BoxError,
    },
    /// The container could not be connected to.
    Dial {
        /// The client's address.
        client: SocketAddr,
        /// The container's address.
        addr: SocketAddr,
        /// Why: mostly that the container refused.
        source: BoxError,
    },
    /// The client reset the connection before the container was reached.
    ClientGone {
        /// The client's address.
        client: SocketAddr,
    },
    /// The container did not answer in time.
    TimedOut {
        /// The client's address.
        client: SocketAddr,
        /// The container's address.
        addr: SocketAddr,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The session was ended before its container was dialled.
    Over {
        /// The client's address.
        client: SocketAddr,
    },
}

impl ForwardError {
    pub(crate) fn dial(request: Dial, source: BoxError) -> Self {
        Self::Dial { client: request.client(), addr: request.addr(), source }
    }
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady { .. } => f.write_str("the dial service is not ready"),
            Self::Dial { client, addr, .. } => {
                write!(f, "{client} could not be connected to {addr}")
            }
            Self::TimedOut { client, addr, limit } => {
                write!(f, "{client} could not be connected to {addr} within {limit:?}")
            }
            Self::ClientGone { client } => {
                write!(f, "{client} was gone before its container was reached")
            }
            Self::Over { client } => {
                write!(f, "the session of {client} was ended before its container was dialled")
            }
        }
    }
}

impl error::Error for ForwardError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NotReady { source } | Self::Dial { source, .. } => Some(source.as_ref()),
            Self::TimedOut { .. } | Self::Over { .. } | Self::ClientGone { .. } => None,
        }
    }
}
