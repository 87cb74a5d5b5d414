//! Host ports, as the kernel gives them: all of a request or none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::ErrorKind as Io,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use portmap_core::{
    Binding, ErrorKind, HostAddr, HostIp, HostPort, Mapping, Port, PortRange, PortSpec, Protocol,
    Publish, Reservation, Reserved,
};
use socket2::{Domain, Socket, Type};

fn request(specs: &[String]) -> Publish {
    specs.iter().fold(Publish::new([192, 0, 2, 2]), |request, spec| {
        request.with(spec.parse::<PortSpec>().unwrap())
    })
}

async fn reserve(specs: &[String]) -> Reservation {
    Reservation::take(&request(specs)).await.unwrap()
}

async fn refusal(specs: &[String]) -> portmap_core::Error {
    Reservation::take(&request(specs)).await.expect_err("it was reserved")
}

fn first_port(binding: &Binding) -> u16 {
    binding.host_ports().first().number()
}

/// A port that is free now, and most likely stays so.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn can_bind(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[tokio::test]
async fn one_conflict_leaves_nothing_reserved() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let free = free_port();
    let error =
        refusal(&[format!("127.0.0.1:{free}:80"), format!("127.0.0.1:{taken_port}:81")]).await;
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(can_bind(free), "the other port of the request is still held");
}

#[tokio::test]
async fn a_conflict_names_who_holds_the_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    let expected = format!("{addr}/tcp is in use by {} (pid {})", name.trim(), std::process::id());
    for host in ["", "127.0.0.1:", "0.0.0.0:"] {
        let error = refusal(&[format!("{host}{}:80", addr.port())]).await;
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::AddrInUse, expected.clone()));
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = udp.local_addr().unwrap();
    let error = refusal(&[format!("127.0.0.1:{}:80/udp", addr.port())]).await;
    assert!(error.to_string().starts_with(&format!("{addr}/udp is in use by")), "{error}");
}

#[tokio::test]
async fn a_conflict_with_one_of_its_own_names_the_binding() {
    for protocol in ["tcp", "udp"] {
        let held = reserve(&[format!("127.0.0.1::80/{protocol}")]).await;
        let binding = held.bindings().next().unwrap().clone();
        let port = first_port(&binding);
        for host in ["", "127.0.0.1:", "0.0.0.0:"] {
            let error = refusal(&[format!("{host}{port}:81/{protocol}")]).await;
            let own = format!(
                ":{port}/{protocol} is in use by this process itself, which publishes {protocol} 127.0.0.1:{port}"
            );
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert!(error.to_string().ends_with(&own), "{error}");
        }
        // What is served is its own no less, whoever reserved it.
        let (_, sockets) = held.into_reserved().pop().unwrap().serve().unwrap();
        let error = refusal(&[format!("127.0.0.1:{port}:81/{protocol}")]).await;
        assert!(error.to_string().contains("by this process itself"), "{error}");
        drop(sockets);
        reserve(&[format!("127.0.0.1:{port}:81/{protocol}")]).await;
    }
}

/// How often another task of the same thread had its turn while a reservation failed.
async fn turns_during(specs: &[String]) -> (usize, portmap_core::Error) {
    let mut turns = 0;
    let others = async {
        loop {
            turns += 1;
            tokio::task::yield_now().await;
        }
    };
    let error = tokio::select! {
        biased;
        error = refusal(specs) => error,
        () = others => unreachable!("it has no end"),
    };
    (turns, error)
}

#[tokio::test]
async fn who_has_a_port_is_not_looked_for_on_the_executors_thread() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("{}:80", taken.local_addr().unwrap());
    let (turns, error) = turns_during(&[spec]).await;
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(turns > 0);
}

#[tokio::test]
async fn a_search_for_a_free_port_gives_others_their_turns() {
    let range = "127.0.0.3:24000-24199";
    let _held = reserve(&[format!("{range}:24000-24199")]).await;
    let (turns, error) = turns_during(&[format!("{range}:80")]).await;
    assert_eq!(error.to_string(), "no port of 24000-24199/tcp is free");
    assert!(turns >= 200 / 64, "{turns}");
}

#[tokio::test]
async fn what_is_reserved_nobody_else_can_have() {
    let specs =
        [format!("127.0.0.1:{}:80", free_port()), format!("127.0.0.1:{}:80/udp", free_port())];
    let reservation = reserve(&specs).await;
    assert_eq!(refusal(&specs[..1]).await.kind(), ErrorKind::AddrInUse);
    assert_eq!(refusal(&specs[1..]).await.kind(), ErrorKind::AddrInUse);
    drop(reservation);
    reserve(&specs).await;
}

#[tokio::test]
async fn a_reserved_port_refuses_until_it_is_served() {
    let reservation = reserve(&["127.0.0.1::80".into()]).await;
    let reserved = reservation.into_reserved().pop().unwrap();
    let addr: SocketAddr = ([127, 0, 0, 1], first_port(reserved.binding())).into();
    let error = TcpStream::connect_timeout(&addr, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), Io::ConnectionRefused);
    let (_, sockets) = reserved.serve().unwrap();
    TcpStream::connect_timeout(&addr, Duration::from_secs(5)).unwrap();
    drop(sockets);
}

#[tokio::test]
async fn a_door_that_is_closed_again_leaves_the_port_taken() {
    let reservation = reserve(&["127.0.0.1::80".into()]).await;
    let reserved = reservation.reserved()[0].clone();
    let addr: SocketAddr = ([127, 0, 0, 1], first_port(reserved.binding())).into();
    let (_, sockets) = reserved.serve().unwrap();
    let waiting = TcpStream::connect_timeout(&addr, Duration::from_secs(5)).unwrap();
    sockets[0].refuse();
    drop(sockets);
    let error = TcpStream::connect_timeout(&addr, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), Io::ConnectionRefused);
    drop(waiting);
    let spec = [format!("{addr}:80")];
    assert_eq!(refusal(&spec).await.kind(), ErrorKind::AddrInUse);
    // Neither can a program that sets SO_REUSEADDR itself, as this one does.
    assert_eq!(TcpListener::bind(addr).unwrap_err().kind(), Io::AddrInUse);
    drop(reservation);
    reserve(&spec).await;
}

#[tokio::test]
async fn only_one_serves_at_a_time() {
    for protocol in ["tcp", "udp"] {
        let reservation = reserve(&[format!("127.0.0.1::80-81/{protocol}")]).await;
        let reserved = reservation.reserved()[0].clone();
        let (_, first) = reserved.clone().serve().unwrap();
        assert_eq!(reserved.clone().serve().unwrap_err().kind(), ErrorKind::Busy);
        // As long as one of the sockets is left, somebody serves.
        let last = first[1].clone();
        drop(first);
        assert_eq!(reserved.clone().serve().unwrap_err().kind(), ErrorKind::Busy);
        drop(last);
        let (_, second) = reserved.clone().serve().unwrap();
        // A duplicate that was handed out is in use until it says otherwise.
        let given: Vec<_> = second.into_iter().map(|socket| socket.into_fd().unwrap()).collect();
        assert_eq!(reserved.serve().unwrap_err().kind(), ErrorKind::Busy);
        drop(given);
    }
}

#[tokio::test]
async fn who_stops_serving_closes_the_door_behind() {
    let reservation = reserve(&["127.0.0.1::80".into()]).await;
    let reserved = reservation.reserved()[0].clone();
    let addr: SocketAddr = ([127, 0, 0, 1], first_port(reserved.binding())).into();
    for _ in 0..2 {
        let (_, sockets) = reserved.clone().serve().unwrap();
        TcpStream::connect_timeout(&addr, Duration::from_secs(5)).unwrap();
        drop(sockets);
        let error = TcpStream::connect_timeout(&addr, Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), Io::ConnectionRefused);
    }
    // Whoever only keeps the port has no door to close.
    let (_, sockets) = reserved.clone().serve().unwrap();
    reserved.sockets()[0].refuse();
    TcpStream::connect_timeout(&addr, Duration::from_secs(5)).unwrap();
    drop(sockets);
}

/// Bound with SO_REUSEADDR, so that the second of two can be bound, and not listen beside the first.
fn shareable(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket
}

#[tokio::test]
async fn a_serve_that_fails_half_way_leaves_nobody_listening() {
    let first: SocketAddr = "127.0.0.4:24500".parse().unwrap();
    let one = shareable(first);
    let second = SocketAddr::new(first.ip(), first.port() + 1);
    let other = shareable(second);
    let two = shareable(second);
    other.listen(1).unwrap();
    let ports = "80-81".parse().unwrap();
    let (host, port) = (HostAddr::from(first.ip()), first.port().try_into().unwrap());
    let binding = Binding::new(Protocol::Tcp, host, port, [192, 0, 2, 2].into(), ports).unwrap();
    let reserved = Reserved::adopt(binding, vec![one.into(), two.into()]).unwrap();
    let error = reserved.clone().serve().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    let refused = TcpStream::connect_timeout(&first, Duration::from_millis(200)).unwrap_err();
    assert_eq!(refused.kind(), Io::ConnectionRefused);
    // And it can be tried again.
    drop(other);
    let (_, sockets) = reserved.serve().unwrap();
    TcpStream::connect_timeout(&first, Duration::from_secs(5)).unwrap();
    drop(sockets);
}

#[tokio::test]
async fn what_a_request_brings_reserved_is_not_taken_again() {
    let first = reserve(&["127.0.0.1::80".into(), "127.0.0.1::81/udp".into()]).await;
    let with = |request: Publish, reserved: &Reserved| request.with_reserved(reserved.clone());
    let request = first.reserved().iter().fold(Publish::new([192, 0, 2, 2]), with);
    let fresh = "127.0.0.1::82".parse::<PortSpec>().unwrap();
    let second = Reservation::take(&request.with(fresh)).await.unwrap();
    assert_eq!(second.reserved()[..2], *first.reserved());
    assert_eq!(second.reserved().len(), 3);
    let taken = format!("127.0.0.1:{}:80", first_port(first.reserved()[0].binding()));
    drop(first);
    assert_eq!(refusal(std::slice::from_ref(&taken)).await.kind(), ErrorKind::AddrInUse);
    drop(second);
    reserve(&[taken]).await;
}

#[tokio::test]
async fn a_wildcard_is_one_dual_stack_socket_a_port() {
    let reservation = reserve(&["80".into(), "81/udp".into()]).await;
    for reserved in reservation.into_reserved() {
        let (binding, sockets) = reserved.serve().unwrap();
        assert_eq!(binding.host_addr(), HostAddr::Any);
        let [socket] = sockets.as_slice() else { panic!("{} sockets", sockets.len()) };
        let socket = socket2::SockRef::from(socket);
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(addr, ([0_u16; 8], first_port(&binding)).into());
        assert!(!socket.only_v6().unwrap());
    }
}

#[tokio::test]
async fn an_unspecified_address_is_its_own_family_only() {
    let port = free_port();
    let both = [format!("0.0.0.0:{port}:80"), format!("[::]:{port}:80")];
    let reservation = reserve(&both).await;
    assert_eq!(reservation.bindings().count(), 2);
}

#[tokio::test]
async fn all_addresses_of_a_mapping_get_one_ephemeral_number() {
    let addrs = ["127.0.0.1", "127.0.0.2", "::1"].map(|addr| addr.parse::<HostIp>().unwrap());
    let ports: PortRange = "80-82".parse().unwrap();
    let mapping = Mapping::new(Protocol::Tcp, HostPort::Ephemeral, ports).unwrap();
    let mapping = addrs.into_iter().fold(mapping, Mapping::on);
    let request = Publish::new([192, 0, 2, 2]).with(mapping);
    let reservation = Reservation::take(&request).await.unwrap();
    let bindings: Vec<_> = reservation.bindings().collect();
    assert_eq!(bindings.len(), 3);
    assert!(bindings.iter().all(|binding| binding.host_ports() == bindings[0].host_ports()));
    assert_eq!(bindings[0].host_ports().len(), 3);
}

#[tokio::test]
async fn any_of_takes_the_lowest_free_port() {
    let taken = reserve(&["127.0.0.1:23450-23470:80".into()]).await;
    let first = first_port(taken.bindings().next().unwrap());
    let next = reserve(&["127.0.0.1:23450-23470:80".into()]).await;
    assert!(first_port(next.bindings().next().unwrap()) > first);
    drop(next);

    let only = format!("127.0.0.1:{first}-{}:80", first + 1);
    let blocked = reserve(&[format!("127.0.0.1:{}:80", first + 1)]).await;
    let error = refusal(&[only]).await;
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), format!("no port of {first}-{}/tcp is free", first + 1));
    assert!(std::error::Error::source(&error).is_some());
    drop(blocked);
}

#[tokio::test]
async fn no_mapping_takes_what_another_one_of_the_request_names() {
    let port = free_port();
    let last = port.saturating_add(5);
    let reservation =
        reserve(&[format!("127.0.0.1:{port}-{last}:80"), format!("127.0.0.1:{port}:81")]).await;
    let bindings: Vec<_> = reservation.bindings().collect();
    assert_eq!(bindings[1].host_ports(), PortRange::from(Port::try_from(port).unwrap()));
    assert_ne!(bindings[0].host_ports(), bindings[1].host_ports());
    assert_eq!(bindings[0].container_ports(), "80".parse().unwrap());
}

#[tokio::test]
async fn an_address_of_somebody_else_is_not_available() {
    for spec in ["192.0.2.77::80", "[2001:db8::77]::80"] {
        let error = refusal(&[spec.into()]).await;
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        assert!(error.to_string().ends_with("is not an address of this host"), "{error}");
    }
}

#[tokio::test]
async fn a_link_local_address_is_one_of_its_interface_alone() {
    let cases = [
        (
            "fe80::77%no-such",
            "fe80::77%no-such is not an address of this host: no interface no-such",
        ),
        ("fe80::77%0", "fe80::77%0 is not an address of this host: no interface 0"),
        ("fe80::77%lo", "fe80::77%lo is not an address of this host"),
        ("fe80::77%1", "fe80::77%1 is not an address of this host"),
    ];
    for (host, message) in cases {
        let error = refusal(&[format!("[{host}]::80"), "80".into()]).await;
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::AddrNotAvailable, message)
        );
    }
    let error = refusal(&["80".into(), "[fe80::77]::80".into()]).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn sctp_ports_are_held_without_a_socket() {
    let reservation = reserve(&["8080:80/sctp".into()]).await;
    let [reserved] = reservation.reserved() else { panic!("not one binding") };
    assert_eq!(first_port(reserved.binding()), 8080);
    assert!(reserved.sockets().is_empty());
}
