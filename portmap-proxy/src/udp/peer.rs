//! A session as its listener has it.

use tokio::task::AbortHandle;

use super::{Exchanged, SessionEnding, cutting::Cutting, session::Dialled, waiting::Waiting};
use crate::{Side, share::SessionClaim};

/// How far a session is.
#[derive(Debug)]
pub(super) enum Peer {
    /// Its container is being dialled.
    Opening(Dialling),
    /// Datagrams go through it. Boxed: the table has room for twice as many as there are.
    Open(Box<Open>),
}

/// A session whose container is being dialled.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) waiting: Waiting,
    /// Who dials.
    pub(super) service: Option<AbortHandle>,
    /// The interface that its first datagram came in by; 0 where that is not told.
    pub(super) arrived_by: u32,
}

/// A session that datagrams go through.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) dialled: Dialled,
    pub(super) arrived_by: u32,
    pub(super) cutting_to_endpoint: Cutting,
    pub(super) cutting_to_client: Cutting,
    _claim: SessionClaim,
}

impl Peer {
    pub(super) fn opening(arrived_by: u32) -> Self {
        Self::Opening(Dialling { waiting: Waiting::default(), service: None, arrived_by })
    }

    pub(super) fn open(dialled: Dialled, arrived_by: u32, claim: SessionClaim) -> Self {
        Self::Open(Box::new(Open {
            dialled,
            arrived_by,
            cutting_to_endpoint: Cutting::default(),
            cutting_to_client: Cutting::default(),
            _claim: claim,
        }))
    }

    /// Closes its socket, and says how it was to who waits for it. Where it is not open yet, nobody dials for it any
    /// more: a flood of clients would else have more dials going on than there may be sessions.
    pub(super) fn end(self, ending: SessionEnding) {
        match self {
            Self::Opening(dialling) => {
                dialling.service.inspect(AbortHandle::abort);
            }
            Self::Open(open) => {
                let Dialled { socket, observed, ended, meter, .. } = open.dialled;
                drop(socket);
                meter.ended(ending.as_str());
                let to_endpoint = meter.carried(Side::Endpoint);
                let to_client = meter.carried(Side::Client);
                let _ = ended.send(Exchanged { observed, to_endpoint, to_client, ending });
            }
        }
    }
}
