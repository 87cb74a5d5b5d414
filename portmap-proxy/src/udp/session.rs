//! A new session, before it leads anywhere.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
};

use portmap_core::{Binding, Port};
use tokio::sync::{mpsc, oneshot};

use super::{Exchanged, table::Id};
use crate::{
    share::{GiveWay, SessionClaim},
    spare::Spare,
    watch::{Counters, Meter, Progress, spans},
};

/// A client that wrote to a published UDP port and has no session yet: what the layers around
/// [`ForwardSession`](crate::ForwardSession) get, once for each session.
///
/// A session is a client's address and port, and the address of this host that it wrote to. **Dropping it loses the
/// datagrams that wait for it**, and nothing more: the client's next datagram asks again.
#[derive(Debug)]
pub struct Session {
    client: SocketAddr,
    local: SocketAddr,
    container_port: Port,
    opening: Opening,
    /// Held in place of the descriptor that dialling takes.
    spare: Spare,
    meter: Arc<Meter>,
}

impl Session {
    pub(super) fn new(
        (client, local): (SocketAddr, SocketAddr),
        container_port: Port,
        opening: Opening,
        spare: Spare,
        counters: Arc<Counters>,
    ) -> Self {
        let meter = Meter::new(counters, spans::session(client, local));
        Self { client, local, container_port, opening, spare, meter }
    }

    /// The client's address, never v4-mapped.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// The container's port that it is for.
    pub fn container_port(&self) -> Port {
        self.container_port
    }

    /// What it came by, as it was published: after a [retarget](portmap_core::Lease::retarget) the dial knows better where it leads.
    pub fn binding(&self) -> &Binding {
        self.meter.binding()
    }

    /// The host address and port that the client wrote to, never v4-mapped: where the replies leave
    /// from, unless that is a broadcast or multicast address. Then they have an address of the
    /// interface that the client wrote by.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What it has carried, to be read while it goes on.
    pub fn progress(&self) -> Progress {
        self.meter.progress()
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    pub(super) fn into_parts(self) -> (Opening, Spare, Arc<Meter>) {
        (self.opening, self.spare, self.meter)
    }
}

/// What a listener is told of its sessions.
#[derive(Debug)]
pub(super) enum News {
    /// The container was dialled.
    Open(Id, Dialled, SessionClaim),
    /// The service is done with it, however that came.
    Over(Id),
    /// The host has no local port left for its socket. Is told whether another session made room.
    NoPort(Id, oneshot::Sender<bool>),
    /// Others need descriptors: so many sessions are to end.
    GiveWay(usize),
}

impl GiveWay for mpsc::UnboundedSender<News> {
    fn give_way(&self, sessions: usize) {
        let _ = self.send(News::GiveWay(sessions));
    }
}

/// A session's way to its container.
#[derive(Debug)]
pub(super) struct Dialled {
    /// Connected to the container.
    pub(super) socket: UdpSocket,
    /// What stands in front of every datagram to the container; mostly nothing.
    pub(super) header: Box<[u8]>,
    /// The address that the container sees as its peer.
    pub(super) observed: SocketAddr,
    /// Who waits for the session's end.
    pub(super) ended: oneshot::Sender<Exchanged>,
    pub(super) meter: Arc<Meter>,
}

/// A session's line to its listener, and the descriptor that it may have.
#[derive(Debug)]
pub(super) struct Opening {
    id: Id,
    listener: mpsc::UnboundedSender<News>,
    claim: SessionClaim,
}

/// Tells the listener when it is dropped: by a service's end, its cancellation or its panic.
#[derive(Debug)]
pub(super) struct TellsEnd {
    id: Id,
    listener: mpsc::UnboundedSender<News>,
}

impl Opening {
    pub(super) fn new(id: Id, listener: mpsc::UnboundedSender<News>, claim: SessionClaim) -> Self {
        Self { id, listener, claim }
    }

    /// Hands the socket to the listener. Where that is gone, the socket is closed.
    pub(super) fn open(self, dialled: Dialled) {
        let _ = self.listener.send(News::Open(self.id, dialled, self.claim));
    }

    /// Has another session end, the least recently used one of the listener, so that there is a
    /// local port for this one. Says whether there was one.
    pub(super) async fn make_room(&self) -> bool {
        let (evicted, told) = oneshot::channel();
        self.listener.send(News::NoPort(self.id, evicted)).is_ok() && told.await.unwrap_or(false)
    }

    pub(super) fn tells_end(&self) -> TellsEnd {
        TellsEnd { id: self.id, listener: self.listener.clone() }
    }
}

impl Drop for TellsEnd {
    fn drop(&mut self) {
        let _ = self.listener.send(News::Over(self.id));
    }
}
