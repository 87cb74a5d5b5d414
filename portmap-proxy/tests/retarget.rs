//! Leading a published port to another container while clients come.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use portmap_core::{Endpoint, ErrorKind as Kind, Established, PortMapper};
use portmap_proxy::ProxyMapper;
use support::{addr, connect, container, publish, request, udp_container};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(5);

/// A container on this address that says who it is and closes.
async fn speaker(ip: &str, port: u16, name: u8) -> TcpListener {
    let listener = TcpListener::bind((ip, port)).await.unwrap();
    let spoken = TcpListener::from_std(dup(&listener)).unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = spoken.accept().await {
            let _ = client.write_all(&[name]).await;
        }
    });
    listener
}

fn dup(listener: &TcpListener) -> std::net::TcpListener {
    use std::os::fd::AsFd;
    listener.as_fd().try_clone_to_owned().unwrap().into()
}

/// Who answers.
async fn ask(addr: SocketAddr) -> std::io::Result<u8> {
    let mut client = TcpStream::connect(addr).await?;
    let mut name = Vec::new();
    client.read_to_end(&mut name).await?;
    name.pop().ok_or(ErrorKind::UnexpectedEof.into())
}

fn to(ip: &str) -> Endpoint {
    ip.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_a_loop_sees_no_error_while_the_target_changes() {
    let first = speaker("127.0.0.1", 0, 1).await;
    let port = first.local_addr().unwrap().port();
    let _second = speaker("127.0.0.2", port, 2).await;
    let mut lease = publish(&ProxyMapper::new(), &first).await;
    let addr = addr(&lease);
    let over = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn({
        let over = Arc::clone(&over);
        async move {
            let mut calls = 0;
            while !over.load(Ordering::Relaxed) {
                ask(addr).await.unwrap();
                calls += 1;
            }
            calls
        }
    });
    for change in 0..100 {
        let (ip, name) = if change % 2 == 0 { ("127.0.0.2", 2) } else { ("127.0.0.1", 1) };
        lease.retarget(to(ip), Established::Keep).await.unwrap();
        assert_eq!(lease.bindings()[0].endpoint(), to(ip));
        assert_eq!(ask(addr).await.unwrap(), name);
    }
    over.store(true, Ordering::Relaxed);
    let calls: usize = timeout(LIMIT, client).await.unwrap().unwrap();
    assert!(calls > 20, "{calls} calls");
}

#[tokio::test]
async fn connections_that_are_open_go_on_or_are_cut() {
    let first = container().await;
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let mut lease = publish(&ProxyMapper::new(), &first).await;
    let (mut client, mut endpoint) = connect(&lease, &first).await;
    lease.retarget(to("127.0.0.2"), Established::Keep).await.unwrap();
    client.write_all(b"old").await.unwrap();
    let mut read = [0; 3];
    timeout(LIMIT, endpoint.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(&read, b"old");

    let (_new, _accepted) = connect(&lease, &second).await;
    lease.retarget(to("127.0.0.1"), Established::Cut).await.unwrap();
    for stream in [&mut client, &mut endpoint] {
        // Nothing was under way: it ends in order.
        assert_eq!(timeout(LIMIT, stream.read(&mut read)).await.unwrap().unwrap(), 0);
    }
    connect(&lease, &first).await;
}

#[tokio::test]
async fn the_next_datagram_of_a_client_goes_to_the_new_container() {
    let first = udp_container().await;
    let port = first.local_addr().unwrap().port();
    let second = UdpSocket::bind(("127.0.0.2", port)).await.unwrap();
    let mut lease = support::publish_udp(&ProxyMapper::new(), &first).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(addr(&lease)).await.unwrap();
    let mut read = [0; 8];
    for (container, ip) in [(&first, "127.0.0.2"), (&second, "127.0.0.1"), (&first, "127.0.0.2")] {
        client.send(b"hello").await.unwrap();
        let (_, session) = timeout(LIMIT, container.recv_from(&mut read)).await.unwrap().unwrap();
        container.send_to(b"hi", session).await.unwrap();
        assert_eq!(timeout(LIMIT, client.recv(&mut read)).await.unwrap().unwrap(), 2);
        lease.retarget(to(ip), Established::Keep).await.unwrap();
    }
}

#[tokio::test]
async fn a_target_that_leads_back_to_itself_changes_nothing() {
    let first = speaker("127.0.0.1", 0, 1).await;
    let port = first.local_addr().unwrap().port();
    let spec = format!("127.0.0.2:{port}:{port}");
    let mut lease = ProxyMapper::new().publish(request("127.0.0.1", &spec)).await.unwrap();
    for bad in ["127.0.0.2", "0.0.0.0"] {
        let error = lease.retarget(to(bad), Established::Cut).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
    }
    assert_eq!(lease.bindings()[0].endpoint(), to("127.0.0.1"));
    assert_eq!(ask(addr(&lease)).await.unwrap(), 1);
}
