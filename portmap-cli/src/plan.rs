//! What is to be published: a request for each container.

use std::{collections::HashMap, mem, net::IpAddr};

use portmap::{
    BoxError, PortSpec, Publish,
    rules::{Network, Subnet},
};

use crate::{
    args::Args,
    target::{Reach, Target},
};

/// What is to be published.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The containers that were named, in the order of the command line.
    containers: Vec<Container>,
    /// Where each of them is among these.
    places: HashMap<Target, usize>,
    /// What a webapp is started for.
    for_webapp: Vec<PortSpec>,
}

/// A container that was named, and found.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) target: Target,
    pub(crate) reach: Reach,
    pub(crate) request: Publish,
}

impl Plan {
    /// Finds the containers. Nothing is changed by it.
    pub(crate) async fn find(args: &Args) -> Result<Self, BoxError> {
        let mut plan = Self::default();
        for want in &args.wants {
            match want.target.clone().or(args.target.target()) {
                Some(target) => plan.add(target, want.spec.clone()).await?,
                None => plan.for_webapp.push(want.spec.clone()),
            }
        }
        Ok(plan)
    }

    async fn add(&mut self, target: Target, spec: PortSpec) -> Result<(), BoxError> {
        let place = self.places.get(&target);
        match place.and_then(|place| self.containers.get_mut(*place)) {
            Some(Container { request, .. }) => {
                // A copy for each of many thousand would take longer than all the rest.
                let so_far = mem::replace(request, Publish::new(request.endpoint()));
                *request = so_far.with(spec);
            }
            None => {
                let reach = Reach::find(&target).await?;
                let request = Publish::new(reach.endpoint).with(spec);
                self.places.insert(target.clone(), self.containers.len());
                self.containers.push(Container { target, reach, request });
            }
        }
        Ok(())
    }

    /// The containers that were named.
    pub(crate) fn containers(&self) -> &[Container] {
        &self.containers
    }

    /// What is for them.
    pub(crate) fn named(&self) -> Vec<Publish> {
        self.containers.iter().map(|container| container.request.clone()).collect()
    }

    /// Those that NAT can lead to: containers that have an address of their own.
    pub(crate) fn by_nat(&self) -> Vec<Publish> {
        let with_address = self.containers.iter().filter(|one| one.reach.inside.is_none());
        with_address.map(|container| container.request.clone()).collect()
    }

    /// The addresses that NAT can lead to.
    fn addrs(&self) -> impl Iterator<Item = IpAddr> {
        self.by_nat().into_iter().flat_map(|request| {
            let endpoint = request.endpoint();
            [endpoint.v4().map(IpAddr::from), endpoint.v6().map(IpAddr::from)].into_iter().flatten()
        })
    }

    /// What is for the webapp; nothing where none is needed.
    pub(crate) fn for_webapp(&self) -> &[PortSpec] {
        &self.for_webapp
    }

    /// All requests, the webapp's last.
    pub(crate) fn with_webapp(&self, webapp: Option<Publish>) -> Vec<Publish> {
        self.named().into_iter().chain(webapp).collect()
    }

    /// The networks that were given, and those that came with the containers.
    pub(crate) fn networks(&self, given: &[Network]) -> Vec<Network> {
        let mut networks = given.to_vec();
        for network in
            self.containers.iter().filter_map(|container| container.reach.network.as_ref())
        {
            if networks.iter().all(|known| known.bridge() != network.bridge()) {
                networks.push(network.clone());
            }
        }
        networks
    }

    /// Finds a container that is connected to from inside its namespace: for NAT it is nowhere.
    pub(crate) fn check_addresses(&self) -> Result<(), String> {
        match self.containers.iter().find(|one| one.reach.inside.is_some()) {
            Some(inside) => Err(format!("{} has no address that NAT could lead to", inside.reach)),
            None => Ok(()),
        }
    }

    /// Finds a container of a network that has no way in: rules would not lead there.
    pub(crate) fn check_ways_in(&self, networks: &[Network]) -> Result<(), String> {
        let internal = networks.iter().filter(|network| network.is_internal());
        let nets: Vec<_> = internal.flat_map(Network::subnets).map(Subnet::net).collect();
        match self.addrs().find(|addr| nets.iter().any(|net| net.contains(addr))) {
            Some(addr) => Err(format!("container {addr} lies in an internal network")),
            None => Ok(()),
        }
    }

    /// Finds a container with an address that lies in none of the networks: NAT would not know where it is.
    pub(crate) fn check_places(&self, networks: &[Network]) -> Result<(), String> {
        let lost = self.addrs().find(|addr| {
            let mut subnets = networks.iter().flat_map(Network::subnets);
            !subnets.any(|subnet| subnet.net().contains(addr))
        });
        match lost {
            Some(addr) => {
                Err(format!("container {addr} lies in no network: add its --network BRIDGE=SUBNET"))
            }
            None => Ok(()),
        }
    }
}
