//! Packets that connection tracking makes nothing of, and NAT passes by.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use nix::sys::socket::{SockaddrStorage, recvfrom};
use portmap::{
    BoxError, HybridMapper, PortMapper, ProxyMapper,
    rules::{InvalidPackets, Loopback, Policy},
};
use portmap_testkit::{Node, Suite};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    nat::{Nat, for_each_layout},
    support::{dual, request},
};

pub(crate) fn tests(suite: &mut Suite) {
    for_each_layout(suite, |test| {
        test("a_segment_beyond_the_window_ends_no_connection", |policy| {
            Box::pin(to_published_port(policy))
        });
        test("a_segment_beyond_the_window_is_the_proxys_where_that_serves", |policy| {
            Box::pin(to_proxy(policy))
        });
        test("what_nat_passes_by_is_left_alone_where_the_policy_says_so", |policy| {
            Box::pin(left(policy))
        });
        test("no_container_speaks_to_the_host_as_loopback", |policy| Box::pin(as_loopback(policy)));
        test("no_segment_leaves_with_a_containers_own_address", |policy| {
            Box::pin(from_container(policy))
        });
    });
}

/// For how long anything is waited for.
const LIMIT: Duration = Duration::from_secs(5);
/// Further than any window reaches that was not scaled up by a long transfer.
const BEYOND: u32 = 1 << 26;

async fn to_published_port(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let lease = nat.publish(&nat.web, &["8080:80"]).await?;
    for host in [nat.lab.host().addr4().into(), nat.lab.host().addr6().into()] {
        let to = SocketAddr::new(host, 8080);
        on(nat.lab.client(), move || {
            let mut call = Call::new(to)?;
            call.begin()?;
            call.as_client(BEYOND).send()?;
            call.end()
        })
        .await?;
        // The host's own calls go by NAT too.
        on(nat.lab.host(), move || {
            let mut call = Call::new(to)?;
            call.begin()?;
            call.as_client(BEYOND).send()?;
            call.end()
        })
        .await?;
    }
    lease.release().await?;
    Ok(())
}

/// What NAT leaves to the proxy's sockets is theirs to judge: they answer such a segment, and the call goes on.
async fn to_proxy(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { loopback: Loopback::Proxy, ..policy }).await?;
    let mapper = HybridMapper::new(ProxyMapper::new(), nat.mapper.clone());
    let request = request(dual(&nat.web), &["8080:80"])?;
    let lease = nat.lab.host().run(async move { mapper.publish(request).await }).await?;
    let (host4, host6) = (nat.lab.host().addr4().into(), nat.lab.host().addr6().into());
    let (local4, local6) = ("127.0.0.1".parse()?, "::1".parse()?);
    let calls: [(&Node, IpAddr); 4] = [
        (nat.lab.host(), local4),
        (nat.lab.host(), local6),
        (&nat.other, host4),
        (&nat.other, host6),
    ];
    for (from, host) in calls {
        let to = SocketAddr::new(host, 8080);
        on(from, move || {
            let mut call = Call::new(to)?;
            call.as_client(BEYOND).send()?;
            call.is_answered()?;
            call.begin()?;
            call.end()
        })
        .await
        .map_err(|error| format!("{} to {host}: {error}", from.name()))?;
    }
    // Beside it, NAT serves the outside client.
    for host in [host4, host6] {
        let to = SocketAddr::new(host, 8080);
        on(nat.lab.client(), move || {
            let mut call = Call::new(to)?;
            call.begin()?;
            call.as_client(BEYOND).send()?;
            call.end()
        })
        .await?;
    }
    lease.release().await?;
    Ok(())
}

async fn from_container(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let lease = nat.publish(&nat.web, &["8080:80"]).await?;
    let ends = [
        (nat.lab.host().addr4().into(), IpAddr::from(nat.web.addr4())),
        (nat.lab.host().addr6().into(), nat.web.addr6().into()),
    ];
    for (host, container) in ends {
        let to = SocketAddr::new(host, 8080);
        let (call, segment) = on(nat.lab.client(), move || {
            let mut call = Call::new(to)?;
            call.begin()?;
            let segment = call.as_server(SocketAddr::new(container, 80), BEYOND);
            Ok((call, segment))
        })
        .await?;
        on(&nat.web, move || segment.send()).await?;
        // What the container sent before comes before its answer.
        let sources = on(nat.lab.client(), move || {
            let mut call = call;
            call.end()?;
            call.sources()
        })
        .await?;
        assert!(sources.contains(&host) && !sources.contains(&container), "{sources:?}");
    }
    lease.release().await?;
    Ok(())
}

/// As the kernel does it by itself: the host resets the call.
async fn left(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(Policy { invalid: InvalidPackets::Leave, ..policy }).await?;
    let lease = nat.publish(&nat.web, &["8080:80"]).await?;
    let to = nat.at(8080);
    let cut = on(nat.lab.client(), move || {
        let mut call = Call::new(to)?;
        call.begin()?;
        call.as_client(BEYOND).send()?;
        Ok(call.end().is_err())
    });
    assert!(cut.await?);
    lease.release().await?;
    Ok(())
}

/// A bridge that routes 127.0.0.0/8, and nothing that filters reverse paths.
async fn as_loopback(policy: Policy) -> Result<(), BoxError> {
    let nat = Nat::new(policy).await?;
    let (host, gateway) = (nat.lab.host(), nat.docker0.gateway4());
    assert_eq!(host.read_sysctl("net/ipv4/conf/docker0/route_localnet").await?.trim(), "1");
    let socket = host.run(async { tokio::net::UdpSocket::bind("0.0.0.0:9999").await }).await?;
    on(&nat.web, move || {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?;
        raw.send_to(
            &datagram([127, 0, 0, 2], gateway.octets()),
            &SocketAddr::from((gateway, 0)).into(),
        )?;
        // What comes behind it is taken.
        let honest = std::net::UdpSocket::bind("0.0.0.0:0")?;
        honest.send_to(b"honest", (gateway, 9999)).map(drop)
    })
    .await?;
    let mut buffer = [0; 16];
    let (len, from) = tokio::time::timeout(LIMIT, socket.recv_from(&mut buffer)).await??;
    assert_eq!((&buffer[..len], from.ip()), (&b"honest"[..], nat.web.addr4().into()));
    Ok(())
}

/// `IPPROTO_RAW`: the header of the packet is the sender's, too.
const RAW: i32 = 255;

/// A datagram to port 9999, with the header of its packet. Its own checksum is left out, that of the packet is the kernel's.
fn datagram(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 30, 0, 7, 0, 0, 64, 17, 0, 0];
    bytes.extend(from.iter().chain(&to));
    for word in [5555_u16, 9999, 10, 0] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(b"hi");
    bytes
}

/// Runs what waits on the thread of a node; nothing else has to run there meanwhile.
async fn on<T: Send + 'static>(
    node: &Node,
    body: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BoxError> {
    let task = node.run(async move { tokio::task::spawn_blocking(body).await });
    Ok(task.await??)
}

/// A connection to a webapp, and copies of all segments that come to its host.
struct Call {
    stream: TcpStream,
    copies: Socket,
    from: SocketAddr,
    to: SocketAddr,
    /// The next numbers of this side and of the other one.
    next: (u32, u32),
}

const BEGIN: &[u8] = b"GET / HTTP/1.0\r\n";

impl Call {
    fn new(to: SocketAddr) -> io::Result<Self> {
        let copies = Socket::new(Domain::for_address(to), Type::RAW, Some(Protocol::TCP))?;
        copies.set_read_timeout(Some(LIMIT))?;
        let stream = TcpStream::connect_timeout(&to, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let from = stream.local_addr()?;
        let mut call = Self { stream, copies, from, to, next: (0, 0) };
        let Copy { seq, ack, .. } = call.wait(|copy| copy.flags & SYN != 0)?;
        call.next = (ack, seq.wrapping_add(1));
        Ok(call)
    }

    /// Sends half a request: nobody answers yet.
    fn begin(&mut self) -> io::Result<()> {
        self.stream.write_all(BEGIN)?;
        self.next.0 = self.next.0.wrapping_add(BEGIN.len() as u32);
        Ok(())
    }

    /// Sends the rest, and has the whole answer.
    fn end(&mut self) -> io::Result<()> {
        self.stream.write_all(b"\r\n")?;
        let mut page = String::new();
        self.stream.read_to_string(&mut page)?;
        match page.contains("Remote IP: ") {
            true => Ok(()),
            false => Err(io::Error::other(format!("no page: {page:?}"))),
        }
    }

    /// Whether the other side says anything more.
    fn is_answered(&self) -> io::Result<()> {
        self.wait(|copy| copy.flags & SYN == 0).map(drop)
    }

    /// Who sent this side segments so far, by any port.
    fn sources(&self) -> io::Result<Vec<IpAddr>> {
        self.copies.set_nonblocking(true)?;
        let mut sources = Vec::new();
        loop {
            match self.copy() {
                Ok((addr, _)) => sources.push(addr),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(sources),
                Err(error) => return Err(error),
            }
        }
    }

    /// A segment of this side so far behind its last one.
    fn as_client(&self, beyond: u32) -> Segment {
        let (seq, ack) = self.next;
        Segment { from: self.from, to: self.to, seq: seq.wrapping_add(beyond), ack }
    }

    /// A segment of the other side, which has this address in truth.
    fn as_server(&self, addr: SocketAddr, beyond: u32) -> Segment {
        let (ack, seq) = self.next;
        Segment { from: addr, to: self.from, seq: seq.wrapping_add(beyond), ack }
    }

    fn wait(&self, is_it: impl Fn(&Copy) -> bool) -> io::Result<Copy> {
        loop {
            let (addr, copy) = self.copy()?;
            let is_ours = (addr, copy.ports) == (self.to.ip(), (self.to.port(), self.from.port()));
            if is_ours && is_it(&copy) {
                return Ok(copy);
            }
        }
    }

    /// The next copy, and whose it is.
    fn copy(&self) -> io::Result<(IpAddr, Copy)> {
        let mut buffer = [0; 2048];
        let (len, from) = recvfrom::<SockaddrStorage>(self.copies.as_raw_fd(), &mut buffer)?;
        let v4 = from.and_then(|from| Some(IpAddr::from(from.as_sockaddr_in()?.ip())));
        let v6 = || from.and_then(|from| Some(IpAddr::from(from.as_sockaddr_in6()?.ip())));
        let from = v4.or_else(v6).ok_or_else(|| io::Error::other("nobody's segment"))?;
        // Sockets of IPv4 get the header of the packet, too.
        let header = if from.is_ipv4() { usize::from(buffer[0] & 15) * 4 } else { 0 };
        Ok((from, Copy::read(&buffer[header..len])))
    }
}

const SYN: u8 = 2;
const ACK_AND_PUSH: u8 = 0x18;

/// What a segment says.
struct Copy {
    /// Its source and its destination.
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    flags: u8,
}

impl Copy {
    fn read(segment: &[u8]) -> Self {
        let two = |at: usize| u16::from_be_bytes([segment[at], segment[at + 1]]);
        let four = |at: usize| u32::from(two(at)) << 16 | u32::from(two(at + 2));
        Self { ports: (two(0), two(2)), seq: four(4), ack: four(8), flags: segment[13] }
    }
}

/// A segment to be sent, with data.
struct Segment {
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: u32,
}

impl Segment {
    fn send(&self) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(self.to), Type::RAW, Some(Protocol::TCP))?;
        socket.bind(&SocketAddr::new(self.from.ip(), 0).into())?;
        // In a raw socket's address a port is a protocol.
        socket.send_to(&self.bytes(), &SocketAddr::new(self.to.ip(), 0).into()).map(drop)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for port in [self.from.port(), self.to.port()] {
            bytes.extend(port.to_be_bytes());
        }
        for number in [self.seq, self.ack] {
            bytes.extend(number.to_be_bytes());
        }
        // 20 bytes of header, a window of 500; checksum and urgent pointer.
        bytes.extend([5 << 4, ACK_AND_PUSH, 1, 244, 0, 0, 0, 0]);
        bytes.extend([b'y'; 100]);
        let sum = self.checksum(&bytes).to_be_bytes();
        bytes[16..18].copy_from_slice(&sum);
        bytes
    }

    /// With the header that TCP thinks of before its own.
    fn checksum(&self, segment: &[u8]) -> u16 {
        let mut all = Vec::new();
        for addr in [self.from.ip(), self.to.ip()] {
            match addr {
                IpAddr::V4(addr) => all.extend(addr.octets()),
                IpAddr::V6(addr) => all.extend(addr.octets()),
            }
        }
        all.extend([0, 6]);
        all.extend((segment.len() as u16).to_be_bytes());
        all.extend(segment);
        let words = all.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let mut sum = words.sum::<u32>();
        while sum >> 16 > 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}
