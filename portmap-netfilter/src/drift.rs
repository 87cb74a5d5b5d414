//! Noticing that somebody else changes nftables.

use std::{fmt, io};

use netlink_sys::{AsyncSocket, AsyncSocketExt as _, TokioSocket, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use socket2::{SockFilter, SockRef};

use super::{
    authors::Authors,
    netlink::{Reply, replies},
};

/// `NFNLGRP_NFTABLES`
const GROUP: u32 = 7;
/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_NEWGEN`
const NEWGEN: u16 = 10 << 8 | 15;
const NFTA_GEN_ID: u16 = 1;
const NFTA_GEN_PROC_PID: u16 = 2;
const NFTA_GEN_PROC_NAME: u16 = 3;

/// Tells of everything that others change in nftables, in one network namespace. iptables counts where it is
/// the one that speaks nftables (`iptables --version` says `nf_tables`), and legacy iptables doesn't.
///
/// It says *that* something changed, for a look at what is in force: never what.
pub struct DriftWatch {
    socket: TokioSocket,
    own: Vec<Authors>,
}

/// Somebody else changed nftables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drift {
    /// One transaction.
    Changed {
        /// The kernel's number of the state behind it.
        generation: Option<u32>,
        /// Who did it: the thread's number as the first PID namespace has it.
        pid: Option<u32>,
        /// Its name: `nft`, `iptables-restore`.
        process: Option<String>,
    },
    /// So many that the kernel kept no account of them.
    Missed,
}

impl DriftWatch {
    /// Watches the network namespace of the calling thread. Nothing is taken for one's own;
    /// [`Nftables::watch`](super::Nftables::watch) and [`Iptables::watch`](super::Iptables::watch) leave out what
    /// those handles change.
    ///
    /// # Errors
    /// The kernel has no such socket.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub fn open() -> io::Result<Self> {
        Self::beside(Authors::default())
    }

    /// The same without the changes of these authors.
    pub(super) fn beside(own: Authors) -> io::Result<Self> {
        Ok(Self { socket: subscribe()?, own: vec![own] })
    }

    /// The same without the changes of more authors.
    pub(crate) fn ignoring(mut self, own: impl IntoIterator<Item = Authors>) -> Self {
        self.own.extend(own);
        self
    }

    /// Waits for the next change by somebody else.
    ///
    /// # Errors
    /// The socket failed, and no more can be learned from it.
    ///
    /// # Cancel safety
    /// Nothing is lost where the future is dropped.
    pub async fn next(&mut self) -> io::Result<Drift> {
        loop {
            // A notice is some 60 bytes long.
            let mut datagram = Vec::with_capacity(4096);
            if let Err(error) = self.socket.recv(&mut datagram).await {
                let overrun = error.raw_os_error() == Some(Errno::ENOBUFS as i32);
                return if overrun { Ok(Drift::Missed) } else { Err(error) };
            }
            if let Some(drift) = replies(&datagram).find_map(|reply| self.foreign(&reply)) {
                return Ok(drift);
            }
        }
    }

    /// The author of a change is the port of the socket that made it. The process's number wouldn't do: it is the
    /// thread's, and that of another PID namespace.
    fn foreign(&self, reply: &Reply<'_>) -> Option<Drift> {
        match reply {
            Reply::Message { kind: NEWGEN, port, attrs, .. }
                if !self.own.iter().any(|own| own.has(*port)) =>
            {
                Some(Drift::Changed {
                    generation: attrs.be32(NFTA_GEN_ID),
                    pid: attrs.be32(NFTA_GEN_PROC_PID),
                    process: attrs.find(NFTA_GEN_PROC_NAME).map(text),
                })
            }
            _ => None,
        }
    }
}

impl fmt::Debug for DriftWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriftWatch").field("own", &self.own).finish_non_exhaustive()
    }
}

/// A socket that hears of new generations alone.
///
/// The group also tells of every rule and element: 10,000 of our own would overrun the socket, and be taken for
/// somebody else's. So a filter drops everything else before it is queued. New generations come in datagrams of
/// their own.
fn subscribe() -> io::Result<TokioSocket> {
    const LOAD_HALF_WORD: u16 = 0x28;
    const JUMP_UNLESS_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const TYPE_OFFSET: u32 = 4;
    // The filter reads in network order what the kernel wrote in the host's.
    let newgen = u16::from_be_bytes(NEWGEN.to_ne_bytes());
    let filter = [
        SockFilter::new(LOAD_HALF_WORD, 0, 0, TYPE_OFFSET),
        SockFilter::new(JUMP_UNLESS_EQUAL, 0, 1, newgen.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ];
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    SockRef::from(socket.socket_ref()).attach_filter(&filter)?;
    socket.socket_mut().bind_auto()?;
    socket.socket_mut().add_membership(GROUP)?;
    Ok(socket)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}
