//! UDP sockets: what is set on them, and how datagrams go in and out of them.
//!
//! The system calls are those of `quinn-udp`: it receives in batches (`recvmmsg`), knows which address of this host a
//! datagram came to, and has the kernel put datagrams together and cut them apart (GRO, GSO), without allocating and
//! behind a safe interface. nix has `recvmmsg` too, but headers of it cannot be used twice, and its `sendmsg` allocates.
//! Neither has a `sendmmsg` with a source address for each datagram: replies to different clients leave one by one.
//! What `quinn-udp` sets on a socket is for QUIC: it forbids fragments, and a datagram of 65,507 bytes is nothing but
//! fragments. So it gets to see a socket for trials alone, and ours are set here.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    sync::OnceLock,
};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::SockRef;

use super::{
    Carried,
    batch::Datagrams,
    cutting::{Cutting, dispatch},
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

/// Sends to a client, from the address that it had written to.
pub(super) fn send_from(
    socket: &impl AsFd,
    (from, to): (IpAddr, SocketAddr),
    datagrams: Datagrams<'_>,
    cutting: &mut Cutting,
) -> Carried {
    let from = Some(from).filter(|from| !from.is_unspecified());
    dispatch(datagrams, cutting, |bytes, size| {
        match transmit(socket, to, from, bytes, size) {
            // The client wrote to a broadcast or multicast address: nothing can be sent from there.
            Err(error) if size.is_none() && is_no_source(&error) => {
                transmit(socket, to, None, bytes, size)
            }
            sent => sent,
        }
    })
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

fn is_no_source(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::AddrNotAvailable)
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
