//! Carrying datagrams between the clients of one port and the sockets of their sessions.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use portmap_core::HostSocket;
use socket2::SockRef;
use tokio::{sync::mpsc, task::AbortHandle};

use super::{
    SessionEnding,
    arrivals::Arrivals,
    batch::{Batch, Datagrams, Run},
    circle::{Circles, Served},
    ends::{Ends, Unanswerable, Way, written_to},
    headed::send_behind,
    peer::{Dialling, Open, Peer},
    session::{Dialled, News},
    socket::{send, send_from, tune_listener},
    table::{Flow, Id, Table},
};
use crate::{
    Side,
    settings::Settings,
    share::{BUDGET, Held, SessionClaim, Share, tell_used_up},
    watch::Counters,
};

/// How much may wait in all sessions of a listener that are being opened, in bytes: as much as its socket holds.
const MOST_WAITING: usize = 4 * 1024 * 1024;

/// The socket of a published port, and the sessions of its clients.
#[derive(Debug)]
pub(super) struct Relay {
    socket: HostSocket,
    bound: SocketAddr,
    sessions: Table<Peer>,
    arrivals: Arrivals,
    /// Bytes in the sessions that are being opened.
    waiting: usize,
    /// The sessions' descriptors.
    held: Arc<Held>,
    /// What others who need some are to ask by.
    news: mpsc::UnboundedSender<News>,
    counters: Arc<Counters>,
    /// Tells other ports of this process that this one is its, too.
    _served: Served,
}

impl Relay {
    pub(super) fn new(
        socket: HostSocket,
        settings: &Settings,
        news: mpsc::UnboundedSender<News>,
        counters: Arc<Counters>,
        share: Arc<Share>,
        circles: &Circles,
    ) -> io::Result<Self> {
        tune_listener(&socket)?;
        let bound = SockRef::from(&socket).local_addr()?.as_socket();
        let bound = bound.ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self {
            bound,
            _served: circles.serve(bound, bound.is_ipv6() && SockRef::from(&socket).only_v6()?),
            arrivals: Arrivals::new(socket.clone())?,
            socket,
            sessions: Table::new(settings.session_limit, settings.session_idle),
            waiting: 0,
            held: Held::new(share),
            news,
            counters,
        })
    }

    /// Ready when a client or a container has sent something.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.arrivals.poll_ready(cx)
    }

    /// Receives from clients, up to a batch; says how many buffers it filled.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        self.arrivals.receive(batch)
    }

    /// The session that datagrams belong to, whether or not there is one, if they can be answered.
    pub(super) fn flow(&self, run: &Run) -> Result<Flow, Unanswerable> {
        let destination = run.to.unwrap_or(self.bound.ip());
        Ends { source: run.from, destination, interface: run.by.unwrap_or_default() }.flow()
    }

    /// The host address and port of a session.
    pub(super) fn used(&self, flow: &Flow) -> SocketAddr {
        written_to(flow, self.bound.port())
    }

    pub(super) fn find(&self, flow: &Flow) -> Option<Id> {
        self.sessions.find(flow)
    }

    /// Takes a descriptor of the binding's share for one more session. Where the share is used up, another session of the port
    /// goes for it, and a second one where the port has more than it may have by now. `None` where there is none to go.
    pub(super) fn claim(&mut self, now: Instant) -> Option<SessionClaim> {
        let claim = self.held.take(now);
        if claim.is_some() {
            return claim;
        }
        let before = self.held();
        self.counters.over_share();
        BUDGET.relieve(before, now);
        tell_used_up(&self.counters, before, now);
        // The descriptor of one that is being dialled for is free only once that was stopped: were they to go at once, a burst
        // of new clients would have each end the one before, and nobody be served.
        let will_do = |peer: &Peer| !peer.is_fresh_dial(now);
        if !self.evict_if(will_do) {
            return None;
        }
        self.held.take(now).or_else(|| {
            let was_given_back = self.held() < before;
            was_given_back.then(|| {
                self.evict_if(will_do);
                self.held.take_over()
            })
        })
    }

    /// How many descriptors the sessions of the port have.
    pub(super) fn held(&self) -> usize {
        self.held.sessions()
    }

    /// Begins a session for which there is a [claim](Self::claim), with a client whose first datagram came in by this
    /// interface; where there are too many, another one goes for it. Says whether one did.
    pub(super) fn begin(&mut self, flow: Flow, arrived_by: u32, now: Instant) -> (Id, bool) {
        let (id, evicted) = self.sessions.insert(flow, Peer::opening(arrived_by, now), now);
        let full = evicted.is_some();
        self.end(evicted, SessionEnding::Evicted);
        self.note();
        (id, full)
    }

    /// Tells who dials for a session.
    pub(super) fn dialled_by(&mut self, id: Id, service: AbortHandle) {
        if let Some((_, Peer::Opening(dialling))) = self.sessions.get(id) {
            dialling.service = Some(service);
        }
    }

    /// Ends an open session, whose descriptor and local port are free then; says whether there was one to
    /// [go](Table::evict_if). One that is being dialled for may have neither yet: to end it may help nobody.
    pub(super) fn evict_open(&mut self) -> bool {
        self.evict_if(|peer| matches!(peer, Peer::Open(_)))
    }

    /// The same for this session, which is being dialled for, if it is not over.
    pub(super) fn evict_for(&mut self, id: Id, now: Instant) -> bool {
        self.sessions.touch(id, now);
        self.sessions.get(id).is_some() && self.evict_open()
    }

    /// Ends the session that is to [go first](Table::evict); says whether there was one.
    fn evict(&mut self) -> bool {
        self.evict_if(|_| true)
    }

    fn evict_if(&mut self, will_do: impl Fn(&Peer) -> bool) -> bool {
        let evicted = self.sessions.evict_if(will_do);
        let any = evicted.is_some();
        self.end(evicted, SessionEnding::Evicted);
        any
    }

    /// Ends the sessions whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(expired) = self.sessions.expire(now) {
            self.end(Some(expired), SessionEnding::Idle);
        }
    }

    /// When there is something to expire, if nothing more comes.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.sessions.next_expiry()
    }

    /// Frees the port and ends all sessions: without the port there is nothing that a reply could leave from.
    pub(super) fn close(mut self) {
        self.end_all(SessionEnding::Released);
    }

    /// Ends all sessions, and takes new ones.
    pub(super) fn end_all(&mut self, ending: SessionEnding) {
        while let Some(session) = self.sessions.evict() {
            self.end(Some(session), ending);
        }
    }

    /// Takes note that the service is done with a session.
    pub(super) fn over(&mut self, id: Id) {
        let over = self.sessions.remove(id);
        // Nobody waits for its end any more.
        self.end(over, SessionEnding::Released);
    }

    /// Ends sessions for others who need descriptors.
    pub(super) fn give_way(&mut self, sessions: usize) {
        (0..sessions).take_while(|_| self.evict()).for_each(drop);
        self.held.has_given_way();
    }

    /// Takes note that the container was dialled for a session.
    pub(super) fn open(&mut self, id: Id, dialled: Dialled, claim: SessionClaim) -> io::Result<()> {
        let Some((_, peer)) = self.sessions.get(id) else {
            // It has ended meanwhile; dropping the sender says so.
            return Ok(());
        };
        if let Err(error) = self.arrivals.add(id, &dialled.socket) {
            let lost = self.sessions.remove(id);
            self.end(lost, SessionEnding::Evicted);
            return Err(error);
        }
        let Peer::Opening(Dialling { arrived_by, .. }) = *peer else {
            return Ok(());
        };
        let opening = std::mem::replace(peer, Peer::open(dialled, arrived_by, claim));
        if let (Peer::Opening(Dialling { waiting, .. }), Peer::Open(open)) = (opening, peer) {
            for datagram in waiting.iter() {
                open.pass(Datagrams { bytes: datagram, size: datagram.len() });
            }
            self.waiting -= waiting.len();
        }
        Ok(())
    }

    /// Passes a client's datagrams on, or keeps them until the session is open.
    pub(super) fn forward(&mut self, id: Id, datagrams: Datagrams<'_>, now: Instant) {
        self.sessions.touch(id, now);
        match self.sessions.get(id) {
            Some((_, Peer::Open(open))) => open.pass(datagrams),
            Some((_, Peer::Opening(dialling))) => {
                for datagram in datagrams.iter() {
                    let room = self.waiting + datagram.len() <= MOST_WAITING;
                    if room && dialling.waiting.push(datagram) {
                        self.waiting += datagram.len();
                    } else {
                        self.counters.dropped(1);
                    }
                }
            }
            None => self.counters.dropped(datagrams.count() as u64),
        }
    }

    /// Passes on what containers have sent, up to a batch of each that has something. Says whether clients have, too.
    pub(super) fn reply(&mut self, batch: &mut Batch, now: Instant) -> io::Result<bool> {
        let clients = self.arrivals.find()?;
        let mut index = 0;
        while let Some(id) = self.arrivals.found(index) {
            self.reply_from(id, batch, now);
            index += 1;
        }
        Ok(clients)
    }

    fn reply_from(&mut self, id: Id, batch: &mut Batch, now: Instant) {
        let Self { sessions, socket, .. } = self;
        let Some((flow, Peer::Open(open))) = sessions.get(id) else {
            return;
        };
        // An error is that of a container which does not listen (any more, or yet): it may, for the next datagram.
        let Ok((count, _)) = batch.receive(&open.dialled.socket) else {
            return;
        };
        let ways = [Way::of(flow), Way::back(open.arrived_by)];
        let mut first = 0;
        while let Some(run) = batch.run(first, count) {
            let datagrams = batch.datagrams(&run);
            let cutting = &mut open.cutting_to_client;
            let carried = send_from(socket, flow.client, ways, datagrams, cutting);
            open.dialled.meter.passed(Side::Client, carried, datagrams.count());
            first = run.end;
        }
        if count > 0 && sessions.answer(id, now) {
            self.note();
        }
    }

    /// Says what others can ask for.
    fn note(&mut self) {
        let Self { held, sessions, news, .. } = self;
        held.note(sessions.unanswered(), || Box::new(news.clone()));
    }

    fn end(&mut self, session: Option<Peer>, ending: SessionEnding) {
        let Some(session) = session else {
            return;
        };
        match &session {
            // What waited for it is lost.
            Peer::Opening(Dialling { waiting, .. }) => {
                self.waiting -= waiting.len();
                self.counters.dropped(waiting.iter().count() as u64);
            }
            Peer::Open(open) => self.arrivals.remove(&open.dialled.socket),
        }
        self.note();
        if ending == SessionEnding::Evicted {
            self.counters.evicted();
        }
        session.end(ending);
    }
}

impl Open {
    fn pass(&mut self, datagrams: Datagrams<'_>) {
        let Dialled { socket, header, meter, .. } = &self.dialled;
        let cutting = &mut self.cutting_to_endpoint;
        let count = datagrams.count();
        let carried = match header.is_empty() {
            true => send(socket, datagrams, cutting),
            false => send_behind(header, socket, datagrams, cutting),
        };
        meter.passed(Side::Endpoint, carried, count);
    }
}
