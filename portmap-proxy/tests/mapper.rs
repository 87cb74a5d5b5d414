//! The mapper: what publishing, releasing and the layers around a connection do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    convert::Infallible,
    future::pending,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use portmap_core::{
    Binding, Endpoint, ErrorKind as Kind, Port, PortMapper, PortRange, PortSpec, Protocol, Publish,
    Reservation, Reserved,
};
use portmap_proxy::{Connection, Dial, Ending, ForwardError, ProxyMapper};
use socket2::{Domain, Socket, Type};
use support::{addr, addr_of, connect, container, publish, request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tower::{
    ServiceBuilder, layer::layer_fn, limit::GlobalConcurrencyLimitLayer, service_fn,
    util::MapResponseLayer,
};

const SHORT: Duration = Duration::from_millis(200);

async fn assert_reset(addr: SocketAddr) {
    let mut client = TcpStream::connect(addr).await.unwrap();
    let read = timeout(Duration::from_secs(5), client.read(&mut [0; 1])).await.expect("5 s passed");
    assert_eq!(read.expect_err("no reset").kind(), ErrorKind::ConnectionReset);
}

async fn assert_refused(addr: SocketAddr) {
    let error = TcpStream::connect(addr).await.expect_err("somebody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// Two of them would take each other's clients, and one that stops would close the other's door.
#[tokio::test]
async fn what_is_reserved_is_served_by_one_lease_at_a_time() {
    let container = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = container.local_addr().unwrap().port();
    let spec: PortSpec = format!("127.0.0.1::{to}").parse().unwrap();
    let asked = Publish::new([127, 0, 0, 1]).with(spec);
    let reserved = Reservation::take(&asked).await.unwrap().into_reserved();
    let mapper = ProxyMapper::new();
    let first = mapper.serve(reserved.clone()).unwrap();
    let error = mapper.serve(reserved.clone()).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    let addr = addr(&first);
    connect(&first, &container).await;
    first.release().await.unwrap();
    assert_refused(addr).await;
    let second = mapper.serve(reserved).unwrap();
    connect(&second, &container).await;
    second.release().await.unwrap();
}

#[tokio::test]
async fn every_port_of_a_range_leads_to_its_own() {
    let containers: Vec<_> = {
        let mut found = None;
        for first in (20_000..30_000).step_by(10) {
            let mut bound = Vec::new();
            for port in first..first + 5 {
                bound.extend(TcpListener::bind(("127.0.0.1", port)).await.ok());
            }
            if bound.len() == 5 {
                found = Some(bound);
                break;
            }
        }
        found.expect("no five neighbouring ports are free")
    };
    let first = containers[0].local_addr().unwrap().port();
    let spec = format!("127.0.0.1::{first}-{}", first + 4);
    let lease = ProxyMapper::new().publish(request("127.0.0.1", &spec)).await.unwrap();
    let binding = &lease.bindings()[0];
    assert_eq!(lease.bindings().len(), 1);
    for (port, container) in binding.host_ports().iter().zip(&containers) {
        let mut client = TcpStream::connect(("127.0.0.1", port.number())).await.unwrap();
        let (mut endpoint, _) = container.accept().await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(endpoint.read_u8().await.unwrap(), b'x');
    }
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_wildcard_serves_both_families_and_shows_peers_as_they_are() {
    let container = container().await;
    let port = container.local_addr().unwrap().port();
    let (seen, mut clients) = mpsc::unbounded_channel();
    let mapper = ProxyMapper::new().layer(layer_fn(move |inner| {
        let seen = seen.clone();
        ServiceBuilder::new()
            .map_request(move |connection: Connection| {
                seen.send((connection.client(), connection.local_addr().unwrap())).unwrap();
                connection
            })
            .service(inner)
    }));
    let lease = mapper.publish(request("127.0.0.1", &port.to_string())).await.unwrap();
    let host_port = lease.bindings()[0].host_ports().first().number();
    for ip in ["127.0.0.1", "::1"] {
        let used = SocketAddr::new(ip.parse().unwrap(), host_port);
        let client = TcpStream::connect(used).await.unwrap();
        container.accept().await.unwrap();
        let expected = (client.local_addr().unwrap(), used);
        assert_eq!(clients.recv().await.unwrap(), expected);
    }
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_refused_backend_resets_the_client() {
    let refusing = container().await;
    let lease = publish(&ProxyMapper::new(), &refusing).await;
    drop(refusing);
    assert_reset(addr(&lease)).await;
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_backend_that_does_not_answer_resets_the_client() {
    let container = container().await;
    let silent = service_fn(async |_: Dial| pending::<Result<TcpStream, Infallible>>().await);
    let mapper = ProxyMapper::new().dial(silent).dial_limit(SHORT);
    let lease = publish(&mapper, &container).await;
    assert_reset(addr(&lease)).await;
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_client_that_gives_up_is_not_kept_while_its_container_is_silent() {
    let container = container().await;
    let silent = service_fn(async |_: Dial| pending::<Result<TcpStream, Infallible>>().await);
    let (ended, mut endings) = mpsc::unbounded_channel();
    let layer = ServiceBuilder::new()
        .map_result(move |result: Result<_, ForwardError>| {
            let gone = matches!(result, Err(ForwardError::ClientGone { .. }));
            ended.send(gone).unwrap();
            result
        })
        .into_inner();
    let lease = publish(&ProxyMapper::new().dial(silent).layer(layer), &container).await;
    let client = TcpStream::connect(addr(&lease)).await.unwrap();
    sleep(SHORT / 4).await;
    client.set_zero_linger().unwrap();
    drop(client);
    let gone = timeout(Duration::from_secs(2), endings.recv()).await.expect("it is kept for 2 s");
    assert_eq!(gone, Some(true));
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_dial_service_may_wait_for_the_container() {
    let reserved = container().await;
    let backend = reserved.local_addr().unwrap();
    let patient = service_fn(async |dial: Dial| {
        loop {
            match TcpStream::connect(dial.addr()).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    sleep(SHORT / 10).await
                }
                done => return done,
            }
        }
    });
    let lease = publish(&ProxyMapper::new().dial(patient), &reserved).await;
    drop(reserved);
    let mut client = TcpStream::connect(addr(&lease)).await.unwrap();
    client.write_all(b"early").await.unwrap();
    sleep(SHORT).await;

    let container = TcpListener::bind(backend).await.unwrap();
    let (mut endpoint, _) = container.accept().await.unwrap();
    let mut heard = [0; 5];
    endpoint.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"early");
}

#[tokio::test]
async fn a_saturated_service_leaves_clients_in_the_backlog() {
    let container = container().await;
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    let mapper = ProxyMapper::new().layer(
        ServiceBuilder::new()
            .concurrency_limit(1)
            .map_request(move |connection: Connection| {
                count.fetch_add(1, Ordering::Relaxed);
                connection
            })
            .into_inner(),
    );
    let lease = publish(&mapper, &container).await;
    let (first, endpoint) = connect(&lease, &container).await;
    let mut second = TcpStream::connect(addr(&lease)).await.unwrap();
    second.write_all(b"patience").await.unwrap();
    assert!(timeout(SHORT, container.accept()).await.is_err(), "the second came through");
    assert_eq!(called.load(Ordering::Relaxed), 1);

    drop((first, endpoint));
    let (mut endpoint, _) = container.accept().await.unwrap();
    let mut heard = [0; 8];
    endpoint.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"patience");
}

#[tokio::test]
async fn a_listener_where_nobody_calls_takes_nothing_from_a_shared_limit() {
    let container = container().await;
    let mapper = ProxyMapper::new().layer(GlobalConcurrencyLimitLayer::new(1));
    let leases = [
        publish(&mapper, &container).await,
        publish(&mapper, &container).await,
        publish(&mapper, &container).await,
    ];
    for lease in leases.iter().chain(&leases) {
        let ends = timeout(Duration::from_secs(5), connect(lease, &container)).await;
        drop(ends.expect("the limit is taken by an idle listener"));
    }
}

#[tokio::test]
async fn a_connection_that_a_layer_drops_is_reset() {
    let container = container().await;
    let refuse = layer_fn(|_| service_fn(async |_: Connection| Err::<(), _>("not today")));
    let lease = publish(&ProxyMapper::new().layer(refuse), &container).await;
    assert_reset(addr(&lease)).await;
}

#[tokio::test]
async fn a_layer_may_answer_itself() {
    let container = container().await;
    let answer = layer_fn(|_| {
        service_fn(async |mut connection: Connection| {
            connection.stream().write_all(b"closed for today").await?;
            connection.close();
            Ok::<_, std::io::Error>(())
        })
    });
    let lease = publish(&ProxyMapper::new().layer(answer), &container).await;
    let mut client = TcpStream::connect(addr(&lease)).await.unwrap();
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "closed for today");
}

#[tokio::test]
async fn a_service_that_panics_harms_its_own_connection_only() {
    let container = container().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let mapper = ProxyMapper::new().layer(
        ServiceBuilder::new()
            .map_future(move |future| {
                let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
                async move {
                    assert!(!first, "on purpose");
                    future.await
                }
            })
            .into_inner(),
    );
    let lease = publish(&mapper, &container).await;
    assert_reset(addr(&lease)).await;
    connect(&lease, &container).await;
}

#[tokio::test]
async fn the_response_says_what_was_carried() {
    let container = container().await;
    let (seen, mut transfers) = mpsc::unbounded_channel();
    let mapper = ProxyMapper::new().layer(MapResponseLayer::new(move |transferred| {
        seen.send(transferred).unwrap();
    }));
    let lease = publish(&mapper, &container).await;
    let mut client = TcpStream::connect(addr(&lease)).await.unwrap();
    let (mut endpoint, observed) = container.accept().await.unwrap();
    client.write_all(b"12345").await.unwrap();
    endpoint.read_exact(&mut [0; 5]).await.unwrap();
    endpoint.write_all(b"123").await.unwrap();
    client.read_exact(&mut [0; 3]).await.unwrap();
    drop((client, endpoint));
    let transferred: portmap_proxy::Transferred = transfers.recv().await.unwrap();
    assert_eq!((transferred.to_endpoint, transferred.to_client), (5, 3));
    assert_eq!((transferred.observed, transferred.ending), (observed, Ending::Closed));
}

#[tokio::test]
async fn release_frees_the_port_and_lets_connections_end() {
    let container = container().await;
    let lease = publish(&ProxyMapper::new(), &container).await;
    let host = addr(&lease);
    let (mut client, mut endpoint) = connect(&lease, &container).await;
    let release = tokio::spawn(lease.release());
    sleep(SHORT).await;
    assert_refused(host).await;
    assert!(!release.is_finished(), "it did not wait for the connection");

    client.write_all(b"still here").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    endpoint.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "still here");
    drop((client, endpoint));
    timeout(Duration::from_secs(1), release).await.expect("1 s passed").unwrap().unwrap();
}

#[tokio::test]
async fn dropping_a_lease_frees_the_port() {
    let container = container().await;
    let lease = publish(&ProxyMapper::new(), &container).await;
    let host = addr(&lease);
    drop(lease);
    let freed = async {
        while TcpListener::bind(host).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(2), freed).await.expect("it is still taken after 2 s");
}

#[tokio::test]
async fn a_disarmed_lease_leaves_its_ports_published() {
    let container = container().await;
    let lease = publish(&ProxyMapper::new(), &container).await;
    let host = addr(&lease);
    let bindings = lease.disarm();
    assert_eq!(addr_of(&bindings[0]), host);
    sleep(SHORT).await;
    TcpStream::connect(host).await.unwrap();
    container.accept().await.unwrap();
}

#[tokio::test]
async fn a_port_can_be_published_again_at_once() {
    let container = container().await;
    let mapper = ProxyMapper::new();
    let first = publish(&mapper, &container).await;
    let host = addr(&first);
    // A connection that the proxy's side closes first leaves the port in TIME_WAIT.
    let (mut client, endpoint) = connect(&first, &container).await;
    drop(endpoint);
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    drop(client);
    first.release().await.unwrap();

    let container_port = container.local_addr().unwrap().port();
    let spec = format!("127.0.0.1:{}:{container_port}", host.port());
    for _ in 0..20 {
        let lease = mapper.publish(request("127.0.0.1", &spec)).await.unwrap();
        connect(&lease, &container).await;
        lease.release().await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_touched() {
    let mapper = ProxyMapper::new();
    let cases = [
        ("127.0.0.1", "8080:8080", Kind::Invalid),
        ("127.0.0.1", "127.0.0.1:8080:8080", Kind::Invalid),
        ("::1", "8080:8080", Kind::Invalid),
        ("127.0.0.1", "8080:8080/udp", Kind::Invalid),
        ("192.0.2.2", "8080:80/sctp", Kind::Unsupported),
        ("0.0.0.0", "8080:80", Kind::Invalid),
    ];
    for (endpoint, spec, kind) in cases {
        let error = mapper.publish(request(endpoint, spec)).await.expect_err(spec);
        assert_eq!(error.kind(), kind, "{endpoint} {spec}: {error}");
    }
    let twice = request("192.0.2.2", "18080:80").with("18080:81".parse::<PortSpec>().unwrap());
    assert_eq!(mapper.publish(twice).await.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn an_empty_request_gives_an_empty_lease() {
    let request = Publish::new([192, 0, 2, 2]);
    let lease = ProxyMapper::new().publish(request).await.unwrap();
    assert!(lease.bindings().is_empty());
    lease.release().await.unwrap();
}

#[tokio::test]
async fn sockets_that_are_bound_already_can_be_served() {
    let container = container().await;
    let port = container.local_addr().unwrap().port();
    for listens in [false, true] {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        if listens {
            socket.listen(1).unwrap();
        }
        let host = socket.local_addr().unwrap().as_socket().unwrap();
        let endpoint = Endpoint::from([127, 0, 0, 1]);
        let container_port = PortRange::from(Port::try_from(port).unwrap());
        let host_port = Port::try_from(host.port()).unwrap();
        let binding =
            Binding::new(Protocol::Tcp, host.ip().into(), host_port, endpoint, container_port);
        let reserved = Reserved::adopt(binding.unwrap(), vec![socket.into()]).unwrap();
        let lease = ProxyMapper::new().serve(vec![reserved]).unwrap();
        assert_eq!(addr(&lease), host);
        connect(&lease, &container).await;
        lease.release().await.unwrap();
        assert_refused(host).await;
    }
}
