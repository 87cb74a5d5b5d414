//! Which port numbers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use portmap_core::{HostPort, Mapping, PortRange, Protocol, Publish};

use super::clauses;
use super::publishing::both;
use super::trial::Trial;
use crate::error::BoxError;
use crate::node::Node;
use crate::site::request;
use crate::suite::TestResult;
use crate::webapp::Webapp;

clauses![CLAUSES:
    ephemeral_ports_come_from_the_hosts_range,
    an_ephemeral_port_is_one_number_on_all_addresses,
    the_lowest_free_port_of_several_is_taken,
    a_range_is_one_binding_and_leads_port_by_port,
    a_range_of_ephemeral_ports_is_of_neighbours,
];

async fn ephemeral_ports_come_from_the_hosts_range(trial: &Trial) -> TestResult {
    let host = trial.site.host();
    host.sysctl("net/ipv4/ip_local_port_range", "40000 40011").await?;
    host.sysctl("net/ipv4/ip_local_reserved_ports", "40001-40003").await?;
    let (mut leases, mut numbers) = (Vec::new(), BTreeSet::new());
    for _ in 0..8 {
        let lease = trial.publish(trial.site.web(), &["80"]).await?;
        numbers.extend(lease.bindings().iter().map(|it| it.host_ports().first().number()));
        leases.push(lease);
    }
    let range: BTreeSet<u16> =
        (40_000..=40_011).filter(|it| !(40_001..=40_003).contains(it)).collect();
    assert!(numbers.len() == 8 && numbers.is_subset(&range), "{numbers:?}");
    for number in numbers {
        trial.answers_over(Protocol::Tcp, number, Some("web")).await?;
    }
    for lease in leases {
        trial.release(lease).await?;
    }
    Ok(())
}

async fn an_ephemeral_port_is_one_number_on_all_addresses(trial: &Trial) -> TestResult {
    let (web, host) = (trial.site.web(), trial.site.host());
    let mut asked = Publish::new(request(web, &[])?.endpoint());
    for protocol in trial.protocols() {
        let mapping = Mapping::new(*protocol, HostPort::Ephemeral, "80".parse()?)?;
        let mapping = mapping.on(Ipv4Addr::LOCALHOST).on(host.addr4());
        asked = asked.with(mapping.on(host.addr6()));
    }
    let lease = trial.try_publish(asked).await?;
    for protocol in trial.protocols() {
        let own = lease.bindings().iter().filter(|binding| binding.protocol() == *protocol);
        let numbers: Vec<_> = own.map(|binding| binding.host_ports()).collect();
        assert!(numbers.len() == 3 && numbers.iter().all(|it| *it == numbers[0]), "{numbers:?}");
        trial.answers_over(*protocol, numbers[0].first().number(), Some("web")).await?;
    }
    trial.release(lease).await
}

async fn the_lowest_free_port_of_several_is_taken(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let first = trial.publish(web, &["8080:80"]).await?;
    let second = trial.publish(web, &["8080-8085:80"]).await?;
    assert_eq!(second.bindings()[0].host_ports(), "8081".parse()?);
    trial.release(first).await?;
    let third = trial.publish(web, &["8080-8085:80"]).await?;
    assert_eq!(third.bindings()[0].host_ports(), "8080".parse()?);
    for (lease, port) in [(second, 8081), (third, 8080)] {
        trial.answers_over(Protocol::Tcp, port, Some("web")).await?;
        trial.release(lease).await?;
    }
    Ok(())
}

async fn a_range_is_one_binding_and_leads_port_by_port(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let (same, shifted) = ("20000-20009:20000-20009", "8000-8009:7000-7009");
    let udp = ("20000-20009:20000-20009/udp", "8000-8009:7000-7009/udp");
    let specs = [both(trial, same, udp.0), both(trial, shifted, udp.1)].concat();
    let lease = trial.publish(web, &specs).await?;
    assert_eq!(lease.bindings().len(), specs.len());
    for (outside, inside) in [(20_000, 20_000), (20_009, 20_009), (8000, 7000), (8009, 7009)] {
        let webapp = Webapp::start(web, inside).await?;
        trial.answers(outside, Some("web")).await?;
        // That it was this one: in two families, over every protocol.
        assert_eq!(webapp.seen().len(), 2 * trial.protocols().len(), "{outside} -> {inside}");
    }
    for beside in [19_999, 20_010, 7999, 8010, 7000] {
        trial.answers(beside, None).await?;
    }
    trial.release(lease).await?;
    trial.answers(20_005, None).await
}

async fn a_range_of_ephemeral_ports_is_of_neighbours(trial: &Trial) -> TestResult {
    let lease = trial.publish(trial.site.web(), &["80-89"]).await?;
    let ports: Vec<PortRange> = lease.bindings().iter().map(|it| it.host_ports()).collect();
    let [ports] = ports.as_slice() else {
        return Err(format!("one mapping, and these bindings: {:?}", lease.bindings()).into());
    };
    assert_eq!(ports.len(), 10);
    let (low, high) = ephemeral(trial.site.host()).await?;
    assert!(ports.first().number() >= low && ports.last().number() <= high, "{ports}");
    trial.answers_over(Protocol::Tcp, ports.first().number(), Some("web")).await?;
    trial.release(lease).await
}

async fn ephemeral(host: &Node) -> Result<(u16, u16), BoxError> {
    let text = host.read_sysctl("net/ipv4/ip_local_port_range").await?;
    let (low, high) = text.split_once(char::is_whitespace).ok_or("the range has one number")?;
    Ok((low.parse()?, high.trim().parse()?))
}
