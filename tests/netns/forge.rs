//! Datagrams with forged addresses, put on a link as frames.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{LinkAddr, bind},
};
use portmap::BoxError;
use portmap_testkit::Node;
use socket2::{Domain, Socket, Type};

const UDP: u8 = 17;

/// A node's end of a link, from where it sends whatever frames.
pub(crate) struct Forger {
    socket: Socket,
    own: [u8; 6],
    /// Who gets the frames.
    to: [u8; 6],
}

impl Forger {
    /// Sends by `eth0` of a node, to `link` of another one.
    pub(crate) async fn new(node: &Node, to: &Node, link: &'static str) -> Result<Self, BoxError> {
        let to = to.run(async move { mac(link) }).await?;
        let (to, opened) = (to.addr().ok_or("no MAC address")?, node.run(async { open() }).await?);
        let (socket, own) = opened;
        Ok(Self { socket, own: own.addr().ok_or("no MAC address")?, to })
    }

    /// Puts a datagram on the link. A source of the other family than the destination is written as
    /// v4-mapped.
    pub(crate) fn send(&self, source: SocketAddr, to: SocketAddr) -> io::Result<()> {
        let mut frame = [self.to, self.own].concat();
        match (source.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(ip)) => {
                let addrs = [from.octets(), ip.octets()].concat();
                let datagram = datagram(source.port(), to.port(), &addrs);
                let mut header = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, UDP, 0, 0];
                header[2..4].copy_from_slice(&(20 + datagram.len() as u16).to_be_bytes());
                header.extend(&addrs);
                let sum = checksum(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend([&[0x08, 0x00], header.as_slice(), &datagram].concat());
            }
            (from, ip) => {
                let octets = |ip: IpAddr| match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                let addrs = [octets(from), octets(ip)].concat();
                let datagram = datagram(source.port(), to.port(), &addrs);
                let [high, low] = (datagram.len() as u16).to_be_bytes();
                let header = [0x60, 0, 0, 0, high, low, UDP, 64];
                frame.extend([&[0x86, 0xdd], header.as_slice(), &addrs, &datagram].concat());
            }
        }
        self.socket.send(&frame).map(drop)
    }
}

fn open() -> io::Result<(Socket, LinkAddr)> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let own = mac("eth0")?;
    bind(socket.as_raw_fd(), &own)?;
    Ok((socket, own))
}

fn mac(link: &str) -> io::Result<LinkAddr> {
    let mut found = getifaddrs()?.filter(|one| one.interface_name == link);
    let mac = found.find_map(|one| one.address?.as_link_addr().copied());
    mac.ok_or_else(|| io::Error::other(format!("no link {link}")))
}

fn datagram(from: u16, to: u16, addrs: &[u8]) -> Vec<u8> {
    const TEXT: &[u8] = b"forged";
    let length = 8 + TEXT.len() as u16;
    let mut datagram = [from, to, length, 0].map(u16::to_be_bytes).concat();
    datagram.extend(TEXT);
    let pseudo = [addrs, &[0, UDP], &length.to_be_bytes(), &datagram].concat();
    datagram[6..8].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    datagram
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
