//! What ports cost that nobody uses: memory, and the time to publish and release them.

use std::time::Duration;

use portmap::{BoxError, Protocol};
use tokio::time::sleep;

use crate::{
    load::{Values, hold::difference},
    peer::{self, Peer},
    place::Place,
};

/// Of this many more.
const PORTS: u16 = 1000;
/// Where each is a process.
const PROCESSES: u16 = 20;
/// By then a process has come to rest.
const REST: Duration = Duration::from_millis(300);

pub(crate) async fn ports(peer: Peer, protocol: Protocol) -> Result<Values, BoxError> {
    let more = match peer {
        Peer::DockerProxy | Peer::Socat => PROCESSES,
        _ => PORTS,
    };
    let mut readings = Vec::new();
    for ports in [1, 1 + more] {
        let place = Place::new().await?;
        let running = peer.start(&place, protocol, ports).await?;
        sleep(REST).await;
        readings.push(running.meter().memory());
    }
    let [one, many] = readings[..] else {
        return Err("two readings".into());
    };
    Ok(difference(one, many, more.into()))
}

pub(crate) async fn publish(peer: Peer, ports: u16) -> Result<Values, BoxError> {
    if peer == Peer::DockerRun {
        return peer::docker_run(ports).await;
    }
    let place = Place::new().await?;
    let running = peer.start(&place, Protocol::Tcp, ports).await?;
    let up = running.took();
    let down = running.stop(peer, &place, ports).await?;
    let nanos = |time: Duration| time.as_nanos() as f64;
    Ok([("up".to_owned(), nanos(up)), ("down".to_owned(), nanos(down))].into())
}
