//! A container: whether it runs, and where.

use std::collections::BTreeMap;

use portmap::BoxError;
use serde::Deserialize;

use super::{ContainerName, Docker, bridge};
use crate::target::Reach;

/// What `GET /containers/NAME/json` says, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
    network_settings: Networks,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    pid: u32,
    started_at: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Networks {
    networks: Option<BTreeMap<String, Attachment>>,
}

/// A container's place in a network.
#[derive(Debug, Deserialize)]
pub(super) struct Attachment {
    #[serde(rename = "NetworkID")]
    pub(super) network: String,
    #[serde(rename = "IPAddress", default)]
    pub(super) v4: String,
    #[serde(rename = "GlobalIPv6Address", default)]
    pub(super) v6: String,
}

/// Finds a way to a container: its address on a bridge of this host, else its network namespace.
pub(crate) async fn reach(docker: &Docker, name: &ContainerName) -> Result<Reach, BoxError> {
    let inspected = inspect(docker, name).await?;
    if !inspected.state.running {
        return Err(format!("container {name} does not run").into());
    }
    for attachment in inspected.network_settings.networks.iter().flat_map(BTreeMap::values) {
        if let Some((endpoint, network)) = bridge::place(docker, attachment).await? {
            let reach = Reach::at(endpoint, network, format!("{name} of Docker"));
            return Ok(reach.since(inspected.state.started_at));
        }
    }
    let reach = Reach::in_process(inspected.state.pid, format!("{name} of Docker"))?;
    // A number can be another process's by now. It was the container's if that still runs, and never stopped meanwhile.
    match inspect(docker, name).await?.state == inspected.state {
        true => Ok(reach.since(inspected.state.started_at)),
        false => Err(format!("container {name} was stopped meanwhile").into()),
    }
}

async fn inspect(docker: &Docker, name: &ContainerName) -> Result<Inspected, BoxError> {
    let inspected = docker.ask(&format!("/containers/{name}/json")).await?;
    inspected.ok_or_else(|| format!("Docker has no container {name}").into())
}
