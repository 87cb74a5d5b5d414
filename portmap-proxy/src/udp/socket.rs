//! UDP sockets: what is set on them, and how datagrams go in and out of them.
//!
//! The system calls are those of `quinn-udp`: it receives in batches (`recvmmsg`), knows which address of this host a
//! datagram came to, and has the kernel put datagrams together and cut them apart (GRO, GSO), without allocating and
//! behind a safe interface. nix has `recvmmsg` too, but headers of it cannot be used twice, and its `sendmsg` allocates.
//! Neither has a `sendmmsg` with a source address for each datagram: replies to different clients leave one by one.
//! What `quinn-udp` sets on a socket is for QUIC: it forbids fragments, and a datagram of 65,507 bytes is nothing but
//! fragments. So it gets to see a socket for trials alone, and ours are set here.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    sync::OnceLock,
};

use nix::{
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt, sockopt},
};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::{io::Errno, net::sockopt::set_socket_recv_buffer_size_force};
use socket2::SockRef;

use super::{
    Carried,
    batch::Datagrams,
    cutting::{Cutting, dispatch},
    ends::Way,
    host::is_own,
};

/// What a listener's socket holds while nobody reads, in bytes: about 10,000 small datagrams. The kernel doubles it and
/// counts 768 for each.
const LISTENER_BUFFER: usize = 4 * 1024 * 1024;
/// The same for the socket of a session. Each session has one, and a container can fill all of its own.
const SESSION_BUFFER: usize = 1024 * 1024;

/// How often a send is tried again that failed for an earlier datagram.
const REPEATS: usize = 2;

/// What the kernel can do; the same for every socket.
static KERNEL: OnceLock<UdpSocketState> = OnceLock::new();

/// Sets what a published port needs: room for a burst, and to be told which address of the host each datagram was
/// sent to.
pub(super) fn tune_listener(socket: &impl AsFd) -> io::Result<()> {
    kernel()?;
    if SockRef::from(socket).local_addr()?.is_ipv6() {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    // A socket that somebody else has bound may be allowed to: then a source that is a subnet's
    // broadcast address would have an answer sent to all of its hosts.
    SockRef::from(socket).set_broadcast(false)?;
    tune(socket, LISTENER_BUFFER);
    // Replies of all sessions leave from it.
    let _ = SockRef::from(socket).set_send_buffer_size(LISTENER_BUFFER);
    Ok(())
}

/// Sets what the socket of a session needs.
pub(super) fn tune_session(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_nonblocking(true)?;
    tune(socket, SESSION_BUFFER);
    Ok(())
}

fn tune(socket: &impl AsFd, buffer: usize) {
    // Without CAP_NET_ADMIN it is net.core.rmem_max that bounds it. Less than wanted is no reason to fail.
    if set_socket_recv_buffer_size_force(socket, buffer).is_err() {
        let _ = SockRef::from(socket).set_recv_buffer_size(buffer);
    }
    // Linux has it since 5.0.
    let _ = setsockopt(socket, sockopt::UdpGroSegment, &true);
}

fn kernel() -> io::Result<&'static UdpSocketState> {
    match KERNEL.get() {
        Some(kernel) => Ok(kernel),
        None => {
            let trial = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            let kernel = UdpSocketState::new((&trial).into())?;
            Ok(KERNEL.get_or_init(|| kernel))
        }
    }
}

pub(super) fn receive(
    socket: &impl AsFd,
    buffers: &mut [IoSliceMut<'_>],
    metas: &mut [RecvMeta],
) -> io::Result<usize> {
    kernel()?.recv(socket.into(), buffers, metas)
}

/// Sends to a session's container. What the kernel does not take at once is lost, as on any link that is full.
pub(super) fn send(socket: &UdpSocket, datagrams: Datagrams<'_>, cutting: &mut Cutting) -> Carried {
    dispatch(datagrams, cutting, |bytes, size| {
        again(|| match size {
            None => socket.send(bytes).map(drop),
            Some(_) => transmit(socket, socket.peer_addr()?, None, bytes, size),
        })
    })
}

/// Sends to a client, by the first of these ways that is one: from the address that it had written
/// to, mostly.
pub(super) fn send_from(
    socket: &impl AsFd,
    to: SocketAddr,
    [way, other]: [Way; 2],
    datagrams: Datagrams<'_>,
    cutting: &mut Cutting,
) -> Carried {
    dispatch(datagrams, cutting, |bytes, size| match answer(socket, to, way, bytes, size) {
        // The client wrote to a subnet's broadcast address, or the address is this host's no more.
        Err(error) if size.is_none() && is_no_source(&error, way.from) => {
            answer(socket, to, other, bytes, size)
        }
        sent => sent,
    })
}

fn answer(
    socket: &impl AsFd,
    to: SocketAddr,
    way: Way,
    bytes: &[u8],
    size: Option<usize>,
) -> io::Result<()> {
    match (way.by, size) {
        (0, _) => transmit(socket, to, way.from, bytes, size),
        (by, None) => transmit_by(by, socket, to, way.from, bytes),
        // Seldom enough to leave one by one.
        (_, Some(_)) => Err(ErrorKind::Unsupported.into()),
    }
}

/// Sends on a connected socket. An ICMP error that an earlier datagram met is reported to whichever call comes next,
/// in place of what that should do: this datagram was not sent yet.
fn again(send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let mut sent = send();
    for _ in 0..REPEATS {
        match &sent {
            Err(error) if error.kind() != ErrorKind::WouldBlock => sent = send(),
            _ => break,
        }
    }
    sent
}

fn transmit(
    socket: &impl AsFd,
    destination: SocketAddr,
    src_ip: Option<IpAddr>,
    contents: &[u8],
    segment_size: Option<usize>,
) -> io::Result<()> {
    let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip };
    kernel()?.try_send(socket.into(), &transmit)
}

/// Sends by an interface, from this address of it or from the one that the kernel takes.
/// `quinn-udp` knows no interface; this allocates, for those few who wrote to an address that means
/// something on one link alone.
fn transmit_by(
    interface: u32,
    socket: &impl AsFd,
    to: SocketAddr,
    from: Option<IpAddr>,
    contents: &[u8],
) -> io::Result<()> {
    let (socket, contents) = (socket.as_fd().as_raw_fd(), [IoSlice::new(contents)]);
    let message = |how: ControlMessage<'_>| {
        let to = SockaddrStorage::from(to);
        sendmsg(socket, &contents, &[how], MsgFlags::empty(), Some(&to)).map(drop)
    };
    let sent = match to.ip().to_canonical() {
        IpAddr::V4(_) => {
            let from = from.map(|ip| ip.to_canonical());
            let Some(IpAddr::V4(from)) = from.or(Some(Ipv4Addr::UNSPECIFIED.into())) else {
                return Err(ErrorKind::InvalidInput.into());
            };
            message(ControlMessage::Ipv4PacketInfo(&in_pktinfo {
                ipi_ifindex: interface as i32,
                ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
                ipi_addr: in_addr { s_addr: 0 },
            }))
        }
        IpAddr::V6(_) => {
            let Some(IpAddr::V6(from)) = from.or(Some(Ipv6Addr::UNSPECIFIED.into())) else {
                return Err(ErrorKind::InvalidInput.into());
            };
            message(ControlMessage::Ipv6PacketInfo(&in6_pktinfo {
                ipi6_addr: in6_addr { s6_addr: from.octets() },
                ipi6_ifindex: interface,
            }))
        }
    };
    Ok(sent?)
}

/// Whether nothing can be sent from this address since it is none of this host's. Linux 6.18 calls
/// it unreachable, as it does a client to whom there is no route.
fn is_no_source(error: &io::Error, from: Option<IpAddr>) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::ADDRNOTAVAIL | Errno::NETUNREACH))
        && from.is_some_and(|from| !is_own(SocketAddr::new(from, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> Datagrams<'_> {
        Datagrams { bytes, size: bytes.len() }
    }

    #[test]
    fn the_error_that_one_datagram_met_does_not_cost_the_next_one() {
        let container = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = container.local_addr().unwrap();
        let session = UdpSocket::bind("127.0.0.1:0").unwrap();
        session.connect(addr).unwrap();
        drop(container);
        // On loopback the error is there when the call returns.
        assert_eq!(send(&session, one(b"lost"), &mut Cutting::default()).datagrams, 1);
        let container = UdpSocket::bind(addr).unwrap();
        assert_eq!(send(&session, one(b"not lost"), &mut Cutting::default()).datagrams, 1);
        let mut heard = [0; 16];
        let length = container.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"not lost");
    }

    #[test]
    fn what_the_kernel_does_not_cut_apart_is_sent_one_by_one() {
        let container = UdpSocket::bind("127.0.0.1:0").unwrap();
        let session = UdpSocket::bind("127.0.0.1:0").unwrap();
        session.connect(container.local_addr().unwrap()).unwrap();
        let mut cutting = Cutting::default();
        let bytes = vec![7; 60_000];
        // 150 pieces are more than any kernel cuts.
        for size in [30_000, 1000, 400] {
            let datagrams = Datagrams { bytes: &bytes, size };
            let sent = send(&session, datagrams, &mut cutting);
            assert_eq!(sent, Carried::new(datagrams.count(), bytes.len()), "{size}");
            for datagram in datagrams.iter() {
                let mut heard = vec![0; 65_536];
                let length = container.recv(&mut heard).unwrap();
                assert_eq!(length, datagram.len());
            }
        }
    }
}
