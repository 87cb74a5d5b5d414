//! What is to be published: a request for each container.

use portmap::{Endpoint, Error, Lease, PortMapper, PortSpec, Publish, rules::Network};

use crate::{BoxError, args::Args, output};

/// What is to be published.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// A request for each container that was named, in the order of the command line.
    named: Vec<Publish>,
    /// What a webapp is started for.
    for_webapp: Vec<PortSpec>,
}

impl Plan {
    pub(crate) fn new(args: &Args) -> Self {
        let mut plan = Self::default();
        for want in &args.wants {
            match want.to.or(args.to) {
                Some(endpoint) => plan.add(endpoint, want.spec.clone()),
                None => plan.for_webapp.push(want.spec.clone()),
            }
        }
        plan
    }

    fn add(&mut self, endpoint: Endpoint, spec: PortSpec) {
        match self.named.iter_mut().find(|request| request.endpoint() == endpoint) {
            Some(request) => *request = request.clone().with(spec),
            None => self.named.push(Publish::new(endpoint).with(spec)),
        }
    }

    /// What is for containers that were named.
    pub(crate) fn named(&self) -> &[Publish] {
        &self.named
    }

    /// What is for the webapp; nothing where none is needed.
    pub(crate) fn for_webapp(&self) -> &[PortSpec] {
        &self.for_webapp
    }

    /// All requests, the webapp's last.
    pub(crate) fn with_webapp(&self, webapp: Option<Publish>) -> Vec<Publish> {
        self.named.iter().cloned().chain(webapp).collect()
    }

    /// Finds a container that lies in none of the networks: NAT would not know where it is.
    pub(crate) fn check_places(&self, networks: &[Network]) -> Result<(), String> {
        let lost = self.named.iter().find_map(|request| {
            let mut addrs = request.endpoint().addrs().collect::<Vec<_>>().into_iter();
            addrs.find(|addr| {
                let mut subnets = networks.iter().flat_map(Network::subnets);
                !subnets.any(|subnet| subnet.net().contains(addr))
            })
        });
        match lost {
            Some(addr) => {
                Err(format!("container {addr} lies in no network: add its --network BRIDGE=SUBNET"))
            }
            None => Ok(()),
        }
    }
}

/// Finds a host port that two requests want, before anything is touched; one request's own a mapper finds.
pub(crate) fn check_together(requests: &[Publish]) -> Result<(), Error> {
    let Some(first) = requests.first() else { return Ok(()) };
    let mappings = requests.iter().flat_map(|request| request.mappings().iter().cloned());
    mappings.fold(Publish::new(first.endpoint()), Publish::with).check()
}

/// Publishes all requests, or none.
pub(crate) async fn publish_all(
    mapper: &impl PortMapper,
    requests: Vec<Publish>,
) -> Result<Lease, BoxError> {
    let mut all = Lease::default();
    for request in requests {
        match mapper.publish(request).await {
            Ok(lease) => all = all.join(lease),
            Err(error) => {
                if let Err(kept) = all.release().await {
                    tracing::warn!(
                        error = output::chain(&kept),
                        "what was published is not released"
                    );
                }
                return Err(error.into());
            }
        }
    }
    Ok(all)
}
