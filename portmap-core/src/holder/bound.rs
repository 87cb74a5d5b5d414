//! TCP sockets that are bound and neither listen nor are connected: no table in `/proc` has them. `sock_diag(7)` lists them, from
//! Linux 6.8 on; older kernels know no such state and list nothing.

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{HolderState, table::Row};

// From linux/netlink.h, linux/sock_diag.h and net/tcp_states.h.
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_AND_DUMP: u16 = 0x301;
const IPPROTO_TCP: u8 = 6;
const TCPF_BOUND_INACTIVE: u32 = 1 << 13;
const FAMILIES: [u8; 2] = [2, 10];

/// A message's head, and behind it `struct inet_diag_req_v2` with an empty `struct inet_diag_sockid`.
const HEAD: usize = 16;
const REQUEST: usize = HEAD + 56;
/// Behind the head: `struct inet_diag_msg`.
const ANSWER: usize = HEAD + 72;

/// Those of the calling thread's network namespace; none where the kernel does not tell.
pub(super) fn rows() -> Vec<Row> {
    FAMILIES.into_iter().flat_map(|family| list(family).unwrap_or_default()).collect()
}

fn list(family: u8) -> io::Result<Vec<Row>> {
    let kind = Type::DGRAM.cloexec();
    let mut socket =
        Socket::new(Domain::from(AF_NETLINK), kind, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    socket.send(&request(family))?;
    let (mut rows, mut buffer) = (Vec::new(), vec![0; 32 * 1024]);
    loop {
        let length = socket.read(&mut buffer)?;
        let mut rest = &buffer[..length];
        while let Some((message, others)) = split(rest) {
            // Anything else is the end: an error, or that there are no more.
            if u16_at(message, 4) != Some(SOCK_DIAG_BY_FAMILY) {
                return Ok(rows);
            }
            rows.extend(parse(message));
            rest = others;
        }
    }
}

fn request(family: u8) -> [u8; REQUEST] {
    let mut request = [0; REQUEST];
    request[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST_AND_DUMP.to_ne_bytes());
    request[HEAD] = family;
    request[HEAD + 1] = IPPROTO_TCP;
    request[HEAD + 4..HEAD + 8].copy_from_slice(&TCPF_BOUND_INACTIVE.to_ne_bytes());
    request
}

/// The first message, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let message = bytes.get(..length).filter(|message| message.len() >= HEAD)?;
    Some((message, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn parse(message: &[u8]) -> Option<Row> {
    let message = message.get(..ANSWER)?;
    let port = u16::from_be_bytes(message[HEAD + 4..HEAD + 6].try_into().ok()?);
    let source = &message[HEAD + 8..HEAD + 24];
    let ip = match message[HEAD] {
        2 => IpAddr::from(<[u8; 4]>::try_from(&source[..4]).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(source).ok()?),
    };
    Some(Row {
        addr: SocketAddr::new(ip.to_canonical(), port),
        state: HolderState::Bound,
        uid: u32_at(message, HEAD + 64)?,
        inode: u32_at(message, HEAD + 68)?.into(),
    })
}

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(place..place + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(place..place + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_short_is_none() {
        let mut message = vec![0; ANSWER];
        message[0] = ANSWER as u8;
        message[HEAD] = 2;
        assert!(parse(&message).is_some());
        assert_eq!(parse(&message[..ANSWER - 1]), None);
        assert_eq!(split(&message[..ANSWER - 1]), None);
        assert_eq!(split(&[]), None);
        // A length that is none, which would be read for ever.
        assert_eq!(split(&[0; 64]), None);
    }
}
