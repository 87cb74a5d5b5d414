//! The lease is the publish.

use std::time::Duration;

use portmap_core::{ErrorKind, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::clauses;
use super::publishing::both;
use super::trial::{Trial, eventually};
use crate::error::BoxError;
use crate::site::request;
use crate::suite::TestResult;

clauses![CLAUSES:
    releasing_frees_the_port_at_once_and_closes_the_door,
    dropping_a_lease_releases_it_in_the_background,
    a_disarmed_lease_stays_published,
    a_port_is_published_again_at_once,
    closed_connections_do_not_keep_the_port,
    open_connections_do_not_keep_the_port,
];

clauses![WITH_UDP: a_udp_client_that_goes_on_reaches_whom_the_port_is_published_for];

async fn releasing_frees_the_port_at_once_and_closes_the_door(trial: &Trial) -> TestResult {
    let lease = trial.publish(trial.site.web(), &both(trial, "8080:80", "8080:80/udp")).await?;
    trial.answers(8080, Some("web")).await?;
    trial.release(lease).await?;
    for protocol in trial.protocols() {
        trial.is_free(*protocol, 8080).await?;
    }
    trial.answers(8080, None).await
}

async fn dropping_a_lease_releases_it_in_the_background(trial: &Trial) -> TestResult {
    let lease = trial.publish(trial.site.web(), &both(trial, "8080:80", "8080:80/udp")).await?;
    trial.answers(8080, Some("web")).await?;
    trial.drop_lease(lease).await;
    trial.becomes_free(8080).await?;
    trial.answers(8080, None).await
}

async fn a_disarmed_lease_stays_published(trial: &Trial) -> TestResult {
    let (web, host) = (trial.site.web(), trial.site.host());
    let asked = request(web, &both(trial, "8080:80", "8080:80/udp"))?;
    // Not by way of the trial: it would look whether the port is free in the end.
    let lease = trial.site.publish(&trial.mapper(), asked.clone()).await?;
    let bindings = lease.bindings().to_vec();
    assert_eq!(host.run(async move { lease.disarm() }).await, bindings);
    tokio::time::sleep(Duration::from_millis(50)).await;
    trial.answers(8080, Some("web")).await?;
    trial.refuses(asked, ErrorKind::AddrInUse).await
}

async fn a_port_is_published_again_at_once(trial: &Trial) -> TestResult {
    for round in 0..10 {
        let container = if round % 2 == 0 { trial.site.web() } else { trial.site.other() };
        let lease = trial.publish(container, &both(trial, "8080:80", "8080:80/udp")).await?;
        trial.answers(8080, Some(container.name())).await?;
        trial.release(lease).await?;
    }
    Ok(())
}

/// The webapp ends its connections itself: where a process serves the port, that is in TIME_WAIT then.
async fn closed_connections_do_not_keep_the_port(trial: &Trial) -> TestResult {
    for _ in 0..3 {
        let lease = trial.publish(trial.site.web(), &["8080:80"]).await?;
        for _ in 0..10 {
            trial.answers_over(Protocol::Tcp, 8080, Some("web")).await?;
        }
        trial.release(lease).await?;
        trial.is_free(Protocol::Tcp, 8080).await?;
    }
    Ok(())
}

/// A mapper may let connections end: meanwhile the port is another's, and new clients are refused.
async fn open_connections_do_not_keep_the_port(trial: &Trial) -> TestResult {
    let lease = trial.publish(trial.site.web(), &["8080:80"]).await?;
    let to = trial.lan(8080)[0];
    let mut open = trial.site.client().run(TcpStream::connect(to)).await?;
    open.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").await?;
    let answered = timeout(Duration::from_secs(1), open.read(&mut [0; 1024])).await??;
    assert!(answered > 0);
    let release = trial.site.host().spawn(lease.release());
    let refused = async || {
        let called = trial.answers_at(trial.site.client(), to, Protocol::Tcp, None).await;
        called.is_ok()
    };
    eventually("a new client is refused", refused).await?;
    trial.becomes_free(8080).await?;
    let again = trial.publish(trial.site.other(), &["8080:80"]).await?;
    trial.answers_over(Protocol::Tcp, 8080, Some("other")).await?;
    drop(open);
    release.await??;
    trial.answers_over(Protocol::Tcp, 8080, Some("other")).await?;
    trial.release(again).await
}

/// One socket that never stops sending: its flow is remembered in many places.
async fn a_udp_client_that_goes_on_reaches_whom_the_port_is_published_for(
    trial: &Trial,
) -> TestResult {
    let to = trial.lan(8080)[0];
    let client = trial.site.client();
    let socket = client.run(async move {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        socket.connect(to).await?;
        std::io::Result::Ok(socket)
    });
    let socket = socket.await?;
    until_answered_by(&socket, None).await?;
    for container in [trial.site.web(), trial.site.other(), trial.site.web()] {
        let lease = trial.publish(container, &["8080:80/udp"]).await?;
        until_answered_by(&socket, Some(container.name())).await?;
        trial.release(lease).await?;
        until_answered_by(&socket, None).await?;
    }
    Ok(())
}

/// Sends until the answer comes from whom it should, or from nobody.
async fn until_answered_by(client: &UdpSocket, name: Option<&str>) -> Result<(), BoxError> {
    let mut heard = None;
    let right = async || {
        // A refusal shows as an error of either call.
        let _ = client.send(b"who?").await;
        let mut answer = [0; 512];
        let read = timeout(Duration::from_millis(50), client.recv(&mut answer)).await;
        heard = read.ok().and_then(Result::ok).and_then(|length| {
            let text = String::from_utf8_lossy(&answer[..length]).into_owned();
            crate::page::Page::parse(&text).map(|page| page.hostname)
        });
        heard.as_deref() == name
    };
    eventually(&format!("{name:?} answers"), right).await
}
