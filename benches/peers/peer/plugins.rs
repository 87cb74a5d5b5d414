//! Programs that container runtimes run to publish: they read what is wanted, write rules, and end.

use std::process;

use portmap::BoxError;

use super::locate;
use crate::place::{CONTAINER, HOST_PORT, PORT, Place};

pub(super) async fn cni(place: &Place, command: &str, ports: u16) -> Result<(), BoxError> {
    let mappings: Vec<_> = (0..ports)
        .map(|number| {
            let (host, container) = (HOST_PORT + number, PORT + number);
            format!(r#"{{"hostPort":{host},"containerPort":{container},"protocol":"tcp"}}"#)
        })
        .collect();
    let config = format!(
        r#"{{"cniVersion":"1.0.0","name":"bench","type":"portmap","capabilities":{{"portMappings":true}},
        "runtimeConfig":{{"portMappings":[{}]}},"prevResult":{{"cniVersion":"1.0.0",
        "interfaces":[{{"name":"eth0","sandbox":"/proc/self/ns/net"}}],
        "ips":[{{"address":"{CONTAINER}/16","interface":0}}]}}}}"#,
        mappings.join(",")
    );
    let set = [
        format!("CNI_COMMAND={command}"),
        "CNI_CONTAINERID=bench".to_owned(),
        "CNI_NETNS=/proc/self/ns/net".to_owned(),
        "CNI_IFNAME=eth0".to_owned(),
        "CNI_PATH=/usr/lib/cni".to_owned(),
    ];
    run(place, set.into(), "portmap", Vec::new(), &config).await
}

/// It makes a bridge and the container's interface as well, in a namespace that has none.
pub(super) async fn netavark(place: &Place, command: &str, ports: u16) -> Result<(), BoxError> {
    let id = "0123456789abcdef".repeat(4);
    let mappings = match ports {
        0 => String::new(),
        _ => format!(
            r#"{{"host_ip":"","host_port":{HOST_PORT},"container_port":{PORT},"protocol":"tcp","range":{ports}}}"#
        ),
    };
    let config = format!(
        r#"{{"container_id":"{id}","container_name":"bench",
        "networks":{{"bench":{{"static_ips":["172.18.0.2"],"interface_name":"eth0"}}}},
        "network_info":{{"bench":{{"name":"bench","id":"{id}","driver":"bridge","network_interface":"bench0",
        "subnets":[{{"subnet":"172.18.0.0/16","gateway":"172.18.0.1"}}],"ipv6_enabled":false,"internal":false,
        "dns_enabled":false,"ipam_options":{{"driver":"host-local"}}}}}},"port_mappings":[{mappings}]}}"#
    );
    let namespace = format!("/proc/{}/fd/{}", process::id(), place.bare_descriptor());
    let set = vec!["NETAVARK_FW=iptables".to_owned()];
    run(place, set, "netavark", vec![command.to_owned(), namespace], &config).await
}

async fn run(
    place: &Place,
    set: Vec<String>,
    program: &str,
    args: Vec<String>,
    config: &str,
) -> Result<(), BoxError> {
    let program = locate(program).ok_or("it is missing")?;
    let program = program.to_str().ok_or("its path is no UTF-8")?.to_owned();
    let args = set.into_iter().chain([program]).chain(args);
    let mut child = place.host().command("env", args).await?;
    child.type_line(config).await?;
    child.end_input();
    match child.wait().await?.success() {
        true => Ok(()),
        false => Err(child.transcript().into()),
    }
}
