//! What the modules share: a web container published on the lab's host, and the tool as a process.

use std::{env, path::PathBuf};

use portmap::{
    BoxError, Endpoint, Lease, Mapping, PortMapper, PortSpec, ProxyMapper, Publish, rules::Network,
};
use portmap_testkit::{Bridge, Container, Node};

/// Publishes container ports on a node, by the proxy.
pub(crate) async fn publish(host: &Node, to: Endpoint, specs: &[&str]) -> Result<Lease, BoxError> {
    let request = request(to, specs)?;
    // Sockets and tasks belong to the namespace and the runtime of the node.
    Ok(host.run(async move { ProxyMapper::new().publish(request).await }).await?)
}

pub(crate) fn request(to: Endpoint, specs: &[&str]) -> Result<Publish, BoxError> {
    let mappings = specs.iter().map(|spec| spec.parse::<PortSpec>().map(Mapping::from));
    let mappings = mappings.collect::<Result<Vec<_>, _>>()?;
    Ok(mappings.into_iter().fold(Publish::new(to), Publish::with))
}

pub(crate) fn dual(container: &Container) -> Endpoint {
    container.endpoint()
}

/// A lab's bridge as the rules know it.
pub(crate) fn network_of(bridge: &Bridge) -> Result<Network, BoxError> {
    let six = bridge.subnet6().map(|net| format!(",{net}")).unwrap_or_default();
    Ok(format!("{}={}{six}", bridge.name(), bridge.subnet4()).parse()?)
}

/// The `publish` tool.
pub(crate) fn tool() -> Result<PathBuf, BoxError> {
    built("publish")
}

/// An example, which cargo builds beside the tests.
pub(crate) fn built(example: &str) -> Result<PathBuf, BoxError> {
    let tests = env::current_exe()?;
    let built = tests.parent().and_then(|deps| deps.parent());
    let path = built.ok_or("the test has no folder")?.join("examples").join(example);
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{} is not built", path.display()).into()),
    }
}
