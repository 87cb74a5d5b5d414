//! NAT in the kernel, ready to publish: the rules' mapper with the networks that it knows, and a webapp where one is needed.

mod listed;
pub(crate) mod needs;

use nix::net::if_::if_nametoindex;
use portmap::{
    BoxError, Publish, RulesMapper,
    rules::{Hairpin, HostSettings, Network, NetworkLease, Policy},
};

pub(crate) use self::listed::listed;
use crate::{demo::Contained, output::chain, plan::Plan};

/// What NAT takes, made and attached.
pub(crate) struct Nat {
    pub(crate) mapper: RulesMapper,
    pub(crate) demo: Option<Contained>,
    attached: Vec<NetworkLease>,
}

impl Nat {
    /// Opens the mapper, starts the webapp and attaches the networks. What fails half way is taken back.
    pub(crate) async fn set_up(
        plan: &Plan,
        networks: &[Network],
        policy: &Policy,
    ) -> Result<Self, BoxError> {
        check_bridges(networks)?;
        let mapper = RulesMapper::open_with(policy.clone(), HostSettings::Managed)?;
        let mut nat = Self { mapper, demo: None, attached: Vec::new() };
        match nat.fill(plan, networks, policy).await {
            Ok(()) => Ok(nat),
            Err(error) => {
                if let Err(left) = nat.withdraw().await {
                    tracing::warn!(error = chain(left.as_ref()), "not all is taken back");
                }
                Err(error)
            }
        }
    }

    async fn fill(
        &mut self,
        plan: &Plan,
        networks: &[Network],
        policy: &Policy,
    ) -> Result<(), BoxError> {
        let mut networks = networks.to_vec();
        if !plan.for_webapp().is_empty() {
            let demo = self.demo.insert(Contained::start(plan.for_webapp(), false).await?);
            demo.set_hairpin(policy.hairpin == Hairpin::Bridge).await?;
            networks.push(demo.network()?);
        }
        for network in networks {
            self.attached.push(self.mapper.attach(network).await?);
        }
        Ok(())
    }

    /// The request that publishes the webapp.
    pub(crate) fn webapp(&self, plan: &Plan) -> Option<Publish> {
        self.demo.as_ref().map(|demo| demo.request(plan.for_webapp()))
    }

    /// Takes everything back; done when the kernel is as it was. Waits for leases that are still there.
    pub(crate) async fn withdraw(self) -> Result<(), BoxError> {
        let Self { mapper, demo, attached } = self;
        let mut withdrawn = Ok(());
        for network in attached.into_iter().rev() {
            withdrawn = withdrawn.and(network.detach().await);
        }
        mapper.close().await;
        let removed = match demo {
            Some(demo) => demo.remove().await,
            None => Ok(()),
        };
        withdrawn.map_err(Into::into).and(removed)
    }
}

/// Finds a network whose bridge is not there: rules by its name would serve nobody, and say so to nobody.
fn check_bridges(networks: &[Network]) -> Result<(), String> {
    let mut bridges = networks.iter().map(Network::bridge);
    match bridges.find(|bridge| if_nametoindex(bridge.name()).is_err()) {
        Some(missing) => {
            Err(format!("there is no bridge {missing} here, which a network is said to have"))
        }
        None => Ok(()),
    }
}
