//! A process without a descriptor left: a test binary of its own, as the limit is the whole process's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use portmap_core::{ErrorKind, PortMapper, PortSpec, Publish, Reservation};
use portmap_proxy::ProxyMapper;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn what_cannot_be_served_is_exhausted_and_refuses_its_clients() {
    // Several ports are watched together, which takes one more descriptor.
    let spec: PortSpec = "127.0.0.1::80-81".parse().unwrap();
    let request = Publish::new([127, 0, 0, 1]).with(spec);
    let reservation = Reservation::take(&request).await.unwrap();
    let port = reservation.bindings().next().unwrap().host_ports().first().number();
    let client = SocketAddr::from(([127, 0, 0, 1], port));
    let mapper = ProxyMapper::new();

    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit }).unwrap();
    let failed = mapper.serve(reservation.reserved().to_vec());
    let other = mapper.publish(request).await;
    setrlimit(Resource::Nofile, limit).unwrap();

    for error in [failed.unwrap_err(), other.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
        assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    }
    let refused = TcpStream::connect_timeout(&client, Duration::from_millis(500)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // Nothing is left of it: the same can be served now.
    let lease = mapper.serve(reservation.into_reserved()).unwrap();
    TcpStream::connect_timeout(&client, Duration::from_secs(5)).unwrap();
    lease.release().await.unwrap();
}
