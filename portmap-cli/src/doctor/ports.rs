//! Whether the ports that are wanted can be had, and stay so.

use std::{fs, net::Ipv4Addr};

use portmap::{HostAddr, HostPort, PortRange, PortSpec, Protocol, Publish, mapper::Reservation};

use super::{Finding, procfs};
use crate::{
    output::chain,
    who::{self, Found},
};

const CHECK: &str = "ports";

pub(super) async fn check(specs: &[PortSpec]) -> Vec<Finding> {
    let mut findings = vec![ephemeral(specs)];
    for spec in specs {
        findings.extend(match spec.host_port() {
            _ if spec.protocol() == Protocol::Sctp => {
                vec![Finding::unknown(CHECK, "who has an SCTP port, the kernel does not tell")]
            }
            HostPort::Exact(ports) => of_these(spec, ports).await,
            HostPort::AnyOf(_) | HostPort::Ephemeral => vec![any(spec).await],
        });
    }
    if fs::metadata("/proc/net/if_inet6").is_err() {
        findings.push(Finding::note(
            "ipv6",
            "this kernel has no IPv6: ports are published in IPv4 alone",
        ));
    }
    findings
}

/// As `publish who` says it of these ports.
async fn of_these(spec: &PortSpec, ports: PortRange) -> Vec<Finding> {
    let host = spec.host_addr().map_or(HostAddr::Any, HostAddr::from);
    let (held, verdicts) = who::look(spec.protocol(), host, ports).await;
    let held = held.iter().map(|holder| {
        let finding = Finding::wrong(CHECK, who::line(holder));
        match holder.processes().first() {
            Some(process) => finding.mend(format!("kill {}, or another port", process.pid())),
            None => finding,
        }
    });
    let others = verdicts.iter().map(|verdict| match verdict.found {
        Found::Free => Finding::ok(CHECK, verdict.to_string()),
        Found::Taken | Found::Other(_) => Finding::wrong(CHECK, verdict.to_string()),
        Found::Privileged => Finding::unknown(CHECK, verdict.to_string()),
    });
    held.chain(others).collect()
}

/// Whether there is one among the ports that would do: taken for a moment, and listened on by nobody.
async fn any(spec: &PortSpec) -> Finding {
    let request = Publish::new(Ipv4Addr::LOCALHOST).with(spec.clone());
    match Reservation::take(&request).await {
        Ok(_) => Finding::ok(CHECK, format!("there is a free port for {spec}")),
        Err(error) => Finding::wrong(CHECK, format!("{spec}: {}", chain(&error))),
    }
}

/// A port among those that the kernel gives to outgoing connections is taken by one of these sooner or later.
fn ephemeral(specs: &[PortSpec]) -> Finding {
    let range = procfs::text("net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else {
        return Finding::unknown("ephemeral", "net.ipv4.ip_local_port_range cannot be read");
    };
    let Ok(range) = PortRange::new(first, last) else {
        return Finding::wrong(
            "ephemeral",
            format!("net.ipv4.ip_local_port_range is {range}: no range"),
        );
    };
    let reserved = procfs::text("net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    let kept: Vec<PortRange> = reserved.split(',').filter_map(|part| part.parse().ok()).collect();
    let is_kept =
        |ports: PortRange| ports.iter().all(|port| kept.iter().any(|kept| kept.contains(port)));
    let clashes: Vec<_> = specs
        .iter()
        .filter(|spec| spec.protocol() != Protocol::Sctp)
        .filter_map(|spec| match spec.host_port() {
            HostPort::Exact(ports) if ports.overlaps(range) && !is_kept(ports) => {
                Some(ports.to_string())
            }
            _ => None,
        })
        .collect();
    if clashes.is_empty() {
        return Finding::ok("ephemeral", format!("outgoing connections have ports {range}"));
    }
    let ports = clashes.join(",");
    let comma = if reserved.is_empty() { "" } else { "," };
    let found = format!(
        "{ports} lies in {range}: an outgoing connection can have it when it is to be published"
    );
    Finding::wrong("ephemeral", found)
        .mend(format!("sysctl -w net.ipv4.ip_local_reserved_ports={reserved}{comma}{ports}"))
}
