//! The observations that a userland proxy is known by, with the programs that a person would use.

use std::{net::SocketAddr, time::Duration};

use portmap::BoxError;
use portmap_testkit::{Bridge, Container, Lab, Need, Node, Suite, Webapp};
use tokio::time::sleep;

use crate::support::{dual, publish};

pub(crate) fn tests(suite: &mut Suite) {
    let needs = [Need::Netns, Need::Busybox];
    suite.test(
        "a_wildcard_publish_is_one_listener_and_a_specific_one_its_address",
        &[Need::Netns, Need::Busybox, Need::Tool("ss")],
        listeners,
    );
    suite.test("a_container_of_another_network_is_seen_as_the_gateway", &needs, other_network);
    suite.test("a_process_on_the_host_is_seen_as_the_gateway", &needs, over_loopback);
    suite.test("an_open_session_is_two_tcp_sessions", &needs, two_sessions);
}

struct Seed {
    lab: Lab,
    docker0: Bridge,
    web: Container,
    _webapp: Webapp,
}

/// A webapp on docker0, as after `docker run -p 8080:80 webapp`.
async fn seed() -> Result<Seed, BoxError> {
    let lab = Lab::new().await?;
    let docker0 = lab.docker0().await?;
    let web = docker0.container("web").await?;
    let webapp = Webapp::start(&web, 80).await?;
    Ok(Seed { lab, docker0, web, _webapp: webapp })
}

async fn listeners() -> Result<(), BoxError> {
    let Seed { lab, docker0: _docker0, web, _webapp } = seed().await?;
    let host = lab.host();
    let specs = ["8080:80", "192.168.33.2:8081:80"];
    let lease = publish(host, web.addr4().into(), &specs).await?;

    let ss = host.exec("ss", ["-lntH"]).await?.stdout;
    let mut local: Vec<_> = ss.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    local.sort_unstable();
    assert_eq!(local, ["*:8080", "192.168.33.2:8081"], "{ss}");

    let netstat = host.busybox(["netstat", "-lnt"]).await?.stdout;
    let local: Vec<_> = netstat.lines().filter(|line| line.contains("LISTEN")).collect();
    assert_eq!(local.len(), 2, "{netstat}");
    assert!(local.iter().any(|line| line.contains(":::8080")), "{netstat}");

    lease.release().await?;
    assert_eq!(host.exec("ss", ["-lntH"]).await?.stdout, "");
    Ok(())
}

/// Types `GET /` into telnet and returns the page.
async fn telnet(from: &Node, to: SocketAddr) -> Result<String, BoxError> {
    let mut session = from.telnet(to).await?;
    session.type_line("GET /").await?;
    session.type_line("").await?;
    session.read_until("Remote IP: ").await?;
    Ok(session.read_until("\n").await?.trim().to_owned())
}

async fn other_network() -> Result<(), BoxError> {
    let Seed { lab, docker0, web, _webapp } = seed().await?;
    let br0 = lab.br0().await?;
    let busybox = br0.container("busybox").await?;
    let lease = publish(lab.host(), dual(&web), &["8080:80"]).await?;
    let seen = telnet(&busybox, (lab.host().addr4(), 8080).into()).await?;
    assert_eq!(seen, docker0.gateway4().to_string());
    let seen = telnet(&busybox, (lab.host().addr6(), 8080).into()).await?;
    assert_eq!(Some(seen), docker0.gateway6().map(|gateway| gateway.to_string()));
    lease.release().await?;
    Ok(())
}

async fn over_loopback() -> Result<(), BoxError> {
    let Seed { lab, docker0, web, _webapp } = seed().await?;
    let host = lab.host();
    let lease = publish(host, dual(&web), &["8080:80"]).await?;
    let seen = telnet(host, "127.0.0.1:8080".parse()?).await?;
    assert_eq!(seen, docker0.gateway4().to_string());
    let seen = telnet(host, "[::1]:8080".parse()?).await?;
    assert_eq!(Some(seen), docker0.gateway6().map(|gateway| gateway.to_string()));
    lease.release().await?;

    // The container has one address: a client of the other family reaches it all the same.
    let lease = publish(host, web.addr4().into(), &["8080:80"]).await?;
    let seen = telnet(host, "[::1]:8080".parse()?).await?;
    assert_eq!(seen, docker0.gateway4().to_string());
    lease.release().await?;
    Ok(())
}

async fn two_sessions() -> Result<(), BoxError> {
    let Seed { lab, docker0: _docker0, web, _webapp } = seed().await?;
    let host = lab.host();
    let br0 = lab.br0().await?;
    let busybox = br0.container("busybox").await?;
    let lease = publish(host, web.addr4().into(), &["8080:80"]).await?;
    let _session = busybox.telnet((host.addr4(), 8080).into()).await?;

    let mut netstat = String::new();
    for _ in 0..100 {
        netstat = host.busybox(["netstat", "-tn"]).await?.stdout;
        if netstat.matches("ESTABLISHED").count() == 2 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let mut sessions: Vec<_> = netstat
        .lines()
        .filter(|line| line.contains("ESTABLISHED"))
        .map(|line| line.split_whitespace().skip(3).take(2).collect::<Vec<_>>())
        .collect();
    sessions.sort_unstable();
    let [out, into] = sessions.as_slice() else { panic!("not two sessions:\n{netstat}") };
    assert!(out[0].starts_with("172.17.0.1:"), "{netstat}");
    assert_eq!(out[1], "172.17.0.2:80", "{netstat}");
    assert_eq!(into[0].trim_start_matches("::ffff:"), "192.168.33.2:8080", "{netstat}");
    assert!(into[1].trim_start_matches("::ffff:").starts_with("192.168.99.2:"), "{netstat}");
    drop(lease);
    Ok(())
}
