//! Mappers that kernel rules are part of, for a site of the test kit.

use std::sync::Arc;

use portmap::{
    BoxError, Error, HybridMapper, Lease, PortMapper, ProxyMapper, Publish, RulesMapper,
    rules::{HostSettings, NetworkLease, Policy},
};
use portmap_testkit::Site;

use crate::support::network_of;

/// A mapper of rules that knows the networks of a site.
pub(crate) struct Attached {
    mapper: RulesMapper,
    _networks: Vec<NetworkLease>,
}

impl Attached {
    pub(crate) async fn open(site: Arc<Site>, policy: Policy) -> Result<Self, BoxError> {
        let mapper = RulesMapper::open_with(policy, HostSettings::Managed)?;
        let mut networks = Vec::new();
        for bridge in site.networks() {
            networks.push(mapper.attach(network_of(bridge)?).await?);
        }
        Ok(Self { mapper, _networks: networks })
    }
}

impl PortMapper for Attached {
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        self.mapper.publish(request).await
    }
}

/// The same rules beside a proxy.
pub(crate) async fn hybrid(
    site: Arc<Site>,
    policy: Policy,
) -> Result<HybridMapper<ProxyMapper, Attached>, BoxError> {
    Ok(HybridMapper::new(ProxyMapper::new(), Attached::open(site, policy).await?))
}
