//! Whether the ports that are wanted can be had, and stay so.

use std::fs;

use portmap::{HostAddr, HostPort, PortRange, PortSpec, Protocol, holders};

use super::{Finding, procfs};
use crate::who;

const CHECK: &str = "ports";

pub(super) fn check(specs: &[PortSpec]) -> Vec<Finding> {
    let mut findings = vec![ephemeral(specs)];
    for spec in specs {
        if let HostPort::Exact(ports) = spec.host_port() {
            findings.extend(in_use(spec, ports));
        }
    }
    if fs::metadata("/proc/net/if_inet6").is_err() {
        findings.push(Finding::note(
            "ipv6",
            "this kernel has no IPv6: ports are published in IPv4 alone",
        ));
    }
    findings
}

fn in_use(spec: &PortSpec, ports: PortRange) -> Vec<Finding> {
    let protocol = spec.protocol();
    let host = spec.host_addr().map_or(HostAddr::Any, HostAddr::from);
    let found = holders(protocol, host, ports);
    if found.is_empty() {
        return vec![Finding::ok(
            CHECK,
            format!("nobody is seen to have {host}:{ports}/{protocol}"),
        )];
    }
    found
        .iter()
        .map(|holder| {
            let stop = holder.processes().first().map(|process| format!("kill {}", process.pid()));
            let finding = Finding::wrong(CHECK, who::line(holder));
            match stop {
                Some(stop) => finding.mend(format!("{stop}, or another port")),
                None => finding,
            }
        })
        .collect()
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
