//! The service that every session goes through.

use std::{
    future::Future,
    io, mem,
    net::{SocketAddr, UdpSocket},
    ops::AddAssign,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use portmap_core::BoxError;
use rustix::io::Errno;
use tokio::{sync::oneshot, time};
use tower::{Service, ServiceExt};

use super::{
    Session,
    session::{Dialled, Opening},
    socket::tune_session,
};
use crate::{
    Dial, ForwardError, causes::errno, pressure::Pressure, serving::Target, settings::Settings,
    spare::Spare, tcp::forward::connect, watch::Meter,
};

/// The innermost service for UDP: dials the container for a [`Session`], whose datagrams its listener then carries.
///
/// Its response comes when the session has ended. Dropping the future ends the session.
#[derive(Clone, Debug)]
pub struct ForwardSession<D> {
    dial: D,
    target: Target,
    settings: Arc<Settings>,
    pressure: Arc<Pressure>,
}

/// What became of a session whose container was dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchanged {
    /// The address that the container saw as its peer.
    pub observed: SocketAddr,
    /// What went from the client to the container.
    pub to_endpoint: Carried,
    /// What went from the container to the client.
    pub to_client: Carried,
    /// Why it ended.
    pub ending: SessionEnding,
}

/// How much was carried. What the kernel did not take is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// How many datagrams, empty ones too.
    pub datagrams: u64,
    /// How many bytes were in them.
    pub bytes: u64,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnding {
    /// Nothing went through it for the idle time.
    Idle,
    /// Another one needed its place, or its descriptor: see [`session_limit`](crate::ProxyMapper::session_limit).
    Evicted,
    /// Its port was released.
    Released,
    /// Its port leads to another container now.
    Retargeted,
}

impl SessionEnding {
    /// Its name in spans: `idle`, say.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Released => "released",
            Self::Retargeted => "retargeted",
        }
    }
}

impl<D> ForwardSession<D> {
    pub(crate) fn new(
        dial: D,
        target: Target,
        settings: Arc<Settings>,
        pressure: Arc<Pressure>,
    ) -> Self {
        Self { dial, target, settings, pressure }
    }
}

impl<D> Service<Session> for ForwardSession<D>
where
    D: Service<Dial, Response = UdpSocket> + Clone + Send + 'static,
    D::Error: Into<BoxError>,
    D::Future: Send,
{
    type Response = Exchanged;
    type Error = ForwardError;
    type Future = Pin<Box<dyn Future<Output = Result<Exchanged, ForwardError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ForwardError>> {
        self.dial.poll_ready(cx).map_err(|error| ForwardError::NotReady { source: error.into() })
    }

    fn call(&mut self, session: Session) -> Self::Future {
        let request = Dial::new(self.target.endpoint(), session.container_port(), session.client());
        let request = self.settings.source.prepare(request);
        let header = self.settings.source.of_datagrams(session.client(), session.local_addr());
        // A clone is not ready though its original is: so the original is called, and the clone stays.
        let spare = self.dial.clone();
        let dial = mem::replace(&mut self.dial, spare);
        let (settings, pressure) = (Arc::clone(&self.settings), Arc::clone(&self.pressure));
        let (opening, spare, meter) = session.into_parts();
        Box::pin(async move {
            // Boxed: it is over before the session has carried anything, and would else take room until its end.
            let dialled = dial_with_room(dial, request, &settings, &pressure, spare, &opening);
            let socket = Box::pin(dialled).await?;
            drop((settings, pressure));
            let (ended, end) = oneshot::channel();
            let dialled = prepare(socket, header, ended, meter)
                .map_err(|error| ForwardError::dial(request, error.into()))?;
            dialled.meter.dialled(request.addr(), dialled.observed);
            opening.open(dialled);
            end.await.map_err(|_| ForwardError::Over { client: request.client() })
        })
    }
}

/// How many sessions have to go for one at most: others may be quicker to take the port that one
/// has left.
const ATTEMPTS_AT_A_PORT: usize = 4;

/// Dials. Where the host has no local port left, the least recently used session of the listener
/// goes for this one.
async fn dial_with_room<D>(
    dial: D,
    request: Dial,
    settings: &Settings,
    pressure: &Pressure,
    spare: Spare,
    opening: &Opening,
) -> Result<UdpSocket, ForwardError>
where
    D: Service<Dial, Response = UdpSocket> + Clone,
    D::Error: Into<BoxError>,
{
    let again = dial.clone();
    let mut dialled = connect(dial, request, settings.dial_limit, pressure, spare).await;
    for attempt in 0..ATTEMPTS_AT_A_PORT {
        if attempt > 0 {
            // Between fork and exec a process that is being started keeps a closed port.
            time::sleep(Duration::from_millis(2 << attempt)).await;
        }
        if !dialled.as_ref().is_err_and(is_out_of_ports) || !opening.make_room().await {
            break;
        }
        let spare = Spare::take().map_err(|error| ForwardError::dial(request, error.into()))?;
        let dial = again.clone();
        dialled = connect_when_ready(dial, request, settings.dial_limit, pressure, spare).await;
    }
    dialled
}

async fn connect_when_ready<D>(
    mut dial: D,
    request: Dial,
    limit: Duration,
    pressure: &Pressure,
    spare: Spare,
) -> Result<UdpSocket, ForwardError>
where
    D: Service<Dial, Response = UdpSocket> + Clone,
    D::Error: Into<BoxError>,
{
    match time::timeout(limit, dial.ready()).await {
        Ok(ready) => ready.map_err(|error| ForwardError::dial(request, error.into()))?,
        Err(_) => {
            let (client, addr) = (request.client(), request.addr());
            return Err(ForwardError::TimedOut { client, addr, limit });
        }
    };
    connect(dial, request, limit, pressure, spare).await
}

/// Linux says `EAGAIN` where connecting finds no port that is free, and `EADDRINUSE` where binding
/// to port 0 does, which a dial service of the embedder's may do. That or a layer may have wrapped
/// the error.
fn is_out_of_ports(error: &ForwardError) -> bool {
    let ForwardError::Dial { source, .. } = error else {
        return false;
    };
    let errno = errno(source.as_ref()).map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AGAIN | Errno::ADDRINUSE))
}

fn prepare(
    socket: UdpSocket,
    header: Box<[u8]>,
    ended: oneshot::Sender<Exchanged>,
    meter: Arc<Meter>,
) -> io::Result<Dialled> {
    tune_session(&socket)?;
    // A dial service of the embedder's could have forgotten it.
    socket.peer_addr()?;
    let observed = socket.local_addr()?;
    Ok(Dialled { socket, header, observed, ended, meter })
}

impl Carried {
    pub(super) fn new(datagrams: usize, bytes: usize) -> Self {
        Self { datagrams: datagrams as u64, bytes: bytes as u64 }
    }
}

impl AddAssign for Carried {
    fn add_assign(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
    }
}
