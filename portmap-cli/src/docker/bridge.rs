//! A container's address on a bridge of this host.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use nix::net::if_::if_nametoindex;
use portmap::{BoxError, Endpoint, rules::Network};
use serde::Deserialize;

use super::{Docker, container::Attachment};

/// What `GET /networks/ID` says, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    driver: String,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    options: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    config: Option<Vec<Pool>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    subnet: String,
}

/// The addresses that this host can connect to, and their network as the rules know it. `None` where it has no address,
/// or where no bridge of this host leads to it: an overlay, macvlan, or a Docker that has another network namespace.
pub(super) async fn place(
    docker: &Docker,
    attachment: &Attachment,
) -> Result<Option<(Endpoint, Option<Network>)>, BoxError> {
    let endpoint = match (attachment.v4.parse::<Ipv4Addr>(), attachment.v6.parse::<Ipv6Addr>()) {
        (Ok(v4), Ok(v6)) => Endpoint::dual(v4, v6)?,
        (Ok(v4), Err(_)) => v4.into(),
        (Err(_), Ok(v6)) => v6.into(),
        (Err(_), Err(_)) => return Ok(None),
    };
    let id = &attachment.network;
    let described: Option<Described> = docker.ask(&format!("/networks/{id}")).await?;
    let Some(described) = described.filter(|network| network.driver == "bridge") else {
        return Ok(None);
    };
    let named =
        described.options.and_then(|mut options| options.remove("com.docker.network.bridge.name"));
    let bridge = named.unwrap_or_else(|| format!("br-{}", id.get(..12).unwrap_or(id)));
    if if_nametoindex(bridge.as_str()).is_err() {
        return Ok(None);
    }
    let pools = described.ipam.config.unwrap_or_default();
    let subnets: Vec<_> = pools.into_iter().map(|pool| pool.subnet).collect();
    // One that the rules cannot read is none to them.
    Ok(Some((endpoint, format!("{bridge}={}", subnets.join(",")).parse().ok())))
}
