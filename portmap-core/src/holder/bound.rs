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
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IPPROTO_TCP: u8 = 6;
const TCPF_BOUND_INACTIVE: u32 = 1 << 13;
const FAMILIES: [u8; 2] = [2, 10];

/// A message's head, and behind it `struct inet_diag_req_v2` with an empty `struct inet_diag_sockid`.
const HEAD: usize = 16;
const REQUEST: usize = HEAD + 56;
/// Behind the head: `struct inet_diag_msg`.
const ANSWER: usize = HEAD + 72;

/// How often a listing is begun that was changed meanwhile.
const TRIES: usize = 8;

/// Those of the calling thread's network namespace; none where the kernel does not tell.
pub(super) fn rows() -> Vec<Row> {
    FAMILIES.into_iter().flat_map(|family| list(family).unwrap_or_default()).collect()
}

fn list(family: u8) -> io::Result<Vec<Row>> {
    for _ in 0..TRIES {
        let kind = Type::DGRAM.cloexec().nonblocking();
        let mut socket =
            Socket::new(Domain::from(AF_NETLINK), kind, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
        socket.send(&request(family))?;
        // The kernel goes on as it is read: there is never anything to wait for.
        let mut buffer = vec![0; 32 * 1024];
        let listed = whole(|| socket.read(&mut buffer).map(|length| buffer[..length].to_vec()))?;
        if let Some(rows) = listed {
            return Ok(rows);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Reads a listing to its end; `None` where what is listed was changed meanwhile.
fn whole(mut datagram: impl FnMut() -> io::Result<Vec<u8>>) -> io::Result<Option<Vec<Row>>> {
    let (mut rows, mut consistent) = (Vec::new(), true);
    loop {
        let datagram = datagram()?;
        let mut rest = datagram.as_slice();
        while let Some((message, others)) = split(rest) {
            consistent &= u16_at(message, 6).is_some_and(|flags| flags & NLM_F_DUMP_INTR == 0);
            match u16_at(message, 4) {
                Some(SOCK_DIAG_BY_FAMILY) => rows.extend(parse(message)),
                // Both have a code: 0, or an error as a negative number.
                Some(NLMSG_DONE | NLMSG_ERROR) => {
                    return match u32_at(message, HEAD).map(u32::cast_signed) {
                        None | Some(0) => Ok(consistent.then_some(rows)),
                        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                    };
                }
                _ => {}
            }
            rest = others;
        }
        if !rest.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
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

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = (HEAD + body.len()) as u32;
        let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]];
        [&head.concat()[..], body].concat()
    }

    /// A socket, and the end of a listing with a code.
    fn socket(flags: u16) -> Vec<u8> {
        let mut body = [0; ANSWER - HEAD];
        body[0] = 2;
        message(SOCK_DIAG_BY_FAMILY, flags, &body)
    }

    fn done(flags: u16, code: i32) -> Vec<u8> {
        message(NLMSG_DONE, flags, &code.to_ne_bytes())
    }

    fn read(datagrams: Vec<Vec<u8>>) -> io::Result<Option<usize>> {
        let mut datagrams = datagrams.into_iter();
        let rows = whole(|| datagrams.next().ok_or(io::ErrorKind::WouldBlock.into()))?;
        Ok(rows.map(|rows| rows.len()))
    }

    #[test]
    fn a_listing_is_one_only_as_a_whole() {
        assert_eq!(read(vec![socket(0), [socket(0), done(0, 0)].concat()]).unwrap(), Some(2));
        // Changed meanwhile.
        assert_eq!(read(vec![socket(NLM_F_DUMP_INTR), done(0, 0)]).unwrap(), None);
        assert_eq!(read(vec![socket(0), done(NLM_F_DUMP_INTR, 0)]).unwrap(), None);
        // Failed half way, or in the beginning.
        for end in [done(0, -12), message(NLMSG_ERROR, 0, &(-12_i32).to_ne_bytes())] {
            let error = read(vec![socket(0), end]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(12));
        }
        // Without its end, or broken.
        assert_eq!(read(vec![socket(0)]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let broken = [socket(0), vec![1, 2, 3]].concat();
        assert_eq!(read(vec![broken]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
