//! The drop-in for docker-proxy, started the way dockerd does it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_portmap-docker-proxy");
const LIMIT: Duration = Duration::from_secs(5);

/// A started proxy and what dockerd holds of it.
struct Proxy {
    child: Child,
    status: io::PipeReader,
}

impl Proxy {
    /// Starts it with a pipe as descriptor 3 and, where one is given, a socket as descriptor 4.
    fn start(args: &str, socket: Option<OwnedFd>) -> Self {
        // A shell moves descriptors about without unsafe code.
        let handed = if socket.is_some() { "4<&0" } else { "" };
        let script = format!("exec \"$@\" 3>&1 {handed} </dev/null 1>&2");
        let (status, end) = io::pipe().unwrap();
        let child = Command::new("sh")
            .args(["-c", &script, "sh", PROGRAM])
            .args(args.split_whitespace())
            .stdin(socket.map_or_else(Stdio::null, Stdio::from))
            .stdout(end)
            .stderr(Stdio::piped())
            .spawn();
        Self { child: child.unwrap(), status }
    }

    /// Reads the status as dockerd does: two bytes, and the rest where they say that it failed.
    fn status(&mut self) -> Result<(), String> {
        let mut word = [0; 2];
        self.status.read_exact(&mut word).unwrap();
        if &word == b"0\n" {
            return Ok(());
        }
        assert_eq!(&word, b"1\n");
        let mut reason = String::new();
        self.status.read_to_string(&mut reason).unwrap();
        Err(reason)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < LIMIT, "it did not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn memory(&self) -> Memory {
        Memory::of(&self.child)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process takes, in KiB: all that is resident, and what is its own, without the program's file.
#[derive(Debug)]
struct Memory {
    resident: u64,
    own: u64,
}

impl Memory {
    fn of(child: &Child) -> Self {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let amount = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self { resident: amount("VmRSS:"), own: amount("RssAnon:") }
    }
}

/// A container that answers each connection and each datagram with what it was asked.
fn container(ip: &str) -> SocketAddr {
    let ip: IpAddr = ip.parse().unwrap();
    let (listener, socket) = loop {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
            break (listener, socket);
        }
    };
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], from).unwrap();
        }
    });
    addr
}

fn free(ip: &str, protocol: &str) -> u16 {
    let ip: IpAddr = ip.parse().unwrap();
    match protocol {
        "tcp" => TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port(),
        _ => UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port(),
    }
}

fn assert_answers(protocol: &str, to: SocketAddr) {
    let mut heard = [0; 5];
    if protocol == "tcp" {
        let mut client = TcpStream::connect(to).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut heard).unwrap();
    } else {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = UdpSocket::bind(any).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.connect(to).unwrap();
        client.send(b"hello").unwrap();
        assert_eq!(client.recv(&mut heard).unwrap(), 5);
    }
    assert_eq!(&heard, b"hello");
}

fn flags(protocol: &str, host: SocketAddr, container: SocketAddr) -> String {
    format!(
        "-proto {protocol} -host-ip {} -host-port {} -container-ip {} -container-port {}",
        host.ip(),
        host.port(),
        container.ip(),
        container.port()
    )
}

#[test]
fn it_binds_the_port_itself_where_it_is_handed_none() {
    for protocol in ["tcp", "udp"] {
        for (host_ip, container_ip) in [("127.0.0.1", "127.0.0.1"), ("::1", "127.0.0.1")] {
            let host = SocketAddr::new(host_ip.parse().unwrap(), free(host_ip, protocol));
            let args = flags(protocol, host, container(container_ip));
            let mut proxy = Proxy::start(&args, None);
            proxy.status().unwrap();
            assert_answers(protocol, host);
            proxy.signal(Signal::INT);
            assert_eq!(proxy.wait().code(), Some(0), "{args}");
        }
    }
}

#[test]
fn it_serves_the_socket_that_it_is_handed() {
    for host_ip in ["127.0.0.1", "::1"] {
        let listener = TcpListener::bind((host_ip, 0)).unwrap();
        let datagrams = UdpSocket::bind((host_ip, 0)).unwrap();
        let sockets = [
            ("tcp", listener.local_addr().unwrap(), OwnedFd::from(listener)),
            ("udp", datagrams.local_addr().unwrap(), OwnedFd::from(datagrams)),
        ];
        for (protocol, host, socket) in sockets {
            let args = flags(protocol, host, container(host_ip));
            let mut proxy = Proxy::start(&format!("{args} -use-listen-fd"), Some(socket));
            proxy.status().unwrap();
            assert_answers(protocol, host);
            assert_answers(protocol, host);
            proxy.signal(Signal::TERM);
            assert_eq!(proxy.wait().code(), Some(0), "{args}");
            let again = match protocol {
                "tcp" => TcpListener::bind(host).map(drop),
                _ => UdpSocket::bind(host).map(drop),
            };
            again.expect("the port is not free");
        }
    }
}

#[test]
fn what_keeps_it_from_starting_is_said_on_the_pipe() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = holder.local_addr().unwrap();
    let container = "192.0.2.2:80".parse().unwrap();
    let in_use = format!("{held}/tcp is in use by ");
    let good = flags("tcp", "127.0.0.1:1".parse().unwrap(), container);
    let cases = [
        (flags("tcp", held, container), in_use.as_str()),
        (flags("tcp", "192.0.2.1:80".parse().unwrap(), container), "not an address of this host"),
        (flags("sctp", held, container), "the proxy does not serve sctp"),
        (flags("icmp", held, container), "protocol \"icmp\" is not tcp, udp or sctp"),
        (flags("tcp", held, "0.0.0.0:80".parse().unwrap()), "cannot be the address of a container"),
        ("-container-ip 192.0.2.2 -container-port 80".to_owned(), "-host-port is missing"),
        (format!("{good} -use-listen-fd"), "descriptor 4 is not a socket"),
    ];
    for (args, reason) in cases {
        let mut proxy = Proxy::start(&args, None);
        let said = proxy.status().expect_err(&args);
        assert!(said.contains(reason), "{args}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(proxy.wait().code(), Some(1), "{args}");
    }
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::start(&format!("{good} -use-listen-fd"), Some(datagrams.into()));
    assert_eq!(proxy.status().unwrap_err(), "descriptor 4 is not a tcp socket");
}

#[test]
fn flags_that_cannot_be_read_end_it_with_2_and_its_version_with_0() {
    let run = |args: &[&str]| Command::new(PROGRAM).args(args).output().unwrap();
    let bad = run(&["-nonsense"]);
    assert_eq!(bad.status.code(), Some(2));
    let said = String::from_utf8(bad.stderr).unwrap();
    assert!(said.starts_with("flag provided but not defined: -nonsense\nUsage of"), "{said}");
    for flag in ["-v", "--version"] {
        let version = run(&[flag]);
        assert_eq!(version.status.code(), Some(0));
        assert!(version.stdout.starts_with(b"portmap-docker-proxy version "));
    }
}

/// dockerd ends its proxies one after the other: what one takes all of them take.
#[test]
fn a_connection_without_anything_under_way_ends_in_order_and_at_once() {
    // The best of some: the machine may be busy.
    let took = (0..5).map(|_| {
        let host = SocketAddr::from(([127, 0, 0, 1], free("127.0.0.1", "tcp")));
        let mut proxy = Proxy::start(&flags("tcp", host, container("127.0.0.1")), None);
        proxy.status().unwrap();
        let mut client = TcpStream::connect(host).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        let begin = Instant::now();
        proxy.signal(Signal::TERM);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(proxy.wait().code(), Some(0));
        begin.elapsed()
    });
    let best = took.min().unwrap();
    assert!(best < Duration::from_millis(50), "{best:?}");
}

#[test]
fn what_a_container_said_before_it_ended_outlives_the_proxy() {
    for size in [10_000, 300_000, 1_000_000] {
        let container = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = SocketAddr::from(([127, 0, 0, 1], free("127.0.0.1", "tcp")));
        let mut proxy = Proxy::start(&flags("tcp", host, container.local_addr().unwrap()), None);
        proxy.status().unwrap();
        let mut client = TcpStream::connect(host).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"x").unwrap();
        let (mut endpoint, _) = container.accept().unwrap();
        endpoint.read_exact(&mut [0]).unwrap();
        // The client reads nothing yet: it waits in the buffers of the kernel, and perhaps of the proxy.
        endpoint.write_all(&vec![7; size]).unwrap();
        drop((endpoint, container));
        proxy.signal(Signal::INT);
        assert_eq!(proxy.wait().code(), Some(0));
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).expect("all of it, and then the end");
        assert_eq!(heard.len(), size);
    }
}

#[test]
fn it_takes_less_memory_than_docker_proxy() {
    let container = container("127.0.0.1");
    for protocol in ["tcp", "udp"] {
        let host = SocketAddr::from(([127, 0, 0, 1], free("127.0.0.1", protocol)));
        let mut proxy = Proxy::start(&flags(protocol, host, container), None);
        proxy.status().unwrap();
        for _ in 0..10 {
            assert_answers(protocol, host);
        }
        let ours = proxy.memory();
        let Some(theirs) = docker_proxy(protocol, container) else {
            eprintln!("{protocol}, in KiB: {ours:?}; no docker-proxy to compare with");
            continue;
        };
        eprintln!("{protocol}, in KiB: {ours:?}, docker-proxy {theirs:?}");
        assert!(ours.own < theirs.own);
        // Of a build that is not optimised, it is the program's file that is large.
        assert!(cfg!(debug_assertions) || ours.resident < theirs.resident);
    }
}

/// The same of docker-proxy, where the machine has one.
fn docker_proxy(protocol: &str, container: SocketAddr) -> Option<Memory> {
    let places = ["/usr/sbin/docker-proxy", "/usr/bin/docker-proxy"];
    let program = places.into_iter().find(|place| fs::exists(place).unwrap_or(false))?;
    let host = SocketAddr::from(([127, 0, 0, 1], free("127.0.0.1", protocol)));
    let mut child = Command::new("sh")
        .args(["-c", "exec \"$@\" 3>&1", "sh", program])
        .args(flags(protocol, host, container).split_whitespace())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    for _ in 0..10 {
        assert_answers(protocol, host);
    }
    let memory = Memory::of(&child);
    child.kill().unwrap();
    child.wait().unwrap();
    Some(memory)
}
