//! A lease that leads to another container.

use std::sync::atomic::{AtomicBool, Ordering};

use portmap_core::{Endpoint, ErrorKind, Established, Protocol};

use super::clauses;
use super::publishing::both;
use super::trial::Trial;
use crate::container::Container;
use crate::suite::TestResult;
use crate::webapp::Webapp;

clauses![CLAUSES:
    a_lease_is_led_to_another_container,
    a_lease_that_is_led_where_it_leads_already_goes_on,
    a_lease_on_a_loopback_address_is_led_to_another_container,
    nobody_is_refused_while_a_lease_is_led_elsewhere,
    a_lease_that_cannot_be_led_elsewhere_stays_as_it_is,
];

clauses![WITHOUT_RETARGET: what_it_does_not_lead_elsewhere_stays_as_it_is];

async fn a_lease_is_led_to_another_container(trial: &Trial) -> TestResult {
    let (web, neighbour) = (trial.site.web(), trial.site.neighbour());
    let _webapp = Webapp::start(neighbour, 80).await?;
    let mut lease = trial.publish(web, &both(trial, "8080:80", "8080:80/udp")).await?;
    let beside = trial.publish(web, &["8081:80"]).await?;
    let ports: Vec<_> = lease.bindings().iter().map(|binding| binding.host_ports()).collect();
    for container in [neighbour, web, neighbour] {
        lease.retarget(endpoint(container), Established::Keep).await?;
        trial.answers(8080, Some(container.name())).await?;
        trial.answers_loopback(8080, container.name()).await?;
        trial.answers_over(Protocol::Tcp, 8081, Some("web")).await?;
        assert!(lease.bindings().iter().all(|it| it.endpoint() == endpoint(container)));
    }
    assert!(lease.bindings().iter().map(|binding| binding.host_ports()).eq(ports));
    trial.release(lease).await?;
    trial.answers(8080, None).await?;
    trial.answers_over(Protocol::Tcp, 8081, Some("web")).await?;
    trial.release(beside).await
}

/// The endpoint that it has is as good as any, whatever becomes of its connections.
async fn a_lease_that_is_led_where_it_leads_already_goes_on(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let mut lease = trial.publish(web, &both(trial, "8080:80", "8080:80/udp")).await?;
    for established in [Established::Keep, Established::Cut] {
        lease.retarget(endpoint(web), established).await?;
        trial.answers(8080, Some("web")).await?;
        trial.answers_loopback(8080, "web").await?;
        assert!(lease.bindings().iter().all(|it| it.endpoint() == endpoint(web)));
    }
    trial.release(lease).await?;
    trial.answers(8080, None).await
}

/// A single port on an address of 127.0.0.0/8, whoever answers it.
async fn a_lease_on_a_loopback_address_is_led_to_another_container(trial: &Trial) -> TestResult {
    let (web, neighbour) = (trial.site.web(), trial.site.neighbour());
    let _webapp = Webapp::start(neighbour, 80).await?;
    let specs = both(trial, "127.0.1.2:8080:80", "127.0.1.2:8080:80/udp");
    let mut lease = trial.publish(web, &specs).await?;
    // Another one, so that the sets that the first one is in stay.
    let specs = both(trial, "127.0.1.3:8080:80", "127.0.1.3:8080:80/udp");
    let beside = trial.publish(web, &specs).await?;
    let answers = async |addr: &str, name: Option<&str>| {
        let name = name.filter(|_| trial.can.loopback4);
        for protocol in trial.protocols() {
            let to = format!("{addr}:8080").parse()?;
            trial.answers_at(trial.site.host(), to, *protocol, name).await?;
        }
        TestResult::Ok(())
    };
    answers("127.0.1.2", Some("web")).await?;
    for container in [neighbour, web, web, neighbour] {
        lease.retarget(endpoint(container), Established::Keep).await?;
        answers("127.0.1.2", Some(container.name())).await?;
        answers("127.0.1.3", Some("web")).await?;
    }
    trial.release(lease).await?;
    answers("127.0.1.2", None).await?;
    trial.release(beside).await
}

/// A client calls all the time.
async fn nobody_is_refused_while_a_lease_is_led_elsewhere(trial: &Trial) -> TestResult {
    const CHANGES: usize = 10;
    let (web, neighbour) = (trial.site.web(), trial.site.neighbour());
    let _webapp = Webapp::start(neighbour, 80).await?;
    let mut lease = trial.publish(web, &["8080:80"]).await?;
    let over = AtomicBool::new(false);
    let to = trial.lan(8080)[0];
    let calls = async {
        let mut calls = 0;
        while !over.load(Ordering::Relaxed) {
            let called = trial.site.client().get(to).await;
            called.map_err(|error| format!("call {calls}: {error}"))?;
            calls += 1;
        }
        Ok::<usize, String>(calls)
    };
    let changes = async {
        for change in 0..CHANGES {
            let container = if change % 2 == 0 { neighbour } else { web };
            lease.retarget(endpoint(container), Established::Keep).await?;
        }
        over.store(true, Ordering::Relaxed);
        TestResult::Ok(())
    };
    let (calls, changed) = tokio::join!(calls, changes);
    changed?;
    assert!(calls? > 0);
    trial.release(lease).await
}

async fn a_lease_that_cannot_be_led_elsewhere_stays_as_it_is(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let mut lease = trial.publish(web, &["8080:80"]).await?;
    let nobody = Endpoint::from([0, 0, 0, 0]);
    let refused = lease.retarget(nobody, Established::Keep).await;
    assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    assert_eq!(lease.bindings()[0].endpoint(), endpoint(web));
    trial.answers_over(Protocol::Tcp, 8080, Some("web")).await?;
    trial.release(lease).await
}

async fn what_it_does_not_lead_elsewhere_stays_as_it_is(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let mut lease = trial.publish(web, &["8080:80"]).await?;
    let refused = lease.retarget(endpoint(trial.site.neighbour()), Established::Keep).await;
    assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Unsupported));
    assert_eq!(lease.bindings()[0].endpoint(), endpoint(web));
    trial.answers_over(Protocol::Tcp, 8080, Some("web")).await?;
    trial.release(lease).await
}

fn endpoint(container: &Container) -> Endpoint {
    container.endpoint()
}
