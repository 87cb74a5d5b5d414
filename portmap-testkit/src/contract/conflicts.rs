//! A port that somebody has.

use futures::future::join_all;
use portmap_core::{ErrorKind, Protocol};

use super::clauses;
use super::publishing::both;
use super::trial::Trial;
use crate::site::request;
use crate::suite::TestResult;

clauses![CLAUSES:
    a_port_that_is_published_is_in_use_and_stays_as_it_is,
    a_port_that_somebody_else_has_is_in_use_and_stays_with_them,
    a_conflict_is_of_one_address_and_protocol,
    of_many_who_want_a_port_at_once_one_gets_it,
];

async fn a_port_that_is_published_is_in_use_and_stays_as_it_is(trial: &Trial) -> TestResult {
    let (web, other) = (trial.site.web(), trial.site.other());
    let lease = trial.publish(web, &both(trial, "8080:80", "8080:80/udp")).await?;
    let lan = trial.site.host().addr4();
    let narrow = format!("{lan}:8080:80");
    for spec in ["8080:80", "0.0.0.0:8080:80", "127.0.0.1:8080:80", &narrow, "8079-8081:79-81"] {
        trial.refuses(request(other, &[spec])?, ErrorKind::AddrInUse).await?;
    }
    if trial.can.udp {
        trial.refuses(request(other, &["8080:80/udp"])?, ErrorKind::AddrInUse).await?;
    }
    trial.answers(8080, Some("web")).await?;
    trial.is_free(Protocol::Tcp, 8079).await?;
    trial.release(lease).await?;
    let lease = trial.publish(other, &["8080:80"]).await?;
    trial.answers_over(Protocol::Tcp, 8080, Some("other")).await?;
    trial.release(lease).await
}

async fn a_port_that_somebody_else_has_is_in_use_and_stays_with_them(trial: &Trial) -> TestResult {
    let host = trial.site.host();
    let tcp = host.run(tokio::net::TcpListener::bind("127.0.0.1:8080")).await?;
    let udp = host.run(tokio::net::UdpSocket::bind("[::1]:8080")).await?;
    for spec in both(trial, "8080:80", "8080:80/udp") {
        trial.refuses(request(trial.site.web(), &[spec])?, ErrorKind::AddrInUse).await?;
    }
    let (accepted, called) = tokio::join!(
        host.run(async move { tcp.accept().await.map(drop) }),
        host.run(tokio::net::TcpStream::connect("127.0.0.1:8080")),
    );
    accepted?;
    called?;
    drop(udp);
    trial.is_free(Protocol::Tcp, 8080).await?;
    trial.is_free(Protocol::Udp, 8080).await
}

async fn a_conflict_is_of_one_address_and_protocol(trial: &Trial) -> TestResult {
    let (web, other) = (trial.site.web(), trial.site.other());
    let lan = trial.site.host().addr4();
    let first = trial.publish(web, &[&format!("{lan}:8080:80")]).await?;
    let second = trial.publish(other, &["127.0.0.1:8080:80"]).await?;
    let third = trial.publish(other, &["[::]:8080:80"]).await?;
    let client = trial.site.client();
    let [four, six] = trial.lan(8080);
    trial.answers_at(client, four, Protocol::Tcp, Some("web")).await?;
    trial.answers_at(client, six, Protocol::Tcp, Some("other")).await?;
    let mut leases = vec![first, second, third];
    if trial.can.udp {
        leases.push(trial.publish(other, &["8080:80/udp"]).await?);
        trial.answers_over(Protocol::Udp, 8080, Some("other")).await?;
    }
    for lease in leases {
        trial.release(lease).await?;
    }
    Ok(())
}

async fn of_many_who_want_a_port_at_once_one_gets_it(trial: &Trial) -> TestResult {
    let asked = request(trial.site.web(), &both(trial, "8080:80", "8080:80/udp"))?;
    let mut leases = Vec::new();
    for published in join_all((0..8).map(|_| trial.try_publish(asked.clone()))).await {
        match published {
            Ok(lease) => leases.push(lease),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error:?}"),
        }
    }
    assert_eq!(leases.len(), 1);
    trial.answers(8080, Some("web")).await?;
    for lease in leases {
        trial.release(lease).await?;
    }
    Ok(())
}
