//! All or nothing.

use portmap_core::{Endpoint, ErrorKind, HostAddr, PortSpec, Protocol, Publish};

use super::clauses;
use super::trial::Trial;
use crate::node::Node;
use crate::site::request;
use crate::suite::TestResult;

clauses![CLAUSES:
    a_published_port_leads_to_the_container,
    a_lease_says_what_is_in_force,
    a_request_for_nothing_gives_a_lease_on_nothing,
    what_cannot_be_had_as_a_whole_is_not_published_in_part,
    what_cannot_be_meant_is_refused,
];

clauses![WITHOUT_UDP: what_it_does_not_publish_is_unsupported];

async fn a_published_port_leads_to_the_container(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let lease = trial.publish(web, &both(trial, "8080:80", "8080:80/udp")).await?;
    trial.answers(8080, Some("web")).await?;
    trial.answers_loopback(8080, "web").await?;
    for port in [80, 8079, 8081] {
        trial.answers(port, None).await?;
    }
    trial.release(lease).await
}

async fn a_lease_says_what_is_in_force(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let lan = trial.site.host().addr4();
    let specs = ["8080:80", &format!("{lan}:9000-9003:80-83")];
    let lease = trial.publish(web, &specs).await?;
    let shown: Vec<_> = lease.bindings().iter().map(ToString::to_string).collect();
    let [any, own] = lease.bindings() else {
        return Err(format!("two mappings, and these bindings: {shown:?}").into());
    };
    assert!(
        lease.bindings().iter().all(|binding| binding.protocol() == Protocol::Tcp),
        "{shown:?}"
    );
    assert_eq!((any.host_addr(), own.host_addr()), (HostAddr::Any, HostAddr::Ip(lan.into())));
    assert_eq!(any.host_ports(), "8080".parse()?);
    assert_eq!((own.host_ports(), own.container_ports()), ("9000-9003".parse()?, "80-83".parse()?));
    assert_eq!(any.endpoint(), web.endpoint());
    trial.release(lease).await
}

async fn a_request_for_nothing_gives_a_lease_on_nothing(trial: &Trial) -> TestResult {
    let lease = trial.publish(trial.site.web(), &[]).await?;
    assert!(lease.bindings().is_empty());
    trial.release(lease).await
}

/// The last of many ports is taken: by whom it was before, and nothing else of the request is there.
async fn what_cannot_be_had_as_a_whole_is_not_published_in_part(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let host = trial.site.host();
    let stranger = host.run(tokio::net::TcpListener::bind("0.0.0.0:8089")).await?;
    let specs = both(trial, "8080:80", "8081:80/udp");
    let specs: Vec<_> = specs.into_iter().chain(["8082:80", "8083-8089:83-89"]).collect();
    trial.refuses(request(web, &specs)?, ErrorKind::AddrInUse).await?;
    for port in 8080..8089 {
        trial.answers(port, None).await?;
        for protocol in trial.protocols() {
            trial.is_free(*protocol, port).await?;
        }
    }
    // The stranger is there, and gets its clients.
    let to = trial.lan(8089)[0];
    let (accepted, called) = tokio::join!(
        host.run(async move { stranger.accept().await.map(|_| stranger) }),
        trial.site.client().run(tokio::net::TcpStream::connect(to)),
    );
    called?;
    drop(accepted?);
    let lease = trial.publish(web, &specs).await?;
    trial.answers_over(Protocol::Tcp, 8082, Some("web")).await?;
    trial.release(lease).await
}

async fn what_cannot_be_meant_is_refused(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    trial.refuses(request(web, &["8080:80", "8080:81"])?, ErrorKind::Invalid).await?;
    trial.refuses(request(web, &["8080-8082:80-82", "8081:80"])?, ErrorKind::Invalid).await?;
    let nobody = Publish::new(Endpoint::from([0, 0, 0, 0])).with("8080:80".parse::<PortSpec>()?);
    trial.refuses(nobody, ErrorKind::Invalid).await?;
    let elsewhere = request(web, &["8080:80", "192.0.2.77:8081:80"])?;
    trial.refuses(elsewhere, ErrorKind::AddrNotAvailable).await?;
    for port in [8080, 8081] {
        trial.answers_over(Protocol::Tcp, port, None).await?;
        trial.is_free(Protocol::Tcp, port).await?;
    }
    Ok(())
}

async fn what_it_does_not_publish_is_unsupported(trial: &Trial) -> TestResult {
    let asked = request(trial.site.web(), &["8080:80", "8081:80/udp"])?;
    trial.refuses(asked, ErrorKind::Unsupported).await?;
    let client: &Node = trial.site.client();
    trial.answers_at(client, trial.lan(8080)[0], Protocol::Tcp, None).await?;
    trial.is_free(Protocol::Tcp, 8080).await?;
    trial.is_free(Protocol::Udp, 8081).await
}

/// A specification for TCP, and one for UDP where the mapper publishes that.
pub(super) fn both<'a>(trial: &Trial, tcp: &'a str, udp: &'a str) -> Vec<&'a str> {
    if trial.can.udp { vec![tcp, udp] } else { vec![tcp] }
}
