//! Publishes that lead to each other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use portmap_core::{Endpoint, Error, ErrorKind, Established, Lease, PortMapper, PortSpec, Publish};
use portmap_proxy::{ProxyMapper, not_to_itself};

/// Publishes from a port of the host's to one of the host's.
async fn lead(from: &str, to: &str, protocol: &str) -> Result<Lease, Error> {
    let (host, host_port) = from.rsplit_once(':').unwrap();
    let (ip, port) = to.rsplit_once(':').unwrap();
    let endpoint: Endpoint = ip.trim_matches(['[', ']']).parse().unwrap();
    let spec: PortSpec = format!("{host}:{host_port}:{port}/{protocol}").parse().unwrap();
    ProxyMapper::new().publish(Publish::new(endpoint).with(spec)).await
}

async fn is_refused(from: &str, to: &str, protocol: &str) {
    let error = lead(from, to, protocol).await.expect_err("it leads to itself");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(" leads back to itself by way of "), "{error}");
}

/// Two ports that were free a moment ago.
async fn two() -> (u16, u16) {
    (support::free_port().await, support::free_port().await)
}

#[tokio::test]
async fn two_publishes_that_lead_to_each_other_are_refused() {
    for protocol in ["tcp", "udp"] {
        for (host, other) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "127.0.0.1")] {
            let (one, two) = two().await;
            let (one, two) = (format!("{host}:{one}"), format!("{other}:{two}"));
            let first = lead(&one, &two, protocol).await.unwrap();
            is_refused(&two, &one, protocol).await;
            // In the other protocol, or once the first is gone, it is no circle.
            let others = if protocol == "tcp" { "udp" } else { "tcp" };
            lead(&two, &one, others).await.unwrap().release().await.unwrap();
            first.release().await.unwrap();
            lead(&two, &one, protocol).await.unwrap().release().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_long_way_round_is_a_circle_too() {
    let [a, b] = [two().await, two().await];
    let addrs = [a.0, a.1, b.0].map(|port| format!("127.0.0.1:{port}"));
    let _one = lead(&addrs[0], &addrs[1], "tcp").await.unwrap();
    let _two = lead(&addrs[1], &addrs[2], "tcp").await.unwrap();
    is_refused(&addrs[2], &addrs[0], "tcp").await;
    // Whoever looks before it publishes is told the same.
    let spec: PortSpec = format!("{}:{}", addrs[2], a.0).parse().unwrap();
    let elsewhere = Publish::new([192, 0, 2, 2]).with(spec);
    let lease = ProxyMapper::new().publish(elsewhere).await.unwrap();
    let [binding] = lease.bindings() else { panic!("{:?}", lease.bindings()) };
    assert!(not_to_itself(std::slice::from_ref(binding)).is_ok());
    assert!(not_to_itself(&[binding.clone().to([127, 0, 0, 1].into())]).is_err());
}

#[tokio::test]
async fn a_retarget_that_would_close_a_circle_changes_nothing() {
    let (one, two) = two().await;
    let (one, two) = (format!("127.0.0.1:{one}"), format!("127.0.0.1:{two}"));
    let port: u16 = one.rsplit_once(':').unwrap().1.parse().unwrap();
    let _first = lead(&one, &two, "tcp").await.unwrap();
    let mut second = lead(&two, &format!("192.0.2.2:{port}"), "tcp").await.unwrap();
    let error = second.retarget([127, 0, 0, 1], Established::Keep).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(second.bindings()[0].endpoint(), Endpoint::from([192, 0, 2, 2]));
    second.retarget([127, 0, 0, 2], Established::Keep).await.unwrap();
}

#[tokio::test]
async fn a_disarmed_publish_still_counts() {
    let (one, two) = two().await;
    let (one, two) = (format!("127.0.0.1:{one}"), format!("127.0.0.1:{two}"));
    lead(&one, &two, "tcp").await.unwrap().disarm();
    is_refused(&two, &one, "tcp").await;
}

#[tokio::test]
async fn ranges_that_only_touch_are_no_circle() {
    // The second's first port leads behind the first's last one.
    let endpoint = [127, 0, 0, 9];
    let publish = async |spec: &str| {
        let spec: PortSpec = spec.parse().unwrap();
        ProxyMapper::new().publish(Publish::new(endpoint).with(spec)).await
    };
    let _first = publish("127.0.0.9:21000-21003:22000-22003").await.unwrap();
    let _second = publish("127.0.0.9:22003-22004:21004-21005").await.unwrap();
    let error = publish("127.0.0.9:21004:21003").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
