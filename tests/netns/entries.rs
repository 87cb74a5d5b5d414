//! Entries of connection tracking that nobody's packets made. The names are those of `linux/netfilter/nfnetlink_conntrack.h`.

use std::{
    io::{self, Read, Write},
    net::SocketAddrV4,
};

use portmap::BoxError;
use portmap_testkit::Node;
use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const NETLINK_NETFILTER: i32 = 12;
const IPCTNL_MSG_CT_NEW: u16 = 1 << 8;
/// `NLM_F_REQUEST`, `.._EXCL` and `.._CREATE`.
const MAKE: u16 = 0x601;
const NLM_F_ACK: u16 = 4;
const NESTED: u16 = 1 << 15;
/// `IPS_SEEN_REPLY`, `.._ASSURED` and `.._CONFIRMED`.
const STATUS: u32 = 2 | 4 | 8;
/// `TCP_CONNTRACK_ESTABLISHED`
const ESTABLISHED: u8 = 3;

/// How many requests are sent at once.
const BATCH: usize = 100;

/// Makes entries of TCP connections, each from a client to the host, which an endpoint answers.
pub(crate) async fn make(
    host: &Node,
    clients: impl IntoIterator<Item = SocketAddrV4>,
    to: SocketAddrV4,
    endpoint: SocketAddrV4,
) -> Result<(), BoxError> {
    let clients: Vec<_> = clients.into_iter().collect();
    let made = host.run(async move {
        let mut socket = Socket::new(
            Domain::from(AF_NETLINK),
            Type::RAW,
            Some(Protocol::from(NETLINK_NETFILTER)),
        )?;
        for batch in clients.chunks(BATCH) {
            let mut requests = Vec::new();
            for (place, client) in batch.iter().enumerate() {
                let is_last = place + 1 == batch.len();
                let flags = if is_last { MAKE | NLM_F_ACK } else { MAKE };
                requests.extend(request(flags, *client, to, endpoint));
            }
            socket.write_all(&requests)?;
            // The kernel has carried them out by now; the first answer is an error, or the last one's end.
            let mut answer = [0; 4096];
            let read = socket.read(&mut answer)?;
            let code = answer[..read].get(16..20).and_then(|code| code.try_into().ok());
            match i32::from_ne_bytes(code.ok_or(io::ErrorKind::InvalidData)?) {
                0 => {}
                errno => return Err(io::Error::from_raw_os_error(-errno)),
            }
        }
        Ok(())
    });
    Ok(made.await?)
}

fn request(flags: u16, client: SocketAddrV4, to: SocketAddrV4, endpoint: SocketAddrV4) -> Vec<u8> {
    let state = attr(4 | NESTED, &attr(1 | NESTED, &attr(1, &[ESTABLISHED])));
    let body = [
        // AF_INET
        vec![2, 0, 0, 0],
        tuple(1, client, to),
        tuple(2, endpoint, client),
        attr(3, &STATUS.to_be_bytes()),
        attr(7, &3600_u32.to_be_bytes()),
        state,
    ]
    .concat();
    let length = (16 + body.len()) as u32;
    let head = [
        &length.to_ne_bytes()[..],
        &IPCTNL_MSG_CT_NEW.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &[0; 8],
    ];
    [head.concat(), body].concat()
}

fn tuple(kind: u16, from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let ip = [attr(1, &from.ip().octets()), attr(2, &to.ip().octets())].concat();
    let proto =
        [attr(1, &[6]), attr(2, &from.port().to_be_bytes()), attr(3, &to.port().to_be_bytes())];
    attr(kind | NESTED, &[attr(1 | NESTED, &ip), attr(2 | NESTED, &proto.concat())].concat())
}

fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    let mut attr = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    attr.resize(attr.len().next_multiple_of(4), 0);
    attr
}
