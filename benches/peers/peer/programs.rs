//! The programs of others, with the options that their users would give them.

use std::fmt::Write;

use portmap::{BoxError, Protocol};
use portmap_testkit::Child;

use super::{Peer, TIED};
use crate::place::{CONTAINER, HOST_PORT, PORT, Place};

pub(super) async fn start(
    peer: Peer,
    place: &Place,
    protocol: Protocol,
    ports: u16,
) -> Result<Vec<Child>, BoxError> {
    if peer == Peer::Haproxy {
        return Ok(vec![haproxy(place, ports).await?]);
    }
    let mut children = Vec::new();
    for number in 0..ports {
        let (host, container) = (HOST_PORT + number, PORT + number);
        children.push(match peer {
            Peer::Socat => socat(place, protocol, host, container).await?,
            _ => docker_proxy(place, protocol, host, container).await?,
        });
    }
    Ok(children)
}

/// As dockerd starts it, with a pipe that it reports to as descriptor 3.
async fn docker_proxy(
    place: &Place,
    protocol: Protocol,
    host: u16,
    container: u16,
) -> Result<Child, BoxError> {
    let options = format!(
        "-proto {protocol} -host-ip 0.0.0.0 -host-port {host} -container-ip {CONTAINER} -container-port {container}"
    );
    let script = format!("PATH=$PATH:/usr/sbin; exec docker-proxy {options} 3>&1");
    let args = TIED.into_iter().map(str::to_owned).chain(["sh".into(), "-c".into(), script]);
    let mut child = place.host().command("setpriv", args).await?;
    child.read_until("0\n").await?;
    Ok(child)
}

/// `option splice-auto` would leave it to haproxy, which then never spliced here (seen by strace).
async fn haproxy(place: &Place, ports: u16) -> Result<Child, BoxError> {
    let last = HOST_PORT + ports - 1;
    let mut config = String::new();
    writeln!(config, "global\n nbthread 2\n maxconn 4000")?;
    writeln!(config, "defaults\n mode tcp\n option splice-request\n option splice-response")?;
    writeln!(config, " timeout connect 5s\n timeout client 60s\n timeout server 60s")?;
    writeln!(
        config,
        "listen web\n bind 0.0.0.0:{HOST_PORT}-{last}\n server web {CONTAINER}:{PORT}"
    )?;
    let args = TIED.into_iter().chain(["haproxy", "-db", "-f", "/dev/stdin"]);
    let mut child = place.host().command("setpriv", args).await?;
    child.type_line(&config).await?;
    child.end_input();
    Ok(child)
}

/// In a process namespace, so that the processes of its clients end with it.
async fn socat(
    place: &Place,
    protocol: Protocol,
    host: u16,
    container: u16,
) -> Result<Child, BoxError> {
    let (kind, backlog) = match protocol {
        Protocol::Udp => ("UDP", ""),
        _ => ("TCP", ",backlog=1024"),
    };
    let from = format!("{kind}4-LISTEN:{host},fork,reuseaddr{backlog}");
    let to = format!("{kind}4:{CONTAINER}:{container}");
    let held = ["unshare", "--pid", "--fork", "--kill-child", "socat"];
    let args = TIED.into_iter().chain(held).map(str::to_owned).chain([from, to]);
    Ok(place.host().command("setpriv", args).await?)
}
