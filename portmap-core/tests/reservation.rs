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
