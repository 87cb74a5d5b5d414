//! Mappers that kernel rules are part of.

use portmap::{
    BoxError, BoxPortMapper, Error, HybridMapper, Lease, PortMapper, ProxyMapper, Publish,
    RulesMapper,
    rules::{HostSettings, Network, NetworkLease, Policy},
};

/// A mapper of rules, and the networks that it knows.
pub(crate) struct Attached {
    mapper: RulesMapper,
    _networks: Vec<NetworkLease>,
}

impl Attached {
    pub(crate) async fn open(policy: Policy, networks: Vec<Network>) -> Result<Self, BoxError> {
        let mapper = RulesMapper::open_with(policy, HostSettings::Managed)?;
        let mut attached = Vec::new();
        for network in networks {
            attached.push(mapper.attach(network).await?);
        }
        Ok(Self { mapper, _networks: attached })
    }

    /// The same beside a proxy.
    pub(crate) fn beside_proxy(self) -> BoxPortMapper {
        HybridMapper::new(ProxyMapper::new(), self).into_boxed()
    }
}

impl PortMapper for Attached {
    async fn publish(&self, request: Publish) -> Result<Lease, Error> {
        self.mapper.publish(request).await
    }
}
